//! [`Metadata`], which the caller of a save sets, and [`ObjectMeta`], which describes a stored
//! object.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::checksum::Checksums;
use crate::error::{Error, ErrorKind, Result};
use crate::etag::ETag;
use crate::key::Key;
use crate::response::ResponseMeta;
use crate::timestamp;

/// The maximum length of all names and values of user metadata together, in bytes (S3's limit,
/// "Working with object metadata").
pub const MAX_USER_METADATA_BYTES: usize = 2048;

/// The maximum length of one header of [`Metadata`], in bytes.
pub const MAX_HEADER_BYTES: usize = 1024;

/// The headers with which an object is served, and user metadata.
///
/// A driver keeps each field or fails with an error; it never drops one silently.
///
/// ```
/// use storage_core::Metadata;
///
/// let metadata = Metadata::new()
///     .content_type("text/css")
///     .cache_control("public, max-age=31536000, immutable")
///     .user("author", "ada");
/// assert_eq!(metadata.user_metadata["author"], "ada");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Metadata {
    /// `Content-Type`. Guessed when an object is saved without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `Content-Encoding`: how the stored bytes are encoded (`gzip`). The bytes are stored as
    /// given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// `Content-Disposition`: `attachment; filename="report.pdf"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// `Content-Language`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// `Cache-Control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// `Expires`, in whole seconds as in HTTP; a fraction is cut off.
    #[serde(skip_serializing_if = "Option::is_none", with = "timestamp::option")]
    pub expires: Option<SystemTime>,
    /// User metadata. Names are HTTP tokens (RFC 9110, section 5.6.2) in lower case, because they
    /// are sent in header names. Values are text without control characters or surrounding white
    /// space. Names and values together have at most [`MAX_USER_METADATA_BYTES`] bytes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user_metadata: BTreeMap<String, String>,
}

impl Metadata {
    /// Creates metadata with no field set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `Content-Type`.
    #[must_use]
    pub fn content_type(mut self, value: impl Into<String>) -> Self {
        self.content_type = Some(value.into());
        self
    }

    /// Sets `Content-Encoding`.
    #[must_use]
    pub fn content_encoding(mut self, value: impl Into<String>) -> Self {
        self.content_encoding = Some(value.into());
        self
    }

    /// Sets `Content-Disposition`.
    #[must_use]
    pub fn content_disposition(mut self, value: impl Into<String>) -> Self {
        self.content_disposition = Some(value.into());
        self
    }

    /// Sets `Content-Language`.
    #[must_use]
    pub fn content_language(mut self, value: impl Into<String>) -> Self {
        self.content_language = Some(value.into());
        self
    }

    /// Sets `Cache-Control`.
    #[must_use]
    pub fn cache_control(mut self, value: impl Into<String>) -> Self {
        self.cache_control = Some(value.into());
        self
    }

    /// Sets `Expires`.
    #[must_use]
    pub fn expires(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// Adds user metadata. The name is converted to lower case.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.user_metadata.insert(name.into().to_ascii_lowercase(), value.into());
        self
    }

