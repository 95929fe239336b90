//! The one error type of every driver, layer and handle.
//!
//! An [`Error`] has a kind ([`ErrorKind`]), on which a program branches, the operation, the driver
//! and the key that it concerns, and a message that states what to do. It prints one level; the
//! cause is its [`std::error::Error::source`].

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::text::escape_invisible;

/// The result of every fallible call in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A boxed cause.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// The kind of a failure, on which a program branches.
///
/// New kinds may be added: a `match` needs a `_` arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The object does not exist. Drivers return it only if that is certain.
    NotFound,
    /// `create_new` found an object under the key.
    AlreadyExists,
    /// The state of the backend forbids the change. On a file system `a` and `a/b` cannot both be
    /// files; an HTTP server responds with 409 or 423.
    Conflict,
    /// An `if_match` or `if_source_match` condition did not hold.
    PreconditionFailed,
    /// An `if_none_match` or `if_modified_since` condition of an open held: the caller's copy is
    /// current.
    NotModified,
    /// The object has none of the bytes of the range (RFC 9110, section 15.5.17).
    RangeNotSatisfiable,
    /// The key or prefix breaks a rule of [`Key`](crate::Key), or the backend cannot hold it.
    InvalidKey,
    /// An argument other than the key is invalid: a metadata name, a range, an expiry.
    InvalidInput,
    /// The configuration is wrong. The message names the option and states what to write.
    InvalidConfig,
    /// The backend identified the caller and denies access, or the storage is read-only.
    PermissionDenied,
    /// The backend could not identify the caller: credentials are absent, wrong or expired.
    Unauthenticated,
    /// The backend received too many requests.
    RateLimited,
    /// No response within the time allowed.
    Timeout,
    /// The backend has no room left: full disk, no inodes, quota.
    StorageFull,
    /// The payload is larger than the caller or the backend allows.
    TooLarge,
    /// This driver does not support the call. Another attempt fails in the same way.
    Unsupported,
    /// The bytes are wrong: a checksum or a length differs.
    Integrity,
    /// Anything else. See the message and the source.
    Unexpected,
}

impl ErrorKind {
    /// Returns the name, as it appears in messages and metrics labels: `"NotFound"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::PreconditionFailed => "PreconditionFailed",
            Self::NotModified => "NotModified",
            Self::RangeNotSatisfiable => "RangeNotSatisfiable",
            Self::InvalidKey => "InvalidKey",
            Self::InvalidInput => "InvalidInput",
            Self::InvalidConfig => "InvalidConfig",
            Self::PermissionDenied => "PermissionDenied",
            Self::Unauthenticated => "Unauthenticated",
            Self::RateLimited => "RateLimited",
            Self::Timeout => "Timeout",
            Self::StorageFull => "StorageFull",
            Self::TooLarge => "TooLarge",
            Self::Unsupported => "Unsupported",
            Self::Integrity => "Integrity",
            Self::Unexpected => "Unexpected",
        }
    }

    /// Returns whether a failure of this kind is usually temporary.
    fn is_usually_temporary(self) -> bool {
        matches!(self, Self::RateLimited | Self::Timeout)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The verb that failed or runs. Used in errors, spans and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Reading a configuration or building a storage from it.
    Configure,
    /// [`Storage::save`](crate::Storage::save).
    Save,
    /// [`Storage::open`](crate::Storage::open), including the reading of the body.
    Open,
    /// [`Storage::stat`](crate::Storage::stat).
    Stat,
    /// [`Storage::exists`](crate::Storage::exists).
    Exists,
    /// [`Storage::delete`](crate::Storage::delete), and each deletion of
    /// [`delete_many`](crate::Storage::delete_many),
    /// [`delete_prefix`](crate::Storage::delete_prefix) and
    /// [`delete_folder_marker`](crate::Storage::delete_folder_marker).
    Delete,
    /// [`Storage::list`](crate::Storage::list).
    List,
    /// [`Storage::copy`](crate::Storage::copy).
    Copy,
    /// [`Storage::rename`](crate::Storage::rename).
    Rename,
    /// [`Storage::url`](crate::Storage::url) and
    /// [`MultipartUpload::part_url`](crate::MultipartUpload::part_url).
    Url,
    /// [`Storage::multipart`](crate::Storage::multipart).
    BeginMultipart,
    /// [`MultipartUpload::put_part`](crate::MultipartUpload::put_part).
    PutPart,
    /// [`MultipartUpload::parts`](crate::MultipartUpload::parts).
    ListParts,
    /// [`MultipartUpload::complete`](crate::MultipartUpload::complete).
    CompleteMultipart,
    /// [`MultipartUpload::abort`](crate::MultipartUpload::abort).
    AbortMultipart,
    /// [`Storage::multipart_uploads`](crate::Storage::multipart_uploads).
    ListMultipart,
}

