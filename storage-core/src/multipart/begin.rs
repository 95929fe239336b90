//! [`BeginMultipart`]: the builder that [`Storage::multipart`] returns.

use std::future::IntoFuture;
use std::time::SystemTime;

use futures_core::future::BoxFuture;

use crate::checksum::Checksum;
use crate::content_type;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::etag::ETag;
use crate::key::{IntoKey, Key};
use crate::metadata::Metadata;
use crate::multipart::{Multipart, MultipartLimits, MultipartOptions, MultipartUpload, UploadId};
use crate::options::SaveMode;
use crate::storage::Storage;

impl Storage {
    /// Begins a multipart upload of an object: see [`BeginMultipart`] and [`MultipartUpload`].
    pub fn multipart(&self, key: impl IntoKey) -> BeginMultipart {
        self.multipart_with(key, MultipartOptions::default())
    }

    /// Begins a multipart upload with these options, which the setters of [`BeginMultipart`] may
    /// change.
    pub fn multipart_with(&self, key: impl IntoKey, options: MultipartOptions) -> BeginMultipart {
        BeginMultipart { storage: self.clone(), key: key.into_key(), options }
    }

    /// Returns a handle on an upload that was begun before, in any process. Sends no request. If
    /// the key has no such upload, `put_part`, `parts` and `complete` of the handle fail with
    /// `NotFound`.
    ///
    /// # Errors
    /// `InvalidKey`. `Unsupported` if the driver has no multipart uploads.
    pub fn resume_multipart(&self, key: impl IntoKey, id: UploadId) -> Result<MultipartUpload> {
        let key = self.checked_key(Operation::PutPart, key.into_key())?;
        let multipart = self.driver().multipart().map(drop);
        multipart.map_err(|error| self.with_context(error, Operation::PutPart, key.as_str()))?;
        Ok(MultipartUpload::resumed(self.clone(), key, id))
    }

    /// Returns what this storage accepts in multipart uploads.
    ///
    /// # Errors
    /// `Unsupported` if the driver has no multipart uploads, `PermissionDenied` if the storage is
    /// read-only.
    pub fn multipart_limits(&self) -> Result<MultipartLimits> {
        let multipart = self.driver().multipart();
        let limits = multipart.map(Multipart::limits);
        limits.map_err(|error| self.with_driver(error, Operation::BeginMultipart))
    }
}

/// The beginning of a multipart upload. Await it for a [`MultipartUpload`].
///
/// Nothing is visible under the key before the upload is completed. An upload that is neither
/// completed nor aborted stays, and on S3 its parts are billed:
/// [`Storage::abort_stale`] removes it.
///
/// If the future is dropped, an upload may remain, which [`Storage::abort_stale`] removes.
///
/// Without a content type, one is guessed from the key.
///
/// # Errors
/// - `Unsupported` if the driver has no multipart uploads, or not with this mode or checksum.
/// - `InvalidKey` if the key breaks a rule or the backend cannot hold it.
/// - `InvalidInput` for a part size outside of the [limits](MultipartLimits), for metadata that
///   breaks a rule, and for the mode `UniqueName`; `TooLarge` if the backend stores no object of
///   this size.
/// - `StorageFull`, `PermissionDenied`, and other errors of the backend.
#[derive(Debug)]
#[must_use = "nothing is begun until it is awaited"]
pub struct BeginMultipart {
    storage: Storage,
    key: Result<Key>,
    options: MultipartOptions,
}

impl BeginMultipart {
    /// Makes completion fail with `AlreadyExists` if there is an object under the key by then.
    pub fn create_new(self) -> Self {
        self.with_options(|options| options.mode(SaveMode::CreateNew))
    }

    /// Makes completion fail with `PreconditionFailed` unless the object under the key is this
    /// version then.
    pub fn if_match(self, etag: ETag) -> Self {
        self.with_options(|options| options.mode(SaveMode::IfMatch(etag)))
    }

    /// Sets the size of each part but the last, in bytes. Defaults to 8 MiB, or more if the
    /// [size](Self::size) needs it, or 16 MiB if the size is not known.
    pub fn part_size(self, bytes: u64) -> Self {
        self.with_options(|options| options.part_size(bytes))
    }

    /// Declares the size of the object in bytes. Completion fails with `Integrity` if the parts
    /// have another one.
    pub fn size(self, bytes: u64) -> Self {
        self.with_options(|options| options.size(bytes))
    }

