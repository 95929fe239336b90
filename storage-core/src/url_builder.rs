//! [`UrlBuilder`]: the builder that [`Storage::url`] returns, and the rules of its options.

use std::future::IntoFuture;
use std::ops::RangeInclusive;
use std::time::Duration;

use futures_core::future::BoxFuture;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::{IntoKey, Key};
use crate::link::Link;
use crate::metadata::Metadata;
use crate::options::{UrlMethod, UrlOptions};
use crate::storage::Storage;

impl Storage {
    /// Makes a link to an object: see [`UrlBuilder`]. Does not check whether the object exists.
    pub fn url(&self, key: impl IntoKey) -> UrlBuilder {
        self.url_with(key, UrlOptions::default())
    }

    /// Makes a link with these options, which the setters of [`UrlBuilder`] may change.
    pub fn url_with(&self, key: impl IntoKey, options: UrlOptions) -> UrlBuilder {
        UrlBuilder { storage: self.clone(), key: key.into_key(), options }
    }
}

/// A link that has not been made yet. Await it for a [`Link`].
///
/// Without [`expires_in`](Self::expires_in) it is the public link, which needs the storage's option
/// `public_url`. With it, it is a signed link. A public link never replaces a signed one.
///
/// # Errors
/// `Unsupported` if the storage, as it is configured, cannot make such a link; the message states
/// what to configure. `InvalidInput` for options that contradict each other, and for an expiry
/// under one second or over seven days. `InvalidKey`.
#[derive(Debug)]
#[must_use = "no link is made until it is awaited"]
pub struct UrlBuilder {
    storage: Storage,
    key: Result<Key>,
    options: UrlOptions,
}

impl UrlBuilder {
    /// Makes a signed link that works for this long.
    pub fn expires_in(self, time: Duration) -> Self {
        self.with_options(|options| options.expires_in(time))
    }

    /// Sets the HTTP method that the link is for. Links for uploading need an expiry.
    pub fn method(self, method: UrlMethod) -> Self {
        self.with_options(|options| options.method(method))
    }

    /// Sets the `Content-Disposition` of the response. Signed links for GET only.
    pub fn response_content_disposition(self, value: impl Into<String>) -> Self {
        self.with_options(|options| options.response_content_disposition(value))
    }

    /// Sets the `Content-Type` of the response. Signed links for GET only.
    pub fn response_content_type(self, value: impl Into<String>) -> Self {
        self.with_options(|options| options.response_content_type(value))
    }

    /// Binds an upload to this `Content-Type`. For POST, `image/*` allows any type that begins with
    /// `image/`, also `image/svg+xml`, which can contain scripts.
    pub fn content_type(self, value: impl Into<String>) -> Self {
        self.with_options(|options| options.content_type(value))
    }

    /// Binds an upload to this exact length. Links for PUT only.
    pub fn content_length(self, bytes: u64) -> Self {
        self.with_options(|options| options.content_length(bytes))
    }

    /// Binds an upload to lengths in this range: `1..=5_000_000`. Links for POST only.
    pub fn content_length_range(self, bytes: RangeInclusive<u64>) -> Self {
        self.with_options(|options| options.content_length_range(bytes))
    }

    /// Uses the key as a directory: the upload may have any name below `key/`, such as the name of
    /// the user's file. The link allows its holder to replace every object there. Links for POST
    /// only.
    pub fn any_name(self) -> Self {
        self.with_options(UrlOptions::any_name)
    }

    /// Returns the same link from all calls within a window of this length (whole seconds, counted
    /// from the Unix epoch), so that browsers and CDNs can cache the response. The link works for
    /// at least [`expires_in`](Self::expires_in) from now, and longer than that by at most the
    /// window. Signed links only.
    pub fn stable_for(self, window: Duration) -> Self {
        self.with_options(|options| options.stable_for(window))
    }

    fn with_options(mut self, set: impl FnOnce(UrlOptions) -> UrlOptions) -> Self {
        self.options = set(self.options);
        self
    }

    async fn run(self) -> Result<Link> {
        let Self { storage, key, options } = self;
        let key = storage.checked_key(Operation::Url, key)?;
        let with_context = |error| storage.with_context(error, Operation::Url, key.as_str());
        check_options(&options).map_err(with_context)?;
        storage.driver().url(&key, &options).await.map_err(with_context)
    }
}

impl IntoFuture for UrlBuilder {
    type Output = Result<Link>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

fn check_options(options: &UrlOptions) -> Result<()> {
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
            return bad(
                "content_type and content_length need a link for uploading: use PUT or POST",
            );
        }
        _ if overrides && !signed => {
            return bad("response headers can be chosen on signed links only: set expires_in");
        }
        _ if options.stable_for.is_some() && !signed => {
            return bad("stable_for needs a signed link: set expires_in");
        }
        _ => {}
    }
    const ONE_SECOND: Duration = Duration::from_secs(1);
    if options.expires_in.is_some_and(|time| time < ONE_SECOND) {
        return bad("expires_in must be at least one second");
    }
    if options.stable_for.is_some_and(|window| window < ONE_SECOND) {
        return bad("stable_for must be at least one second");
    }
    check_form_options(options)?;
    let mut headers = Metadata::new();
    headers.content_disposition.clone_from(&options.response_content_disposition);
    headers.content_type =
        options.response_content_type.clone().or_else(|| options.content_type.clone());
    headers.validated().map(|_| ())
}

/// Checks the options that differ for forms.
fn check_form_options(options: &UrlOptions) -> Result<()> {
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
        return bad("any_name needs a link for uploading with POST");
    }
    if !post && options.content_type_prefix().is_some() {
        return bad("a link for PUT is bound to one type: only POST takes a pattern like image/*");
    }
    if post && options.content_length.is_some() {
        return bad("a link for POST takes a range of lengths: content_length_range");
    }
    Ok(())
}
