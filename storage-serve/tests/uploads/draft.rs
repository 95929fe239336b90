//! The IETF draft of resumable uploads, interop version 8.

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use storage_core::{ErrorKind, Memory, Operation};
use storage_serve::RequestBody;
use storage_serve::uploads::{Grant, Refusal, UploadRequest, Uploads};
use storage_testkit::faults::Faults;
use tokio::sync::mpsc;

use crate::client::{Reply, granting, service, signing_key, stored};

pub(crate) const PARTIAL: (&str, &str) = ("content-type", "application/partial-upload");
pub(crate) const LAST: (&str, &str) = ("upload-complete", "?1");
pub(crate) const MORE: (&str, &str) = ("upload-complete", "?0");

pub(crate) async fn send_body<B: RequestBody>(
    uploads: &Uploads,
    method: Method,
    uri: &str,
    headers: &[(&str, &str)],
    body: B,
) -> Reply {
    let request = Request::builder().method(method).uri(uri);
    let request = headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
    let (head, body) = uploads.handle(request.body(body).unwrap()).await.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(
        !head.headers.contains_key("tus-resumable") || head.headers.contains_key("tus-version")
    );
    Reply { status: head.status, headers: head.headers, text }
}

/// Sends a body with its `Content-Length`.
pub(crate) async fn send(
    uploads: &Uploads,
    method: Method,
    uri: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", &length)]].concat();
    send_body(uploads, method, uri, &headers, Full::new(Bytes::copy_from_slice(body))).await
}

/// Begins an empty upload, and returns its URL.
pub(crate) async fn begin(uploads: &Uploads, headers: &[(&str, &str)]) -> String {
    let headers = [headers, &[MORE]].concat();
    let reply = send(uploads, Method::POST, "/uploads", &headers, b"").await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    assert_eq!((reply.header("upload-complete"), reply.header("upload-offset")), ("?0", "0"));
    reply.header("location").to_owned()
}

pub(crate) async fn patch(
    uploads: &Uploads,
    url: &str,
    offset: usize,
    end: (&str, &str),
    body: &[u8],
) -> Reply {
    let headers = [PARTIAL, end, ("upload-offset", &*offset.to_string())];
    send(uploads, Method::PATCH, url, &headers, body).await
}

pub(crate) async fn head(uploads: &Uploads, url: &str) -> Reply {
    send(uploads, Method::HEAD, url, &[], b"").await
}

/// Returns whether HEAD says that the upload is complete, and its offset.
async fn progress(uploads: &Uploads, url: &str) -> (String, String) {
    let reply = head(uploads, url).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    (reply.header("upload-complete").to_owned(), reply.header("upload-offset").to_owned())
}

fn is(complete: &str, offset: &str) -> (String, String) {
    (complete.to_owned(), offset.to_owned())
}

pub(crate) fn problem(reply: &Reply) -> serde_json::Value {
    assert_eq!(reply.header("content-type"), "application/problem+json", "{reply:?}");
    let problem: serde_json::Value = serde_json::from_str(&reply.text).unwrap();
    assert_eq!(problem["status"], reply.status.as_u16());
    problem
}

fn kind(reply: &Reply) -> String {
    let kind = problem(reply)["type"].as_str().unwrap().to_owned();
    kind.strip_prefix("https://iana.org/assignments/http-problem-types#")
        .unwrap_or(&kind)
        .to_owned()
}

#[tokio::test]
async fn an_empty_creation_and_two_appends_make_a_file() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, &[]).await;
    assert!(url.starts_with("/uploads/"));
    let reply = patch(&uploads, &url, 0, MORE, b"0123456789").await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!((reply.header("upload-complete"), reply.header("upload-offset")), ("?0", "10"));
    assert_eq!(progress(&uploads, &url).await, is("?0", "10"));
    let reply = patch(&uploads, &url, 10, LAST, b"abcdefghij").await;
    assert!(reply.status.is_success());
    assert_eq!((reply.header("upload-complete"), reply.header("upload-offset")), ("?1", "20"));
    assert_eq!(progress(&uploads, &url).await, is("?1", "20"));
    assert_eq!(stored(&storage).await, b"0123456789abcdefghij");
}

#[tokio::test]
async fn a_whole_file_in_one_request_is_complete_without_an_interim_response() {
    for method in [Method::POST, Method::PUT] {
        let storage = Memory::storage();
        let uploads = service(&storage);
        let headers = [LAST, ("upload-draft-interop-version", "8"), ("upload-length", "10")];
        let reply = send(&uploads, method, "/uploads", &headers, b"0123456789").await;
        assert_eq!((reply.status, reply.header("upload-complete")), (StatusCode::CREATED, "?1"));
        assert_eq!(stored(&storage).await, b"0123456789");
        assert_eq!(progress(&uploads, reply.header("location")).await, is("?1", "10"));
    }
}

