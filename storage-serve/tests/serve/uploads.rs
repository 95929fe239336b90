//! Uploads with signed links.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::{Limited, StreamBody};
use storage_core::{Error, ErrorKind, Memory, Metadata, Operation, Storage, UrlMethod, UrlOptions};
use storage_fs::Fs;
use storage_serve::Serve;
use storage_testkit::faults::Faults;
use tempfile::TempDir;

use crate::common::{TestResponse, get, link, one_object, put, send, signing_key};

type Frame = http_body::Frame<Bytes>;

fn uploads(options: &mut UrlOptions) {
    options.method = UrlMethod::Put;
}

fn upload_link() -> String {
    link("a.txt", uploads)
}

async fn serve() -> (Storage, Serve) {
    let storage = one_object("old").await;
    (storage.clone(), Serve::new(storage).signing_key(signing_key()))
}

async fn stored(storage: &Storage) -> String {
    storage.open("a.txt").await.unwrap().text().await.unwrap()
}

/// Uploads in chunks, without `Content-Length`.
async fn put_chunks(
    serve: &Serve,
    uri: &str,
    chunks: Vec<Result<&'static str, &'static str>>,
) -> TestResponse {
    let frames = chunks
        .into_iter()
        .map(|chunk| chunk.map(|chunk| Frame::data(Bytes::from_static(chunk.as_bytes()))));
    let frames = frames.map(|frame| frame.map_err(std::io::Error::other)).collect::<Vec<_>>();
    send(serve, Request::put(uri).body(StreamBody::new(stream::iter(frames))).unwrap()).await
}

#[tokio::test]
async fn an_upload_is_stored_and_the_response_has_its_etag() {
    let storage = Memory::storage();
    let serve = Serve::new(storage.clone()).signing_key(signing_key());
    let response = put(&serve, &link("dir/a b.txt", uploads), &[], b"hello").await;
    assert_eq!((response.status, response.header("content-length")), (StatusCode::CREATED, "0"));
    let meta = storage.stat("dir/a b.txt").await.unwrap();
    assert_eq!(response.header("etag"), meta.etag.as_ref().unwrap().to_string());
    assert_eq!((meta.size, meta.content_type()), (5, Some("text/plain; charset=utf-8")));
}

