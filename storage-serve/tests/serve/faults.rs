//! Storages that fail before the response, and in the middle of it.

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use storage_core::{Error, ErrorKind, Operation, Storage};
use storage_serve::{Serve, error_response};
use storage_testkit::faults::Faults;

use crate::common::server::Server;
use crate::common::{bytes, get, head, one_object, request};

async fn faulty(content: impl Into<storage_core::Payload>) -> (Faults, Storage) {
    let faults = Faults::new();
    let storage = one_object(content).await.layer(|inner| faults.layer(inner));
    (faults, storage)
}

const KINDS: [(ErrorKind, u16); 15] = [
    (ErrorKind::NotFound, 404),
    (ErrorKind::InvalidKey, 404),
    (ErrorKind::PermissionDenied, 500),
    (ErrorKind::Unauthenticated, 500),
    (ErrorKind::InvalidConfig, 500),
    (ErrorKind::InvalidInput, 500),
    (ErrorKind::Integrity, 500),
    (ErrorKind::Conflict, 500),
    (ErrorKind::TooLarge, 500),
    // An error that the request did not cause.
    (ErrorKind::NotModified, 500),
    (ErrorKind::Unexpected, 500),
    (ErrorKind::Unsupported, 501),
    (ErrorKind::RateLimited, 503),
    (ErrorKind::Timeout, 504),
    (ErrorKind::StorageFull, 507),
];

#[tokio::test]
async fn an_error_becomes_a_status_without_details_of_the_storage() {
    let requests: [(Operation, &[(&str, &str)]); 5] = [
        (Operation::Open, &[]),
        (Operation::Open, &[("range", "bytes=1-2")]),
        (Operation::Stat, &[("if-none-match", "\"x\"")]),
        (Operation::Open, &[("if-none-match", "\"x\"")]),
        (Operation::Open, &[("range", "bytes=0-0,3-3")]),
    ];
    for (kind, status) in KINDS {
        for (operation, headers) in requests {
            let (faults, storage) = faulty("hello").await;
            let fails = faults.on(operation).fail_with(move || {
                let source = std::io::Error::other("canary");
                Error::new(kind, "the bucket canary at canary.internal")
                    .with_source(source)
                    .with_key("canary")
            });
            let response = get(&Serve::new(storage), "/a.txt", headers).await;
            assert_eq!(response.status.as_u16(), status, "{kind} {headers:?}");
            assert!(!format!("{response:?}").contains("canary"), "{response:?}");
            assert_eq!(response.header("cache-control"), "no-store");
            assert!(fails.fired() > 0);
        }
    }
}

#[test]
fn an_error_of_an_applications_handler_is_4xx_if_the_client_can_correct_it() {
    use ErrorKind::{
        AlreadyExists, Conflict, Integrity, InvalidInput, InvalidKey, NotFound, NotModified,
        PermissionDenied, PreconditionFailed, RangeNotSatisfiable, TooLarge,
    };
    let get = [
        (InvalidInput, 400),
        (InvalidKey, 404),
        (NotFound, 404),
        (NotModified, 304),
        (AlreadyExists, 409),
        (PreconditionFailed, 412),
        (RangeNotSatisfiable, 416),
        (Conflict, 500),
        (Integrity, 500),
        (TooLarge, 500),
        (PermissionDenied, 500),
    ];
    let post = [
        (InvalidInput, 400),
        (InvalidKey, 400),
        (NotFound, 404),
        (NotModified, 412),
        (AlreadyExists, 409),
        (PreconditionFailed, 412),
        (Conflict, 409),
        (Integrity, 422),
        (TooLarge, 413),
        (PermissionDenied, 500),
    ];
    let status = |method: &Method, kind| {
        error_response(method, &Error::new(kind, "canary")).status().as_u16()
    };
    for method in [Method::GET, Method::HEAD] {
        for (kind, expected) in get {
            assert_eq!(status(&method, kind), expected, "{method} {kind}");
        }
    }
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        for (kind, expected) in post {
            let by_condition = method == Method::PUT && kind == AlreadyExists;
            let expected = if by_condition { 412 } else { expected };
            assert_eq!(status(&method, kind), expected, "{method} {kind}");
        }
    }
}

#[test]
fn a_304_has_no_headers_that_a_cache_would_apply_to_its_version() {
    let response = error_response(&Method::GET, &Error::new(ErrorKind::NotModified, "current"));
    assert!(response.headers().is_empty(), "{response:?}");
}

#[tokio::test]
async fn an_error_of_head_has_the_status_of_get_and_no_body() {
    for (kind, status) in KINDS {
        let (faults, storage) = faulty("hello").await;
        let (stat, open) =
            (faults.on(Operation::Stat).fail(kind), faults.on(Operation::Open).fail(kind));
        let serve = Serve::new(storage);
        let (head, get) = (head(&serve, "/a.txt", &[]).await, get(&serve, "/a.txt", &[]).await);
        assert_eq!(head.status.as_u16(), status, "{kind}");
        assert_eq!(head.headers, get.headers, "{kind}");
        assert_eq!((stat.fired(), open.fired()), (1, 1));
    }
}

