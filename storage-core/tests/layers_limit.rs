//! The limit layer: which calls hold a permit, and for how long. Futures are polled by hand, so the
//! tests do not depend on time.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use storage_core::layers::Limit;
use storage_core::{Error, ErrorKind, Operation, Payload, Result, Storage};
use storage_testkit::scripted::{BodyKind, End, Fault, Scripted, transient};

fn storage(scripted: &Scripted, places: usize) -> Storage {
    Storage::new(Limit::new(scripted.arc(), places))
}

/// Polls once.
fn poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    future.now_or_never()
}

type Call = BoxFuture<'static, Result<()>>;

/// A call that has not been polled yet.
fn call(storage: &Storage, verb: Operation) -> Call {
    let storage = storage.clone();
    Box::pin(async move {
        match verb {
            Operation::Save => storage.save("a", "text").await.map(drop),
            Operation::Open => storage.open("a").await.map(drop),
            Operation::Stat => storage.stat("a").await.map(drop),
            Operation::Exists => storage.exists("a").await.map(drop),
            Operation::Delete => storage.delete("a").await,
            Operation::List => storage.list("").entries().collect().await.map(drop),
            Operation::Copy => storage.copy("a", "b").await.map(drop),
            Operation::Url => storage.url("a").await.map(drop),
            other => panic!("{other} is no verb"),
        }
    })
}

/// Whether another call holds the only permit.
fn is_taken(storage: &Storage) -> bool {
    match poll(&mut call(storage, Operation::Exists)) {
        Some(result) => {
            result.unwrap();
            false
        }
        None => true,
    }
}

const VERBS: [Operation; 8] = [
    Operation::Save,
    Operation::Open,
    Operation::Stat,
    Operation::Exists,
    Operation::List,
    Operation::Copy,
    Operation::Url,
    Operation::Delete,
];

#[tokio::test]
async fn delete_many_holds_one_permit() {
    let scripted = Scripted::with_objects(&[("a", "text")]).await;
    scripted.script(Operation::Delete, [Fault::Stall]);
    let storage = storage(&scripted, 1);
    let mut deletion = storage.delete_many(stream::iter(["a", "b", "c"]));
    assert!(!is_taken(&storage), "nothing has begun");
    assert!(poll(&mut deletion.next().boxed()).is_none());
    assert!(is_taken(&storage));
    assert_eq!(scripted.under_way(), 1);
    drop(deletion);
    assert!(!is_taken(&storage));
    scripted.assert_script_done();
}

/// The listing and the deletions use the one permit in turn.
#[tokio::test(start_paused = true)]
async fn deleting_what_a_listing_yields_works_with_a_limit_of_one() {
    let mut scripted = Scripted::new();
    for key in 0..30 {
        scripted.put(&format!("tmp/{key}"), "").await;
    }
    scripted.chunk_delay = std::time::Duration::from_secs(1);
    let storage = storage(&scripted, 1);
    assert_eq!(storage.delete_many(storage.list("tmp/").entries()).finish().await.unwrap(), 30);
    assert!(storage.list("").entries().collect().await.unwrap().is_empty());
}

#[tokio::test]
async fn every_verb_holds_a_permit_until_it_is_dropped() {
    for verb in VERBS {
        let scripted = Scripted::with_objects(&[("a", "text")]).await;
        let storage = storage(&scripted, 1);
        scripted.script(verb, [Fault::Stall]);
        let mut stalled = call(&storage, verb);
        assert!(poll(&mut stalled).is_none());
        assert_eq!(scripted.under_way(), 1, "{verb} has not begun");
        for other in VERBS {
            assert!(poll(&mut call(&storage, other)).is_none(), "{other} ran together with {verb}");
        }
        assert_eq!(scripted.calls().len(), 1);
        drop(stalled);
        assert!(!is_taken(&storage), "{verb}");
        scripted.assert_script_done();
    }
}

#[tokio::test]
async fn every_verb_releases_its_permit_when_it_returns() {
    let scripted = Scripted::with_objects(&[("a", "text")]).await;
    let storage = storage(&scripted, 1);
    for verb in VERBS {
        call(&storage, verb).await.unwrap();
        assert!(!is_taken(&storage), "{verb} succeeded");
        scripted.script(verb, [Fault::Fail(transient())]);
        call(&storage, verb).await.unwrap_err();
        assert!(!is_taken(&storage), "{verb} failed");
    }
    scripted.assert_script_done();
}

#[tokio::test]
async fn as_many_calls_run_as_there_are_permits_and_the_next_waits_for_one() {
    let scripted = Scripted::with_objects(&[("a", "text")]).await;
    let storage = storage(&scripted, 3);
    scripted.script(Operation::Stat, (0..3).map(|_| Fault::Stall));
    let mut calls: Vec<_> = (0..5).map(|_| call(&storage, Operation::Stat)).collect();
    for call in &mut calls {
        assert!(poll(call).is_none());
    }
    assert_eq!((scripted.under_way(), scripted.count(Operation::Stat)), (3, 3));
    drop(calls.remove(0));
    // The permit goes to the first call that waits, not to a later one.
    assert!(poll(&mut call(&storage, Operation::Stat)).is_none());
    assert!(poll(&mut calls[3]).is_none());
    poll(&mut calls[2]).unwrap().unwrap();
    poll(&mut calls[3]).unwrap().unwrap();
    assert_eq!(scripted.under_way(), 2);
}

