//! The options of the verbs, as drivers receive them.
//!
//! Applications set them through the builders of [`Storage`](crate::Storage), or all at once:
//! `storage.open_with(key, OpenOptions::new().range(0..10))`. Every struct is `#[non_exhaustive]`,
//! has a [`Default`] and a setter for each field.

use std::ops::{Range, RangeInclusive};
use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind, Result};
use crate::etag::ETag;
use crate::metadata::{Metadata, ObjectMeta};
use crate::range::ByteRange;
use crate::timestamp::{floor_to_second, unix_seconds};

/// What a save does when there is an object under the key already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaveMode {
    /// Replaces it.
    #[default]
    Overwrite,
    /// Fails with `AlreadyExists`. Of any number of concurrent callers exactly one succeeds.
    CreateNew,
    /// Replaces it if it is still this version. Fails with `PreconditionFailed` if it is another
    /// version or if there is no object.
    IfMatch(ETag),
    /// Leaves it and saves under another key, made by
    /// [`keys::alternative`](crate::keys::alternative). The returned metadata contains it.
    UniqueName,
}

/// How to save.
///
/// ```
/// use storage_core::{Memory, Metadata, SaveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// let options = SaveOptions::new().metadata(Metadata::new().user("by", "ada")).create_new();
/// let meta = Memory::storage().save_with("a.txt", "hello", options).await?;
/// assert_eq!(meta.metadata.user_metadata["by"], "ada");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SaveOptions {
    /// The object's metadata. A driver always receives a `content_type`.
    pub metadata: Metadata,
    /// What to do if there is an object under the key. Defaults to `Overwrite`.
    pub mode: SaveMode,
}

impl SaveOptions {
    /// Returns the defaults: no metadata, overwriting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets all metadata.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Sets what to do if there is an object under the key.
    #[must_use]
    pub fn mode(mut self, mode: SaveMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets [`SaveMode::CreateNew`].
    #[must_use]
    pub fn create_new(self) -> Self {
        self.mode(SaveMode::CreateNew)
    }

    /// Sets [`SaveMode::IfMatch`].
    #[must_use]
    pub fn if_match(self, etag: ETag) -> Self {
        self.mode(SaveMode::IfMatch(etag))
    }

    /// Sets [`SaveMode::UniqueName`].
    #[must_use]
    pub fn unique_name(self) -> Self {
        self.mode(SaveMode::UniqueName)
    }
}

/// Which bytes to open, and on which conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The bytes to read. Defaults to all of them.
    pub range: Option<ByteRange>,
    /// Fails with `PreconditionFailed` unless the object is this version (strong comparison,
    /// RFC 9110, section 8.8.3.2).
    pub if_match: Option<ETag>,
    /// Fails with `NotModified` if the object is this version (weak comparison).
    pub if_none_match: Option<ETag>,
    /// Fails with `NotModified` unless the object was saved after this time, in whole seconds.
    /// Ignored if `if_none_match` is set (RFC 9110, section 13.1.3).
    pub if_modified_since: Option<SystemTime>,
    /// Whether the object may have [`ObjectMeta::UNKNOWN_SIZE`], for callers that only pass the
    /// bytes on. Defaults to `false`: if the backend states no size, the driver determines it, for
    /// example by collecting the body in a temporary file, or fails.
    ///
    /// An object of unknown size is whole, regardless of `range`. Drivers may ignore this option.
    pub allow_unknown_size: bool,
    /// Whether the object may be whole although a range is requested, if its body is in memory or
    /// in a file, for callers that read it at several positions. Defaults to `false`.
    ///
    /// An empty object is then returned too, although no range of it is satisfiable. Drivers and
    /// layers may ignore this option. A layer that changes bodies clears it.
    pub allow_whole: bool,
}

impl OpenOptions {
    /// Returns the defaults: all bytes, no condition.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the bytes to read: `0..1024`, `1024..`, `0..=1023`, [`ByteRange::last`].
    #[must_use]
    pub fn range(mut self, range: impl Into<ByteRange>) -> Self {
        self.range = Some(range.into());
        self
    }

    /// Sets the version that the object must have.
    #[must_use]
    pub fn if_match(mut self, etag: ETag) -> Self {
        self.if_match = Some(etag);
        self
    }

    /// Sets the version that the object must not have.
    #[must_use]
    pub fn if_none_match(mut self, etag: ETag) -> Self {
        self.if_none_match = Some(etag);
        self
    }

