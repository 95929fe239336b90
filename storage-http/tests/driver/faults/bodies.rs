//! Bodies that stall, end early or break off, and objects that change meanwhile.

use bytes::Bytes;
use futures_util::TryStreamExt;
use storage_core::{ErrorKind, Object};

use storage_testkit::http::{Peer, Response};

use super::peer::{File, GENEROUS, PeerDriver, later};

/// Bytes without repeated pieces.
fn pattern(len: usize) -> Bytes {
    (0_u64..).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(len).collect()
}

const SIZE: usize = 300_000;
const STRONG: &str = "\"v1\"";

fn file() -> File {
    File::new(pattern(SIZE), STRONG)
}

/// Returns how many bytes arrive before the error, and the error.
async fn bytes_before_the_error(object: Object) -> (usize, ErrorKind, bool) {
    let mut chunks = object.into_stream();
    let mut bytes = 0;
    loop {
        match chunks.try_next().await {
            Ok(Some(chunk)) => bytes += chunk.len(),
            Ok(None) => panic!("the body ended without an error"),
            Err(error) => return (bytes, error.kind(), error.is_retryable()),
        }
    }
}

/// Starts a peer whose first response fails in this way after 100,000 bytes.
fn cut_once(fail: fn(Response, usize) -> Response) -> Peer {
    Peer::start(move |request| match request.index {
        0 => fail(file().respond(request), 100_000),
        _ => file().respond(request),
    })
}

#[tokio::test]
async fn a_body_that_ends_early_resumes_at_the_next_byte() {
    let peer = cut_once(Response::cut_after);
    assert_eq!(peer.storage().open("a").await.unwrap().bytes().await.unwrap(), pattern(SIZE));
    peer.assert_fired();
    let requests = peer.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].header("range"), Some("bytes=100000-299999"));
    assert_eq!(requests[1].header("if-match"), Some(STRONG));
}

#[tokio::test]
async fn a_body_that_stalls_resumes_at_the_next_byte() {
    let peer = cut_once(Response::stall_after);
    let mut chunks = peer.storage().open("a").await.unwrap().into_stream();
    let mut bytes = Vec::new();
    while bytes.len() < 100_000 {
        bytes.extend_from_slice(&chunks.try_next().await.unwrap().unwrap());
    }
    let (mut next, ()) = tokio::join!(chunks.try_next(), later(GENEROUS));
    while let Some(chunk) = next.unwrap() {
        bytes.extend_from_slice(&chunk);
        next = chunks.try_next().await;
    }
    assert_eq!(bytes, pattern(SIZE));
    peer.assert_fired();
    assert_eq!(peer.requests()[1].header("range"), Some("bytes=100000-299999"));
}

#[tokio::test]
async fn a_range_that_breaks_off_resumes_within_the_range() {
    let peer = Peer::start(|request| match request.index {
        0 => file().respond(request).cut_after(1500),
        _ => file().respond(request),
    });
    let part = peer.storage().open("a").range(1000..3000).await.unwrap();
    assert_eq!(part.bytes().await.unwrap(), pattern(SIZE)[1000..3000]);
    peer.assert_fired();
    assert_eq!(peer.requests()[1].header("range"), Some("bytes=2500-2999"));
}

#[tokio::test]
async fn a_body_that_breaks_off_often_is_whole_if_each_attempt_makes_progress() {
    let peer = Peer::start(|request| match request.index {
        // More often than the limit for attempts without progress.
        0..20 => file().respond(request).cut_after(1000),
        _ => file().respond(request),
    });
    assert_eq!(peer.storage().open("a").await.unwrap().bytes().await.unwrap(), pattern(SIZE));
    assert_eq!(peer.fired(), 20);
}

