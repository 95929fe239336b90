//! [`Open`]: the builder that [`Storage::open`] returns.

use std::future::IntoFuture;
use std::time::SystemTime;

use futures_core::future::BoxFuture;

use crate::error::{Operation, Result};
use crate::etag::ETag;
use crate::key::{IntoKey, Key};
use crate::object::Object;
use crate::options::OpenOptions;
use crate::range::ByteRange;
use crate::storage::Storage;

impl Storage {
    /// Opens an object: see [`Open`]. Returns its metadata and its bytes.
    pub fn open(&self, key: impl IntoKey) -> Open {
        self.open_with(key, OpenOptions::default())
    }

    /// Opens an object with these options, which the setters of [`Open`] may change.
    pub fn open_with(&self, key: impl IntoKey, options: OpenOptions) -> Open {
        Open { storage: self.clone(), key: key.into_key(), options }
    }
}

/// An open that has not begun yet. Await it for an [`Object`].
///
/// Metadata and bytes are of one version, also if the object is overwritten or deleted while it is
/// read. Dropping the future or the object stops the transfer.
///
/// # Errors
/// - `NotFound` if there is no object.
/// - `PreconditionFailed` or `NotModified` if a condition does not hold.
/// - `RangeNotSatisfiable` if the object has none of the bytes; `InvalidInput` for an empty range.
/// - `InvalidKey`, `PermissionDenied`, and other errors of the backend.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// let saved = storage.save("notes/a.txt", "hello").await?;
/// let end = storage.open("notes/a.txt").range(3..).await?.text().await?;
/// assert_eq!(end, "lo");
///
/// let etag = saved.etag.expect("this driver returns one");
/// let error = storage.open("notes/a.txt").if_none_match(etag).await.unwrap_err();
/// assert!(error.is_not_modified());
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is opened until it is awaited"]
pub struct Open {
    storage: Storage,
    key: Result<Key>,
    options: OpenOptions,
}

impl Open {
    /// Reads only these bytes: `0..1024`, `1024..`, `0..=1023`, [`ByteRange::last`].
    pub fn range(self, range: impl Into<ByteRange>) -> Self {
        self.with_options(|options| options.range(range))
    }

    /// Fails with `PreconditionFailed` unless the object is this version.
    pub fn if_match(self, etag: ETag) -> Self {
        self.with_options(|options| options.if_match(etag))
    }

    /// Fails with `NotModified` if the object is still this version.
    pub fn if_none_match(self, etag: ETag) -> Self {
        self.with_options(|options| options.if_none_match(etag))
    }

    /// Fails with `NotModified` if the object has not been saved after this time, in whole seconds.
    pub fn if_modified_since(self, time: SystemTime) -> Self {
        self.with_options(|options| options.if_modified_since(time))
    }

    /// Allows an object of unknown size, which is whole regardless of the range. See
    /// [`OpenOptions`](OpenOptions#structfield.allow_unknown_size).
    pub fn allow_unknown_size(self) -> Self {
        self.with_options(OpenOptions::allow_unknown_size)
    }

    fn with_options(mut self, set: impl FnOnce(OpenOptions) -> OpenOptions) -> Self {
        self.options = set(self.options);
        self
    }

    async fn run(self) -> Result<Object> {
        let Self { storage, key, mut options } = self;
        let key = storage.checked_key(Operation::Open, key)?;
        let with_context = |error| storage.with_context(error, Operation::Open, key.as_str());
        options.range =
            options.range.map(ByteRange::validated).transpose().map_err(with_context)?;
        let object = storage.driver().open(&key, &options).await.map_err(with_context)?;
        Ok(object.with_driver(storage.info().name.clone()))
    }
}

impl IntoFuture for Open {
    type Output = Result<Object>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
