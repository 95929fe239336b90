//! Responses without a length.

use futures_util::TryStreamExt;
use storage_core::{ByteRange, ErrorKind, Storage, UnknownSize};

use storage_testkit::http::{Peer, Response};

use super::peer::{File, PeerDriver};

fn headers(cache_control: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n{}Cache-Control: {cache_control}\r\n",
        File::new("", "\"v1\"").headers()
    )
}

/// Returns `hello, world` in two chunks, followed by this end.
fn chunked(end: &str) -> Vec<u8> {
    format!(
        "{}Transfer-Encoding: chunked\r\n\r\n7\r\nhello, \r\n5\r\nworld\r\n{end}",
        headers("public")
    )
    .into_bytes()
}

fn close_delimited() -> Vec<u8> {
    format!("{}Connection: close\r\n\r\nhello, world", headers("public")).into_bytes()
}

/// Returns a response to HEAD without a length, or the response to GET.
fn without_length(method: &str, get: Response) -> Response {
    match method {
        "HEAD" => Response::raw(format!("{}Transfer-Encoding: chunked\r\n\r\n", headers("public"))),
        _ => get,
    }
}

#[tokio::test]
async fn a_chunked_body_is_collected_and_has_a_size() {
    let peer = Peer::start(|request| {
        without_length(&request.method, Response::raw(chunked("0\r\n\r\n"))).fault()
    });
    let storage = peer.storage();
    let object = storage.open("a").await.unwrap();
    assert_eq!((object.meta().size, object.content_length()), (12, 12));
    assert_eq!(object.meta().metadata.cache_control.as_deref(), Some("public"));
    assert!(object.file().is_some(), "the object is not in a file");
    let meta = object.meta().clone();
    assert_eq!(object.text().await.unwrap(), "hello, world");
    assert_eq!(storage.stat("a").await.unwrap(), meta);
    let part = storage.open("a").range(ByteRange::last(5)).await.unwrap();
    assert_eq!((part.range(), part.text().await.unwrap()), (7..12, "world".to_owned()));
    let past = storage.open("a").range(12..).await.unwrap_err();
    assert_eq!(past.kind(), ErrorKind::RangeNotSatisfiable);
    peer.assert_fired();
}

#[tokio::test]
async fn a_chunked_body_without_its_last_chunk_is_a_retryable_error() {
    for end in ["", "0\r\n", "5\r\nhel"] {
        let peer = Peer::start(move |_| Response::raw(chunked(end)).close().fault());
        let error = peer.storage().open("a").await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unexpected, true), "{end:?}");
        peer.assert_fired();
    }
}

#[tokio::test]
async fn a_chunked_body_that_stalls_is_a_timeout() {
    let peer = Peer::start(|_| Response::raw(chunked("")).stall());
    let idle_timeout = std::time::Duration::from_secs(1);
    let storage = Storage::new(peer.http().idle_timeout(idle_timeout).build().unwrap());
    let error = storage.open("a").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true));
    peer.assert_fired();
}

#[tokio::test]
async fn a_large_chunked_body_is_whole() {
    const CHUNKS: usize = 50;
    let peer = Peer::start(|_| {
        let mut bytes =
            format!("{}Transfer-Encoding: chunked\r\n\r\n", headers("public")).into_bytes();
        for chunk in 0..CHUNKS {
            bytes.extend_from_slice(b"186a0\r\n");
            bytes.extend(std::iter::repeat_n(chunk as u8, 100_000));
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        Response::raw(bytes).fault()
    });
    let object = peer.storage().open("a").await.unwrap();
    assert_eq!(object.meta().size, 100_000 * CHUNKS as u64);
    let mut position = 0;
    let mut chunks = object.into_stream();
    while let Some(chunk) = chunks.try_next().await.unwrap() {
        for byte in chunk {
            assert_eq!(usize::from(byte), position / 100_000);
            position += 1;
        }
    }
    peer.assert_fired();
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_kept_out_of_caches() {
    let peer = Peer::start(|request| {
        let get = Response::raw(close_delimited()).close();
        match &*request.method {
            "HEAD" => Response::raw(format!("{}Connection: close\r\n\r\n", headers("public")))
                .close()
                .fault(),
            _ => get.fault(),
        }
    });
    let storage = peer.storage();
    let object = storage.open("a").await.unwrap();
    assert_eq!(object.meta().size, 12);
    assert_eq!(object.meta().metadata.cache_control.as_deref(), Some("no-store"));
    let meta = object.meta().clone();
    assert_eq!(object.text().await.unwrap(), "hello, world");
    assert_eq!(storage.stat("a").await.unwrap(), meta);
    assert_eq!(peer.fired(), 3, "a stat sends a GET if the HEAD has no length");
}

#[tokio::test]
async fn conditions_of_an_object_without_a_length_hold_before_it_is_collected() {
    let peer = Peer::start(|_| Response::raw(chunked("")).stall());
    let storage = peer.storage();
    let known = storage.open("a").if_none_match("\"v1\"".parse().unwrap()).await.unwrap_err();
    assert_eq!(known.kind(), ErrorKind::NotModified);
    let other = storage.open("a").if_match("\"v2\"".parse().unwrap()).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::PreconditionFailed);
    peer.assert_fired();
}

#[tokio::test]
async fn a_body_that_is_compressed_for_its_transfer_is_refused() {
    let peer = Peer::start(|_| {
        let head = format!("{}Transfer-Encoding: gzip, chunked\r\n\r\n", headers("public"));
        Response::raw(format!("{head}3\r\nabc\r\n0\r\n\r\n")).fault()
    });
    assert_eq!(peer.storage().open("a").await.unwrap_err().kind(), ErrorKind::Unsupported);
    peer.assert_fired();
}

/// Starts a server whose responses have this body in chunks and no length.
fn server_of(body: &'static [u8]) -> Peer {
    Peer::start(move |request| {
        let mut get =
            format!("{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", headers("public"), body.len())
                .into_bytes();
        get.extend_from_slice(body);
        get.extend_from_slice(b"\r\n0\r\n\r\n");
        without_length(&request.method, Response::raw(get)).fault()
    })
}

static LARGE: [u8; 100_000] = [b'x'; 100_000];

#[tokio::test]
async fn stat_does_not_download_a_large_object_to_measure_it() {
    // The body stalls after these bytes, so a stat that reads more would not end.
    let peer = Peer::start(|request| {
        let mut begun = format!("{}Transfer-Encoding: chunked\r\n\r\nf4240\r\n", headers("public"))
            .into_bytes();
        begun.extend_from_slice(&LARGE);
        without_length(&request.method, Response::raw(begun).stall()).fault()
    });
    let storage = peer.storage();
    let error = storage.stat("a").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unsupported, false));
    assert!(
        error.message().contains("Content-Length") && UnknownSize::is_cause_of(&error),
        "{error}"
    );
    assert!(storage.exists("a").await.unwrap());
    peer.assert_fired();
}

