//! [`Expected`]: how the object of an encoded form is recognised.

use storage_core::internal::escape_invisible;
use storage_core::{ETag, Error, Key, Object, ObjectMeta, OpenOptions, Result};

use crate::source::Source;

/// How the object of an encoded form is recognised. An object with another ETag and without the
/// user metadata is not sent, because it may be a form of other content.
///
/// Both are accepted, because a copy of the objects in another storage has other ETags, and some
/// storages return no user metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected {
    /// The ETag that the object had when it was stored, if it is known.
    pub etag: Option<ETag>,
    /// The name and the value of an entry of the user metadata that states the content.
    pub user_metadata: (String, String),
}

impl Expected {
    /// Returns what an object has that was stored with this entry of the user metadata.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { etag: None, user_metadata: (name.into(), value.into()) }
    }

    /// Also accepts an object with this ETag.
    #[must_use]
    pub fn or_etag(mut self, etag: Option<ETag>) -> Self {
        self.etag = etag;
        self
    }

    fn matches(&self, meta: &ObjectMeta) -> bool {
        let (name, value) = &self.user_metadata;
        (self.etag.is_some() && self.etag.as_ref() == meta.strong_etag())
            || meta.metadata.user_metadata.get(name) == Some(value)
    }
}

/// A source in which an object that is not the expected one is missing.
#[derive(Clone, Debug)]
pub struct ExpectedSource<S> {
    source: S,
    expected: Option<Expected>,
}

impl<S> ExpectedSource<S> {
    /// Returns a source that accepts every object if nothing is expected.
    pub fn new(source: S, expected: Option<Expected>) -> Self {
        Self { source, expected }
    }

    fn check(&self, meta: &ObjectMeta) -> Result<()> {
        if self.expected.as_ref().is_none_or(|expected| expected.matches(meta)) {
            return Ok(());
        }
        tracing::debug!(
            key = &*escape_invisible(meta.key.as_str()),
            "the object is not the expected form of a page"
        );
        Err(Error::not_found())
    }
}

impl<S: Source> Source for ExpectedSource<S> {
    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let meta = self.source.stat(key).await?;
        self.check(&meta)?;
        Ok(meta)
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = self.source.open(key, options).await?;
        self.check(object.meta())?;
        Ok(object)
    }
}