    /// Declares the checksum of the object. Completion fails with `Integrity` if the parts have
    /// another one. Only CRC-64/NVME and CRC-32C are possible, because they can be composed from
    /// those of the parts. Needs the feature `checksums`.
    pub fn expect_checksum(self, checksum: Checksum) -> Self {
        self.with_options(|options| options.checksum(checksum))
    }

    /// Sets all metadata at once. Later setters change single fields.
    pub fn metadata(self, metadata: Metadata) -> Self {
        self.with_options(|options| options.metadata(metadata))
    }

    /// Sets `Content-Type` instead of guessing it.
    pub fn content_type(self, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.content_type(value))
    }

    /// Sets `Content-Encoding`. The bytes are stored as given.
    pub fn content_encoding(self, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.content_encoding(value))
    }

    /// Sets `Content-Disposition`.
    pub fn content_disposition(self, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.content_disposition(value))
    }

    /// Sets `Content-Language`.
    pub fn content_language(self, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.content_language(value))
    }

    /// Sets `Cache-Control`.
    pub fn cache_control(self, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.cache_control(value))
    }

    /// Sets `Expires`.
    pub fn expires(self, at: SystemTime) -> Self {
        self.with_metadata(|metadata| metadata.expires(at))
    }

    /// Adds a name and a value to the user metadata.
    pub fn user_metadata(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.user(name, value))
    }

    fn with_options(mut self, set: impl FnOnce(MultipartOptions) -> MultipartOptions) -> Self {
        self.options = set(self.options);
        self
    }

    fn with_metadata(mut self, set: impl FnOnce(Metadata) -> Metadata) -> Self {
        self.options.metadata = set(self.options.metadata);
        self
    }

    async fn run(self) -> Result<MultipartUpload> {
        let Self { storage, key, mut options } = self;
        let key = storage.checked_key(Operation::BeginMultipart, key)?;
        let begun = async {
            let multipart = storage.driver().multipart()?;
            options = checked(&key, options, &multipart.limits())?;
            multipart.begin(&key, &options).await
        };
        match begun.await {
            Ok(id) => Ok(MultipartUpload::begun(storage, key, id)),
            Err(error) => Err(storage.with_context(error, Operation::BeginMultipart, key.as_str())),
        }
    }
}

/// Completes the options, and refuses what the backend cannot do before it is asked to.
fn checked(
    key: &Key,
    mut options: MultipartOptions,
    limits: &MultipartLimits,
) -> Result<MultipartOptions> {
    let part_size = match options.part_size {
        Some(part_size) => limits.check(part_size, options.size).map(|()| part_size)?,
        None => limits.part_size(options.size)?,
    };
    options.part_size = Some(part_size);
    check_mode(&options.mode, limits)?;
    if let Some(checksum) = &options.checksum {
        check_checksum(checksum, limits)?;
    }
    options.metadata.content_type.get_or_insert_with(|| content_type::of_key(key));
    options.metadata = options.metadata.validated()?;
    Ok(options)
}

fn check_mode(mode: &SaveMode, limits: &MultipartLimits) -> Result<()> {
    let refused = match mode {
        SaveMode::Overwrite => return Ok(()),
        SaveMode::CreateNew if limits.create_new => return Ok(()),
        SaveMode::IfMatch(_) if limits.if_match => return Ok(()),
        SaveMode::CreateNew => "create_new",
        SaveMode::IfMatch(_) => "if_match",
        SaveMode::UniqueName => {
            let message = "a multipart upload needs its key at the beginning: make a unique one \
                           with keys::alternative";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    };
    Err(Error::unsupported(format!(
        "this storage cannot complete a multipart upload with {refused}: begin without it, and compare \
         what is under the key before you complete"
    )))
}

fn check_checksum(checksum: &Checksum, limits: &MultipartLimits) -> Result<()> {
    if !checksum.algorithm().is_composable() {
        return Err(Error::unsupported(format!(
            "{} cannot be composed from the checksums of parts: declare crc64nvme or crc32c, or \
             verify the object after the upload",
            checksum.algorithm()
        )));
    }
    if limits.checksum {
        return Ok(());
    }
    Err(Error::unsupported(
        "this storage does not verify the checksum of a multipart upload: begin without it, and \
         verify the object afterwards",
    ))
}

impl IntoFuture for BeginMultipart {
    type Output = Result<MultipartUpload>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
