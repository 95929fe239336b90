//! Uploads within a budget that is smaller than what arrives.

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use storage_core::Memory;

use crate::client::{BYTES, begin, granting, offset, patch, request, rests, send};

const PART: u64 = 256 << 10;

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 7 + seed * 13) % 251).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_uploads_than_the_budget_has_room_for_all_finish() {
    let storage = Memory::storage();
    // One part at a time.
    let services: Vec<_> = (0..2)
        .map(|_| {
            let granted = storage_serve::uploads::Grant::new("file").unwrap();
            granting(&storage, Ok(granted)).part_size(PART).memory(PART)
        })
        .collect();
    let len = 3 * usize::try_from(PART).unwrap() + 1000;
    let finished = stream::iter(0..20)
        .map(|seed| {
            let uploads = &services[seed % 2];
            async move {
                let bytes = pattern(seed, len);
                let url = begin(uploads, len).await;
                // The chunks of all uploads alternate.
                let chunks = bytes.chunks(10_000).map(Bytes::copy_from_slice).collect::<Vec<_>>();
                let body = stream::iter(chunks).then(|chunk| async move {
                    tokio::task::yield_now().await;
                    Ok::<_, std::io::Error>(Frame::data(chunk))
                });
                let headers = [("upload-offset", "0"), ("content-type", BYTES)];
                let body = StreamBody::new(body.boxed());
                let patch = request(Method::PATCH, &url, &headers).body(body).unwrap();
                send(uploads, patch).await.status
            }
        })
        .buffer_unordered(20)
        .collect::<Vec<_>>();
    let statuses = finished.await;
    assert!(statuses.iter().all(|status| *status == StatusCode::NO_CONTENT), "{statuses:?}");
    let bytes = crate::client::stored(&storage).await;
    assert!((0..20).any(|seed| bytes == pattern(seed, len)), "the object is a mixture");
    assert!(rests(&storage).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_gives_its_memory_to_one_that_waits() {
    let storage = Memory::storage();
    let uploads = granting(&storage, Ok(storage_serve::uploads::Grant::new("file").unwrap()))
        .part_size(PART)
        .memory(PART);
    let (slow, fast) = (begin(&uploads, 300_000).await, begin(&uploads, 300_000).await);
    let body = stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![1; 1000])))])
        .chain(stream::pending());
    let headers = [("upload-offset", "0"), ("content-type", BYTES)];
    let stalled = request(Method::PATCH, &slow, &headers).body(StreamBody::new(body.boxed()));
    let (stalled, reply) = future::join(
        send(&uploads, stalled.unwrap()),
        patch(&uploads, &fast, 0, &pattern(2, 300_000)),
    )
    .await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    // What the slow client had sent is not lost.
    assert_eq!(stalled.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(offset(&uploads, &slow).await, 1000);
}

#[tokio::test]
async fn small_requests_add_segments_and_do_not_rewrite_the_rest() {
    let faults = storage_testkit::faults::Faults::new();
    let storage = faults.in_memory();
    let granted = storage_serve::uploads::Grant::new("file").unwrap();
    let uploads = granting(&storage, Ok(granted)).part_size(PART);
    let url = begin(&uploads, 100_000).await;
    let before = faults.calls(storage_core::Operation::Open);
    let bytes = pattern(1, 10_000);
    for (at, chunk) in bytes.chunks(1000).enumerate() {
        patch(&uploads, &url, at * 1000, chunk).await;
    }
    // One read of the state for each request, and none of what is stored.
    assert_eq!(faults.calls(storage_core::Operation::Open) - before, 10);
    assert_eq!(rests(&storage).await.len(), 10);
}
