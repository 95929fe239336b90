//! PUT by signed link.

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

use crate::common::{Answer, get, link, one_object, put, send, signing_key};

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

/// An upload without `Content-Length`, in chunks.
async fn put_chunks(
    serve: &Serve,
    uri: &str,
    chunks: Vec<Result<&'static str, &'static str>>,
) -> Answer {
    let frames = chunks
        .into_iter()
        .map(|chunk| chunk.map(|chunk| Frame::data(Bytes::from_static(chunk.as_bytes()))));
    let frames = frames.map(|frame| frame.map_err(std::io::Error::other)).collect::<Vec<_>>();
    send(serve, Request::put(uri).body(StreamBody::new(stream::iter(frames))).unwrap()).await
}

#[tokio::test]
async fn an_upload_is_stored_and_answered_with_its_etag() {
    let storage = Memory::storage();
    let serve = Serve::new(storage.clone()).signing_key(signing_key());
    let answer = put(&serve, &link("dir/a b.txt", uploads), &[], b"hello").await;
    assert_eq!((answer.status, answer.header("content-length")), (StatusCode::CREATED, "0"));
    let meta = storage.stat("dir/a b.txt").await.unwrap();
    assert_eq!(answer.header("etag"), meta.etag.as_ref().unwrap().to_string());
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
        let answer = put(&serve, &upload_link(), &[header], b"new").await;
        assert_eq!(answer.status, status, "{header:?}");
        assert_eq!(answer.header("accept-encoding") == "identity", header.0 == "content-encoding");
    }
    assert_eq!(stored(&storage).await, "old");
}

#[tokio::test]
async fn headers_that_cannot_be_kept_are_refused() {
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
async fn if_none_match_stores_new_objects_alone() {
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
async fn if_match_replaces_that_version_alone() {
    let (storage, serve) = serve().await;
    let etag = storage.stat("a.txt").await.unwrap().etag.unwrap().to_string();
    for other in ["\"other\"", &format!("W/{etag}")] {
        let answer = put(&serve, &upload_link(), &[("if-match", other)], b"new").await;
        assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED, "{other}");
    }
    assert_eq!(stored(&storage).await, "old");
    assert_eq!(
        put(&serve, &upload_link(), &[("if-match", &etag)], b"new").await.status,
        StatusCode::CREATED
    );
    assert_eq!(stored(&storage).await, "new");
}

#[tokio::test]
async fn a_condition_that_cannot_be_kept_is_refused_not_left_out() {
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
async fn a_link_may_bind_the_length_to_nothing() {
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
async fn an_upload_that_is_too_large_is_refused_before_or_while_it_comes() {
    let (storage, serve) = serve().await;
    let serve = serve.max_upload_size(5);
    assert_eq!(
        put(&serve, &upload_link(), &[], b"sixsix").await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let endless = vec![Ok("six"), Ok("six"), Err("nobody reads on")];
    assert_eq!(
        put_chunks(&serve, &upload_link(), endless).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(stored(&storage).await, "old");
    assert_eq!(put(&serve, &upload_link(), &[], b"fives").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_limit_of_the_server_around_is_told_as_one() {
    let (storage, serve) = serve().await;
    let frames =
        stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"sixsix")))]);
    let body = Limited::new(StreamBody::new(frames), 5);
    let answer = send(&serve, Request::put(upload_link()).body(body).unwrap()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(stored(&storage).await, "old");
}

#[tokio::test]
async fn a_length_that_is_not_that_of_the_body_stores_nothing() {
    let (storage, serve) = serve().await;
    for length in ["2", "4"] {
        let request = Request::put(upload_link()).header("content-length", length);
        let answer = send(&serve, request.body(http_body_util::Full::from("new")).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{length}");
    }
    for length in ["+3", "x", "", "-1", "99999999999999999999999"] {
        let request = Request::put(upload_link()).header("content-length", length);
        let answer = send(&serve, request.body(http_body_util::Full::from("new")).unwrap()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{length}");
    }
    assert_eq!(stored(&storage).await, "old");
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_the_old_object_and_no_debris() {
    let root = TempDir::new().unwrap();
    let storage = Storage::new(Fs::builder(root.path()).build().unwrap());
    storage.save("a.txt", "old").await.unwrap();
    let serve = Serve::new(storage.clone()).signing_key(signing_key());
    let answer =
        put_chunks(&serve, &upload_link(), vec![Ok("ne"), Err("the canary in the cable")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(!answer.text().contains("canary"));
    assert_eq!(stored(&storage).await, "old");
    let left: Vec<_> =
        std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["a.txt"]);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stalls_is_given_up_and_leaves_the_old_object() {
    let (storage, serve) = serve().await;
    let serve = serve.upload_idle_timeout(Duration::from_secs(10));
    let first = stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"ne")))]);
    let body = StreamBody::new(first.chain(stream::pending()));
    let begun = tokio::time::Instant::now();
    let answer = send(&serve, Request::put(upload_link()).body(body).unwrap()).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    // By the test's own clock, which stands still but for timers.
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(stored(&storage).await, "old");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_slow_but_moves_is_taken() {
    let (storage, serve) = serve().await;
    let serve = serve.upload_idle_timeout(Duration::from_secs(10));
    let slow = stream::iter(["n", "e", "w"]).then(|chunk| async move {
        tokio::time::sleep(Duration::from_secs(9)).await;
        Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(chunk.as_bytes())))
    });
    let answer =
        send(&serve, Request::put(upload_link()).body(StreamBody::new(Box::pin(slow))).unwrap())
            .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(stored(&storage).await, "new");
}

#[tokio::test]
async fn an_upload_whose_client_leaves_stores_nothing() {
    let (storage, serve) = serve().await;
    let first = stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"ne")))]);
    let body = StreamBody::new(first.chain(stream::pending()));
    let answer = serve.handle(Request::put(upload_link()).body(body).unwrap());
    // Polled once, it waits for more.
    assert!(futures_util::FutureExt::now_or_never(answer).is_none());
    assert_eq!(stored(&storage).await, "old");
}

#[tokio::test]
async fn trailers_are_no_part_of_the_object() {
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
async fn what_the_storage_says_of_an_upload_becomes_a_status_and_no_text_of_its_own() {
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
        let answer = put(&serve, &upload_link(), &[], b"new").await;
        assert_eq!(answer.status.as_u16(), status, "{kind}");
        assert!(!format!("{answer:?}").contains("canary"), "{kind}");
        assert_eq!(fails.fired(), 1, "{kind}");
        assert_eq!(get(&serve, &link("a.txt", |_| {}), &[]).await.text(), "old");
    }
}

#[tokio::test]
async fn of_many_uploads_of_a_new_object_one_is_stored() {
    let storage = Memory::storage();
    let serve = Arc::new(Serve::new(storage.clone()).signing_key(signing_key()));
    let uploads = (0..16).map(|_| {
        let serve = Arc::clone(&serve);
        tokio::spawn(async move {
            put(&serve, &upload_link(), &[("if-none-match", "*")], b"new").await.status
        })
    });
    let answers = futures_util::future::join_all(uploads).await;
    let stored =
        answers.iter().filter(|status| *status.as_ref().unwrap() == StatusCode::CREATED).count();
    assert_eq!(stored, 1);
}
