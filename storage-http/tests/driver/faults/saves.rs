//! Saves and deletions: bodies that fail, servers that refuse, directories.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::stream;
use storage_core::{Checksum, ChecksumAlgorithm, Error, ErrorKind, Payload};

use storage_testkit::http::{Peer, Response};

use super::peer::{PeerDriver, timed_out};

/// Starts a server without WebDAV that accepts every request.
fn accepting_server() -> Peer {
    Peer::start(|request| match &*request.method {
        "PUT" => Response::new("201 Created").headers("ETag: \"new\"\r\n"),
        "DELETE" => Response::raw("HTTP/1.1 204 No Content\r\n\r\n"),
        _ => Response::new("405 Method Not Allowed"),
    })
}

fn streaming(chunks: Vec<Result<&'static str, Error>>) -> Payload {
    Payload::from_stream(stream::iter(chunks.into_iter().map(|chunk| chunk.map(Bytes::from))))
}

#[tokio::test]
async fn a_known_size_is_sent_as_length_and_an_unknown_one_in_chunks() {
    let peer = accepting_server();
    let storage = peer.writable();
    let saved = storage.save("a/b c.txt", "hello").await.unwrap();
    assert_eq!((saved.size, saved.etag.unwrap().to_string()), (5, "\"new\"".to_owned()));
    storage.save("a", streaming(vec![Ok("hel"), Ok("lo")])).await.unwrap();
    storage.save("a", streaming(vec![Ok("hel"), Ok("lo")]).with_size(5)).await.unwrap();
    storage.save("a", "").await.unwrap();
    let requests = peer.requests();
    assert_eq!(requests[0].target, "/files/a/b%20c.txt");
    assert_eq!(requests[0].header("content-type"), Some("text/plain; charset=utf-8"));
    let lengths: Vec<_> = requests.iter().map(|request| request.header("content-length")).collect();
    assert_eq!(lengths, [Some("5"), None, Some("5"), Some("0")]);
    assert!(requests[..3].iter().all(|request| request.is_complete && request.body == "hello"));
    assert!(requests[3].is_complete && requests[3].body.is_empty());
}

#[tokio::test]
async fn a_failed_payload_never_becomes_a_complete_body() {
    let failed = || Error::new(ErrorKind::Unexpected, "the source failed");
    let wrong = Checksum::of(ChecksumAlgorithm::Sha256, b"other");
    let payloads = [
        (streaming(vec![Ok("hel"), Ok("lo"), Err(failed())]), ErrorKind::Unexpected),
        (streaming(vec![Ok("hel"), Ok("lo"), Err(failed())]).with_size(5), ErrorKind::Unexpected),
        (streaming(vec![Ok("hel"), Ok("lo")]).with_size(6), ErrorKind::Integrity),
        (streaming(vec![Ok("hel"), Ok("lo")]).with_size(4), ErrorKind::Integrity),
        (
            streaming(vec![Ok("hel"), Ok("lo")]).with_expected_checksum(wrong.clone()),
            ErrorKind::Integrity,
        ),
        (
            streaming(vec![Ok("hel"), Ok("lo")]).with_size(5).with_expected_checksum(wrong.clone()),
            ErrorKind::Integrity,
        ),
        (Payload::from("hello").with_expected_checksum(wrong), ErrorKind::Integrity),
        (streaming(vec![Ok("hel"), Ok("lo")]).with_max_size(4), ErrorKind::TooLarge),
    ];
    let peer = accepting_server();
    let storage = peer.writable();
    for (payload, kind) in payloads {
        assert_eq!(storage.save("a", payload).await.unwrap_err().kind(), kind);
    }
    // Another request to the same peer: the earlier ones have ended by then.
    storage.save("b", "b").await.unwrap();
    let whole: Vec<_> = peer
        .requests()
        .into_iter()
        .filter(|request| request.is_complete)
        .map(|request| request.target)
        .collect();
    assert_eq!(whole, ["/files/b"], "the server received a complete body");
}

#[tokio::test]
async fn a_save_without_a_response_is_a_timeout() {
    let peer = Peer::start(|_| Response::never());
    let error = timed_out(&peer, "PUT", peer.writable().save("a", "hello")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true));
    assert!(error.message().contains("may have happened"), "{error}");
    peer.assert_fired();
}

#[tokio::test]
async fn a_save_whose_connection_breaks_off_is_a_retryable_error() {
    let peer = Peer::start(|_| Response::disconnect());
    let error = peer.writable().save("a", "hello").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unexpected, true));
    assert_eq!(peer.fired(), 1, "the driver repeats no save");
}

#[tokio::test]
async fn a_refused_save_has_the_kind_of_its_status() {
    for (status, kind) in [
        ("401 Unauthorized", ErrorKind::Unauthenticated),
        ("403 Forbidden", ErrorKind::PermissionDenied),
        ("405 Method Not Allowed", ErrorKind::Unsupported),
        ("413 Content Too Large", ErrorKind::TooLarge),
        ("429 Too Many Requests", ErrorKind::RateLimited),
        ("507 Insufficient Storage", ErrorKind::StorageFull),
        ("207 Multi-Status", ErrorKind::Unexpected),
    ] {
        let peer = Peer::start(move |request| match &*request.method {
            "PUT" => Response::new(status).fault(),
            _ => Response::new("404 Not Found"),
        });
        assert_eq!(peer.writable().save("a", "hello").await.unwrap_err().kind(), kind, "{status}");
        peer.assert_fired();
    }
}

