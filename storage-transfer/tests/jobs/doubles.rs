//! Layers that behave as some storages do.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use storage_core::{
    Driver, EntryStream, Error, ErrorKind, Key, ListOptions, ObjectMeta, Prefix, Result, Storage,
    forward,
};

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