#[tokio::test]
async fn the_retry_time_of_an_error_is_passed_on() {
    let (faults, storage) = faulty("hello").await;
    let busy = faults.on(Operation::Open).fail_with(|| {
        Error::new(ErrorKind::RateLimited, "slow down")
            .with_retry_after(std::time::Duration::from_secs(7))
    });
    let response = get(&Serve::new(storage), "/a.txt", &[]).await;
    assert_eq!(
        (response.status, response.header("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, "7")
    );
    assert_eq!(busy.fired(), 1);
}

#[tokio::test]
async fn a_part_that_cannot_be_opened_ends_the_body() {
    let (faults, storage) = faulty("0123456789").await;
    let fails = faults.on(Operation::Open).call(2).fail(ErrorKind::Unexpected);
    let serve = Serve::new(storage);
    let response =
        serve.handle(request(Method::GET, "/a.txt", &[("range", "bytes=0-1,5-6")])).await;
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(fails.fired(), 1);
}

#[tokio::test]
async fn an_object_that_is_replaced_between_two_parts_ends_the_body() {
    let storage = one_object("0123456789").await;
    let serve = Serve::new(storage.clone());
    let response =
        serve.handle(request(Method::GET, "/a.txt", &[("range", "bytes=0-1,5-6")])).await;
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    storage.save("a.txt", "ABCDEFGHIJ").await.unwrap();
    let mut body = response.into_body();
    let mut received = Vec::new();
    let failed = loop {
        match body.frame().await {
            Some(Ok(frame)) => received.extend_from_slice(frame.data_ref().unwrap()),
            end => break end,
        }
    };
    assert!(failed.unwrap().is_err());
    let text = String::from_utf8(received).unwrap();
    assert!(text.contains("01") && !text.contains('F'), "{text}");
    assert!(body.frame().await.is_none());
}

/// More than the server buffers, so that the head of the response is sent before the body fails.
const LARGE: usize = 2_000_000;

#[tokio::test]
async fn a_body_that_fails_in_the_middle_closes_the_connection() {
    let (faults, storage) = faulty(bytes(LARGE)).await;
    let broken = faults.on(Operation::Open).fail_midway(1_000_000, ErrorKind::Unexpected);
    let server = Server::start(Serve::new(storage)).await;
    // The client requests a persistent connection.
    let received = server.talk("GET /a.txt HTTP/1.1\r\nhost: files\r\n\r\n").await;
    assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(received.len() < LARGE);
    assert_eq!(broken.fired(), 1);
}

#[tokio::test]
async fn a_truncated_body_closes_the_connection() {
    let (faults, storage) = faulty(bytes(LARGE)).await;
    let cut = faults.on(Operation::Open).truncate(1_000_000);
    let server = Server::start(Serve::new(storage)).await;
    for headers in ["", "range: bytes=0-1500000\r\n"] {
        let received =
            server.talk(&format!("GET /a.txt HTTP/1.1\r\nhost: files\r\n{headers}\r\n")).await;
        assert!(
            received.starts_with(b"HTTP/1.1 20") && received.len() < 1_500_000,
            "{headers}: {}",
            received.len()
        );
    }
    assert_eq!(cut.fired(), 2);
}

#[tokio::test]
async fn a_decoded_body_that_fails_has_no_last_chunk() {
    let faults = Faults::new();
    let storage = storage_core::Memory::storage();
    let packed = crate::common::gzip(&bytes(LARGE)).await;
    storage.save("a.txt", packed).content_encoding("gzip").await.unwrap();
    let broken = faults.on(Operation::Open).fail_midway(1_500_000, ErrorKind::Unexpected);
    let server = Server::start(Serve::new(storage.layer(|inner| faults.layer(inner)))).await;
    let received = server.talk("GET /a.txt HTTP/1.1\r\nhost: files\r\n\r\n").await;
    assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let head = String::from_utf8_lossy(&received[..300]).into_owned();
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    assert!(!received.ends_with(b"0\r\n\r\n"));
    assert_eq!(broken.fired(), 1);
}

#[tokio::test]
async fn an_upload_whose_connection_breaks_stores_nothing() {
    let faults = Faults::new();
    let storage = one_object("old").await.layer(|inner| faults.layer(inner));
    let serve = Serve::new(storage.clone()).signing_key(crate::common::signing_key());
    let server = Server::start(serve).await;
    let link =
        crate::common::link("a.txt", |options| options.method = storage_core::UrlMethod::Put);
    let reached = faults.on(Operation::Save).hold();
    let mut socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let text = format!(
        "PUT {link} HTTP/1.1\r\nhost: files\r\ncontent-type: text/plain\r\ncontent-length: 10\r\n\r\nhalf"
    );
    tokio::io::AsyncWriteExt::write_all(&mut socket, text.as_bytes()).await.unwrap();
    reached.reached().await;
    reached.release();
    tokio::io::AsyncWriteExt::shutdown(&mut socket).await.unwrap();
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut rest).await.unwrap();
    assert_eq!(storage.open("a.txt").await.unwrap().text().await.unwrap(), "old");
    assert_eq!(reached.fired(), 1);
}
