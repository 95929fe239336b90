//! The driver reads what `storage-serve` serves.

#![allow(clippy::unwrap_used, reason = "an unexpected error fails the test")]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use storage_core::{ErrorKind, Memory, Storage};
use storage_http::{Http, HttpBuilder};
use storage_serve::Serve;
use tokio::net::TcpListener;
use url::Url;

/// Returns a builder with time limits that no test reaches. The defaults are shorter, and a busy
/// machine may exceed them.
fn patient(base: Url) -> HttpBuilder {
    let minute = Duration::from_secs(60);
    Http::builder(base).header_timeout(minute).idle_timeout(minute)
}

/// Returns a storage, and a storage that reads it over HTTP.
async fn storage_and_client() -> (Storage, Storage) {
    let origin = Memory::storage();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let serve = Serve::new(origin.clone()).user_metadata(true);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(serve.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (origin, Storage::new(patient(url).build().unwrap()))
}

#[tokio::test]
async fn an_object_is_read_with_its_metadata() {
    let (origin, http) = storage_and_client().await;
    let saved = origin
        .save("ä/a b%.txt", "0123456789")
        .content_type("text/plain")
        .cache_control("max-age=60");
    let saved = saved.content_language("de").user_metadata("author", "Ada Löveläce").await.unwrap();
    for meta in [
        http.stat("ä/a b%.txt").await.unwrap(),
        http.open("ä/a b%.txt").await.unwrap().meta().clone(),
    ] {
        assert_eq!((meta.size, &meta.etag, &meta.metadata), (10, &saved.etag, &saved.metadata));
    }
    assert_eq!(http.open("ä/a b%.txt").range(2..4).await.unwrap().text().await.unwrap(), "23");
    assert_eq!(http.open("nope").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn user_metadata_of_any_text_is_read_as_it_was_saved() {
    let (origin, http) = storage_and_client().await;
    let texts = [
        "plain",
        "100%",
        "%20",
        "%zz",
        "a  b",
        "Löveläce",
        "日本語 ☺",
        "a=b; c=\"d\", e\\f",
        "=?UTF-8?B?",
    ];
    for text in texts {
        let saved = origin.save("a", "x").user_metadata("name", text).await.unwrap();
        let read = http.stat("a").await.unwrap();
        assert_eq!(read.metadata.user_metadata, saved.metadata.user_metadata, "{text:?}");
    }
}

#[tokio::test]
async fn an_encoded_object_is_read_as_it_is_stored() {
    let (origin, http) = storage_and_client().await;
    // The body is not gzip, so decoding it would fail.
    origin
        .save("a.txt.gz", "0123456789")
        .content_type("text/plain")
        .content_encoding("gzip")
        .await
        .unwrap();
    let object = http.open("a.txt.gz").await.unwrap();
    assert_eq!(object.meta().metadata.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(object.text().await.unwrap(), "0123456789");
    assert_eq!(http.open("a.txt.gz").range(2..4).await.unwrap().text().await.unwrap(), "23");
}

const CHUNK: &[u8] = &[b'x'; 1000];
/// One megabyte, more than `stat` reads to measure an object.
const CHUNKS: usize = 1000;

/// Serves a storage on a server whose responses have this many chunks and no length.
async fn serve_without_lengths(chunks: usize) -> Serve {
    serve_repeated(CHUNK, chunks, None).await
}

/// Serves a storage on a server whose responses repeat a chunk and have no length.
async fn serve_repeated(
    chunk: &'static [u8],
    chunks: usize,
    encoding: Option<&'static str>,
) -> Serve {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let service = service_fn(move |_| {
                let chunks = (0..chunks)
                    .map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(chunk))));
                let response = Response::builder()
                    .header("etag", "\"v1\"")
                    .header("content-type", "text/plain");
                let response = match encoding {
                    Some(encoding) => response.header("content-encoding", encoding),
                    None => response,
                };
                async move {
                    Ok::<_, Infallible>(
                        response.body(StreamBody::new(stream::iter(chunks))).unwrap(),
                    )
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
        }
    });
    // No object can be collected.
    Serve::new(Storage::new(patient(url).max_spool_size(0).build().unwrap()))
}

async fn send(
    serve: &Serve,
    method: Method,
    headers: &[(&str, &str)],
) -> (http::response::Parts, usize) {
    let request = headers
        .iter()
        .fold(Request::builder().method(method).uri("/a"), |request, (name, value)| {
            request.header(*name, *value)
        });
    let (head, body) =
        serve.handle(request.body(Full::<Bytes>::default()).unwrap()).await.into_parts();
    (head, body.collect().await.unwrap().to_bytes().len())
}

#[tokio::test]
async fn an_object_without_a_length_is_served_as_a_stream() {
    let serve = serve_without_lengths(CHUNKS).await;
    let whole = CHUNK.len() * CHUNKS;
    let cases: [&[(&str, &str)]; 5] = [
        &[],
        &[("range", "bytes=0-9")],
        &[("range", "bytes=0-9,20-29")],
        &[("if-none-match", "\"v0\"")],
        &[("range", "bytes=2000000-"), ("if-range", "\"v1\"")],
    ];
    for headers in cases {
        let (head, length) = send(&serve, Method::GET, headers).await;
        assert_eq!((head.status, length), (StatusCode::OK, whole), "{headers:?}");
        assert_eq!(head.headers["content-type"], "text/plain");
        for absent in ["content-length", "accept-ranges", "content-range"] {
            assert!(!head.headers.contains_key(absent), "{headers:?}: {absent}");
        }
    }
}

/// `0123456789`, compressed.
const GZIP: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 51, 48, 52, 50, 54, 49, 53, 51, 183, 176, 4, 0, 198, 199, 132,
    166, 10, 0, 0, 0,
];

