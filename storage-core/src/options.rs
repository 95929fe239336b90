//! What a verb can be asked for, as drivers receive it.
//!
//! Applications set these through the builders of [`Storage`](crate::Storage). Every struct is
//! `#[non_exhaustive]` and has a [`Default`], so that fields can be added.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind, Result};
use crate::etag::ETag;
use crate::metadata::{Metadata, ObjectMeta};
use crate::range::ByteRange;
use crate::timestamp::floor_to_second;

/// What a save does when there is an object under the key already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaveMode {
    /// Replaces it.
    #[default]
    Overwrite,
    /// Fails with `AlreadyExists`. Of any number of concurrent callers exactly one succeeds.
    CreateNew,
    /// Replaces it if it is still this version, else fails with `PreconditionFailed`; so also if
    /// there is no object.
    IfMatch(ETag),
    /// Leaves it and saves under another key, made by
    /// [`keys::alternative`](crate::keys::alternative). The returned metadata says which.
    UniqueName,
}

/// How to save.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SaveOptions {
    /// What to keep beside the bytes. `content_type` is always set when a driver sees it.
    pub metadata: Metadata,
    /// What to do about an object that is there already.
    pub mode: SaveMode,
}

/// What to open, and on which conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Which bytes; all of them if unset.
    pub range: Option<ByteRange>,
    /// Only this version (strong comparison), else `PreconditionFailed`.
    pub if_match: Option<ETag>,
    /// Only another version than this one (weak comparison), else `NotModified`.
    pub if_none_match: Option<ETag>,
    /// Only if saved after this time, in whole seconds, else `NotModified`. Ignored beside
    /// `if_none_match` (RFC 9110, section 13.1.3).
    pub if_modified_since: Option<SystemTime>,
    /// Whether the object may have [`ObjectMeta::UNKNOWN_SIZE`], for callers that only pass the
    /// bytes on. `false` by default: then a driver of a backend that states no size finds it out,
    /// by collecting the body in a temporary file for example, or fails.
    ///
    /// An object of unknown size is whole, whatever `range` asks for. Drivers may ignore this
    /// option.
    pub allow_unknown_size: bool,
}

impl OpenOptions {
    /// Whether there is any condition.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.if_match.is_some() || self.if_none_match.is_some() || self.if_modified_since.is_some()
    }

    /// Evaluates the conditions against an object, in the order of RFC 9110, section 13.2.2: for
    /// drivers whose backend does not.
    ///
    /// # Errors
    /// `PreconditionFailed` or `NotModified`.
    pub fn check(&self, meta: &ObjectMeta) -> Result<()> {
        if let Some(wanted) = &self.if_match
            && !meta.etag.as_ref().is_some_and(|etag| etag.strong_eq(wanted))
        {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!("the object is not the version {wanted}"),
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

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListOptions {
    /// Keys that have this text after the prefix are rolled up into one entry up to and including
    /// it. Never empty.
    pub delimiter: Option<String>,
    /// Only entries whose name (key or rolled-up prefix) sorts after this text, byte by byte.
    pub start_after: Option<String>,
}

/// What a copy does with the metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataDirective {
    /// The copy has the source's.
    #[default]
    Keep,
    /// The copy has this instead; all of it, not a merge.
    Replace(Metadata),
}

/// What a copy does when there is an object under the destination already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyMode {
    /// Replaces it.
    #[default]
    Overwrite,
    /// Fails with `AlreadyExists`; race-free as in [`SaveMode::CreateNew`].
    CreateNew,
}

/// How to copy within a storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyOptions {
    /// The copy's metadata.
    pub metadata: MetadataDirective,
    /// What to do about an object that is there already.
    pub mode: CopyMode,
}

/// What a link is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UrlMethod {
    /// Downloading.
    #[default]
    Get,
    /// Asking for the headers alone.
    Head,
    /// Uploading. Always signed.
    Put,
    /// Uploading from a form in a browser (S3's POST policy), `multipart/form-data`. Always signed.
    Post,
}

impl UrlMethod {
    /// The HTTP method: `"GET"`.
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

/// What link to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UrlOptions {
    /// What the link is for.
    pub method: UrlMethod,
    /// How long a signed link works. Unset: the public link, which works as long as the object is
    /// there.
    pub expires_in: Option<Duration>,
    /// The `Content-Disposition` that the answer shall have. Signed links for GET only.
    pub response_content_disposition: Option<String>,
    /// The `Content-Type` that the answer shall have. Signed links for GET only.
    pub response_content_type: Option<String>,
    /// The `Content-Type` that an upload must have. Links for uploading only. For POST, `image/*`
    /// is any type that begins with `image/`: see
    /// [`content_type_prefix`](Self::content_type_prefix).
    pub content_type: Option<String>,
    /// The exact length that an upload must have. Links for PUT only.
    pub content_length: Option<u64>,
    /// The lengths that an upload may have. Links for POST only. Never empty.
    pub content_length_range: Option<RangeInclusive<u64>>,
    /// The key names a directory, and an upload may have any name below `key/`. Links for POST
    /// only.
    pub any_name: bool,
    /// All calls within a window of this length, counted from the Unix epoch, get the same link.
    /// Signed links only.
    pub stable_for: Option<Duration>,
}

impl UrlOptions {
    /// From when a signed link counts and for how long it works from then on: from `now`, for
    /// `expires_in`; with `stable_for`, from the beginning of the window that `now` is in, and
    /// longer by the window. So a link works for at least `expires_in` from now, and the same calls
    /// in one window have the same answer.
    ///
    /// # Errors
    /// `InvalidInput` without `expires_in`.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use storage_core::UrlOptions;
    ///
    /// let mut options = UrlOptions::default();
    /// options.expires_in = Some(Duration::from_secs(60));
    /// options.stable_for = Some(Duration::from_secs(1000));
    /// let (from, lifetime) = options.signing_window(UNIX_EPOCH + Duration::from_secs(7_999))?;
    /// assert_eq!((from, lifetime), (UNIX_EPOCH + Duration::from_secs(7_000), Duration::from_secs(1_060)));
    /// # Ok::<(), storage_core::Error>(())
    /// ```
    pub fn signing_window(&self, now: SystemTime) -> Result<(SystemTime, Duration)> {
        let no_expiry = || Error::new(ErrorKind::InvalidInput, "a signed link needs expires_in");
        let expires_in = self.expires_in.ok_or_else(no_expiry)?;
        // In whole seconds, as every format of signed links counts.
        match self.stable_for.map(|window| window.as_secs()).filter(|&window| window > 0) {
            None => Ok((now, expires_in)),
            Some(window) => {
                let start = unix_seconds(now) / window * window;
                let from = SystemTime::UNIX_EPOCH + Duration::from_secs(start);
                Ok((from, expires_in.saturating_add(Duration::from_secs(window))))
            }
        }
    }

    /// What the type of an upload has to begin with, if it is not bound to one type alone:
    /// `Some("image/")` of `image/*`.
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
    fn times_before_1970_are_compared_as_they_are() {
        let at = |seconds_before: u64| SystemTime::UNIX_EPOCH - Duration::from_secs(seconds_before);
        let mut meta = ObjectMeta::new(Key::new("a").unwrap(), 1);
        meta.last_modified = Some(at(1_000));
        let since = |time| OpenOptions { if_modified_since: Some(time), ..OpenOptions::default() };
        assert!(since(at(2_000)).check(&meta).is_ok());
        assert_eq!(since(at(500)).check(&meta).unwrap_err().kind(), ErrorKind::NotModified);
    }
}