#[tokio::test]
async fn an_upload_by_link_stores_its_type_and_no_other_header() {
    let (storage, serve) = serve().await;
    let headers = [
        ("content-type", "text/csv"),
        ("cache-control", "public, max-age=31536000"),
        ("expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ("content-encoding", "identity"),
        ("content-language", ""),
        ("x-storage-meta-owner", "root"),
    ];
    assert_eq!(put(&serve, &upload_link(), &headers, b"new").await.status, StatusCode::CREATED);
    let metadata = storage.stat("a.txt").await.unwrap().metadata;
    assert_eq!(metadata, Metadata::new().content_type("text/csv"));
    let download = get(&serve, &link("a.txt", |_| {}), &[]).await;
    assert_eq!((download.text(), download.header("cache-control")), ("new", "private"));
}

#[tokio::test]
async fn an_upload_by_link_with_a_header_that_the_link_does_not_bind_is_refused() {
    let (storage, serve) = serve().await;
    for (header, status) in [
        (("content-encoding", "gzip"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (("content-encoding", "identity, gzip"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (("content-disposition", "inline; filename=a.html"), StatusCode::FORBIDDEN),
        (("content-language", "de"), StatusCode::FORBIDDEN),
    ] {
        let response = put(&serve, &upload_link(), &[header], b"new").await;
        assert_eq!(response.status, status, "{header:?}");
        assert_eq!(
            response.header("accept-encoding") == "identity",
            header.0 == "content-encoding"
        );
    }
    assert_eq!(stored(&storage).await, "old");
}

#[tokio::test]
async fn headers_that_cannot_be_stored_are_refused() {
    let (storage, serve) = serve().await;
    let long = format!("text/{}", "a".repeat(2_000));
    for header in [("content-type", "png"), ("content-type", "text/é"), ("content-type", &long)] {
        assert_eq!(
            put(&serve, &upload_link(), &[header], b"new").await.status,
            StatusCode::BAD_REQUEST,
            "{header:?}"
        );
    }
    assert_eq!(stored(&storage).await, "old");
}

#[tokio::test]
async fn an_upload_in_chunks_and_an_empty_one_are_stored() {
    let (storage, serve) = serve().await;
    assert_eq!(
        put_chunks(&serve, &upload_link(), vec![Ok("ne"), Ok(""), Ok("w")]).await.status,
        StatusCode::CREATED
    );
    assert_eq!(stored(&storage).await, "new");
    assert_eq!(put(&serve, &upload_link(), &[], b"").await.status, StatusCode::CREATED);
    assert_eq!(stored(&storage).await, "");
}

#[tokio::test]
async fn if_none_match_stores_only_new_objects() {
    let (storage, serve) = serve().await;
    let new = [("if-none-match", "*")];
    assert_eq!(
        put(&serve, &upload_link(), &new, b"new").await.status,
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(stored(&storage).await, "old");
    assert_eq!(
        put(&serve, &link("b.txt", uploads), &new, b"new").await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn if_match_replaces_only_that_version() {
    let (storage, serve) = serve().await;
    let etag = storage.stat("a.txt").await.unwrap().etag.unwrap().to_string();
    for other in ["\"other\"", &format!("W/{etag}")] {
        let response = put(&serve, &upload_link(), &[("if-match", other)], b"new").await;
        assert_eq!(response.status, StatusCode::PRECONDITION_FAILED, "{other}");
    }
    assert_eq!(stored(&storage).await, "old");
    assert_eq!(
        put(&serve, &upload_link(), &[("if-match", &etag)], b"new").await.status,
        StatusCode::CREATED
    );
    assert_eq!(stored(&storage).await, "new");
}

#[tokio::test]
async fn an_unsupported_condition_of_an_upload_is_refused() {
    let (storage, serve) = serve().await;
    let etag = storage.stat("a.txt").await.unwrap().etag.unwrap().to_string();
    let cases: [&[(&str, &str)]; 7] = [
        &[("if-none-match", "\"x\"")],
        &[("if-match", "*")],
        &[("if-match", "\"x\", \"y\"")],
        &[("if-match", &etag), ("if-match", "\"x\"")],
        &[("if-match", &etag), ("if-none-match", "*")],
        &[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
        &[("content-range", "bytes 0-2/10")],
    ];
    for headers in cases {
        assert_eq!(
            put(&serve, &upload_link(), headers, b"new").await.status,
            StatusCode::BAD_REQUEST,
            "{headers:?}"
        );
    }
    assert_eq!(stored(&storage).await, "old");
}

#[tokio::test]
async fn a_link_binds_the_length() {
    let (storage, serve) = serve().await;
    let five = link("a.txt", |options| {
        uploads(options);
        options.content_length = Some(5);
    });
    assert_eq!(put(&serve, &five, &[], b"four").await.status, StatusCode::FORBIDDEN);
    assert_eq!(put(&serve, &five, &[], b"sixsix").await.status, StatusCode::FORBIDDEN);
    for chunks in [vec![Ok("four")], vec![Ok("six"), Ok("six")], vec![]] {
        assert_eq!(
            put_chunks(&serve, &five, chunks).await.status,
            StatusCode::UNPROCESSABLE_ENTITY
        );
    }
    assert_eq!(stored(&storage).await, "old");
    assert_eq!(
        put_chunks(&serve, &five, vec![Ok("hel"), Ok("lo")]).await.status,
        StatusCode::CREATED
    );
    assert_eq!(stored(&storage).await, "hello");
}

#[tokio::test]
async fn a_link_may_bind_the_length_0() {
    let (storage, serve) = serve().await;
    let empty = link("a.txt", |options| {
        uploads(options);
        options.content_length = Some(0);
    });
    assert_eq!(put(&serve, &empty, &[], b"x").await.status, StatusCode::FORBIDDEN);
    assert_eq!(stored(&storage).await, "old");
    assert_eq!(put(&serve, &empty, &[], b"").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_link_binds_the_type() {
    let (storage, serve) = serve().await;
    let png = link("a.txt", |options| {
        uploads(options);
        options.content_type = Some("image/png".to_owned());
    });
    for headers in
        [&[][..], &[("content-type", "text/html")], &[("content-type", "image/png, text/html")]]
    {
        assert_eq!(
            put(&serve, &png, headers, b"new").await.status,
            StatusCode::FORBIDDEN,
            "{headers:?}"
        );
    }
    assert_eq!(stored(&storage).await, "old");
    assert_eq!(
        put(&serve, &png, &[("content-type", "image/png")], b"new").await.status,
        StatusCode::CREATED
    );
    assert_eq!(storage.stat("a.txt").await.unwrap().content_type(), Some("image/png"));
}

#[tokio::test]
async fn an_upload_that_is_too_large_is_refused_early_or_while_it_is_received() {
    let (storage, serve) = serve().await;
    let serve = serve.max_upload_size(5);
    assert_eq!(
        put(&serve, &upload_link(), &[], b"sixsix").await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let endless = vec![Ok("six"), Ok("six"), Err("not read")];
    assert_eq!(
        put_chunks(&serve, &upload_link(), endless).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(stored(&storage).await, "old");
    assert_eq!(put(&serve, &upload_link(), &[], b"fives").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_body_limit_of_the_outer_server_is_413() {
    let (storage, serve) = serve().await;
    let frames =
        stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"sixsix")))]);
    let body = Limited::new(StreamBody::new(frames), 5);
    let response = send(&serve, Request::put(upload_link()).body(body).unwrap()).await;
    assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(stored(&storage).await, "old");
}

#[tokio::test]
async fn an_upload_with_a_wrong_length_stores_nothing() {
    let (storage, serve) = serve().await;
    for length in ["2", "4"] {
        let request = Request::put(upload_link()).header("content-length", length);
        let response = send(&serve, request.body(http_body_util::Full::from("new")).unwrap()).await;
        assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY, "{length}");
    }
    for length in ["+3", "x", "", "-1", "99999999999999999999999"] {
        let request = Request::put(upload_link()).header("content-length", length);
        let response = send(&serve, request.body(http_body_util::Full::from("new")).unwrap()).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{length}");
    }
    assert_eq!(stored(&storage).await, "old");
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_the_old_object_and_no_temporary_file() {
    let root = TempDir::new().unwrap();
    let storage = Storage::new(Fs::builder(root.path()).build().unwrap());
    storage.save("a.txt", "old").await.unwrap();
    let serve = Serve::new(storage.clone()).signing_key(signing_key());
    let response =
        put_chunks(&serve, &upload_link(), vec![Ok("ne"), Err("the canary in the cable")]).await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    assert!(!response.text().contains("canary"));
    assert_eq!(stored(&storage).await, "old");
    let left: Vec<_> =
        std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["a.txt"]);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_upload_fails_and_leaves_the_old_object() {
    let (storage, serve) = serve().await;
    let serve = serve.upload_idle_timeout(Duration::from_secs(10));
    let first = stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"ne")))]);
    let body = StreamBody::new(first.chain(stream::pending()));
    let begun = tokio::time::Instant::now();
    let response = send(&serve, Request::put(upload_link()).body(body).unwrap()).await;
    assert_eq!(response.status, StatusCode::REQUEST_TIMEOUT);
    // The clock of the test is paused and advances only to timers.
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(stored(&storage).await, "old");
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_that_makes_progress_is_stored() {
    let (storage, serve) = serve().await;
    let serve = serve.upload_idle_timeout(Duration::from_secs(10));
    let slow = stream::iter(["n", "e", "w"]).then(|chunk| async move {
        tokio::time::sleep(Duration::from_secs(9)).await;
        Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(chunk.as_bytes())))
    });
    let response =
        send(&serve, Request::put(upload_link()).body(StreamBody::new(Box::pin(slow))).unwrap())
            .await;
    assert_eq!(response.status, StatusCode::CREATED);
    assert_eq!(stored(&storage).await, "new");
}

#[tokio::test]
async fn an_upload_whose_future_is_dropped_stores_nothing() {
    let (storage, serve) = serve().await;
    let first = stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"ne")))]);
    let body = StreamBody::new(first.chain(stream::pending()));
    let response = serve.handle(Request::put(upload_link()).body(body).unwrap());
    // After one poll, it waits for more.
    assert!(futures_util::FutureExt::now_or_never(response).is_none());
    assert_eq!(stored(&storage).await, "old");
}

