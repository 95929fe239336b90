//! Bodies of responses on real sockets: time limits, resuming, and the spool. Each test proves that
//! its fault occurred.
#![allow(clippy::unwrap_used, reason = "an unexpected error fails the test")]

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use storage_client::{
    ClientConfig, Reopen, Response, ResumableBody, Segment, Spool, received_range,
};
use storage_core::{ByteRange, Error, ErrorKind, Result};
use storage_testkit::http::{self, Peer, closed_port};
use url::Url;

const LENGTH: usize = 300_000;
const CUT: usize = 100_000;
/// A time limit that a test waits for.
const BRIEF: Duration = Duration::from_millis(300);
/// A time limit that no test reaches, unless it advances its clock.
const GENEROUS: Duration = Duration::from_secs(120);

/// Bytes without repeated pieces.
fn pattern() -> Bytes {
    (0_u64..)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(LENGTH)
        .collect()
}

async fn get(url: Url, range: Option<Range<u64>>, idle_timeout: Duration) -> Result<Response> {
    let http = ClientConfig::new(GENEROUS).build_for(&url)?;
    let mut request = http.get(url);
    if let Some(range) = range {
        request = request.header("range", ByteRange::from(range).to_string());
    }
    let sent_at = Instant::now();
    let response = request.send().await.map_err(|cause| {
        storage_client::send_error(cause, "the peer", "option url", "option time")
    })?;
    Ok(Response::new(response, sent_at, idle_timeout))
}

/// Requests the rest of the peer's only object. `REPEATS` as in [`Reopen`].
#[derive(Debug)]
struct Rest<const REPEATS: bool>(Url);

impl<const REPEATS: bool> Reopen for Rest<REPEATS> {
    const REPEATS: bool = REPEATS;

    async fn reopen(&self, rest: Range<u64>) -> Result<Segment> {
        let response = get(self.0.clone(), Some(rest), GENEROUS).await?;
        if response.status.is_server_error() {
            return Err(Error::new(ErrorKind::Unexpected, "500").with_retryable(true));
        }
        let (positions, _) = received_range(response.status, &response.headers).unwrap();
        Ok(Segment::new(response.body, positions))
    }
}

/// Opens a range of the object at a peer.
async fn open<const REPEATS: bool>(
    peer: &Peer,
    range: Range<u64>,
    idle_timeout: Duration,
) -> ResumableBody<Rest<REPEATS>> {
    let response = get(peer.url(), Some(range.clone()), idle_timeout).await.unwrap();
    let (positions, _) = received_range(response.status, &response.headers).unwrap();
    let segment = Segment::new(response.body, positions);
    ResumableBody::new(range, Some(segment), Some(Rest(peer.url())))
}

/// Advances the test's clock, so that the time limits of a task that waits for a socket end.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

const WHOLE: Range<u64> = 0..LENGTH as u64;

fn respond(request: &http::Request) -> http::Response {
    http::Response::ok(pattern()).in_range(request)
}

/// Starts a peer whose first response fails in this way.
fn failing_once(fail: fn(http::Response, usize) -> http::Response) -> Peer {
    Peer::start(move |request| match request.index {
        0 => fail(respond(request), CUT),
        _ => respond(request),
    })
}

#[tokio::test]
async fn a_body_that_breaks_off_resumes_at_the_next_byte() {
    let peer = failing_once(http::Response::cut_after);
    let body = open::<false>(&peer, 1000..200_000, GENEROUS).await;
    let bytes = body.read_to_end().await.unwrap().concat();
    assert!(bytes == pattern()[1000..200_000], "the bytes differ");
    assert_eq!(peer.fired(), 1);
    assert_eq!(peer.requests()[1].header("range"), Some("bytes=101000-199999"));
}