#[tokio::test]
async fn a_body_without_progress_ends_after_five_attempts() {
    let peer = Peer::start(|request| match request.index {
        0 => file().respond(request).cut_after(1000),
        _ => Response::new("503 Service Unavailable").headers("Retry-After: 0\r\n").fault(),
    });
    let object = peer.storage().open("a").await.unwrap();
    assert_eq!(bytes_before_the_error(object).await, (1000, ErrorKind::RateLimited, true));
    assert_eq!(peer.fired(), 6, "a body resumes at most five times");
}

#[tokio::test]
async fn a_body_does_not_resume_with_another_etag() {
    // A correct server, and one that ignores conditions.
    for heeds_conditions in [true, false] {
        let peer = Peer::start(move |request| {
            let new = File::new(vec![b'x'; SIZE], "\"v2\"");
            match request.index {
                0 => file().respond(request).cut_after(1000),
                _ if heeds_conditions => new.respond(request).fault(),
                _ => new.respond(&request.without_headers("if-match")).fault(),
            }
        });
        let object = peer.storage().open("a").await.unwrap();
        assert_eq!(
            bytes_before_the_error(object).await,
            (1000, ErrorKind::PreconditionFailed, false)
        );
        assert_eq!(peer.fired(), 2);
    }
}

#[tokio::test]
async fn a_body_does_not_resume_if_the_object_was_deleted() {
    let peer = Peer::start(|request| match request.index {
        0 => file().respond(request).cut_after(1000),
        _ => Response::new("404 Not Found").fault(),
    });
    let object = peer.storage().open("a").await.unwrap();
    assert_eq!(bytes_before_the_error(object).await, (1000, ErrorKind::NotFound, false));
    assert_eq!(peer.fired(), 2);
}

#[tokio::test]
async fn a_body_without_a_strong_etag_does_not_resume() {
    // No ETag, a weak one, and one of the time and the size whose second is not over
    // (0x2ebc98a1 is the time of the file).
    let fresh = "Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n";
    for (etag, date) in [("", ""), ("W/\"v1\"", ""), ("\"2ebc98a1-493e0\"", fresh)] {
        let peer = Peer::start(move |_| {
            let mut headers = File::new(pattern(SIZE), etag).headers();
            if !date.is_empty() {
                headers = headers.replace("Date: Fri, 20 Nov 2026 12:00:00 GMT\r\n", date);
            }
            Response::new("200 OK").headers(&headers).body(pattern(SIZE)).cut_after(1000)
        });
        let object = peer.storage().open("a").await.unwrap();
        assert_eq!(
            bytes_before_the_error(object).await,
            (1000, ErrorKind::Unexpected, true),
            "{etag}"
        );
        assert_eq!(peer.fired(), 1, "{etag}");
    }
}

#[tokio::test]
async fn a_body_does_not_resume_if_resume_is_false() {
    let peer = cut_once(Response::stall_after);
    let storage = storage_core::Storage::new(peer.http().resume(false).build().unwrap());
    let mut chunks = storage.open("a").await.unwrap().into_stream();
    let mut bytes = 0;
    while bytes < 100_000 {
        bytes += chunks.try_next().await.unwrap().unwrap().len();
    }
    let error = tokio::join!(chunks.try_next(), later(GENEROUS)).0.unwrap_err();
    assert_eq!((bytes, error.kind(), error.is_retryable()), (100_000, ErrorKind::Timeout, true));
    assert_eq!((peer.fired(), peer.requests().len()), (1, 1));
}

#[tokio::test]
async fn a_range_is_cut_from_the_response_of_a_server_that_ignores_ranges() {
    let peer = Peer::start(|_| file().whole().fault());
    let storage = peer.storage();
    for (range, expected) in
        [(0..10, 0..10), (1000..3000, 1000..3000), (SIZE - 5..SIZE + 10, SIZE - 5..SIZE)]
    {
        let part = storage.open("a").range(range.start as u64..range.end as u64).await.unwrap();
        assert_eq!(part.range(), expected.start as u64..expected.end as u64);
        assert_eq!(part.meta().size, SIZE as u64);
        assert_eq!(part.bytes().await.unwrap(), pattern(SIZE)[expected]);
    }
    let last = storage.open("a").range(storage_core::ByteRange::last(7)).await.unwrap();
    assert_eq!(last.bytes().await.unwrap(), pattern(SIZE)[SIZE - 7..]);
    let past = storage.open("a").range(SIZE as u64..).await.unwrap_err();
    assert_eq!(past.kind(), ErrorKind::RangeNotSatisfiable);
    assert_eq!(peer.fired(), 5);
}

