//! Responses that do not begin, redirect, or report an error.

use std::time::Duration;

use storage_core::{ErrorKind, Operation, parse_time};

use storage_testkit::http::{Peer, Response};

use super::peer::{File, PeerDriver, timed_out};

fn file() -> File {
    File::new("hello", "\"v1\"")
}

#[tokio::test]
async fn a_response_without_headers_is_a_timeout() {
    for start in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let peer = Peer::start(move |_| Response::raw(start).stall());
        let storage = peer.storage();
        let error = timed_out(&peer, "GET", storage.open("a")).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true), "{start:?}");
        assert!(error.message().contains("header_timeout"), "{error}");
        let error = timed_out(&peer, "HEAD", storage.exists("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(peer.fired(), 2);
    }
}

#[tokio::test]
async fn headers_without_an_end_are_an_error() {
    let many: String = (0..5000).map(|at| format!("X-Header-{at}: value\r\n")).collect();
    let large = format!("X-Header: {}", "x".repeat(2_000_000));
    for headers in [many, large] {
        let peer = Peer::start(move |_| {
            Response::raw(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n")).close().fault()
        });
        let error = peer.storage().stat("a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
        peer.assert_fired();
    }
}

#[tokio::test]
async fn a_response_that_is_not_http_is_an_error() {
    let peer = Peer::start(|_| Response::raw("SSH-2.0-OpenSSH_9.6\r\n").close().fault());
    let error = peer.storage().exists("a").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unexpected, true));
    peer.assert_fired();
}

#[tokio::test]
async fn a_request_without_a_response_is_sent_once_more() {
    let peer = Peer::start(|request| match request.index {
        0 => Response::disconnect(),
        _ => file().respond(request),
    });
    assert_eq!(peer.storage().open("a").await.unwrap().text().await.unwrap(), "hello");
    assert_eq!((peer.fired(), peer.requests().len()), (1, 2));
    let peer = Peer::start(|_| Response::disconnect());
    let error = peer.storage().stat("a").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unexpected, true));
    assert_eq!(peer.fired(), 2);
}

#[tokio::test]
async fn a_server_that_is_down_is_a_retryable_error_with_the_host() {
    let url = storage_testkit::http::closed_port();
    let place = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let storage = storage_core::Storage::new(storage_http::Http::builder(url).build().unwrap());
    let error = storage.exists("a").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unexpected, true));
    assert!(error.message().contains(&place), "{error}");
}

#[tokio::test]
async fn no_redirection_is_followed() {
    let elsewhere = Peer::start(|request| file().respond(request));
    let target = elsewhere.url();
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = format!("Location: {target}a\r\n");
        let peer = Peer::start(move |_| Response::new(status).headers(&location).fault());
        let storage = peer.writable();
        let errors = [
            storage.open("a").await.unwrap_err(),
            storage.stat("a").await.unwrap_err(),
            storage.exists("a").await.unwrap_err(),
            storage.save("a", "x").await.unwrap_err(),
            storage.delete("a").await.unwrap_err(),
            storage.list("").entries().collect().await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
            assert!(error.message().contains("base_url"), "{error}");
        }
        assert!(peer.fired() >= 6);
    }
    assert!(
        elsewhere.requests().is_empty(),
        "a redirection was followed: {:?}",
        elsewhere.requests()
    );
}