impl Operation {
    /// Returns the verb in lower case: `"save"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Save => "save",
            Self::Open => "open",
            Self::Stat => "stat",
            Self::Exists => "exists",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Copy => "copy",
            Self::Rename => "rename",
            Self::Url => "url",
            Self::BeginMultipart => "begin_multipart",
            Self::PutPart => "put_part",
            Self::ListParts => "list_parts",
            Self::CompleteMultipart => "complete_multipart",
            Self::AbortMultipart => "abort_multipart",
            Self::ListMultipart => "list_multipart",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error of every driver, layer and handle.
///
/// `Display` prints one line without the source: `open "avatars/ada.png" on fs: NotFound: no such
/// object`. `Debug` prints the same line and below it the causes, one a line, so that `fn main() ->
/// storage_core::Result<()>` ends with a readable message; `{:#?}` prints the fields.
///
/// Keys and messages are printed with [`escape_invisible`](crate::internal::escape_invisible), so
/// that a hostile one cannot forge a log line or control a terminal. It contains no credential:
/// drivers put none into messages and attach no source whose `Display` prints one. `Debug` of a
/// source is never used.
///
/// ```
/// use storage_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::NotFound, "no such object").with_key("a\nb");
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.to_string(), r#""a\nb": NotFound: no such object"#);
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    operation: Option<Operation>,
    driver: Option<Cow<'static, str>>,
    key: Option<String>,
    retryable: bool,
    listing_continues: bool,
    took_effect: bool,
    retry_after: Option<Duration>,
    source: Option<BoxError>,
}