    /// Returns whether no field is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Sets each unset field to the one of `defaults`.
    pub fn fill_from(&mut self, defaults: &Self) {
        fn fill<T: Clone>(slot: &mut Option<T>, default: &Option<T>) {
            if slot.is_none() {
                slot.clone_from(default);
            }
        }
        fill(&mut self.content_type, &defaults.content_type);
        fill(&mut self.content_encoding, &defaults.content_encoding);
        fill(&mut self.content_disposition, &defaults.content_disposition);
        fill(&mut self.content_language, &defaults.content_language);
        fill(&mut self.cache_control, &defaults.cache_control);
        fill(&mut self.expires, &defaults.expires);
        for (name, value) in &defaults.user_metadata {
            self.user_metadata.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }

    /// Checks every value and cuts `expires` to whole seconds, so that each driver stores the same.
    ///
    /// [`Storage`](crate::Storage) calls it; a driver need not.
    ///
    /// # Errors
    /// `InvalidInput`; the message names the field and the reason.
    pub fn validated(self) -> Result<Self> {
        let (valid, refused) = self.valid_part();
        refused.into_iter().next().map_or(Ok(valid), Err)
    }

    /// Removes each field that [`validated`](Self::validated) refuses. Returns the rest, which is
    /// valid, and an error of kind `InvalidInput` for each field that was removed: which one, and
    /// why.
    ///
    /// Use it to copy objects of other programs, whose metadata may break a rule. If the user
    /// metadata is too large in total, all of it is removed.
    ///
    /// ```
    /// use storage_core::Metadata;
    ///
    /// let (valid, removed) = Metadata::new().content_type("jpg").cache_control("no-store").valid_part();
    /// assert_eq!(valid, Metadata::new().cache_control("no-store"));
    /// assert!(removed[0].message().starts_with("content_type: "));
    /// ```
    #[must_use]
    pub fn valid_part(mut self) -> (Self, Vec<Error>) {
        let mut refused = Vec::new();
        let headers = [
            ("content_type", &mut self.content_type),
            ("content_encoding", &mut self.content_encoding),
            ("content_disposition", &mut self.content_disposition),
            ("content_language", &mut self.content_language),
            ("cache_control", &mut self.cache_control),
        ];
        for (name, slot) in headers {
            if let Err(error) = slot.as_deref().map_or(Ok(()), |value| check_header(name, value)) {
                *slot = None;
                refused.push(error);
            }
        }
        self.user_metadata.retain(|name, value| match check_user_entry(name, value) {
            Ok(()) => true,
            Err(error) => {
                refused.push(error);
                false
            }
        });
        if let Err(error) = check_user_size(&self.user_metadata) {
            self.user_metadata.clear();
            refused.push(error);
        }
        self.expires = self
            .expires
            .and_then(|time| timestamp::whole_seconds(time).map_err(|e| refused.push(e)).ok());
        (self, refused)
    }
}

fn bad(field: &str, reason: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{field}: {reason}"))
}

fn check_header(name: &str, value: &str) -> Result<()> {
    if value.is_empty() {
        return Err(bad(name, "the value is empty; leave it unset instead"));
    }
    if value.len() > MAX_HEADER_BYTES {
        return Err(bad(name, "the value has more than 1024 bytes"));
    }
    // RFC 9110, section 5.5: a field value has visible ASCII and spaces inside. Servers change or
    // refuse any other character.
    let visible = |byte: u8| (0x20..0x7f).contains(&byte);
    if !value.bytes().all(visible) {
        return Err(bad(
            name,
            "the value contains a control or non-ASCII character; encode it (RFC 8187 for file names)",
        ));
    }
    if value.trim() != value {
        return Err(bad(name, "the value begins or ends with a space"));
    }
    if name == "content_type" && !value.contains('/') {
        return Err(bad(name, "write type/subtype, as in image/png"));
    }
    Ok(())
}

fn check_user_entry(name: &str, value: &str) -> Result<()> {
    let field = format!("user_metadata {name:?}");
    // RFC 9110, section 5.6.2 (token), in lower case.
    let token = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    if name.is_empty() || !name.bytes().all(token) {
        return Err(bad(
            &field,
            "a name has lower-case ASCII letters, digits and !#$%&'*+-.^_`|~ only",
        ));
    }
    if value.chars().any(char::is_control) {
        return Err(bad(&field, "a value has no control characters"));
    }
    if value.trim() != value {
        return Err(bad(&field, "a value does not begin or end with white space"));
    }
    Ok(())
}

fn check_user_size(entries: &BTreeMap<String, String>) -> Result<()> {
    let total: usize = entries.iter().map(|(name, value)| name.len() + value.len()).sum();
    if total > MAX_USER_METADATA_BYTES {
        return Err(bad(
            "user_metadata",
            &format!("{total} bytes of names and values; at most {MAX_USER_METADATA_BYTES} fit"),
        ));
    }
    Ok(())
}

/// The metadata of a stored object.
///
/// Serialised with these field names; the fields of `metadata` stand beside the others. `response`
/// is neither serialised nor compared, because it differs from one request for the same object to
/// the next.
#[derive(Debug, Clone, Eq, Serialize)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// The object's key.
    pub key: Key,
    /// The length of the stored bytes. [`UNKNOWN_SIZE`](Self::UNKNOWN_SIZE) only in objects that
    /// were opened with
    /// [`OpenOptions::allow_unknown_size`](crate::OpenOptions::allow_unknown_size).
    pub size: u64,
    /// The validator of the version. Strong if the driver can guarantee it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// When the version was saved.
    #[serde(skip_serializing_if = "Option::is_none", with = "timestamp::option")]
    pub last_modified: Option<SystemTime>,
    /// The metadata that was saved with the bytes.
    #[serde(flatten)]
    pub metadata: Metadata,
    /// The checksums that were computed or verified when the object was saved.
    #[serde(skip_serializing_if = "Checksums::is_empty")]
    pub checksums: Checksums,
    /// The freshness that the HTTP response with this metadata states. `None` from drivers that
    /// read no HTTP responses, and in listings. Not stored.
    #[serde(skip)]
    pub response: Option<ResponseMeta>,
}

impl PartialEq for ObjectMeta {
    fn eq(&self, other: &Self) -> bool {
        // Names every field, so that a new one is not forgotten.
        let Self { key, size, etag, last_modified, metadata, checksums, response: _ } = self;
        *key == other.key
            && *size == other.size
            && *etag == other.etag
            && *last_modified == other.last_modified
            && *metadata == other.metadata
            && *checksums == other.checksums
    }
}