#[tokio::test]
async fn trailers_do_not_become_part_of_the_object() {
    let (storage, serve) = serve().await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-checksum", "0".parse().unwrap());
    let frames = [Frame::data(Bytes::from_static(b"new")), Frame::trailers(trailers)]
        .map(Ok::<_, std::io::Error>);
    let body = StreamBody::new(stream::iter(frames));
    assert_eq!(
        send(&serve, Request::put(upload_link()).body(body).unwrap()).await.status,
        StatusCode::CREATED
    );
    assert_eq!(stored(&storage).await, "new");
}

#[tokio::test]
async fn an_error_of_a_save_becomes_a_status_without_its_message() {
    for (kind, status) in [
        (ErrorKind::AlreadyExists, 412),
        (ErrorKind::PreconditionFailed, 412),
        (ErrorKind::Conflict, 409),
        (ErrorKind::InvalidKey, 400),
        (ErrorKind::InvalidInput, 400),
        (ErrorKind::Integrity, 422),
        (ErrorKind::TooLarge, 413),
        (ErrorKind::StorageFull, 507),
        (ErrorKind::RateLimited, 503),
        (ErrorKind::Timeout, 504),
        (ErrorKind::Unsupported, 501),
        (ErrorKind::PermissionDenied, 500),
        (ErrorKind::Unauthenticated, 500),
        (ErrorKind::Unexpected, 500),
    ] {
        let faults = Faults::new();
        let storage = one_object("old").await.layer(|inner| faults.layer(inner));
        let fails = faults.on(Operation::Save).fail_with(move || {
            Error::new(kind, "canary in /srv/canary")
                .with_source(std::io::Error::other("canary"))
                .with_key("canary")
        });
        let serve = Serve::new(storage.clone()).signing_key(signing_key());
        let response = put(&serve, &upload_link(), &[], b"new").await;
        assert_eq!(response.status.as_u16(), status, "{kind}");
        assert!(!format!("{response:?}").contains("canary"), "{kind}");
        assert_eq!(fails.fired(), 1, "{kind}");
        assert_eq!(get(&serve, &link("a.txt", |_| {}), &[]).await.text(), "old");
    }
}

