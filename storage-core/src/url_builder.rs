//! [`UrlBuilder`]: the builder that [`Storage::url`] returns, and what may be asked of a link.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::link::Link;
use crate::metadata::Metadata;
use crate::options::{UrlMethod, UrlOptions};
use crate::storage::Storage;

/// A link that has not been made yet. Await it for a [`Link`].
///
/// Without [`expires_in`](Self::expires_in) it is the public link (`Unsupported` unless the storage
/// has a `public_url`); with it, a signed one. A signed link is never replaced by a public one.
#[derive(Debug)]
#[must_use = "no link is made until it is awaited"]
pub struct UrlBuilder {
    storage: Storage,
    key: Result<Key>,
    options: UrlOptions,
}

impl UrlBuilder {
    pub(crate) fn new(storage: Storage, key: Result<Key>) -> Self {
        Self { storage, key, options: UrlOptions::default() }
    }

    /// Makes a signed link that works for this long.
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.options.expires_in = Some(time);
        self
    }

    /// What the link is for. Links for uploading need an expiry.
    pub fn method(mut self, method: UrlMethod) -> Self {
        self.options.method = method;
        self
    }

    /// Has the answer carry this `Content-Disposition`. Signed links for GET only.
    pub fn response_content_disposition(mut self, value: impl Into<String>) -> Self {
        self.options.response_content_disposition = Some(value.into());
        self
    }

    /// Has the answer carry this `Content-Type`. Signed links for GET only.
    pub fn response_content_type(mut self, value: impl Into<String>) -> Self {
        self.options.response_content_type = Some(value.into());
        self
    }

    /// Binds an upload to this `Content-Type`. For POST, `image/*` takes any type that begins with
    /// `image/`, also `image/svg+xml`, which can hold scripts.
    pub fn content_type(mut self, value: impl Into<String>) -> Self {
        self.options.content_type = Some(value.into());
        self
    }

    /// Binds an upload to this exact length. Links for PUT only.
    pub fn content_length(mut self, bytes: u64) -> Self {
        self.options.content_length = Some(bytes);
        self
    }

    /// Binds an upload to lengths from the first to the last: `1..=5_000_000`. Links for POST only.
    pub fn content_length_range(mut self, bytes: RangeInclusive<u64>) -> Self {
        self.options.content_length_range = Some(bytes);
        self
    }

    /// Takes the key for a directory: the upload may have any name below `key/`, the one of the
    /// user's own file for instance. Whoever has the link can replace all that is there. Links for
    /// POST only.
    pub fn any_name(mut self) -> Self {
        self.options.any_name = true;
        self
    }

    /// Has all calls within a window of this length (whole seconds, counted from the Unix epoch)
    /// answer the same link, so that browsers and CDNs can cache what it leads to. It works for at
    /// least the time of [`expires_in`](Self::expires_in) from now, and longer than that by at most
    /// the window. Signed links only.
    pub fn stable_for(mut self, window: Duration) -> Self {
        self.options.stable_for = Some(window);
        self
    }

    pub(crate) async fn run(self) -> Result<Link> {
        let Self { storage, key, options } = self;
        let key = storage.checked(Operation::Url, key)?;
        let told = |error| storage.told(error, Operation::Url, key.as_str());
        check_link(&options).map_err(told)?;
        storage.driver().url(&key, &options).await.map_err(told)
    }
}

fn check_link(options: &UrlOptions) -> Result<()> {
    let bad = |message: &'static str| Err(Error::new(ErrorKind::InvalidInput, message));
    let signed = options.expires_in.is_some();
    let uploads = matches!(options.method, UrlMethod::Put | UrlMethod::Post);
    let overrides =
        options.response_content_disposition.is_some() || options.response_content_type.is_some();
    let bound = options.content_type.is_some() || options.content_length.is_some();
    match options.method {
        UrlMethod::Put if !signed => return bad("a link for PUT needs expires_in"),
        UrlMethod::Post if !signed => return bad("a link for POST needs expires_in"),
        _ if uploads && overrides => {
            return bad("response headers can be chosen on links for GET only");
        }
        _ if !uploads && bound => {
            return bad("content type and length bind links for uploading only");
        }
        _ if overrides && !signed => {
            return bad("response headers can be chosen on signed links only: set expires_in");
        }
        _ if options.stable_for.is_some() && !signed => {
            return bad("signed links alone are stable: set expires_in");
        }
        _ => {}
    }
    let a_second = Duration::from_secs(1);
    if options.expires_in.is_some_and(|time| time < a_second) {
        return bad("a signed link works for at least one second");
    }
    if options.stable_for.is_some_and(|window| window < a_second) {
        return bad("a link is stable for at least one second");
    }
    check_form(options)?;
    let mut headers = Metadata::new();
    headers.content_disposition.clone_from(&options.response_content_disposition);
    headers.content_type =
        options.response_content_type.clone().or_else(|| options.content_type.clone());
    headers.validated().map(|_| ())
}

/// What is different about forms.
fn check_form(options: &UrlOptions) -> Result<()> {
    let bad = |message: &'static str| Err(Error::new(ErrorKind::InvalidInput, message));
    let post = options.method == UrlMethod::Post;
    match (&options.content_length_range, options.content_type.as_deref()) {
        (Some(_), _) if !post => {
            return bad("a range of lengths binds links for POST only: PUT takes content_length");
        }
        (Some(range), _) if range.is_empty() => return bad("the range of lengths is empty"),
        (_, Some("*/*")) => return bad("leave content_type unset to take any type"),
        _ => {}
    }
    if !post && options.any_name {
        return bad("any name can be had with links for POST only");
    }
    if !post && options.content_type_prefix().is_some() {
        return bad("a link for PUT is bound to one type: only POST takes a pattern like image/*");
    }
    if post && options.content_length.is_some() {
        return bad("a link for POST takes a range of lengths: content_length_range");
    }
    Ok(())
}
