//! Publishes and rollbacks that are stopped early, as by Ctrl-C.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use common::*;
use storage_core::{Memory, Operation, Storage};
use storage_publish::{PublishOptions, publish, releases, rollback};
use storage_testkit::faults::Faults;
use tokio::sync::oneshot;

/// Options of a publish that ends when the sender sends.
fn stoppable(options: PublishOptions) -> (oneshot::Sender<()>, PublishOptions) {
    let (sender, receiver) = oneshot::channel();
    let stop = async move {
        if receiver.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    (sender, options.stop_on(stop))
}

/// Publishes v1, and v2 until this write, at which the publish is stopped.
async fn stopped_at(operation: Operation, call: usize) -> (Storage, Clock, storage_core::Error) {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    publish(&site("v1"), &storage, &clock.options()).await.unwrap();
    let held = faults.on(operation).call(call).hold();
    let (stop, options) = stoppable(clock.options());
    let publisher = tokio::spawn({
        let storage = storage.clone();
        async move { publish(&site("v2"), &storage, &options).await }
    });
    held.reached().await;
    stop.send(()).unwrap();
    let error = publisher.await.unwrap().unwrap_err();
    (storage, clock, error)
}

#[tokio::test]
async fn a_publish_that_is_stopped_before_the_pages_changes_nothing_and_gives_its_claim_back() {
    // The second save is that of the style, after the claim.
    let (storage, clock, error) = stopped_at(Operation::Save, 2).await;
    assert!(error.is_retryable(), "{error}");
    assert!(error.message().contains("nothing visible was changed: run again"), "{error}");
    assert_shows(&storage, &site("v1")).await;
    assert!(releases(&storage).await.unwrap().claim.is_none());
    publish(&site("v2"), &storage, &clock.options()).await.unwrap();
    assert_shows(&storage, &site("v2")).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_take_too_long_after_a_stop_are_repaired_by_the_next_publish() {
    let (storage, clock, error) = stopped_at(Operation::Copy, 1).await;
    assert!(error.is_retryable() && error.message().contains("repairs"), "{error}");
    let found = releases(&storage).await.unwrap();
    assert!(found.claim.is_none() && found.switching.is_some());
    publish(&site("v2"), &storage, &clock.options()).await.unwrap();
    assert_shows(&storage, &site("v2")).await;
}

#[tokio::test]
async fn a_publish_that_is_stopped_while_it_writes_pages_finishes_them() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    let held = faults.on(Operation::Copy).call(1).hold();
    let (stop, options) = stoppable(clock.options());
    let publisher = tokio::spawn({
        let storage = storage.clone();
        async move { publish(&site("v1"), &storage, &options).await }
    });
    held.reached().await;
    stop.send(()).unwrap();
    held.release();
    publisher.await.unwrap().unwrap();
    assert_shows(&storage, &site("v1")).await;
}

#[tokio::test]
async fn a_stop_before_the_beginning_writes_nothing() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    for version in ["v1", "v2"] {
        publish(&site(version), &storage, &clock.options()).await.unwrap();
    }
    let before = pointer(&storage).await;
    let (stop, options) = stoppable(clock.options());
    stop.send(()).unwrap();
    publish(&site("v3"), &storage, &options).await.unwrap_err();
    let error = rollback(&storage, None, &options).await.unwrap_err();
    assert!(error.is_retryable() && error.message().contains("nothing"), "{error}");
    assert_eq!(pointer(&storage).await, before);
}