#[tokio::test]
async fn a_creation_with_the_first_bytes_says_where_to_continue() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let headers = [MORE, ("upload-length", "12")];
    let reply = send(&uploads, Method::POST, "/uploads", &headers, b"0123456789").await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::CREATED, "10"));
    let url = reply.header("location");
    assert_eq!(head(&uploads, url).await.header("upload-length"), "12");
    patch(&uploads, url, 10, LAST, b"ab").await;
    assert_eq!(stored(&storage).await, b"0123456789ab");
}

#[tokio::test]
async fn an_upload_that_has_its_length_is_incomplete_until_a_request_says_so() {
    for (first, size) in [(8, 16), (10, 10), (3, 10)] {
        let storage = Memory::storage();
        let uploads = service(&storage);
        let length = size.to_string();
        let url = begin(&uploads, &[("upload-length", &length)]).await;
        let bytes = vec![b'x'; size];
        patch(&uploads, &url, 0, MORE, &bytes[..first]).await;
        if first < size {
            let reply = patch(&uploads, &url, first, MORE, &bytes[first..]).await;
            assert_eq!(reply.header("upload-complete"), "?0");
        }
        assert_eq!(progress(&uploads, &url).await, is("?0", &length));
        assert!(!storage.exists("file").await.unwrap());
        let reply = patch(&uploads, &url, size, LAST, b"").await;
        assert_eq!((reply.status, reply.header("upload-complete")), (StatusCode::CREATED, "?1"));
        assert_eq!(stored(&storage).await, bytes);
    }
}

#[tokio::test]
async fn an_empty_file_is_created() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let reply = send(&uploads, Method::POST, "/uploads", &[LAST], b"").await;
    assert_eq!((reply.status, reply.header("upload-complete")), (StatusCode::CREATED, "?1"));
    assert_eq!(stored(&storage).await, b"");
    storage.delete("file").await.unwrap();
    let url = begin(&uploads, &[("upload-length", "0")]).await;
    assert!(!storage.exists("file").await.unwrap());
    patch(&uploads, &url, 0, LAST, b"").await;
    assert_eq!(stored(&storage).await, b"");
}

#[tokio::test]
async fn a_body_without_a_length_ends_the_file_where_it_ends() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"0123456789abcdef")))];
    let body = StreamBody::new(stream::iter(frames));
    let reply = send_body(&uploads, Method::POST, "/uploads", &[LAST], body).await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::CREATED, "16"));
    assert_eq!(stored(&storage).await, b"0123456789abcdef");
}

fn broken(bytes: &'static [u8]) -> impl RequestBody {
    let frames = [Ok(Frame::data(Bytes::from_static(bytes))), Err(std::io::Error::other("cut"))];
    StreamBody::new(stream::iter(frames))
}

#[tokio::test]
async fn an_append_that_breaks_off_leaves_what_arrived_and_continues() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, &[]).await;
    let headers = [PARTIAL, LAST, ("upload-offset", "0"), ("content-length", "20")];
    let body = broken(b"0123456789abc");
    let reply = send_body(&uploads, Method::PATCH, &url, &headers, body).await;
    assert!(reply.status.is_server_error(), "{reply:?}");
    assert_eq!(progress(&uploads, &url).await, is("?0", "13"));
    assert_eq!(head(&uploads, &url).await.header("upload-length"), "20");
    patch(&uploads, &url, 13, LAST, b"defghij").await;
    assert_eq!(stored(&storage).await, b"0123456789abcdefghij");
}

#[tokio::test]
async fn a_last_body_without_a_length_that_breaks_off_is_not_the_end() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, &[]).await;
    let headers = [PARTIAL, LAST, ("upload-offset", "0")];
    send_body(&uploads, Method::PATCH, &url, &headers, broken(b"0123456789")).await;
    assert_eq!(progress(&uploads, &url).await, is("?0", "10"));
    assert!(!storage.exists("file").await.unwrap());
}

#[tokio::test]
async fn a_body_that_breaks_off_after_the_last_byte_completes_the_upload() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, &[("upload-length", "10")]).await;
    let headers = [PARTIAL, LAST, ("upload-offset", "0")];
    send_body(&uploads, Method::PATCH, &url, &headers, broken(b"0123456789")).await;
    assert_eq!(progress(&uploads, &url).await, is("?1", "10"));
    assert_eq!(stored(&storage).await, b"0123456789");
}

