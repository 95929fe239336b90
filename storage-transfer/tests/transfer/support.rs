//! Storages with objects, and what a test looks at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;
use storage_core::{Memory, Storage};
use storage_fs::Fs;
use storage_transfer::{DeleteExtras, Directory, KeyEvent, OnEvent, SyncOptions};
use tempfile::TempDir;

/// Creates a storage in memory with objects: key and text.
pub(crate) async fn memory(objects: &[(&str, &str)]) -> Storage {
    let storage = Memory::storage();
    fill(&storage, objects).await;
    storage
}

/// Creates an empty storage on disk.
pub(crate) fn disk() -> (TempDir, Storage) {
    let root = tempfile::tempdir().unwrap();
    let storage = Storage::new(Fs::builder(root.path()).durable(false).build().unwrap());
    (root, storage)
}

pub(crate) async fn fill(storage: &Storage, objects: &[(&str, &str)]) {
    for (key, text) in objects {
        storage.save(*key, (*text).to_owned()).await.unwrap();
    }
}

/// Saves objects `k0000`, `k0001`, ..., each with its number.
pub(crate) async fn fill_numbered(storage: &Storage, numbers: impl Iterator<Item = usize>) {
    for number in numbers {
        storage.save(format!("k{number:05}"), number.to_string()).await.unwrap();
    }
}

/// Returns the directory that is the whole storage.
pub(crate) fn whole(storage: &Storage) -> Directory {
    Directory::new(storage, "").unwrap()
}

/// Returns options that delete all extras.
pub(crate) fn deleting() -> SyncOptions {
    let mut options = SyncOptions::new();
    options.delete = Some(DeleteExtras::new());
    options
}

/// Returns options with a change.
pub(crate) fn changed(
    mut options: SyncOptions,
    change: impl FnOnce(&mut SyncOptions),
) -> SyncOptions {
    change(&mut options);
    options
}

pub(crate) async fn text(storage: &Storage, key: &str) -> String {
    storage.open(key).await.unwrap().text().await.unwrap()
}

pub(crate) async fn keys(storage: &Storage) -> Vec<String> {
    storage.list("").keys().await.unwrap().iter().map(ToString::to_string).collect()
}

/// Returns all objects: key and text.
pub(crate) async fn texts(storage: &Storage) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for key in keys(storage).await {
        let text = text(storage, &key).await;
        texts.insert(key, text);
    }
    texts
}

/// Returns the number of unfinished uploads.
pub(crate) async fn uploads(storage: &Storage) -> usize {
    storage.multipart_uploads("").try_collect::<Vec<_>>().await.unwrap().len()
}

/// Waits until no upload is left, as the abort of a dropped copy runs on a task of its own.
pub(crate) async fn until_no_upload_is_left(storage: &Storage) {
    for _ in 0..100_000 {
        if uploads(storage).await == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("an upload is left");
}

/// The symbol, the key and the message of the error of an event.
type Event = (char, String, Option<String>);

/// The events of a run.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    pub(crate) fn on_event(&self) -> OnEvent {
        let events = Arc::clone(&self.0);
        Arc::new(move |event: &KeyEvent<'_>| {
            let message = event.error.map(|error| error.message().to_owned());
            let event = (event.outcome.symbol(), event.key.to_owned(), message);
            events.lock().unwrap().push(event);
        })
    }

    /// Returns each event as its symbol and its key, sorted by key.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut events = self.0.lock().unwrap().clone();
        events.sort_by(|a, b| a.1.cmp(&b.1));
        events.iter().map(|(symbol, key, _)| format!("{symbol} {key}")).collect()
    }

    /// Returns the message of the error of a key.
    pub(crate) fn message(&self, key: &str) -> String {
        let events = self.0.lock().unwrap();
        let found = events.iter().find(|event| event.1 == key && event.2.is_some());
        found.and_then(|event| event.2.clone()).unwrap_or_default()
    }
}