#[tokio::test]
async fn a_redirection_to_a_directory_is_not_an_object() {
    let peer = Peer::start(|request| {
        Response::new("301 Moved Permanently")
            .headers(&format!("Location: {}/\r\n", request.target))
            .fault()
    });
    let storage = peer.storage();
    assert!(!storage.exists("a b/c").await.unwrap());
    assert_eq!(storage.stat("a b/c").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(storage.open("a b/c").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(peer.fired(), 3);
}

#[tokio::test]
async fn only_404_and_410_mean_absence() {
    for (status, kind) in [
        ("401 Unauthorized", ErrorKind::Unauthenticated),
        ("403 Forbidden", ErrorKind::PermissionDenied),
        ("429 Too Many Requests", ErrorKind::RateLimited),
        ("500 Internal Server Error", ErrorKind::Unexpected),
        ("503 Service Unavailable", ErrorKind::RateLimited),
        ("504 Gateway Timeout", ErrorKind::Timeout),
        ("204 No Content", ErrorKind::Unexpected),
    ] {
        let peer = Peer::start(move |_| Response::new(status).fault());
        let storage = peer.storage();
        for error in [storage.exists("a").await.unwrap_err(), storage.stat("a").await.unwrap_err()]
        {
            assert_eq!(error.kind(), kind, "{status}");
        }
        assert_eq!(storage.open("a").await.unwrap_err().kind(), kind, "{status}");
        peer.assert_fired();
    }
    for status in ["404 Not Found", "410 Gone"] {
        let peer = Peer::start(move |_| Response::new(status).fault());
        assert!(!peer.storage().exists("a").await.unwrap());
        peer.assert_fired();
    }
}

#[tokio::test]
async fn a_server_without_head_gets_a_get() {
    let peer = Peer::start(|request| match &*request.method {
        "HEAD" => {
            Response::raw("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 9\r\n\r\n").fault()
        }
        _ if request.target.ends_with("/missing") => Response::new("404 Not Found"),
        _ if request.target.ends_with("/empty") && request.header("range").is_some() => {
            Response::new("416 Range Not Satisfiable").headers("Content-Range: bytes */0\r\n")
        }
        _ if request.target.ends_with("/empty") => File::new("", "\"v0\"").whole(),
        _ => file().respond(request),
    });
    let storage = peer.storage();
    assert!(storage.exists("a").await.unwrap());
    assert!(storage.exists("empty").await.unwrap());
    assert!(!storage.exists("missing").await.unwrap());
    let meta = storage.stat("a").await.unwrap();
    assert_eq!((meta.size, meta.etag.unwrap().to_string()), (5, "\"v1\"".to_owned()));
    assert_eq!(storage.stat("empty").await.unwrap().size, 0);
    assert_eq!(storage.stat("missing").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(peer.fired(), 6);
}

#[tokio::test]
async fn the_text_of_an_error_response_is_shown_without_secrets() {
    let peer = Peer::start(|request| {
        let text = format!("go away,\r\n{}", request.header("authorization").unwrap());
        Response::new("403 Forbidden").headers("Content-Type: text/plain\r\n").body(text).fault()
    });
    let http = peer.http().header("Authorization", "Bearer canary-token").build().unwrap();
    let error = storage_core::Storage::new(http).open("a").await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("go away,  ***") && !shown.contains("canary"), "{shown}");
    assert_eq!(error.operation(), Some(Operation::Open));
    peer.assert_fired();
}

#[tokio::test]
async fn a_page_for_browsers_is_not_shown() {
    let peer = Peer::start(|_| {
        Response::new("500 Internal Server Error")
            .headers("Content-Type: text/html\r\n")
            .body("<html><h1>oops</h1></html>")
            .fault()
    });
    let error = peer.storage().open("a").await.unwrap_err();
    assert!(!error.message().contains("oops") && error.is_retryable(), "{error}");
    peer.assert_fired();
}

#[tokio::test]
async fn conditions_hold_although_the_server_ignores_them() {
    let peer = Peer::start(|request| file().respond(&request.without_headers("if-")).fault());
    let storage = peer.storage();
    let kind = |opened: storage_core::Result<storage_core::Object>| opened.unwrap_err().kind();
    let (this, other) = (
        "\"v1\"".parse::<storage_core::ETag>().unwrap(),
        "\"v2\"".parse::<storage_core::ETag>().unwrap(),
    );
    assert_eq!(
        kind(storage.open("a").if_match(other.clone()).await),
        ErrorKind::PreconditionFailed
    );
    assert_eq!(kind(storage.open("a").if_none_match(this.clone()).await), ErrorKind::NotModified);
    assert_eq!(
        kind(storage.open("a").if_modified_since(std::time::SystemTime::now()).await),
        ErrorKind::NotModified
    );
    assert_eq!(
        storage.open("a").if_match(this).if_none_match(other).await.unwrap().text().await.unwrap(),
        "hello"
    );
    peer.assert_fired();
}

#[tokio::test]
async fn absence_precedes_conditions_and_conditions_precede_the_range() {
    let peer = Peer::start(|request| match (&*request.method, &*request.target) {
        (_, "/files/missing") if request.header("if-match").is_some() => {
            Response::new("412 Precondition Failed").fault()
        }
        (_, "/files/missing") => Response::new("404 Not Found"),
        ("GET", _) if request.header("range").is_some() => {
            Response::new("416 Range Not Satisfiable").fault()
        }
        ("GET", _) if request.header("if-modified-since").is_some() => {
            Response::raw("HTTP/1.1 304 Not Modified\r\n\r\n").fault()
        }
        _ => file().respond(request),
    });
    let storage = peer.storage();
    let kind = |opened: storage_core::Result<storage_core::Object>| opened.unwrap_err().kind();
    let (this, other) = (
        "\"v1\"".parse::<storage_core::ETag>().unwrap(),
        "\"v2\"".parse::<storage_core::ETag>().unwrap(),
    );
    let now = std::time::SystemTime::now();
    assert_eq!(kind(storage.open("missing").if_match(this.clone()).await), ErrorKind::NotFound);
    assert_eq!(
        kind(storage.open("a").range(9..).if_match(other.clone()).await),
        ErrorKind::PreconditionFailed
    );
    assert_eq!(
        kind(storage.open("a").range(9..).if_none_match(this).await),
        ErrorKind::NotModified
    );
    assert_eq!(
        kind(storage.open("a").range(9..).if_none_match(other.clone()).await),
        ErrorKind::RangeNotSatisfiable
    );
    assert_eq!(
        kind(storage.open("a").if_modified_since(now).if_match(other).await),
        ErrorKind::PreconditionFailed
    );
    assert_eq!(kind(storage.open("a").if_modified_since(now).await), ErrorKind::NotModified);
    assert_eq!(peer.fired(), 6);
}

#[tokio::test]
async fn the_request_is_for_the_bytes_as_they_are_stored() {
    let peer = Peer::start(|request| {
        let response = Response::ok("not really gzip")
            .headers(&format!("{}Content-Encoding: gzip\r\n", file().headers()))
            .fault();
        match request.header("accept-encoding") {
            Some("identity, *") => response,
            _ => response.close(),
        }
    });
    let object = peer.storage().open("a").await.unwrap();
    assert_eq!(object.meta().metadata.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(object.text().await.unwrap(), "not really gzip");
    assert_eq!(peer.requests()[0].header("accept-encoding"), Some("identity, *"));
    peer.assert_fired();
}

#[tokio::test]
async fn open_and_stat_return_the_age_and_the_date_of_the_response() {
    let peer = Peer::start(|_| {
        let headers = "Age: 59\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nVary: Origin, *\r\n";
        Response::ok("hello").headers(headers).fault()
    });
    let storage = peer.storage();
    let opened = storage.open("a").await.unwrap().meta().clone();
    let known = storage.stat("a").await.unwrap();
    for meta in [opened, known] {
        let response = meta.response.unwrap();
        assert!(response.age >= Duration::from_secs(59), "{response:?}");
        assert_eq!(response.date, parse_time("Sun, 06 Nov 1994 08:49:37 GMT").unwrap());
        assert!(response.varies_always);
    }
    assert_eq!(peer.fired(), 2);
}
