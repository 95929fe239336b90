//! Layers that behave as some storages do.

use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::{
    Capabilities, Driver, DriverInfo, Entry, EntryStream, Error, ErrorKind, Key, ListOptions,
    Multipart, MultipartLimits, ObjectMeta, Payload, Prefix, Result, SaveMode, SaveOptions,
    Storage, forward, forward_multipart,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A layer whose objects have no ETags.
#[derive(Debug)]
struct WithoutETags {
    inner: Arc<dyn Driver>,
}

/// Wraps a storage so that a lookup returns no ETag.
pub(crate) fn without_etags(storage: &Storage) -> Storage {
    storage.layer(|inner| WithoutETags { inner })
}

#[async_trait]
impl Driver for WithoutETags {
    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let mut meta = self.inner.stat(key).await?;
        meta.etag = None;
        Ok(meta)
    }

    forward! {
        to self.inner: info, innermost, save, open, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename, url, link_verifier, multipart
    }
}

/// A layer with other capabilities.
#[derive(Debug)]
struct Lacking {
    inner: Arc<dyn Driver>,
    change: fn(&mut Capabilities),
}

/// Wraps a storage so that it reports the capabilities that the function leaves.
pub(crate) fn lacking(storage: &Storage, change: fn(&mut Capabilities)) -> Storage {
    storage.layer(|inner| Lacking { inner, change })
}

#[async_trait]
impl Driver for Lacking {
    fn info(&self) -> DriverInfo {
        let mut info = self.inner.info();
        (self.change)(&mut info.capabilities);
        info
    }

    forward! {
        to self.inner: innermost, save, open, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename, url, link_verifier, multipart
    }
}

/// A layer whose service evaluates the condition of a small save alone.
#[derive(Debug)]
struct SmallConditions {
    inner: Arc<dyn Driver>,
}

/// Wraps a storage so that it evaluates no condition of an upload in parts, as Ceph does, and
/// refuses a large save with one.
pub(crate) fn small_conditions(storage: &Storage) -> Storage {
    storage.layer(|inner| SmallConditions { inner })
}

#[async_trait]
impl Driver for SmallConditions {
    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let is_small = payload.size().is_some_and(|size| size < 8 * 1024 * 1024);
        if is_small || options.mode == SaveMode::Overwrite {
            return self.inner.save(key, payload, options).await;
        }
        Err(Error::unsupported("a large save has no condition"))
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.inner.multipart().map(|_| self as &dyn Multipart)
    }

    forward! {
        to self.inner: info, innermost, open, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename, url, link_verifier
    }
}

#[async_trait]
impl Multipart for SmallConditions {
    fn limits(&self) -> MultipartLimits {
        let mut limits = self.inner.multipart().unwrap().limits();
        (limits.create_new, limits.if_match) = (false, false);
        limits
    }

    forward_multipart! {
        to self.inner: begin, put_part, parts, complete, abort, uploads, part_url
    }
}

/// A layer whose clock is an hour ahead.
#[derive(Debug)]
struct Ahead {
    inner: Arc<dyn Driver>,
}

/// Wraps a storage so that its listings have times of the next hour.
pub(crate) fn ahead(storage: &Storage) -> Storage {
    storage.layer(|inner| Ahead { inner })
}

#[async_trait]
impl Driver for Ahead {
    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let later = |entry| match entry {
            Entry::Object(mut object) => {
                object.last_modified = object.last_modified.map(|time| time + HOUR);
                Entry::Object(object)
            }
            other => other,
        };
        self.inner.list(prefix, options).map_ok(later).boxed()
    }

    forward! {
        to self.inner: info, innermost, save, open, stat, exists, delete, delete_many,
        delete_folder_marker, copy, rename, url, link_verifier, multipart
    }
}

/// A layer with a directory that cannot be read.
#[derive(Debug)]
struct Unreadable {
    inner: Arc<dyn Driver>,
}

/// Wraps a storage so that each listing begins with the error of a directory, as that of a local
/// disk does which begins inside of that directory.
pub(crate) fn unreadable(storage: &Storage) -> Storage {
    storage.layer(|inner| Unreadable { inner })
}

#[async_trait]
impl Driver for Unreadable {
    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let error = Error::new(ErrorKind::PermissionDenied, "this directory cannot be read");
        let error = error.with_key("000/").with_listing_continues(true);
        stream::iter([Err(error)]).chain(self.inner.list(prefix, options)).boxed()
    }

    forward! {
        to self.inner: info, innermost, save, open, stat, exists, delete, delete_many,
        delete_folder_marker, copy, rename, url, link_verifier, multipart
    }
}

/// A layer whose thread sleeps before the first save of a key.
struct AsleepBeforeSave {
    inner: Arc<dyn Driver>,
    key: String,
    /// Taken by that save.
    sleep: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

/// The thread that sleeps.
pub(crate) struct Asleep {
    reached: Receiver<()>,
    wake: Sender<()>,
}

impl Asleep {
    /// Waits until it sleeps.
    pub(crate) fn reached(&self) {
        self.reached.recv().unwrap();
    }

    pub(crate) fn wake(&self) {
        self.wake.send(()).unwrap();
    }
}

/// Wraps a storage so that the thread of the first save of a key sleeps before it, with all that it
/// runs.
pub(crate) fn asleep_before_save(storage: &Storage, key: &str) -> (Storage, Asleep) {
    let ((reach, reached), (wake, woken)) = (channel(), channel());
    let sleep = Mutex::new(Some((reach, woken)));
    let storage = storage.layer(|inner| AsleepBeforeSave { inner, key: key.to_owned(), sleep });
    (storage, Asleep { reached, wake })
}

impl fmt::Debug for AsleepBeforeSave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsleepBeforeSave")
    }
}

#[async_trait]
impl Driver for AsleepBeforeSave {
    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        if key.as_str() == self.key {
            let sleep = self.sleep.lock().unwrap().take();
            if let Some((reach, woken)) = sleep {
                reach.send(()).unwrap();
                woken.recv().unwrap();
            }
        }
        self.inner.save(key, payload, options).await
    }

    forward! {
        to self.inner: info, innermost, open, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename, url, link_verifier, multipart
    }
}