    /// Sets the time after which the object must have been saved.
    #[must_use]
    pub fn if_modified_since(mut self, time: SystemTime) -> Self {
        self.if_modified_since = Some(time);
        self
    }

    /// Allows an object of [unknown size](ObjectMeta::UNKNOWN_SIZE), which is whole regardless of
    /// the range.
    #[must_use]
    pub fn allow_unknown_size(mut self) -> Self {
        self.allow_unknown_size = true;
        self
    }

    /// Allows a body in memory or in a file to be whole although a range is requested.
    #[must_use]
    pub fn allow_whole(mut self) -> Self {
        self.allow_whole = true;
        self
    }

    /// Returns the positions to return of a body in memory or in a file that has this size as a
    /// whole: those of the range, or all with [`allow_whole`](Self#structfield.allow_whole). For
    /// drivers.
    ///
    /// # Errors
    /// `RangeNotSatisfiable` if the range has no byte in common with the object.
    pub fn positions_in_whole(&self, size: u64) -> Result<Range<u64>> {
        match self.range {
            Some(range) if !self.allow_whole => range.resolve(size),
            _ => Ok(0..size),
        }
    }

    /// Returns whether there is any condition.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.if_match.is_some() || self.if_none_match.is_some() || self.if_modified_since.is_some()
    }

    /// Evaluates the conditions against an object, in the order of RFC 9110, section 13.2.2. For
    /// drivers whose backend has no conditions.
    ///
    /// # Errors
    /// `PreconditionFailed` or `NotModified`.
    pub fn check(&self, meta: &ObjectMeta) -> Result<()> {
        if let Some(wanted) = &self.if_match
            && !meta.etag.as_ref().is_some_and(|etag| etag.strong_eq(wanted))
        {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!("the object does not have the ETag {wanted}"),
            ));
        }
        let unchanged = match (&self.if_none_match, self.if_modified_since, meta.last_modified) {
            (Some(known), _, _) => meta.etag.as_ref().is_some_and(|etag| etag.weak_eq(known)),
            (None, Some(since), Some(modified)) => {
                floor_to_second(modified) <= floor_to_second(since)
            }
            _ => false,
        };
        if unchanged {
            return Err(Error::new(ErrorKind::NotModified, "the object has not changed"));
        }
        Ok(())
    }
}

/// Which entries to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListOptions {
    /// Rolls up keys that have this text after the prefix into one entry, which ends with it.
    /// Defaults to `None`, which lists all levels. A driver never receives an empty delimiter.
    pub delimiter: Option<String>,
    /// Lists only entries whose name (key or rolled-up prefix) sorts after this text, byte by byte.
    pub start_after: Option<String>,
}

impl ListOptions {
    /// Returns the defaults: all levels, from the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the text at which keys are rolled up.
    #[must_use]
    pub fn delimiter(mut self, delimiter: impl Into<String>) -> Self {
        self.delimiter = Some(delimiter.into());
        self
    }

    /// Sets the name after which the listing begins.
    #[must_use]
    pub fn start_after(mut self, name: impl Into<String>) -> Self {
        self.start_after = Some(name.into());
        self
    }
}

/// What a copy does with the metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataDirective {
    /// Copies the metadata of the source.
    #[default]
    Keep,
    /// Replaces all metadata of the source by this.
    Replace(Metadata),
}

impl From<Metadata> for MetadataDirective {
    fn from(metadata: Metadata) -> Self {
        Self::Replace(metadata)
    }
}

/// What a copy or a rename does if there is an object under the destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyMode {
    /// Replaces it.
    #[default]
    Overwrite,
    /// Fails with `AlreadyExists`. Of any number of concurrent callers exactly one succeeds.
    CreateNew,
}

/// How to copy within a storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyOptions {
    /// The copy's metadata. Defaults to the source's.
    pub metadata: MetadataDirective,
    /// What to do if there is an object under the destination. Defaults to `Overwrite`.
    pub mode: CopyMode,
    /// Fails with `PreconditionFailed` unless the source is this version (strong comparison,
    /// RFC 9110, section 8.8.3.2).
    pub if_source_match: Option<ETag>,
}