impl Error {
    /// Creates an error with a message that states what failed, why, and what to do.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            operation: None,
            driver: None,
            key: None,
            retryable: kind.is_usually_temporary(),
            listing_continues: false,
            took_effect: false,
            retry_after: None,
            source: None,
        }))
    }

    /// Creates the `NotFound` error of every driver.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(ErrorKind::NotFound, "no such object")
    }

    /// Creates an `Unsupported` error. The message states what is not supported and what to do
    /// instead.
    #[must_use]
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Creates an `InvalidConfig` error. The message names the option and states what to write.
    #[must_use]
    pub fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidConfig, message).with_operation(Operation::Configure)
    }

    /// Creates an `Unexpected` error with its cause.
    #[must_use]
    pub fn unexpected(message: impl Into<Cow<'static, str>>, source: impl Into<BoxError>) -> Self {
        Self::new(ErrorKind::Unexpected, message).with_source(source)
    }

    /// Returns the kind, on which a program branches.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether the kind is [`NotFound`](ErrorKind::NotFound): the object certainly does not
    /// exist.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// let text = match storage.open("greeting.txt").await {
    ///     Ok(object) => object.text().await?,
    ///     Err(error) if error.is_not_found() => "hello".to_owned(),
    ///     Err(error) => return Err(error),
    /// };
    /// assert_eq!(text, "hello");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Returns whether the kind is [`AlreadyExists`](ErrorKind::AlreadyExists).
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.kind() == ErrorKind::AlreadyExists
    }

    /// Returns whether the kind is [`PreconditionFailed`](ErrorKind::PreconditionFailed).
    #[must_use]
    pub fn is_precondition_failed(&self) -> bool {
        self.kind() == ErrorKind::PreconditionFailed
    }

    /// Returns whether the kind is [`NotModified`](ErrorKind::NotModified).
    #[must_use]
    pub fn is_not_modified(&self) -> bool {
        self.kind() == ErrorKind::NotModified
    }

    /// Returns whether the kind is [`PermissionDenied`](ErrorKind::PermissionDenied).
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        self.kind() == ErrorKind::PermissionDenied
    }

    /// Returns whether the kind is [`Unsupported`](ErrorKind::Unsupported).
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.kind() == ErrorKind::Unsupported
    }

    /// Returns the message without operation, driver and key.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the verb that failed, if it is set.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.0.operation
    }

    /// Returns the name of the driver that failed, if it is set.
    #[must_use]
    pub fn driver(&self) -> Option<&str> {
        self.0.driver.as_deref()
    }

    /// Returns the key or prefix that the error concerns, if there is one. It need not be a valid
    /// key: a listing reports invalid names of other programs in this way.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// Returns whether the same call may succeed later without any change.
    ///
    /// Defaults to `true` for `RateLimited` and `Timeout`, and to `false` for every other kind.
    /// [`with_retryable`](Self::with_retryable) sets it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Returns whether the listing that yielded this error continues after it.
    ///
    /// If `true`, the error concerns one name, which [`key`](Self::key) returns: a name that is not
    /// a valid key, a file that cannot be looked up, or a directory that cannot be read (the key
    /// ends in `/`). Everything at and below that name is unknown; the rest of the listing follows.
    /// If `false`, the listing ends with this error. Defaults to `false`. It has no meaning outside
    /// listings.
    #[must_use]
    pub fn listing_continues(&self) -> bool {
        self.0.listing_continues
    }

    /// Returns whether the write certainly took effect although it failed, so that it must not be
    /// made in another way: the object is stored, copied or moved, and the message states what is
    /// wrong with it. S3, for example, may store an object without the encryption that was
    /// requested. If `false`, the write may have taken effect or not. Defaults to `false`.
    ///
    /// ```
    /// use storage_core::Error;
    ///
    /// let error = Error::unsupported("the object was stored without encryption");
    /// assert!(!error.took_effect());
    /// assert!(error.with_took_effect(true).took_effect());
    /// ```
    #[must_use]
    pub fn took_effect(&self) -> bool {
        self.0.took_effect
    }

    /// Returns the time for which the backend asked clients to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Sets whether the error is retryable, in place of the default of its kind.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Sets whether the listing that yields this error continues after it: see
    /// [`listing_continues`](Self::listing_continues).
    #[must_use]
    pub fn with_listing_continues(mut self, continues: bool) -> Self {
        self.0.listing_continues = continues;
        self
    }

    /// Sets whether the write took effect although it failed: see
    /// [`took_effect`](Self::took_effect).
    #[must_use]
    pub fn with_took_effect(mut self, took_effect: bool) -> Self {
        self.0.took_effect = took_effect;
        self
    }

    /// Sets the time for which the backend asked clients to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Sets the verb, unless an inner layer has set it.
    #[must_use]
    pub fn with_operation(mut self, operation: Operation) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Sets the driver's name, unless an inner layer has set it.
    #[must_use]
    pub fn with_driver(mut self, driver: impl Into<Cow<'static, str>>) -> Self {
        self.0.driver.get_or_insert_with(|| driver.into());
        self
    }

    /// Sets the key, unless it is set already.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.0.key.get_or_insert_with(|| key.into());
        self
    }

    /// Puts text before the message that states where the failure was: `[storages.media]: ...`.
    #[must_use]
    pub fn with_context(mut self, context: &str) -> Self {
        self.0.message = format!("{context}: {}", self.0.message).into();
        self
    }

    /// Adds a note to the end of the message, after a semicolon.
    #[must_use]
    pub fn with_note(mut self, note: &str) -> Self {
        self.0.message = format!("{}; {note}", self.0.message).into();
        self
    }

    /// Returns an error that is equal but for its source, of which the text is kept. For a failure
    /// that is reported twice.
    pub(crate) fn duplicate(&self) -> Self {
        let inner = &*self.0;
        Self(Box::new(Inner {
            kind: inner.kind,
            message: inner.message.clone(),
            operation: inner.operation,
            driver: inner.driver.clone(),
            key: inner.key.clone(),
            retryable: inner.retryable,
            listing_continues: inner.listing_continues,
            took_effect: inner.took_effect,
            retry_after: inner.retry_after,
            source: inner.source.as_ref().map(|source| source.to_string().into()),
        }))
    }

    /// Replaces the key, for a layer whose callers use other keys than its driver.
    #[must_use]
    pub fn map_key(mut self, map: impl FnOnce(String) -> String) -> Self {
        self.0.key = self.0.key.take().map(map);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut has_place = false;
        if let Some(operation) = inner.operation {
            write!(f, "{operation}")?;
            has_place = true;
        }
        if let Some(key) = &inner.key {
            let key = format!("{key:?}");
            write!(f, "{}{}", if has_place { " " } else { "" }, escape_invisible(&key))?;
            has_place = true;
        }
        if let Some(driver) = &inner.driver {
            write!(f, "{}on {driver}", if has_place { " " } else { "" })?;
            has_place = true;
        }
        if has_place {
            f.write_str(": ")?;
        }
        write!(f, "{}: {}", inner.kind, escape_invisible(&inner.message))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { self.debug_fields(f) } else { self.debug_causes(f) }
    }
}

