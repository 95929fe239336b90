//! What a client asks for, and what the application allows: [`UploadRequest`], [`Grant`] and
//! [`Refusal`].

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use storage_core::{IntoKey, Key, Metadata, Result};

/// The lifetime of an upload URL unless the grant sets another one (one day).
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The upload that a client wants to begin. Every value comes from the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadRequest {
    /// The name of the file, as the client has it. It may contain any character: make a key of it
    /// with [`storage_core::keys::unique`].
    pub file_name: Option<String>,
    /// The size of the file in bytes, if the client knows it.
    pub size: Option<u64>,
    /// The type of the file, as the client declares it.
    pub content_type: Option<String>,
    /// All metadata that the client sends.
    pub metadata: BTreeMap<String, String>,
    /// Whether these are only some bytes of a file, which a client uploads in several uploads at
    /// once. Its name and type are unknown then, and the key of the grant is not used. The function
    /// is called again for the whole file.
    pub is_partial: bool,
}

/// What the application allows a client to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub(super) key: Key,
    pub(super) max_size: Option<u64>,
    pub(super) types: Vec<String>,
    pub(super) metadata: Metadata,
    pub(super) lifetime: Duration,
    pub(super) create_new: bool,
    pub(super) sniff: bool,
    pub(super) open_limit: Option<OpenLimit>,
}

/// How many uploads of one group may be open at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenLimit {
    pub(super) group: String,
    pub(super) max: u32,
}

impl Grant {
    /// Allows an upload to this key, of any size and type. The URL of the upload works for one day.
    ///
    /// # Errors
    /// `InvalidKey`.
    pub fn new(key: impl IntoKey) -> Result<Self> {
        Ok(Self {
            key: key.into_key()?,
            max_size: None,
            types: Vec::new(),
            metadata: Metadata::new(),
            lifetime: LIFETIME,
            create_new: false,
            sniff: false,
            open_limit: None,
        })
    }

    /// Sets the upper bound for the size, in bytes. Defaults to no bound. An upload that is larger
    /// is refused with 413.
    #[must_use]
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = Some(bytes);
        self
    }

    /// Sets the types that the client may declare, such as `image/png` or `image/*`. Defaults to
    /// all. An upload with another declared type, or with none, is refused with 415. The bytes are
    /// inspected only with [`sniff`](Self::sniff).
    #[must_use]
    pub fn types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.types = types.into_iter().map(Into::into).collect();
        self
    }

    /// Makes the bytes decide about the type. The type of the object is what its first bytes are.
    /// Where they cannot decide, as for text, the declared type stays. An upload whose bytes are of
    /// another kind than declared, such as HTML that is declared as an image, is refused with 415,
    /// and so is one whose type is not among [`types`](Self::types). A declared type that stays
    /// must be named there: `image/*` does not allow SVG, which is text. A client need not declare
    /// a type then.
    ///
    /// The object is completed under a temporary key and moves to its key after the inspection: a
    /// rename on a local disk, a copy within the service on S3.
    #[must_use]
    pub fn sniff(mut self) -> Self {
        self.sniff = true;
        self
    }

    /// Sets the metadata of the object. Without a content type, the object has the one that the
    /// client declares.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Sets how long the URL of the upload works. Defaults to one day. Later requests get 410.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Allows at most this many unfinished uploads of one group at a time, such as those of a user.
    /// Defaults to no limit. One more is refused with 429. Uploads that begin at the same moment at
    /// several servers may exceed the limit.
    ///
    /// An upload is open until it is finished, refused or removed, and until
    /// [`sweep`](super::Uploads::sweep) removes it after its expiry.
    #[must_use]
    pub fn max_open(mut self, group: impl Into<String>, max: u32) -> Self {
        self.open_limit = Some(OpenLimit { group: group.into(), max });
        self
    }

    /// Makes the completion fail if there is an object under the key by then. Defaults to replacing
    /// it.
    #[must_use]
    pub fn create_new(mut self) -> Self {
        self.create_new = true;
        self
    }

    /// Returns whether the client may declare this type.
    pub(super) fn allows_type(&self, declared: Option<&str>) -> bool {
        match declared {
            _ if self.types.is_empty() => true,
            None | Some("application/octet-stream") if self.sniff => true,
            None => false,
            Some(declared) => is_allowed(declared, &self.types),
        }
    }
}

/// Returns whether a type is one of those that are allowed, such as `image/png` or `image/*`.
pub(super) fn is_allowed(declared: &str, allowed: &[String]) -> bool {
    let Some((family, _)) = halves(declared) else { return false };
    let is_in_family = |allowed: &String| {
        allowed.strip_suffix("/*").is_some_and(|allowed| allowed.eq_ignore_ascii_case(family))
    };
    allowed.iter().any(is_in_family) || is_named(declared, allowed)
}

/// Returns whether a type is one of those that are allowed by their whole name.
pub(super) fn is_named(declared: &str, allowed: &[String]) -> bool {
    let Some((family, name)) = halves(declared) else { return false };
    allowed.iter().any(|allowed| {
        let (of, named) = allowed.split_once('/').unwrap_or_default();
        of.eq_ignore_ascii_case(family) && named.eq_ignore_ascii_case(name)
    })
}

/// Returns the two halves of a type without its parameters (RFC 9110, section 8.3.1). `None` if it
/// is malformed: browsers take the last type of a list.
fn halves(declared: &str) -> Option<(&str, &str)> {
    let essence = declared.split(';').next().unwrap_or_default().trim();
    let halves = essence.split_once('/')?;
    let is_token = |half: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !half.is_empty() && half.bytes().all(is_allowed)
    };
    let is_one_type = is_token(halves.0) && is_token(halves.1) && !declared.contains(',');
    is_one_type.then_some(halves)
}

/// Returns whether a client declares one well-formed type.
pub(super) fn is_well_formed(declared: &str) -> bool {
    halves(declared).is_some()
}

/// The response to an upload that the application does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Refusal {
    /// Creates a refusal with a status and a text for the client. A status that is no error becomes
    /// 403.
    #[must_use]
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let is_error = status.is_client_error() || status.is_server_error();
        let status = if is_error { status } else { StatusCode::FORBIDDEN };
        Self { status, text: text.into() }
    }
}

/// An error of the storage while the application decides: it is logged, and the client gets 500.
impl From<storage_core::Error> for Refusal {
    fn from(error: storage_core::Error) -> Self {
        tracing::error!(%error, "an upload could not be accepted");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The upload could not be accepted.\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_type_is_compared_without_case_and_parameters() {
        let grant = Grant::new("a").unwrap().types(["image/*", "text/plain"]);
        for allowed in ["image/png", "IMAGE/PNG; q=1", "text/plain; charset=utf-8"] {
            assert!(grant.allows_type(Some(allowed)), "{allowed}");
        }
        for refused in [
            "text/html",
            "image",
            "image/",
            "imagex/png",
            "",
            "text/plainx",
            "image/x,text/html",
            "image/png; a=b,text/html",
            "image/png text/html",
        ] {
            assert!(!grant.allows_type(Some(refused)), "{refused}");
        }
        assert!(!grant.allows_type(None));
        assert!(Grant::new("a").unwrap().allows_type(None));
    }
}