impl CopyOptions {
    /// Returns the defaults: keeping the metadata, overwriting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what to do with the metadata. A [`Metadata`] replaces the source's.
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<MetadataDirective>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// Sets what to do if there is an object under the destination.
    #[must_use]
    pub fn mode(mut self, mode: CopyMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets [`CopyMode::CreateNew`].
    #[must_use]
    pub fn create_new(self) -> Self {
        self.mode(CopyMode::CreateNew)
    }

    /// Sets the version that the source must have.
    #[must_use]
    pub fn if_source_match(mut self, etag: ETag) -> Self {
        self.if_source_match = Some(etag);
        self
    }

    /// Evaluates the condition against the source. For drivers whose backend has no conditions.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    pub fn check_source(&self, source: &ObjectMeta) -> Result<()> {
        check_source(self.if_source_match.as_ref(), source)
    }
}

/// How to rename within a storage.
///
/// ```
/// use storage_core::{Memory, RenameOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = Memory::storage();
/// # storage.save("a.txt", "hello").await?;
/// storage.rename_with("a.txt", "b.txt", RenameOptions::new().create_new()).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenameOptions {
    /// What to do if there is an object under the destination. Defaults to `Overwrite`.
    pub mode: CopyMode,
    /// Fails with `PreconditionFailed` unless the source is this version (strong comparison,
    /// RFC 9110, section 8.8.3.2).
    pub if_source_match: Option<ETag>,
}

impl RenameOptions {
    /// Returns the defaults: overwriting, no condition.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what to do if there is an object under the destination.
    #[must_use]
    pub fn mode(mut self, mode: CopyMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets [`CopyMode::CreateNew`].
    #[must_use]
    pub fn create_new(self) -> Self {
        self.mode(CopyMode::CreateNew)
    }

    /// Sets the version that the source must have.
    #[must_use]
    pub fn if_source_match(mut self, etag: ETag) -> Self {
        self.if_source_match = Some(etag);
        self
    }

    /// Evaluates the condition against the source. For drivers whose backend has no conditions.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    pub fn check_source(&self, source: &ObjectMeta) -> Result<()> {
        check_source(self.if_source_match.as_ref(), source)
    }

    /// Returns the result of a rename of an object onto itself, which changes nothing. For drivers.
    ///
    /// # Errors
    /// `PreconditionFailed` if the object is another version than the condition demands.
    /// `AlreadyExists` with [`CopyMode::CreateNew`].
    pub fn rename_onto_itself(&self, object: &ObjectMeta) -> Result<()> {
        self.check_source(object)?;
        match self.mode {
            CopyMode::Overwrite => Ok(()),
            CopyMode::CreateNew => Err(Error::new(
                ErrorKind::AlreadyExists,
                "the object exists already, because source and destination are the same",
            )),
        }
    }
}

fn check_source(wanted: Option<&ETag>, source: &ObjectMeta) -> Result<()> {
    match wanted {
        Some(wanted) if !source.etag.as_ref().is_some_and(|etag| etag.strong_eq(wanted)) => {
            Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!("the source is not the version {wanted}"),
            ))
        }
        _ => Ok(()),
    }
}

/// The HTTP method that a link is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UrlMethod {
    /// Downloading.
    #[default]
    Get,
    /// Reading the headers alone.
    Head,
    /// Uploading. Always signed.
    Put,
    /// Uploading from a form in a browser as `multipart/form-data` (S3's POST policy). Always
    /// signed.
    Post,
}

impl UrlMethod {
    /// Returns the HTTP method: `"GET"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
        }
    }
}

/// Which link to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UrlOptions {
    /// The HTTP method that the link is for. Defaults to `Get`.
    pub method: UrlMethod,
    /// How long a signed link works, at least one second. Links count whole seconds: a fraction of
    /// a second is dropped, and on S3 a link may stop working up to one second early. Defaults to
    /// `None`, which makes the public link. It works as long as the object exists.
    pub expires_in: Option<Duration>,
    /// The `Content-Disposition` of the response. Signed links for GET only.
    pub response_content_disposition: Option<String>,
    /// The `Content-Type` of the response. Signed links for GET only.
    pub response_content_type: Option<String>,
    /// The `Content-Type` that an upload must have. Links for uploading only. For POST, `image/*`
    /// is any type that begins with `image/`: see
    /// [`content_type_prefix`](Self::content_type_prefix).
    pub content_type: Option<String>,
    /// The exact length in bytes that an upload must have. Links for PUT only.
    pub content_length: Option<u64>,
    /// The lengths in bytes that an upload may have. Links for POST only. A driver never receives
    /// an empty range.
    pub content_length_range: Option<RangeInclusive<u64>>,
    /// Whether the key names a directory, so that an upload may have any name below `key/`. Links
    /// for POST only.
    pub any_name: bool,
    /// The length of a window, in whole seconds counted from the Unix epoch, in which all calls
    /// return the same link. Defaults to `None`: each call returns a link of its own. Signed links
    /// only.
    pub stable_for: Option<Duration>,
}