/// Starts a server that requires directories to exist, and has these.
fn with_directories(directories: &'static [&'static str]) -> Peer {
    let mut made: Vec<_> = directories.iter().map(|path| (*path).to_owned()).collect();
    Peer::start(move |request| {
        let parent =
            |path: &str| path.trim_end_matches('/').rsplit_once('/').unwrap().0.to_owned() + "/";
        match &*request.method {
            "PUT" if made.contains(&parent(&request.target)) => Response::new("201 Created"),
            "PUT" => Response::new("409 Conflict").fault(),
            "MKCOL" if made.contains(&request.target) => Response::new("405 Method Not Allowed"),
            "MKCOL" if made.contains(&parent(&request.target)) => {
                made.push(request.target.clone());
                Response::new("201 Created")
            }
            "MKCOL" => Response::new("409 Conflict"),
            "HEAD" if made.contains(&format!("{}/", request.target)) => Response::raw(format!(
                "HTTP/1.1 301 Moved Permanently\r\nLocation: {}/\r\nContent-Length: 0\r\n\r\n",
                request.target
            )),
            _ => Response::raw("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        }
    })
}

#[tokio::test]
async fn a_save_creates_missing_directories() {
    let peer = with_directories(&["/files/", "/files/a/"]);
    peer.writable().save("a/b c/d/e.txt", "hello").await.unwrap();
    peer.assert_fired();
    let requests = peer.requests();
    let made: Vec<_> = requests
        .iter()
        .filter(|request| request.method == "MKCOL")
        .map(|request| &*request.target)
        .collect();
    assert_eq!(made, ["/files/a/b%20c/", "/files/a/b%20c/d/"]);
    let put = requests.last().unwrap();
    assert_eq!((&*put.method, &*put.body), ("PUT", &b"hello"[..]));
    peer.writable().save("a/b c/d/f.txt", "again").await.unwrap();
    assert_eq!(peer.requests().len(), requests.len() + 1, "existing directories need no request");
}

#[tokio::test]
async fn delete_never_deletes_a_directory() {
    // The server deletes directories with all their files.
    let peer = Peer::start(|request| match &*request.method {
        "PROPFIND" => {
            let document = "<D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>/files/a/</D:href><D:propstat><D:prop>\
                <D:resourcetype><D:collection/></D:resourcetype></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>\
                </D:response></D:multistatus>";
            Response::new("207 Multi-Status").body(document).fault()
        }
        _ => Response::raw("HTTP/1.1 204 No Content\r\n\r\n"),
    });
    peer.writable().delete("a").await.unwrap();
    peer.assert_fired();
    assert!(
        peer.requests().iter().all(|request| request.method == "PROPFIND"),
        "{:?}",
        peer.requests()
    );
}

#[tokio::test]
async fn a_delete_request_has_depth_0() {
    let peer = accepting_server();
    let storage = peer.writable();
    storage.delete("a").await.unwrap();
    storage.delete("b").await.unwrap();
    let sent: Vec<_> = peer
        .requests()
        .into_iter()
        .map(|request| (request.method.clone(), request.header("depth").map(str::to_owned)))
        .collect();
    let zero = || Some("0".to_owned());
    assert_eq!(
        sent,
        [("PROPFIND".into(), zero()), ("DELETE".into(), zero()), ("DELETE".into(), zero())]
    );
}

#[tokio::test]
async fn a_refused_deletion_of_an_existing_object_is_an_error() {
    let peer = Peer::start(|request| match &*request.method {
        "DELETE" => Response::new("409 Conflict").fault(),
        "HEAD" => Response::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        _ => Response::new("405 Method Not Allowed"),
    });
    assert_eq!(peer.writable().delete("a").await.unwrap_err().kind(), ErrorKind::Conflict);
    peer.assert_fired();
}

/// A WebDAV server with one object, which refuses its deletion.
fn refusing_server(is_deleted_by_another: bool) -> Peer {
    let is_deleted = AtomicBool::new(false);
    let document = "<multistatus xmlns=\"DAV:\"><response><href>/files/a</href><propstat><prop>\
                    <resourcetype/></prop><status>HTTP/1.1 200 OK</status></propstat></response>\
                    </multistatus>";
    Peer::start(move |request| match &*request.method {
        "PROPFIND" if is_deleted.load(Ordering::SeqCst) => Response::new("404 Not Found"),
        "PROPFIND" => Response::new("207 Multi-Status").body(document),
        _ => {
            is_deleted.store(is_deleted_by_another, Ordering::SeqCst);
            Response::new("403 Forbidden").fault()
        }
    })
}

#[tokio::test]
async fn a_deletion_succeeds_if_it_is_refused_because_another_one_was_faster() {
    let peer = refusing_server(true);
    peer.writable().delete("a").await.unwrap();
    peer.assert_fired();
}

#[tokio::test]
async fn a_forbidden_deletion_of_an_existing_object_is_an_error() {
    let peer = refusing_server(false);
    let error = peer.writable().delete("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    peer.assert_fired();
}

#[tokio::test]
async fn a_read_only_driver_sends_no_writes() {
    let peer = accepting_server();
    let storage = peer.storage();
    for error in [
        storage.save("a", "hello").await.unwrap_err(),
        storage.delete("a").await.unwrap_err(),
        storage.copy("a", "b").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("writable"), "{error}");
    }
    assert!(peer.requests().is_empty());
}