#[tokio::test]
async fn a_body_resumes_from_the_beginning_if_the_server_ignores_ranges() {
    let peer = Peer::start(|request| match request.index {
        0 => file().whole().cut_after(100_000),
        _ => file().whole(),
    });
    assert_eq!(peer.storage().open("a").await.unwrap().bytes().await.unwrap(), pattern(SIZE));
    assert_eq!((peer.fired(), peer.requests().len()), (1, 2));
}

#[tokio::test]
async fn another_range_than_the_requested_one_is_refused() {
    for range_header in [
        "bytes 0-9/300000",
        "bytes 11-20/300000",
        "bytes 10-19/15",
        "bytes 10-19/*",
        "items 10-19/300000",
        "",
    ] {
        let peer = Peer::start(move |_| {
            let range = if range_header.is_empty() {
                String::new()
            } else {
                format!("Content-Range: {range_header}\r\n")
            };
            Response::new("206 Partial Content")
                .headers(&format!("{}{range}", file().headers()))
                .body(pattern(10))
                .fault()
        });
        let error = peer.storage().open("a").range(10..20).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{range_header}");
        peer.assert_fired();
    }
}

/// A response of a part of the file: 15 bytes, of which the headers state 10.
fn longer_than_stated(framing: &str, body: Bytes) -> Response {
    let headers = format!("{}Content-Range: bytes 10-19/300000\r\n{framing}", file().headers());
    Response::new("206 Partial Content").headers(&headers).body(body).fault()
}

#[tokio::test]
async fn a_range_whose_body_is_longer_than_stated_is_refused() {
    let peer = Peer::start(|_| {
        let body = [b"f\r\n", &*pattern(15), b"\r\n0\r\n\r\n"].concat();
        longer_than_stated("Transfer-Encoding: chunked\r\n", body.into())
    });
    let object = peer.storage().open("a").range(10..20).await.unwrap();
    assert_eq!(object.bytes().await.unwrap_err().kind(), ErrorKind::Integrity);
    peer.assert_fired();
}

#[tokio::test]
async fn a_range_whose_length_contradicts_its_positions_is_refused_before_the_body() {
    let peer = Peer::start(|_| longer_than_stated("", pattern(15)));
    let error = peer.storage().open("a").range(10..20).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    peer.assert_fired();
}

#[tokio::test]
async fn a_part_instead_of_the_whole_is_refused() {
    let peer = Peer::start(|_| {
        let headers = format!("{}Content-Range: bytes 0-9/300000\r\n", file().headers());
        Response::new("206 Partial Content").headers(&headers).body(pattern(10)).fault()
    });
    assert_eq!(peer.storage().open("a").await.unwrap_err().kind(), ErrorKind::Unexpected);
    peer.assert_fired();
}

#[tokio::test]
async fn a_body_does_not_resume_with_other_positions() {
    let peer = Peer::start(|request| match request.index {
        0 => file().respond(request).cut_after(1000),
        _ => {
            let headers = format!("{}Content-Range: bytes 0-9/300000\r\n", file().headers());
            Response::new("206 Partial Content").headers(&headers).body(pattern(10)).fault()
        }
    });
    let object = peer.storage().open("a").await.unwrap();
    assert_eq!(bytes_before_the_error(object).await, (1000, ErrorKind::Unexpected, false));
    assert_eq!(peer.fired(), 2);
}