#[tokio::test]
async fn a_body_that_streams_holds_its_permit_until_it_ends() {
    let scripted = Scripted::with_objects(&[("a", "01234567")]).await;
    let storage = storage(&scripted, 1);
    let mut body = storage.open("a").await.unwrap().into_stream();
    for _ in 0..2 {
        assert!(body.next().await.unwrap().is_ok());
        assert!(is_taken(&storage));
    }
    assert!(body.next().await.is_none());
    assert!(!is_taken(&storage));
}

#[tokio::test]
async fn a_body_that_fails_releases_its_permit() {
    let scripted = Scripted::with_objects(&[("a", "01234567")]).await;
    let storage = storage(&scripted, 1);
    scripted.script(Operation::Open, [Fault::Break { after: 1, with: End::Error(transient()) }]);
    let mut body = storage.open("a").await.unwrap().into_stream();
    assert!(body.next().await.unwrap().is_ok());
    assert!(is_taken(&storage));
    assert!(body.next().await.unwrap().is_err());
    assert!(!is_taken(&storage));
    scripted.assert_script_done();
}

#[tokio::test]
async fn a_body_that_is_dropped_releases_its_permit() {
    let scripted = Scripted::with_objects(&[("a", "01234567")]).await;
    let storage = storage(&scripted, 1);
    let unread = storage.open("a").await.unwrap();
    assert!(is_taken(&storage));
    drop(unread);
    assert!(!is_taken(&storage));
    let mut begun = storage.open("a").await.unwrap().into_stream();
    assert!(begun.next().await.unwrap().is_ok());
    assert!(is_taken(&storage));
    drop(begun);
    assert!(!is_taken(&storage));
}

#[tokio::test]
async fn a_body_in_memory_or_in_a_file_holds_no_permit() {
    let scripted = Scripted::with_objects(&[("a", "text")]).await;
    let storage = storage(&scripted, 1);
    for kind in [BodyKind::Memory, BodyKind::File] {
        scripted.bodies_are(kind);
        let object = storage.open("a").await.unwrap();
        assert!(!is_taken(&storage), "{kind:?}");
        assert_eq!(object.text().await.unwrap(), "text");
    }
}

#[tokio::test]
async fn a_save_holds_its_permit_while_it_waits_for_its_source() {
    let scripted = Scripted::new();
    let storage = storage(&scripted, 1);
    let (chunks, source) = tokio::sync::oneshot::channel();
    let source = stream::once(source)
        .map(|chunk| chunk.map_err(|cause| Error::unexpected("no chunk", cause)));
    let payload = Payload::from_stream(source);
    let mut save = storage.save("a", payload).content_type("text/plain").into_future();
    assert!(poll(&mut save).is_none());
    assert!(is_taken(&storage));
    chunks.send("text").unwrap();
    assert_eq!(save.await.unwrap().size, 4);
    assert!(!is_taken(&storage));
}

#[tokio::test]
async fn a_listing_holds_a_permit_only_while_it_waits_for_an_entry() {
    let scripted = Scripted::with_objects(&[("a", ""), ("b", "")]).await;
    let storage = storage(&scripted, 1);
    scripted.script(Operation::List, [Fault::Break { after: 2, with: End::Stall }]);
    let mut entries = storage.list("").entries();
    assert!(!is_taken(&storage));
    for name in ["a", "b"] {
        assert_eq!(entries.next().await.unwrap().unwrap().name(), name);
        assert!(!is_taken(&storage), "after {name}");
    }
    assert!(poll(&mut Box::pin(entries.next())).is_none());
    assert!(is_taken(&storage));
    drop(entries);
    assert!(!is_taken(&storage));
    scripted.assert_script_done();
}

#[tokio::test]
async fn a_listing_waits_for_a_permit() {
    let scripted = Scripted::with_objects(&[("a", "text")]).await;
    let storage = storage(&scripted, 1);
    let body = storage.open("a").await.unwrap();
    let mut entries = storage.list("").entries();
    assert!(poll(&mut Box::pin(entries.next())).is_none());
    assert_eq!(scripted.count(Operation::List), 0);
    drop(body);
    assert_eq!(entries.next().await.unwrap().unwrap().name(), "a");
}

#[tokio::test]
async fn clones_share_the_permits() {
    let scripted = Scripted::with_objects(&[("a", "text")]).await;
    let limit = Limit::new(scripted.arc(), 1);
    let (one, other) = (Storage::new(limit.clone()), Storage::new(limit));
    let _body = one.open("a").await.unwrap();
    assert!(is_taken(&other));
}

#[tokio::test]
async fn a_limit_of_zero_counts_as_one_and_the_largest_does_not_panic() {
    let scripted = Scripted::with_objects(&[("a", "text")]).await;
    let none = storage(&scripted, 0);
    let _body = none.open("a").await.unwrap();
    assert!(is_taken(&none));
    let most = storage(&scripted, usize::MAX);
    let _bodies = [most.open("a").await.unwrap(), most.open("a").await.unwrap()];
    assert!(!is_taken(&most));
    assert_eq!(most.stat("b").await.unwrap_err().kind(), ErrorKind::NotFound);
}
