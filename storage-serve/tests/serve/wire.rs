//! The bytes on the wire, with hyper alone.

use std::collections::BTreeSet;

use http::Method;
use storage_core::{Memory, Metadata, Storage, UrlMethod};
use storage_serve::Serve;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::server::Server;
use crate::common::{bytes, gzip, link, one_object, signing_key};

async fn storage() -> Storage {
    let storage = one_object("0123456789").await;
    storage.save("empty", "").await.unwrap();
    storage.save("packed", gzip(b"hello").await).content_encoding("gzip").await.unwrap();
    storage.save("page", "<p>").metadata(Metadata::new().content_type("text/html")).await.unwrap();
    storage
}

#[tokio::test]
async fn get_and_head_have_the_same_headers_on_the_wire() {
    let server = Server::start(Serve::new(storage().await)).await;
    // Whether the length is known before the body is sent.
    let cases = [
        ("/a.txt", "", "200 OK", true),
        ("/empty", "", "200 OK", true),
        ("/page", "", "200 OK", true),
        ("/packed", "", "200 OK", false),
        ("/packed", "accept-encoding: gzip\r\n", "200 OK", true),
        ("/packed", "accept-encoding: identity;q=0, br\r\n", "406 Not Acceptable", true),
        ("/missing", "", "404 Not Found", true),
        ("/a.txt", "if-match: \"x\"\r\n", "412 Precondition Failed", true),
        ("/a.txt", "if-none-match: *\r\n", "304 Not Modified", false),
    ];
    for (path, headers, status, is_known) in cases {
        let (get, head) = (
            server.request("GET", path, headers).await,
            server.request("HEAD", path, headers).await,
        );
        let without_time = |response: &crate::common::server::Raw| {
            let headers = response
                .headers
                .iter()
                .filter(|(name, _)| name != "date" && name != "transfer-encoding");
            headers.cloned().collect::<BTreeSet<_>>()
        };
        assert_eq!(get.status, status, "{path} {headers:?}");
        assert_eq!(head.status, status, "{path} {headers:?}");
        let length = is_known.then(|| get.length.to_string());
        assert_eq!(get.header("content-length"), length.as_deref(), "{path} {headers:?}");
        assert_eq!(without_time(&get), without_time(&head), "{path} {headers:?}");
        assert_eq!(head.body, "", "{path} {headers:?}");
    }
}

#[tokio::test]
async fn a_response_without_a_body_leaves_the_connection_usable() {
    let server = Server::start(Serve::new(storage().await)).await;
    let requests = "HEAD /a.txt HTTP/1.1\r\nhost: files\r\n\r\n\
                 GET /a.txt HTTP/1.1\r\nhost: files\r\nif-none-match: *\r\n\r\n\
                 OPTIONS /a.txt HTTP/1.1\r\nhost: files\r\n\r\n\
                 HEAD /packed HTTP/1.1\r\nhost: files\r\n\r\n\
                 GET /empty HTTP/1.1\r\nhost: files\r\n\r\n\
                 GET /a.txt HTTP/1.1\r\nhost: files\r\nrange: bytes=2-3\r\nconnection: close\r\n\r\n";
    let received = String::from_utf8(server.talk(requests).await).unwrap();
    let statuses: Vec<_> =
        received.match_indices("HTTP/1.1 ").map(|(at, _)| &received[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "304", "204", "200", "200", "206"]);
    assert!(received.ends_with("\r\n\r\n23"), "{received}");
}

#[tokio::test]
async fn a_304_and_a_204_have_no_content_length() {
    let server = Server::start(Serve::new(storage().await)).await;
    let (same, options) = (
        server.request("GET", "/a.txt", "if-none-match: *\r\n").await,
        server.request("OPTIONS", "/a.txt", "").await,
    );
    for response in [same, options] {
        assert_eq!(
            (response.header("content-length"), response.header("transfer-encoding")),
            (None, None),
            "{response:?}"
        );
        assert_eq!(response.body, "");
    }
}

#[tokio::test]
async fn a_multipart_response_has_exactly_its_declared_length() {
    let server = Server::start(Serve::new(storage().await)).await;
    let response = server.request("GET", "/a.txt", "range: bytes=0-1,5-6\r\n").await;
    assert_eq!(response.status, "206 Partial Content");
    assert_eq!(response.header("content-length"), Some(response.body.len().to_string().as_str()));
    assert!(
        response.body.starts_with("--anystorage-") && response.body.ends_with("--\r\n"),
        "{}",
        response.body
    );
}

