//! [`Fs`]: the driver. One line for each verb.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use storage_core::{
    Capabilities, CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Key, Link, LinkVerifier,
    ListOptions, Multipart, Object, ObjectMeta, OpenOptions, Payload, Prefix, RenameOptions,
    Result, SaveOptions, UrlOptions, async_trait,
};

use super::shared::Shared;
use super::{copy, delete, open, rename, save, stat};
use crate::blocking;
use crate::settings::Settings;
use crate::uploads::{self, Uploads};
use crate::walk;

/// Stores objects as files below a root directory. See the [crate's documentation](crate).
///
/// Clones share the open root. All methods need a Tokio runtime. A verb uses its blocking pool at
/// most once, except that a listing and a body use it once for each batch, the save of a stream
/// once for each batch and once before the first, and a streamed part of an upload once more.
#[derive(Clone)]
pub struct Fs {
    shared: Arc<Shared>,
    uploads: Uploads<Shared>,
}

impl Fs {
    pub(crate) fn open(settings: Settings) -> Result<Self> {
        let shared = Shared::open(settings)?;
        Ok(Self { uploads: Uploads::new(&shared), shared })
    }

    /// Removes files that killed processes left in the staging directory, and whose last change was
    /// at least `age` ago. Returns the number of removed files. The remains of an upload that never
    /// began or has ended count as one file.
    ///
    /// Multipart uploads in progress stay, whatever their age:
    /// [`Storage::abort_stale`](storage_core::Storage::abort_stale) removes those.
    ///
    /// Keeps the files of saves that are receiving a stream. A file of any other save exists only
    /// for a moment: use an `age` of at least one minute, so that it is kept too. The driver itself
    /// sweeps files older than one hour when it is opened, and then at most once an hour when it
    /// uses the staging directory.
    ///
    /// If the future is dropped, the sweep continues in the background.
    ///
    /// # Errors
    /// `PermissionDenied` or `Unexpected` if the staging directory cannot be read.
    pub async fn sweep(&self, age: Duration) -> Result<usize> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move |_| {
            let staged = shared.staging.sweep(age)?;
            Ok(staged + uploads::sweep(&shared, age)?)
        })
        .await
    }
}

impl fmt::Debug for Fs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fs").field("root", &self.shared.root.path()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Driver for Fs {
    fn info(&self) -> DriverInfo {
        let mut capabilities = Capabilities::full();
        self.shared.links.set_capabilities(&mut capabilities);
        DriverInfo::new("fs", self.shared.root.path().display().to_string(), capabilities)
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        save::save(&self.shared, key, payload, options).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        open::open(&self.shared, key, options).await
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        stat::stat(&self.shared, key).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        stat::exists(&self.shared, key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        delete::delete(&self.shared, key).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        storage_core::delete_one_by_one(self, keys).await
    }

    /// Does nothing: this driver has no folder markers, and a listing contains no empty directory.
    async fn delete_folder_marker(&self, _marker: &Prefix) -> Result<()> {
        Ok(())
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        walk::list(&self.shared.root, prefix, options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        copy::copy(&self.shared, from, to, options).await
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        rename::rename(&self.shared, from, to, options).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.shared.root.check(key)?;
        self.shared.links.create(key, options)
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        self.shared.links.verifier()
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        Ok(&self.uploads)
    }
}