#[tokio::test]
async fn a_creation_that_breaks_off_leaves_nothing_because_its_client_has_no_url() {
    for end in [LAST, MORE] {
        let storage = Memory::storage();
        let uploads = service(&storage);
        let body = broken(b"0123456789");
        let reply = send_body(&uploads, Method::POST, "/uploads", &[end], body).await;
        assert!(reply.status.is_server_error(), "{reply:?}");
        assert!(storage.list("").keys().await.unwrap().is_empty());
        assert_eq!(storage.abort_stale("", std::time::Duration::ZERO).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_request_at_another_offset_gets_the_right_one() {
    let uploads = service(&Memory::storage());
    let url = begin(&uploads, &[]).await;
    patch(&uploads, &url, 0, MORE, b"012").await;
    for wrong in [0, 2, 4] {
        let reply = patch(&uploads, &url, wrong, LAST, b"x").await;
        assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::CONFLICT, "3"));
        assert_eq!(kind(&reply), "mismatching-upload-offset");
        let problem = problem(&reply);
        assert_eq!(
            (&problem["expected-offset"], &problem["provided-offset"]),
            (&3.into(), &wrong.into())
        );
    }
    assert_eq!(progress(&uploads, &url).await, is("?0", "3"));
}

#[tokio::test]
async fn a_complete_upload_accepts_nothing_more() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, &[]).await;
    patch(&uploads, &url, 0, LAST, b"012").await;
    for (offset, body) in [(3, &b""[..]), (3, b"x"), (0, b"012")] {
        let reply = patch(&uploads, &url, offset, LAST, body).await;
        assert_eq!(
            (reply.status, kind(&reply)),
            (StatusCode::BAD_REQUEST, "completed-upload".into())
        );
    }
    assert_eq!(stored(&storage).await, b"012");
}

#[tokio::test]
async fn lengths_that_contradict_each_other_are_rejected() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let headers = [LAST, ("upload-length", "9")];
    let reply = send(&uploads, Method::POST, "/uploads", &headers, b"0123456789").await;
    assert_eq!(kind(&reply), "inconsistent-upload-length");
    assert!(storage.list("").keys().await.unwrap().is_empty());

    let url = begin(&uploads, &[("upload-length", "10")]).await;
    let other = [PARTIAL, MORE, ("upload-offset", "0"), ("upload-length", "11")];
    let replies = [
        send(&uploads, Method::PATCH, &url, &other, b"01").await,
        // The last body ends before or after the length.
        patch(&uploads, &url, 0, LAST, b"012345678").await,
        patch(&uploads, &url, 0, LAST, b"0123456789a").await,
    ];
    for reply in replies {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
        assert_eq!(kind(&reply), "inconsistent-upload-length");
    }
    assert_eq!(progress(&uploads, &url).await, is("?0", "0"));
}

#[tokio::test]
async fn bytes_beyond_the_announced_length_are_refused_with_or_without_a_size() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, &[("upload-length", "10")]).await;
    let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"0123456789a")))];
    let headers = [PARTIAL, MORE, ("upload-offset", "0")];
    let body = StreamBody::new(stream::iter(frames));
    for reply in [
        patch(&uploads, &url, 0, MORE, b"0123456789a").await,
        send_body(&uploads, Method::PATCH, &url, &headers, body).await,
    ] {
        assert_eq!(kind(&reply), "inconsistent-upload-length");
    }
    assert_eq!(progress(&uploads, &url).await, is("?0", "0"));
}

#[tokio::test]
async fn a_last_body_without_a_length_that_is_too_short_is_not_the_end() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, &[("upload-length", "10")]).await;
    let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"01234")))];
    let headers = [PARTIAL, LAST, ("upload-offset", "0")];
    let body = StreamBody::new(stream::iter(frames));
    let reply = send_body(&uploads, Method::PATCH, &url, &headers, body).await;
    assert_eq!(kind(&reply), "inconsistent-upload-length");
    assert_eq!(head(&uploads, &url).await.header("upload-complete"), "?0");
    assert!(!storage.exists("file").await.unwrap());
}

#[tokio::test]
async fn bytes_beyond_the_limit_get_413_with_the_limit() {
    let storage = Memory::storage();
    let uploads = granting(&storage, Ok(Grant::new("file").unwrap().max_size(10)));
    let reply = send(&uploads, Method::POST, "/uploads", &[LAST], b"0123456789a").await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(!reply.header("upload-limit").is_empty());
    let url = begin(&uploads, &[]).await;
    assert!(head(&uploads, &url).await.header("upload-limit").starts_with("max-size=10, max-age="));
    let reply = patch(&uploads, &url, 0, MORE, b"0123456789a").await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"0123456789a")))];
    let headers = [PARTIAL, LAST, ("upload-offset", "0")];
    let body = StreamBody::new(stream::iter(frames));
    let reply = send_body(&uploads, Method::PATCH, &url, &headers, body).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(progress(&uploads, &url).await, is("?0", "0"));
}

