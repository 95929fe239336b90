//! [`Stored`] in a database, and [`Guard`] around a handler that fails after a save.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anystorage::attachments::{Guard, Stored};
use anystorage::{Driver, Error, ErrorKind, Key, Memory, ObjectMeta, Storage};
use tokio::sync::{Notify, oneshot};

async fn saved(storage: &Storage, key: &str, text: &'static str) -> Stored {
    storage.save(key, text).await.unwrap().into()
}

async fn keys(storage: &Storage) -> Vec<String> {
    storage.list("").keys().await.unwrap().iter().map(ToString::to_string).collect()
}

/// Returns a storage whose deletions send a signal when they end.
fn with_signal() -> (Storage, Arc<Notify>) {
    let notify = Arc::new(Notify::new());
    let signal = Arc::clone(&notify);
    (Memory::storage().layer(|inner| Signalling { inner, signal }), notify)
}

#[derive(Debug)]
struct Signalling {
    inner: Arc<dyn Driver>,
    signal: Arc<Notify>,
}

#[anystorage::async_trait]
impl Driver for Signalling {
    async fn delete(&self, key: &anystorage::Key) -> anystorage::Result<()> {
        let deleted = self.inner.delete(key).await;
        self.signal.notify_one();
        deleted
    }

    anystorage::forward! {
        to self.inner: info, innermost, save, open, stat, exists, delete_many,
        delete_folder_marker, list, copy, rename, url, link_verifier, multipart
    }
}

/// Fails calls with `Timeout`. The fault layer of the testkit is not used, because it would enable
/// all features of `storage-core` in the tests without default features.
#[derive(Debug, Default, Clone)]
struct Failing {
    stat_of: Option<&'static str>,
    delete_of: Option<&'static str>,
    fired: Arc<AtomicUsize>,
}

impl Failing {
    fn storage(&self) -> Storage {
        let faults = self.clone();
        Memory::storage().layer(|inner| WithFaults { inner, faults })
    }

    fn check(&self, failing: Option<&str>, key: &Key) -> anystorage::Result<()> {
        if failing != Some(key.as_str()) {
            return Ok(());
        }
        self.fired.fetch_add(1, Ordering::Relaxed);
        Err(Error::new(ErrorKind::Timeout, "a failure of the test"))
    }