#[tokio::test]
async fn a_body_that_stalls_resumes_at_the_next_byte() {
    let peer = failing_once(http::Response::stall_after);
    let mut body = open::<false>(&peer, 1000..200_000, GENEROUS).await;
    let mut bytes = Vec::new();
    while bytes.len() < CUT {
        bytes.extend_from_slice(&body.next().await.unwrap().unwrap());
    }
    let (next, ()) = tokio::join!(body.next(), later(GENEROUS));
    bytes.extend_from_slice(&next.unwrap().unwrap());
    bytes.extend(body.read_to_end().await.unwrap().concat());
    assert!(bytes == pattern()[1000..200_000], "the bytes differ");
    assert_eq!(peer.fired(), 1);
    assert_eq!(peer.requests()[1].header("range"), Some("bytes=101000-199999"));
}

#[tokio::test]
async fn a_response_with_more_than_the_range_is_cut_to_it() {
    let peer = Peer::start(|_| http::Response::ok(pattern()));
    let body = open::<false>(&peer, 1000..2000, GENEROUS).await;
    assert!(body.read_to_end().await.unwrap().concat() == pattern()[1000..2000]);
}

#[tokio::test]
async fn a_shortened_body_ends_at_the_earlier_position() {
    let peer = Peer::start(respond);
    let mut body = open::<false>(&peer, WHOLE, GENEROUS).await;
    let first = body.next().await.unwrap().unwrap();
    let end = first.len() as u64 + 10;
    body.shorten(end);
    assert_eq!(body.remaining(), first.len() as u64..end);
    let rest = body.read_to_end().await.unwrap().concat();
    assert!(rest == pattern()[first.len()..first.len() + 10], "the bytes differ");
}

#[tokio::test]
async fn a_body_without_a_segment_opens_one() {
    let peer = Peer::start(respond);
    let body = ResumableBody::new(WHOLE, None, Some(Rest::<false>(peer.url())));
    assert!(body.read_to_end().await.unwrap().concat() == pattern());
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn a_body_without_progress_ends_after_five_attempts() {
    let peer = Peer::start(|request| respond(request).cut_after(0));
    let body = open::<false>(&peer, WHOLE, GENEROUS).await;
    let error = body.read_to_end().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unexpected, true));
    assert_eq!(peer.fired(), 6);
}

#[tokio::test]
async fn a_failed_request_for_the_rest_is_repeated_unless_the_driver_repeats_it() {
    let server = |request: &http::Request| match request.index {
        0 => respond(request).cut_after(CUT),
        1 => http::Response::new(500).fault(),
        _ => respond(request),
    };
    let peer = Peer::start(server);
    let body = open::<false>(&peer, WHOLE, GENEROUS).await;
    assert!(body.read_to_end().await.unwrap().concat() == pattern());
    assert_eq!(peer.fired(), 2);
    let peer = Peer::start(server);
    let body = open::<true>(&peer, WHOLE, GENEROUS).await;
    assert_eq!(body.read_to_end().await.unwrap_err().message(), "500");
    assert_eq!((peer.fired(), peer.requests().len()), (2, 2));
}

#[tokio::test]
async fn a_body_that_cannot_reopen_ends_with_the_error_of_its_connection() {
    let peer = Peer::start(|request| respond(request).cut_after(CUT));
    let response = get(peer.url(), None, GENEROUS).await.unwrap();
    let segment = Segment::new(response.body, WHOLE);
    let mut body = ResumableBody::new(WHOLE, Some(segment), None::<Rest<false>>);
    let mut read = 0;
    let error = loop {
        match body.next().await {
            Ok(chunk) => read += chunk.unwrap().len(),
            Err(error) => break error,
        }
    };
    assert_eq!((read, error.is_retryable(), peer.fired()), (CUT, true, 1));
}