#[tokio::test]
async fn temporary_files_of_all_open_objects_have_one_limit() {
    let peer = server_of(&LARGE);
    let storage = Storage::new(peer.http().max_spool_size(250_000).build().unwrap());
    let first = storage.open("a").await.unwrap();
    let second = storage.open("a").await.unwrap().into_stream();
    let error = storage.open("a").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::RateLimited, true));
    assert!(error.message().contains("max_spool_size"), "{error}");
    drop(second);
    let third = storage.open("a").await.unwrap();
    assert_eq!(first.bytes().await.unwrap().len(), LARGE.len());
    assert_eq!(third.bytes().await.unwrap().len(), LARGE.len());
    assert_eq!(storage.open("a").await.unwrap().meta().size, LARGE.len() as u64);
}

#[tokio::test]
async fn an_object_without_a_length_that_exceeds_the_limit_is_refused() {
    let peer = server_of(&LARGE);
    let storage = Storage::new(peer.http().max_spool_size(99_999).build().unwrap());
    let error = storage.open("a").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::TooLarge, false));
}

#[tokio::test]
async fn an_object_of_unknown_size_streams_without_a_temporary_file() {
    let peer = server_of(&LARGE);
    let storage = Storage::new(peer.http().max_spool_size(0).build().unwrap());
    let object = storage.open("a").range(5..9).allow_unknown_size().await.unwrap();
    assert_eq!(
        (object.meta().known_size(), object.meta().content_type()),
        (None, Some("text/plain"))
    );
    assert_eq!(
        object.bytes().await.unwrap().len(),
        LARGE.len(),
        "the object is whole although a range is requested"
    );
    let same = storage
        .open("a")
        .allow_unknown_size()
        .if_none_match("\"v1\"".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(same.kind(), ErrorKind::NotModified);
}

#[tokio::test]
async fn an_object_of_unknown_size_that_breaks_off_is_an_error() {
    for end in ["", "0\r\n", "5\r\nhel"] {
        let peer = Peer::start(move |_| Response::raw(chunked(end)).close().fault());
        let object = peer.storage().open("a").allow_unknown_size().await.unwrap();
        assert_eq!(object.bytes().await.unwrap_err().kind(), ErrorKind::Unexpected, "{end:?}");
        peer.assert_fired();
    }
}

#[tokio::test]
async fn a_range_with_bytes_beyond_the_greatest_position_is_an_error() {
    const SIZE: u64 = u64::MAX - 1;
    // The response has more bytes than the range, and the position after them exceeds `u64::MAX`.
    let peer = Peer::start(|_| {
        let range = format!("Content-Range: bytes {}-{}/{SIZE}\r\n", SIZE - 4, SIZE - 1);
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\n{}{range}Transfer-Encoding: chunked\r\n\r\n",
            File::new("", "\"v1\"").headers()
        );
        Response::raw(format!("{head}c\r\nhello, world\r\n0\r\n\r\n")).fault()
    });
    for (range, resumes) in
        [(ByteRange::last(4), true), (ByteRange::last(4), false), ((SIZE - 4..).into(), true)]
    {
        let storage = Storage::new(peer.http().resume(resumes).build().unwrap());
        let object = storage.open("a").range(range).await.unwrap();
        let error = object.bytes().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{range:?} {resumes}");
    }
    peer.assert_fired();
}
