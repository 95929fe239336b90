//! [`Paths`]: which object each path of a website has.

use std::future::Future;
use std::pin::Pin;

use storage_core::{Key, Result};

use super::expected::Expected;

/// The future that [`Paths::find`] returns.
pub type FindFuture<'a> = Pin<Box<dyn Future<Output = Result<Found>> + Send + 'a>>;

/// Which object each path of a website has.
///
/// A request is one call, so that it gets one state of the website, even if the state changes while
/// the response is sent. The crate `storage-publish` implements this trait for published releases.
pub trait Paths: Send + Sync + 'static {
    /// Finds what a path has. The path has no `/` at its beginning and is decoded: `docs/a b.html`.
    /// It may be empty, and may end with `/`. It comes from a client, and may be any text.
    ///
    /// # Errors
    /// Those of the lookup, such as `Timeout`. The status of the response is that of the kind: see
    /// [`error_response`](crate::error_response).
    fn find<'a>(&'a self, path: &'a str) -> FindFuture<'a>;
}

/// What a path of a website has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// An object.
    Page(Page),
    /// A directory, whose path ends with `/`: the client is sent there.
    Directory,
    /// Nothing. The object is sent with status 404.
    Missing(Option<Page>),
}

/// An object of a website, with its precompressed forms.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The object for clients that accept no form in `encoded`.
    pub key: Key,
    /// The forms, the best one first. The first one that the client accepts is sent.
    pub encoded: Vec<EncodedPage>,
}

/// A precompressed form of an object. It is an object with its own `Content-Encoding` and ETag.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodedPage {
    /// The encoding as in HTTP: `br`, `gzip`, `zstd`.
    pub encoding: String,
    /// The object with the encoded bytes.
    pub key: Key,
    /// How the object is recognised. Defaults to `None`, which accepts every object with the key.
    pub expected: Option<Expected>,
}

impl Page {
    /// Returns an object without other forms.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self { key, encoded: Vec::new() }
    }

    /// Adds a precompressed form, which is worse than the ones before.
    #[must_use]
    pub fn encoded(mut self, encoding: impl Into<String>, key: Key) -> Self {
        self.encoded.push(EncodedPage { encoding: encoding.into(), key, expected: None });
        self
    }

    /// Adds a precompressed form that is only sent if its object is the expected one. Otherwise the
    /// object itself is sent.
    #[must_use]
    pub fn encoded_if(mut self, encoding: impl Into<String>, key: Key, expected: Expected) -> Self {
        let expected = Some(expected);
        self.encoded.push(EncodedPage { encoding: encoding.into(), key, expected });
        self
    }
}