#[tokio::test]
async fn options_lists_the_type_of_appends_and_the_limits() {
    let uploads = service(&Memory::storage());
    let reply = send(&uploads, Method::OPTIONS, "/uploads", &[], b"").await;
    assert_eq!((reply.status, reply.header("accept-patch")), (StatusCode::NO_CONTENT, PARTIAL.1));
    assert_eq!(reply.header("upload-limit"), "min-size=0");
    let reply = send(&uploads.max_size(99), Method::OPTIONS, "/uploads", &[], b"").await;
    assert_eq!(reply.header("upload-limit"), "max-size=99");
}

#[tokio::test]
async fn a_request_that_lost_against_a_newer_one_at_another_server_gets_the_offset() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let (one, other) = (service(&storage), service(&storage));
    let url = begin(&one, &[]).await;
    let (chunks, body) = mpsc::unbounded_channel::<Bytes>();
    let body = stream::unfold(body, |mut body| async move {
        body.recv().await.map(|chunk| (Ok::<_, std::io::Error>(Frame::data(chunk)), body))
    });
    // The older request has stored a part, so it has read the state, and then it stalls.
    let parts = faults.calls(Operation::PutPart);
    let target = url.clone();
    let older = tokio::spawn(async move {
        let headers = [PARTIAL, LAST, ("upload-offset", "0")];
        send_body(&one, Method::PATCH, &target, &headers, StreamBody::new(Box::pin(body))).await
    });
    chunks.send(Bytes::from_static(b"0123456789")).unwrap();
    while faults.calls(Operation::PutPart) == parts {
        tokio::task::yield_now().await;
    }
    let reply = patch(&other, &url, 0, MORE, b"0123456789abc").await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::NO_CONTENT, "13"));
    drop(chunks);
    let reply = older.await.unwrap();
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::CONFLICT, "13"));
    assert_eq!(kind(&reply), "mismatching-upload-offset");
    patch(&other, &url, 13, LAST, b"defghij").await;
    assert_eq!(stored(&storage).await, b"0123456789abcdefghij");
}

#[tokio::test]
async fn a_cancelled_upload_is_gone() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, &[]).await;
    patch(&uploads, &url, 0, MORE, b"0123456789").await;
    assert_eq!(send(&uploads, Method::DELETE, &url, &[], b"").await.status, StatusCode::NO_CONTENT);
    assert_eq!(head(&uploads, &url).await.status, StatusCode::GONE);
    assert_eq!(patch(&uploads, &url, 10, LAST, b"").await.status, StatusCode::GONE);
    assert!(storage.list("").keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failed_completion_is_finished_by_the_next_head() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let url = begin(&uploads, &[]).await;
    let fault = faults.on(Operation::CompleteMultipart).call(1).fail(ErrorKind::Unexpected);
    let reply = patch(&uploads, &url, 0, LAST, b"0123456789").await;
    assert!(reply.status.is_server_error(), "{reply:?}");
    assert_eq!(reply.header("upload-complete"), "");
    assert_eq!(fault.fired(), 1);
    assert_eq!(progress(&uploads, &url).await, is("?1", "10"));
    assert_eq!(stored(&storage).await, b"0123456789");
}

#[tokio::test]
async fn a_refusal_of_the_complete_file_is_final() {
    let storage = Memory::storage();
    let uploads = service(&storage).on_complete(|_| async {
        Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "It contains a virus."))
    });
    let url = begin(&uploads, &[]).await;
    let reply = patch(&uploads, &url, 0, LAST, b"0123").await;
    assert_eq!(
        (reply.status, reply.header("upload-complete")),
        (StatusCode::UNPROCESSABLE_ENTITY, "?1")
    );
    assert_eq!(problem(&reply)["title"], "It contains a virus.");
    assert!(!storage.exists("file").await.unwrap());
}