impl UrlOptions {
    /// Returns the defaults: the public link for GET.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the HTTP method that the link is for.
    #[must_use]
    pub fn method(mut self, method: UrlMethod) -> Self {
        self.method = method;
        self
    }

    /// Sets how long the link works, which makes it a signed link.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }

    /// Sets the `Content-Disposition` of the response.
    #[must_use]
    pub fn response_content_disposition(mut self, value: impl Into<String>) -> Self {
        self.response_content_disposition = Some(value.into());
        self
    }

    /// Sets the `Content-Type` of the response.
    #[must_use]
    pub fn response_content_type(mut self, value: impl Into<String>) -> Self {
        self.response_content_type = Some(value.into());
        self
    }

    /// Sets the `Content-Type` that an upload must have.
    #[must_use]
    pub fn content_type(mut self, value: impl Into<String>) -> Self {
        self.content_type = Some(value.into());
        self
    }

    /// Sets the exact length in bytes that an upload must have.
    #[must_use]
    pub fn content_length(mut self, bytes: u64) -> Self {
        self.content_length = Some(bytes);
        self
    }

    /// Sets the lengths in bytes that an upload may have.
    #[must_use]
    pub fn content_length_range(mut self, bytes: RangeInclusive<u64>) -> Self {
        self.content_length_range = Some(bytes);
        self
    }

    /// Allows an upload to have any name below `key/`.
    #[must_use]
    pub fn any_name(mut self) -> Self {
        self.any_name = true;
        self
    }

    /// Sets the window in which all calls return the same link.
    #[must_use]
    pub fn stable_for(mut self, window: Duration) -> Self {
        self.stable_for = Some(window);
        self
    }

    /// Returns when the lifetime of a signed link begins, and how long it is. For drivers.
    ///
    /// The lifetime begins at `now` and lasts `expires_in`. With `stable_for` it begins with the
    /// window that contains `now`, and is longer by the window. So the lifetime ends at least
    /// `expires_in` after `now`, and equal calls in one window return equal links. A driver whose
    /// format counts whole seconds may round both down.
    ///
    /// # Errors
    /// `InvalidInput` if `expires_in` is unset.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use storage_core::UrlOptions;
    ///
    /// let seconds = Duration::from_secs;
    /// let options = UrlOptions::new().expires_in(seconds(60)).stable_for(seconds(1_000));
    /// let (from, lifetime) = options.signing_window(UNIX_EPOCH + seconds(7_999))?;
    /// assert_eq!((from, lifetime), (UNIX_EPOCH + seconds(7_000), seconds(1_060)));
    /// # Ok::<(), storage_core::Error>(())
    /// ```
    pub fn signing_window(&self, now: SystemTime) -> Result<(SystemTime, Duration)> {
        let no_expiry = || Error::new(ErrorKind::InvalidInput, "a signed link needs expires_in");
        let expires_in = self.expires_in.ok_or_else(no_expiry)?;
        // The window counts whole seconds, as all formats of signed links do.
        match self.stable_for.map(|window| window.as_secs()).filter(|&window| window > 0) {
            None => Ok((now, expires_in)),
            Some(window) => {
                let start = unix_seconds(now) / window * window;
                let from = SystemTime::UNIX_EPOCH + Duration::from_secs(start);
                Ok((from, expires_in.saturating_add(Duration::from_secs(window))))
            }
        }
    }

    /// Returns the text with which the type of an upload must begin, if `content_type` is a
    /// pattern: `Some("image/")` for `image/*`.
    #[must_use]
    pub fn content_type_prefix(&self) -> Option<&str> {
        self.content_type.as_deref()?.strip_suffix('*').filter(|prefix| prefix.ends_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;

    #[test]
    fn times_before_1970_are_compared_without_clamping() {
        let at = |seconds_before: u64| SystemTime::UNIX_EPOCH - Duration::from_secs(seconds_before);
        let mut meta = ObjectMeta::new(Key::new("a").unwrap(), 1);
        meta.last_modified = Some(at(1_000));
        let since = |time| OpenOptions::new().if_modified_since(time);
        assert!(since(at(2_000)).check(&meta).is_ok());
        assert_eq!(since(at(500)).check(&meta).unwrap_err().kind(), ErrorKind::NotModified);
    }
}
