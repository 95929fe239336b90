//! Two services, as in two processes, on the uploads of one storage.

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use storage_core::{Memory, Operation};
use storage_testkit::faults::Faults;
use tokio::sync::mpsc;

use crate::client::{BYTES, begin, offset, patch, request, rests, send, service, stored};

#[tokio::test]
async fn an_upload_continues_at_another_server() {
    let storage = Memory::storage();
    let (one, other) = (service(&storage), service(&storage));
    let url = begin(&one, 10).await;
    patch(&one, &url, 0, b"01234").await;
    patch(&other, &url, 5, b"56789").await;
    assert_eq!((offset(&one, &url).await, stored(&storage).await), (10, b"0123456789".to_vec()));
}

#[tokio::test]
async fn a_stalled_request_loses_against_the_newer_one_and_changes_nothing() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let (one, other) = (service(&storage), service(&storage));
    let url = begin(&one, 20).await;
    let (chunks, body) = mpsc::unbounded_channel::<Bytes>();
    let body = futures_util::stream::unfold(body, |mut body| async move {
        body.recv().await.map(|chunk| (Ok::<_, std::io::Error>(Frame::data(chunk)), body))
    });
    let headers = [("upload-offset", "0"), ("content-type", BYTES)];
    let stalled =
        request(Method::PATCH, &url, &headers).body(StreamBody::new(body.boxed())).unwrap();
    // The older request has stored a part, so it has read the state, and then it stalls.
    let parts = faults.calls(Operation::PutPart);
    let older = tokio::spawn(async move { send(&one, stalled).await });
    chunks.send(Bytes::from_static(b"0123456789")).unwrap();
    while faults.calls(Operation::PutPart) == parts {
        tokio::task::yield_now().await;
    }
    let reply = patch(&other, &url, 0, b"0123456789abc").await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::NO_CONTENT, "13"));

    drop(chunks);
    assert_eq!(older.await.unwrap().status, StatusCode::CONFLICT);
    assert_eq!((offset(&other, &url).await, rests(&storage).await.len()), (13, 1));
    patch(&other, &url, 13, b"defghij").await;
    assert_eq!(stored(&storage).await, b"0123456789abcdefghij");
}