impl Error {
    /// The causes are shown by `Display`: `Debug` output of foreign errors is where URLs with
    /// signatures and headers with tokens turn up.
    fn debug_causes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = self.source();
        if source.is_some() {
            f.write_str("\n\nCaused by:")?;
        }
        while let Some(cause) = source {
            write!(f, "\n    {}", escape_invisible(&cause.to_string()))?;
            source = cause.source();
        }
        Ok(())
    }

    fn debug_fields(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &inner.kind).field("message", &inner.message);
        if let Some(operation) = &inner.operation {
            debug.field("operation", operation);
        }
        if let Some(driver) = &inner.driver {
            debug.field("driver", driver);
        }
        if let Some(key) = &inner.key {
            debug.field("key", key);
        }
        debug.field("retryable", &inner.retryable);
        debug.field("listing_continues", &inner.listing_continues);
        debug.field("took_effect", &inner.took_effect);
        debug.field("retry_after", &inner.retry_after);
        if let Some(source) = &inner.source {
            debug.field("source", &format_args!("{}", escape_invisible(&source.to_string())));
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Allows `?` after a conversion from a [`Key`](crate::Key) to itself, which cannot fail.
impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// Wraps the error for readers (`AsyncRead`, `std::io`), which can return only an `io::Error`.
/// [`Error::from`] returns the wrapped error.
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            ErrorKind::NotFound => Io::NotFound,
            ErrorKind::AlreadyExists => Io::AlreadyExists,
            ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => Io::PermissionDenied,
            ErrorKind::Timeout => Io::TimedOut,
            ErrorKind::Unsupported => Io::Unsupported,
            ErrorKind::StorageFull => Io::StorageFull,
            ErrorKind::TooLarge => Io::FileTooLarge,
            ErrorKind::Integrity => Io::InvalidData,
            ErrorKind::InvalidKey | ErrorKind::InvalidInput | ErrorKind::InvalidConfig => {
                Io::InvalidInput
            }
            _ => Io::Other,
        };
        Self::new(kind, error)
    }
}

/// Converts an error of the operating system. Returns an [`Error`] that the `io::Error` wraps
/// unchanged.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(inner) => inner,
            Err(error) => from_operating_system(error),
        }
    }
}

