//! An origin that is slow or hangs: nothing is cut short, and no reader waits for another one's
//! request forever.

use std::time::Duration;

use futures_util::StreamExt;
use storage_core::Operation;
use tokio::time::{Instant, timeout};

use super::common::{Fixture, pattern, read};

/// Longer than any wait of the cache. On Tokio's paused clock it takes no time.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test(start_paused = true)]
async fn a_body_that_hangs_at_origin_holds_up_no_reader_of_its_key() {
    let fixture = Fixture::new();
    let body = pattern(1, 3_000_000);
    fixture.origin.save("a", body.clone()).await.unwrap();
    let stalled = fixture.faults.on(Operation::Open).call(1).stall(1_000_000);
    let mut first = fixture.storage.open("a").await.unwrap().into_stream();
    let mut received = first.next().await.unwrap().unwrap().to_vec();
    let second = timeout(FOREVER, read(&fixture.storage, "a")).await;
    assert!(second.expect("the second reader ends") == body);
    let rest = async {
        while let Some(chunk) = first.next().await {
            received.extend_from_slice(&chunk.unwrap());
        }
    };
    timeout(FOREVER, rest).await.expect("the first reader ends");
    assert!(received == body);
    assert_eq!(stalled.fired(), 1);
    // The next open begins another fetch, which is kept.
    fixture.keep("a").await;
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_takes_more_than_a_minute_is_waited_for() {
    let fixture = Fixture::new();
    fixture.origin.save("a", "one").await.unwrap();
    let slow = fixture.faults.on(Operation::Open).delay(Duration::from_secs(90));
    let waited = || async {
        let begin = Instant::now();
        assert_eq!(read(&fixture.storage, "a").await, b"one");
        begin.elapsed().as_secs()
    };
    let later = async {
        tokio::time::sleep(Duration::from_secs(70)).await;
        waited().await
    };
    // The first read waits one minute for a fetch, and then as long as origin takes. For a minute
    // after that, reads wait for no fetch.
    assert_eq!(tokio::join!(waited(), later), (150, 90));
    assert_eq!(slow.fired(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_slow_origin_is_returned_unchanged() {
    let fixture = Fixture::new();
    fixture.origin.save("a", "one").await.unwrap();
    let _ = fixture.faults.on(Operation::Open).delay(Duration::from_secs(90));
    let failed = fixture.faults.on(Operation::Open).fail(storage_core::ErrorKind::PermissionDenied);
    let error = fixture.storage.open("a").await.unwrap_err();
    assert_eq!(error.kind(), storage_core::ErrorKind::PermissionDenied);
    assert_eq!(failed.fired(), 1, "the fetch was given up before it failed");
}