    fn fired(&self) -> usize {
        self.fired.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct WithFaults {
    inner: Arc<dyn Driver>,
    faults: Failing,
}

#[anystorage::async_trait]
impl Driver for WithFaults {
    async fn stat(&self, key: &Key) -> anystorage::Result<ObjectMeta> {
        self.faults.check(self.faults.stat_of, key)?;
        self.inner.stat(key).await
    }

    async fn delete(&self, key: &Key) -> anystorage::Result<()> {
        self.faults.check(self.faults.delete_of, key)?;
        self.inner.delete(key).await
    }

    anystorage::forward! {
        to self.inner: info, innermost, save, open, exists, delete_many, delete_folder_marker, list,
        copy, rename, url, link_verifier, multipart
    }
}

#[tokio::test]
async fn a_stored_object_survives_json_and_is_a_key() {
    let storage = Memory::storage();
    let meta = storage.save("a b/é.txt", "hello").content_type("text/x-test").await.unwrap();
    let stored = Stored::from(meta.clone());
    assert_eq!((&stored.key, stored.size), (&meta.key, 5));
    assert_eq!(stored.content_type.as_deref(), Some("text/x-test"));
    assert_eq!(stored.etag, meta.etag);
    let json = serde_json::to_string(&stored).unwrap();
    let read: Stored = serde_json::from_str(&json).unwrap();
    assert_eq!(read, stored);
    assert_eq!(storage.read_text(&read).await.unwrap(), "hello");
}

#[test]
fn a_stored_object_without_content_type_and_etag_survives_json() {
    let stored: Stored = serde_json::from_str(r#"{"key":"a","size":1,"new":true}"#).unwrap();
    assert_eq!((stored.content_type.as_ref(), stored.etag.as_ref()), (None, None));
    assert_eq!(serde_json::to_string(&stored).unwrap(), r#"{"key":"a","size":1}"#);
}

#[test]
fn a_column_with_an_invalid_key_or_etag_is_refused() {
    for json in [
        r#"{"key":"../etc/passwd","size":1}"#,
        r#"{"key":"/a","size":1}"#,
        r#"{"key":"","size":1}"#,
        r#"{"key":"a","size":-1}"#,
        r#"{"key":"a","size":1,"etag":"no quotes"}"#,
        r#"{"size":1}"#,
        "null",
    ] {
        assert!(serde_json::from_str::<Stored>(json).is_err(), "{json}");
    }
}

#[tokio::test]
async fn deleting_a_stored_object_leaves_the_version_that_replaced_it() {
    let storage = Memory::storage();
    let old = saved(&storage, "a", "old").await;
    let new = saved(&storage, "a", "new").await;
    assert!(!old.delete(&storage).await.unwrap());
    assert_eq!(storage.read_text("a").await.unwrap(), "new");
    assert!(new.delete(&storage).await.unwrap());
    assert!(!new.delete(&storage).await.unwrap());
    assert!(keys(&storage).await.is_empty());
}

#[tokio::test]
async fn a_failed_stat_deletes_nothing() {
    let faults = Failing { stat_of: Some("a"), ..Failing::default() };
    let storage = faults.storage();
    let stored = saved(&storage, "a", "hello").await;
    assert_eq!(stored.delete(&storage).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(faults.fired(), 1);
    assert!(storage.exists("a").await.unwrap());
}

#[tokio::test]
async fn a_committed_guard_keeps_its_objects() {
    let (storage, _) = with_signal();
    let mut guard = Guard::new(&storage);
    let stored = guard.add(storage.save("a", "hello").await.unwrap());
    guard.commit();
    tokio::task::yield_now().await;
    assert_eq!(storage.read_text(&stored).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_dropped_guard_deletes_its_objects() {
    let (storage, deleted) = with_signal();
    storage.save("other", "x").await.unwrap();
    let handler = async |storage: &Storage| -> Result<(), &'static str> {
        let mut guard = Guard::new(storage);
        guard.add(storage.save("a", "1").await.unwrap());
        guard.add(storage.save("b", "2").await.unwrap());
        Err("the database is down")?;
        guard.commit();
        Ok(())
    };
    assert_eq!(handler(&storage).await, Err("the database is down"));
    deleted.notified().await;
    deleted.notified().await;
    assert_eq!(keys(&storage).await, ["other"]);
}

#[tokio::test]
async fn a_guard_of_a_cancelled_handler_deletes_its_objects() {
    let (storage, deleted) = with_signal();
    let (saved, has_saved) = oneshot::channel();
    let of_handler = storage.clone();
    let handler = tokio::spawn(async move {
        let mut guard = Guard::new(&of_handler);
        guard.add(of_handler.save("a", "1").await.unwrap());
        saved.send(()).unwrap();
        std::future::pending::<()>().await;
        guard.commit();
    });
    has_saved.await.unwrap();
    assert_eq!(keys(&storage).await, ["a"]);
    handler.abort();
    deleted.notified().await;
    assert!(keys(&storage).await.is_empty());
}

#[tokio::test]
async fn a_guard_of_a_handler_that_panics_deletes_its_objects() {
    let (storage, deleted) = with_signal();
    let of_handler = storage.clone();
    let handler = tokio::spawn(async move {
        let mut guard = Guard::new(&of_handler);
        guard.add(of_handler.save("a", "1").await.unwrap());
        assert!(of_handler.exists("missing").await.unwrap(), "the panic of this test");
        guard.commit();
    });
    assert!(handler.await.unwrap_err().is_panic());
    deleted.notified().await;
    assert!(keys(&storage).await.is_empty());
}

#[tokio::test]
async fn a_guard_leaves_an_object_that_another_request_has_replaced() {
    let storage = Memory::storage();
    let mut guard = Guard::new(&storage);
    guard.add(storage.save("a", "mine").await.unwrap());
    guard.add(storage.save("b", "mine").await.unwrap());
    storage.save("a", "of another request").await.unwrap();
    guard.roll_back().await.unwrap();
    assert_eq!(keys(&storage).await, ["a"]);
    assert_eq!(storage.read_text("a").await.unwrap(), "of another request");
}

#[tokio::test]
async fn a_roll_back_deletes_the_other_objects_if_one_deletion_fails() {
    let faults = Failing { delete_of: Some("b"), ..Failing::default() };
    let storage = faults.storage();
    let mut guard = Guard::new(&storage);
    for key in ["a", "b", "c"] {
        guard.add(storage.save(key, "x").await.unwrap());
    }
    let error = guard.roll_back().await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Timeout, Some("b")));
    assert_eq!(faults.fired(), 1);
    assert_eq!(keys(&storage).await, ["b"]);
}

#[tokio::test]
async fn a_scope_deletes_its_objects_before_it_returns_the_error() {
    let storage = Memory::storage();
    let failed = Guard::scope(&storage, async |guard| {
        guard.add(storage.save("a", "1").await?);
        guard.add(storage.save("b", "2").await?);
        Err::<(), _>(Error::not_found())
    });
    assert!(failed.await.unwrap_err().is_not_found());
    assert!(keys(&storage).await.is_empty());

    let kept = Guard::scope(&storage, async |guard| {
        Ok::<_, Error>(guard.add(storage.save("a", "1").await?))
    });
    assert_eq!(storage.read_text(kept.await.unwrap()).await.unwrap(), "1");
}

#[tokio::test]
async fn a_written_row_keeps_its_objects() {
    let (storage, _) = with_signal();
    let mut guard = Guard::new(&storage);
    let stored = guard.add(storage.save("a", "1").await.unwrap());
    let row = guard.write_row(async { Ok::<_, Error>(stored.key) }, |_| true).await.unwrap();
    drop(guard);
    tokio::task::yield_now().await;
    assert_eq!(storage.read_text(row).await.unwrap(), "1");
}

#[tokio::test]
async fn a_row_that_the_database_refused_leaves_no_object() {
    let storage = Memory::storage();
    let refused = Guard::scope(&storage, async |guard| {
        guard.add(storage.save("a", "1").await?);
        guard.write_row(async { Err::<(), _>(Error::not_found()) }, Error::is_not_found).await
    });
    assert!(refused.await.unwrap_err().is_not_found());
    assert!(keys(&storage).await.is_empty());
}

/// The connection to the database breaks after the row was committed.
#[tokio::test]
async fn a_row_that_may_exist_keeps_its_object_although_its_write_failed() {
    let storage = Memory::storage();
    let failed = Guard::scope(&storage, async |guard| {
        guard.add(storage.save("a", "1").await?);
        let write = async { Err::<(), _>(Error::new(ErrorKind::Timeout, "no response")) };
        guard.write_row(write, Error::is_not_found).await
    });
    assert_eq!(failed.await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(keys(&storage).await, ["a"]);
}

/// A client disconnects after the row was committed and before the database has confirmed it.
#[tokio::test]
async fn a_row_that_may_exist_keeps_its_object_although_its_handler_is_cancelled() {
    let (storage, _) = with_signal();
    let (committed, is_committed) = oneshot::channel();
    let of_handler = storage.clone();
    let handler = tokio::spawn(async move {
        let mut guard = Guard::new(&of_handler);
        guard.add(of_handler.save("a", "1").await.unwrap());
        let write = async {
            committed.send(()).unwrap();
            std::future::pending::<Result<(), Error>>().await
        };
        guard.write_row(write, |_| true).await
    });
    is_committed.await.unwrap();
    handler.abort();
    assert!(handler.await.unwrap_err().is_cancelled());
    tokio::task::yield_now().await;
    assert_eq!(keys(&storage).await, ["a"]);
}

#[test]
fn guards_and_futures_of_scopes_can_be_sent_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let storage = Memory::storage();
    is_send(Guard::scope(&storage, async |guard| {
        Ok::<_, Error>(guard.add(storage.save("a", "1").await?))
    }));
    let mut guard = Guard::new(&storage);
    is_send(guard.write_row(async { Ok::<_, Error>(()) }, |_| true));
    is_send(guard);
}

#[test]
fn a_guard_that_is_dropped_without_a_runtime_keeps_its_objects() {
    let storage = Memory::storage();
    let guard = on_a_runtime(async {
        let mut guard = Guard::new(&storage);
        guard.add(storage.save("a", "1").await.unwrap());
        guard
    });
    drop(guard);
    assert_eq!(on_a_runtime(storage.read_text("a")).unwrap(), "1");
}

/// Runs a future to its end on a runtime of its own, which ends afterwards.
fn on_a_runtime<T>(future: impl IntoFuture<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future.into_future())
}

#[test]
fn a_guard_that_a_runtime_drops_at_its_end_does_not_hang() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let storage = Memory::storage();
    let (saved, has_saved) = std::sync::mpsc::channel();
    let of_handler = storage.clone();
    runtime.spawn(async move {
        let mut guard = Guard::new(&of_handler);
        guard.add(of_handler.save("a", "1").await.unwrap());
        saved.send(()).unwrap();
        std::future::pending::<()>().await;
        guard.commit();
    });
    has_saved.recv().unwrap();
    drop(runtime);
}