fn from_operating_system(error: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let (kind, message) = match error.kind() {
        Io::NotFound => (ErrorKind::NotFound, "no such file"),
        Io::AlreadyExists => (ErrorKind::AlreadyExists, "a file is already there"),
        Io::PermissionDenied => (
            ErrorKind::PermissionDenied,
            "the operating system denies access: check owner and mode",
        ),
        Io::ReadOnlyFilesystem => {
            (ErrorKind::PermissionDenied, "the file system is mounted read-only")
        }
        Io::TimedOut => (ErrorKind::Timeout, "the operating system reports a timeout"),
        Io::StorageFull => (
            ErrorKind::StorageFull,
            "no space or no inodes left on the device: free some and try again",
        ),
        Io::QuotaExceeded => (ErrorKind::StorageFull, "the disk quota is used up"),
        Io::FileTooLarge => {
            (ErrorKind::TooLarge, "larger than the file system or a resource limit allows")
        }
        Io::InvalidFilename => (ErrorKind::InvalidKey, "the file system cannot hold this name"),
        Io::NotADirectory | Io::IsADirectory | Io::DirectoryNotEmpty => {
            (ErrorKind::Conflict, "a file and a directory would need the same name")
        }
        Io::Unsupported => (ErrorKind::Unsupported, "the operating system cannot do this here"),
        _ => (ErrorKind::Unexpected, "input or output failed"),
    };
    let is_temporary = matches!(error.kind(), Io::Interrupted | Io::WouldBlock | Io::ResourceBusy);
    let retryable = is_temporary || kind.is_usually_temporary();
    Error::new(kind, message).with_retryable(retryable).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_predicate_is_true_for_its_kind_alone() {
        type Predicate = fn(&Error) -> bool;
        let predicates: [(ErrorKind, Predicate); 6] = [
            (ErrorKind::NotFound, Error::is_not_found),
            (ErrorKind::AlreadyExists, Error::is_already_exists),
            (ErrorKind::PreconditionFailed, Error::is_precondition_failed),
            (ErrorKind::NotModified, Error::is_not_modified),
            (ErrorKind::PermissionDenied, Error::is_permission_denied),
            (ErrorKind::Unsupported, Error::is_unsupported),
        ];
        for (kind, _) in predicates {
            for (own, is_own) in predicates {
                assert_eq!(is_own(&Error::new(kind, "")), kind == own, "{kind}, {own}");
            }
        }
    }

    /// A cause whose `Debug` shows what its `Display` hides.
    struct Cause(Option<Box<Cause>>);

    impl fmt::Display for Cause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(if self.0.is_some() { "no connection" } else { "refused\nby the host" })
        }
    }

    impl fmt::Debug for Cause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("https://user:CANARY@host/?signature=CANARY")
        }
    }

    impl StdError for Cause {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.0.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn debug_prints_the_message_and_the_causes_one_a_line() {
        let plain =
            Error::not_found().with_operation(Operation::Open).with_key("a").with_driver("fs");
        assert_eq!(format!("{plain:?}"), r#"open "a" on fs: NotFound: no such object"#);
        let error = Error::unexpected("no response", Cause(Some(Box::new(Cause(None)))));
        let expected =
            "Unexpected: no response\n\nCaused by:\n    no connection\n    refused\\nby the host";
        assert_eq!(format!("{error:?}"), expected);
        let fields = format!("{error:#?}");
        assert!(
            fields.contains("kind: Unexpected") && fields.contains("source: no connection"),
            "{fields}"
        );
        assert!(!format!("{error:?}{error:#?}{error}").contains("CANARY"));
    }

    #[test]
    fn invisible_characters_of_keys_and_messages_are_escaped() {
        let error = Error::new(ErrorKind::Unexpected, "the server says \u{202e}\u{1b}[2J\nok")
            .with_key("a\u{2028}\u{e0041}b");
        let shown = r#""a\u{2028}\u{e0041}b": Unexpected: the server says \u{202e}\u{1b}[2J\nok"#;
        assert_eq!(error.to_string(), shown);
        assert_eq!(format!("{error:?}"), shown);
        assert_eq!(error.message(), "the server says \u{202e}\u{1b}[2J\nok");
    }
}