#[tokio::test]
async fn an_encoded_object_without_a_length_is_decoded_although_a_range_is_requested() {
    let serve = serve_repeated(GZIP, 1, Some("gzip")).await;
    let cases: [&[(&str, &str)]; 3] =
        [&[], &[("range", "bytes=0-")], &[("range", "bytes=2-3"), ("accept-encoding", "identity")]];
    for headers in cases {
        let (head, length) = send(&serve, Method::GET, headers).await;
        assert_eq!((head.status, length), (StatusCode::OK, 10), "{headers:?}");
        assert!(!head.headers.contains_key("content-encoding"), "{headers:?}");
    }
    let accepting = [("range", "bytes=0-"), ("accept-encoding", "gzip")];
    let (head, length) = send(&serve, Method::GET, &accepting).await;
    assert_eq!((head.status, length), (StatusCode::OK, GZIP.len()));
    assert_eq!(head.headers["content-encoding"], "gzip");
}

#[tokio::test]
async fn head_and_failed_conditions_do_not_download_an_object_without_a_length() {
    // The object has no end, so a download would not end.
    let serve = serve_without_lengths(usize::MAX).await;
    let cases: [(&[(&str, &str)], StatusCode); 4] = [
        (&[], StatusCode::OK),
        (&[("if-match", "\"v1\"")], StatusCode::OK),
        (&[("if-none-match", "\"v1\"")], StatusCode::NOT_MODIFIED),
        (&[("if-match", "\"v0\"")], StatusCode::PRECONDITION_FAILED),
    ];
    for (headers, status) in cases {
        let (head, length) = send(&serve, Method::HEAD, headers).await;
        assert_eq!((head.status, length), (status, 0), "{headers:?}");
        if status != StatusCode::PRECONDITION_FAILED {
            assert_eq!(head.headers["etag"], "\"v1\"");
            assert!(
                !head.headers.contains_key("content-length")
                    && !head.headers.contains_key("accept-ranges")
            );
        }
        if status != StatusCode::OK {
            assert_eq!(send(&serve, Method::GET, headers).await.0.status, status, "{headers:?}");
        }
    }
}