impl ObjectMeta {
    /// The `size` of an object whose size is not known before its last byte, as of an HTTP response
    /// without a length. Larger than every object, so that code that expects a size fails instead
    /// of losing bytes.
    pub const UNKNOWN_SIZE: u64 = u64::MAX;

    /// Returns the size, or `None` for [`UNKNOWN_SIZE`](Self::UNKNOWN_SIZE).
    #[must_use]
    pub fn known_size(&self) -> Option<u64> {
        (self.size != Self::UNKNOWN_SIZE).then_some(self.size)
    }

    /// Creates metadata with a key and a size. Set other fields directly.
    #[must_use]
    pub fn new(key: Key, size: u64) -> Self {
        Self {
            key,
            size,
            etag: None,
            last_modified: None,
            metadata: Metadata::new(),
            checksums: Checksums::new(),
            response: None,
        }
    }

    /// Returns the ETag if it is strong, which proves that the bytes of two responses are of one
    /// version.
    #[must_use]
    pub fn strong_etag(&self) -> Option<&ETag> {
        self.etag.as_ref().filter(|etag| !etag.is_weak())
    }

    /// Returns `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.metadata.content_type.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(metadata: Metadata) -> String {
        let error = metadata.validated().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        error.message().to_owned()
    }

    #[test]
    fn a_header_that_could_split_a_response_is_refused() {
        assert!(
            refused(Metadata::new().cache_control("no-store\r\nSet-Cookie: a=b"))
                .contains("cache_control")
        );
        assert!(
            refused(Metadata::new().content_disposition("attachment; filename=\"é\""))
                .contains("RFC 8187")
        );
        assert!(refused(Metadata::new().content_type("png")).contains("type/subtype"));
        assert!(refused(Metadata::new().content_encoding("")).contains("unset"));
    }

    #[test]
    fn user_metadata_that_a_backend_cannot_keep_is_refused() {
        assert!(
            Metadata::new()
                .user("Author", "Ada Löveläce")
                .validated()
                .unwrap()
                .user_metadata
                .contains_key("author")
        );
        assert!(refused(Metadata::new().user("a b", "x")).contains("a b"));
        assert!(refused(Metadata::new().user("", "x")).contains("name"));
        assert!(refused(Metadata::new().user("a", " x")).contains("white space"));
        assert!(
            refused(Metadata::new().user("a", "x".repeat(MAX_USER_METADATA_BYTES)))
                .contains("2049")
        );
    }

    #[test]
    fn the_valid_part_lacks_the_refused_fields_and_each_of_them_has_an_error() {
        let before_1970 = SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1);
        let given = Metadata::new()
            .content_type("jpg")
            .content_disposition("attachment; filename=\"é\"")
            .content_language("en")
            .expires(before_1970)
            .user("good", "1")
            .user("bad", "a\nb");
        let (valid, removed) = given.valid_part();
        assert_eq!(valid, Metadata::new().content_language("en").user("good", "1"));
        assert_eq!(valid.clone().validated().unwrap(), valid);
        let named: Vec<_> =
            removed.iter().map(|error| error.message().split(':').next().unwrap()).collect();
        assert_eq!(
            named,
            ["content_type", "content_disposition", "user_metadata \"bad\"", "expires"]
        );
    }

    #[test]
    fn user_metadata_that_is_too_large_in_sum_is_removed_as_a_whole() {
        let half = "x".repeat(MAX_USER_METADATA_BYTES / 2);
        let (valid, removed) = Metadata::new().user("a", half.clone()).user("b", half).valid_part();
        assert_eq!((valid, removed.len()), (Metadata::new(), 1));
    }

    #[test]
    fn metadata_reads_back_from_json_as_it_was() {
        let expires = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
        let metadata = Metadata::new()
            .content_type("image/png")
            .expires(expires)
            .user("a", "b")
            .validated()
            .unwrap();
        let json = serde_json::to_string(&metadata).unwrap();
        assert!(json.contains("2096-10-02T07:06:40Z"), "{json}");
        assert_eq!(serde_json::from_str::<Metadata>(&json).unwrap(), metadata);
    }

    #[test]
    fn the_response_field_is_neither_compared_nor_serialised() {
        let plain = ObjectMeta::new(Key::new("a").unwrap(), 1);
        let mut aged = plain.clone();
        aged.response =
            Some(ResponseMeta::new(std::time::Duration::from_secs(59), SystemTime::UNIX_EPOCH));
        assert_eq!(plain, aged);
        assert_eq!(serde_json::to_string(&plain).unwrap(), serde_json::to_string(&aged).unwrap());
        aged.size = 2;
        assert_ne!(plain, aged);
    }
}