#[tokio::test]
async fn the_application_receives_the_name_the_type_and_the_size() {
    let storage = Memory::storage();
    let authorize = |head: http::request::Parts, file: UploadRequest| async move {
        assert_eq!(head.headers["cookie"], "session");
        assert_eq!(file.file_name.as_deref(), Some("é.txt"));
        assert_eq!((file.content_type.as_deref(), file.size), (Some("text/plain"), Some(5)));
        Ok(Grant::new("file")?)
    };
    let uploads = Uploads::new(storage.clone(), signing_key(), authorize).unwrap();
    let uploads = uploads.on_complete(|upload| async move {
        assert_eq!(upload.metadata["filename"], "é.txt");
        Ok(())
    });
    let headers = [
        LAST,
        ("cookie", "session"),
        ("content-type", "text/plain"),
        ("content-disposition", "inline; filename=\"e.txt\"; filename*=UTF-8''%C3%A9.txt"),
    ];
    let reply = send(&uploads, Method::POST, "/uploads", &headers, b"hello").await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    assert_eq!(storage.stat("file").await.unwrap().content_type(), Some("text/plain"));
}

#[tokio::test]
async fn the_metadata_of_tus_is_read_and_the_type_of_an_append_is_not_the_type_of_the_file() {
    let storage = Memory::storage();
    let authorize = |_, file: UploadRequest| async move {
        assert_eq!(file.file_name.as_deref(), Some("a.txt"));
        assert_eq!(file.content_type.as_deref(), Some("text/plain"));
        Ok(Grant::new("file")?)
    };
    let uploads = Uploads::new(storage.clone(), signing_key(), authorize).unwrap();
    let metadata = ("upload-metadata", "filename YS50eHQ=,filetype dGV4dC9wbGFpbg==");
    let headers = [MORE, PARTIAL, metadata];
    let reply = send(&uploads, Method::POST, "/uploads", &headers, b"hel").await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::CREATED, "3"));
    patch(&uploads, reply.header("location"), 3, LAST, b"lo").await;
    assert_eq!(storage.stat("file").await.unwrap().content_type(), Some("text/plain"));
    let headers = [MORE, ("upload-metadata", "filename !")];
    let reply = send(&uploads, Method::POST, "/uploads", &headers, b"").await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn clients_of_older_versions_are_understood() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    // Version 6: as version 8.
    let version = ("upload-draft-interop-version", "6");
    let url = begin(&uploads, &[version]).await;
    let headers = [version, PARTIAL, LAST, ("upload-offset", "0")];
    send(&uploads, Method::PATCH, &url, &headers, b"six").await;
    assert_eq!(stored(&storage).await, b"six");

    // Version 5: PATCH has no type.
    let version = ("upload-draft-interop-version", "5");
    let url = begin(&uploads, &[version]).await;
    let headers = [version, LAST, ("upload-offset", "0")];
    let reply = send(&uploads, Method::PATCH, &url, &headers, b"five").await;
    assert!(reply.status.is_success(), "{reply:?}");
    assert_eq!(stored(&storage).await, b"five");

    // Version 3: the opposite in another header.
    let version = ("upload-draft-interop-version", "3");
    let (more, last) = (("upload-incomplete", "?1"), ("upload-incomplete", "?0"));
    let reply = send(&uploads, Method::POST, "/uploads", &[version, more], b"th").await;
    assert_eq!((reply.status, reply.header("upload-incomplete")), (StatusCode::CREATED, "?1"));
    let url = reply.header("location");
    let headers = [version, last, ("upload-offset", "2")];
    let reply = send(&uploads, Method::PATCH, url, &headers, b"ree").await;
    assert_eq!((reply.header("upload-incomplete"), reply.header("upload-complete")), ("?0", ""));
    assert_eq!(stored(&storage).await, b"three");
    let reply = send(&uploads, Method::HEAD, url, &[version], b"").await;
    assert_eq!((reply.header("upload-incomplete"), reply.header("upload-offset")), ("?0", "5"));
}

#[tokio::test]
async fn an_upload_continues_with_the_other_protocol() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, &[("upload-length", "10")]).await;
    let tus = crate::client::patch(&uploads, &url, 0, b"01234").await;
    assert_eq!((tus.status, tus.header("upload-offset")), (StatusCode::NO_CONTENT, "5"));
    patch(&uploads, &url, 5, LAST, b"56789").await;
    assert_eq!(stored(&storage).await, b"0123456789");
}

#[tokio::test]
async fn bytes_with_an_encoding_are_refused_when_an_upload_goes_on() {
    let uploads = service(&Memory::storage());
    let url = begin(&uploads, &[]).await;
    let headers = [PARTIAL, LAST, ("upload-offset", "0"), ("content-encoding", "gzip")];
    let reply = send(&uploads, Method::PATCH, &url, &headers, b"abc").await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_first_part_is_no_whole_file_although_the_version_has_another_header_for_that() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let headers = [("upload-draft-interop-version", "3"), MORE];
    let reply = send(&uploads, Method::POST, "/uploads", &headers, b"abc").await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert!(!storage.exists("file").await.unwrap());
}