#[tokio::test]
async fn one_of_many_concurrent_uploads_of_a_new_object_is_stored() {
    let storage = Memory::storage();
    let serve = Arc::new(Serve::new(storage.clone()).signing_key(signing_key()));
    let uploads = (0..16).map(|_| {
        let serve = Arc::clone(&serve);
        tokio::spawn(async move {
            put(&serve, &upload_link(), &[("if-none-match", "*")], b"new").await.status
        })
    });
    let responses = futures_util::future::join_all(uploads).await;
    let stored =
        responses.iter().filter(|status| *status.as_ref().unwrap() == StatusCode::CREATED).count();
    assert_eq!(stored, 1);
}

#[tokio::test]
async fn the_headers_of_resumable_uploads_change_nothing() {
    // What URLSession of iOS sends with every upload task.
    let (storage, serve) = serve().await;
    for (name, value, version) in [("upload-complete", "?1", "6"), ("upload-incomplete", "?0", "3")]
    {
        let request = Request::put(upload_link())
            .header(name, value)
            .header("upload-draft-interop-version", version)
            .body(http_body_util::Full::new(Bytes::from(format!("version {version}"))));
        let response = send(&serve, request.unwrap()).await;
        assert_eq!(response.status, StatusCode::CREATED, "{response:?}");
        assert_eq!(stored(&storage).await, format!("version {version}"));
    }
}