#[tokio::test]
async fn a_path_is_not_normalised() {
    let server = Server::start(Serve::new(storage().await)).await;
    for path in [
        "/../a.txt",
        "/x/../a.txt",
        "/./a.txt",
        "//a.txt",
        "/%2e%2e/a.txt",
        "/a.txt%00",
        "/a.txt/",
        "/%2Fa.txt",
    ] {
        assert_eq!(server.request("GET", path, "").await.status, "404 Not Found", "{path}");
    }
}

#[tokio::test]
async fn an_upload_that_expects_100_continue_is_stored() {
    let storage = Memory::storage();
    let server = Server::start(Serve::new(storage.clone()).signing_key(signing_key())).await;
    let link = link("a.txt", |options| options.method = UrlMethod::Put);
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "PUT {link} HTTP/1.1\r\nhost: files\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    socket.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"hello").await.unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 201 Created\r\n"), "{response}");
    assert_eq!(storage.open("a.txt").await.unwrap().text().await.unwrap(), "hello");
}

#[tokio::test]
async fn a_refused_upload_gets_no_100_continue() {
    let server =
        Server::start(Serve::new(Memory::storage()).signing_key(signing_key()).max_upload_size(4))
            .await;
    let link = link("a.txt", |options| options.method = UrlMethod::Put);
    for (link, status) in [(link.as_str(), "413 Payload Too Large"), ("/a.txt", "403 Forbidden")] {
        let response =
            server.request("PUT", link, "expect: 100-continue\r\ncontent-length: 5\r\n").await;
        assert_eq!(response.status, status);
    }
}

#[tokio::test]
async fn a_chunked_upload_without_an_end_stores_nothing() {
    let storage = one_object("old").await;
    let server = Server::start(Serve::new(storage.clone()).signing_key(signing_key())).await;
    let link = link("a.txt", |options| options.method = UrlMethod::Put);
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let sent = format!(
        "PUT {link} HTTP/1.1\r\nhost: files\r\ntransfer-encoding: chunked\r\n\r\n3\r\nnew\r\n"
    );
    socket.write_all(sent.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&rest));
    assert_eq!(storage.open("a.txt").await.unwrap().text().await.unwrap(), "old");
}

#[tokio::test]
async fn a_client_that_disconnects_stops_the_reading() {
    let faults = storage_testkit::faults::Faults::new();
    let storage = one_object(bytes(1_000_000)).await.layer(|inner| faults.layer(inner));
    let stalls = faults.on(storage_core::Operation::Open).stall(500_000);
    let server = Server::start(Serve::new(storage.clone())).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET /a.txt HTTP/1.1\r\nhost: files\r\n\r\n").await.unwrap();
    stalls.reached().await;
    drop(socket);
    // The next client is served.
    faults.clear();
    let response = server.request(Method::GET.as_str(), "/a.txt", "range: bytes=0-1\r\n").await;
    assert_eq!(response.status, "206 Partial Content");
    assert_eq!(stalls.fired(), 1);
}

#[tokio::test]
async fn a_request_with_two_hosts_or_of_ambiguous_length_is_refused_and_closes_the_connection() {
    let server = Server::start(Serve::new(storage().await)).await;
    for headers in [
        "host: a\r\nhost: b\r\n",
        "host: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
        "host: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ] {
        let second = "GET /a.txt HTTP/1.1\r\nhost: a\r\n\r\n";
        let sent = format!("GET /a.txt HTTP/1.1\r\n{headers}\r\n0\r\n\r\n{second}");
        let received = String::from_utf8(server.talk(&sent).await).unwrap();
        assert!(received.starts_with("HTTP/1.1 400 "), "{headers:?}: {received}");
        assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{headers:?}: {received}");
    }
}

#[tokio::test]
async fn a_chunked_upload_closes_the_connection() {
    let server = Server::start(Serve::new(storage().await).signing_key(signing_key())).await;
    let path = link("new.txt", |options| options.method = UrlMethod::Put);
    let second = "GET /a.txt HTTP/1.1\r\nhost: a\r\n\r\n";
    let headers = "host: a\r\ncontent-length: 60\r\ntransfer-encoding: chunked\r\n";
    let sent = format!("PUT {path} HTTP/1.1\r\n{headers}\r\n2\r\nhi\r\n0\r\n\r\n{second}");
    let received = String::from_utf8(server.talk(&sent).await).unwrap();
    assert!(received.starts_with("HTTP/1.1 201 "), "{received}");
    assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{received}");
}