#[tokio::test]
async fn dropping_the_future_of_a_read_loses_no_bytes() {
    let peer = Peer::start(move |request| match request.index {
        0 => respond(request).stall_after(CUT),
        _ => respond(request),
    });
    let mut body = open::<false>(&peer, WHOLE, Duration::from_secs(1)).await;
    let mut read = Vec::new();
    while read.len() < LENGTH {
        // Most reads end at this limit while the connection stalls.
        if let Ok(chunk) = tokio::time::timeout(Duration::from_millis(50), body.next()).await {
            read.extend_from_slice(&chunk.unwrap().unwrap());
        }
        if read.len() == CUT && peer.requests().len() == 1 {
            // A dropped read starts the idle timeout again, so one read waits for it.
            read.extend_from_slice(&body.next().await.unwrap().unwrap());
        }
    }
    assert!(read == pattern(), "the bytes differ");
    assert_eq!(peer.fired(), 1);
}

#[tokio::test]
async fn a_segment_that_lacks_requested_positions_is_refused() {
    let peer = Peer::start(|_| http::Response::ok("short"));
    let body = ResumableBody::new(WHOLE, None, Some(Rest::<false>(peer.url())));
    assert_eq!(body.read_to_end().await.unwrap_err().kind(), ErrorKind::Unexpected);
}

#[tokio::test]
async fn a_body_is_read_within_its_limit() {
    let peer = Peer::start(respond);
    let mut response = get(peer.url(), None, GENEROUS).await.unwrap();
    assert_eq!(response.body.read(LENGTH - 1).await.unwrap_err().kind(), ErrorKind::TooLarge);
    let mut response = get(peer.url(), None, GENEROUS).await.unwrap();
    assert!(response.body.read(LENGTH).await.unwrap() == pattern());
    let mut response = get(peer.url(), None, GENEROUS).await.unwrap();
    assert!(response.body.read_start(1000).await == pattern()[..1000]);
}

#[tokio::test]
async fn the_start_of_a_body_that_stalls_is_read_within_a_time() {
    let peer = Peer::start(|request| respond(request).stall_after(1000));
    let mut response = get(peer.url(), None, GENEROUS).await.unwrap();
    // The bytes arrive with the headers, so a busy machine reads them long before the limit.
    let limit = Duration::from_secs(5);
    assert!(response.body.read_start_within(LENGTH, limit).await == pattern()[..1000]);
    assert_eq!(peer.fired(), 1);
}

#[tokio::test]
async fn a_stalled_body_is_a_timeout_that_names_its_option() {
    let peer = Peer::start(|request| respond(request).stall_after(0));
    let response = get(peer.url(), None, BRIEF).await.unwrap();
    let error = response.body.with_limit_name("option idle").next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("300ms (option idle)"), "{error}");
    assert_eq!(peer.fired(), 1);
}

#[tokio::test]
async fn a_missing_connection_is_a_retryable_error_without_the_url() {
    let mut url = closed_port();
    url.set_query(Some("signature=canary"));
    let error = get(url, None, GENEROUS).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unexpected, true));
    assert_eq!(error.message(), "no connection to the peer: check option url, network and TLS");
    assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
}

#[tokio::test]
async fn a_spooled_body_counts_until_it_is_dropped() {
    let chunked = |_: &http::Request| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        http::Response::raw(format!("{head}5\r\nhello\r\n0\r\n\r\n"))
    };
    let peer = Peer::start(chunked);
    let spool = Spool::new(5, 9, "raise the limit");
    let mut response = get(peer.url(), None, GENEROUS).await.unwrap();
    let spooled = spool.collect(&mut response.body).await.unwrap();
    assert_eq!(spooled.size, 5);
    let mut response = get(peer.url(), None, GENEROUS).await.unwrap();
    let error = spool.collect(&mut response.body).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::RateLimited, true));
    assert!(error.message().ends_with("raise the limit"), "{error}");
    drop(spooled);
    let mut response = get(peer.url(), None, GENEROUS).await.unwrap();
    assert_eq!(spool.collect(&mut response.body).await.unwrap().size, 5);
    let small = Spool::new(4, 9, "raise the limit");
    let mut response = get(peer.url(), None, GENEROUS).await.unwrap();
    assert_eq!(small.collect(&mut response.body).await.unwrap_err().kind(), ErrorKind::TooLarge);
}
