//! The options of the driver: [`HttpBuilder`] in code, [`register`] for configurations.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    EXPECT, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use storage_client::{ClientConfig, MAX_HEADERS, Spool, check_tls_support, is_loopback};
use storage_core::config::{self, Options, Secret, byte_size, duration};
use storage_core::{Error, LinkBase, Registry, Result};
use url::Url;

use crate::client::Client;
use crate::driver::Http;
use crate::shared::Inner;
use crate::webdav::Webdav;

/// The default of `header_timeout`.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The default of `idle_timeout`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The default of `max_spool_size`, in bytes.
const MAX_SPOOL_SIZE: u64 = 1024 * 1024 * 1024;
/// Advice for an object without a length that exceeds the spool.
const SPOOL_ADVICE: &str =
    "have the server send Content-Length, or raise the option max_spool_size";

/// Headers that the driver or the connection sets.
const RESERVED: [HeaderName; 16] = [
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    EXPECT,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Sets the options of an [`Http`] and builds it. Created by [`Http::builder`].
///
/// ```
/// use std::time::Duration;
/// use storage_core::Storage;
/// use storage_http::Http;
///
/// let http = Http::builder("https://files.example.com/media".parse()?)
///     .header("Authorization", "Bearer ...")
///     .header_timeout(Duration::from_secs(3))
///     .writable(true)
///     .build()?;
/// assert_eq!(Storage::new(http).info().location, "https://files.example.com/media/");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct HttpBuilder {
    base_url: Url,
    public_url: Option<LinkBase>,
    writable: bool,
    webdav: Option<bool>,
    resume: bool,
    header_timeout: Duration,
    idle_timeout: Duration,
    max_spool_size: u64,
    allow_http: bool,
    headers: Vec<(String, Secret)>,
}

impl Http {
    /// Creates a builder for a driver of the files below a URL. A missing slash at the end is
    /// added.
    #[must_use]
    pub fn builder(base_url: Url) -> HttpBuilder {
        HttpBuilder {
            base_url,
            public_url: None,
            writable: false,
            webdav: None,
            resume: true,
            header_timeout: HEADER_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            max_spool_size: MAX_SPOOL_SIZE,
            allow_http: false,
            headers: Vec::new(),
        }
    }
}

impl HttpBuilder {
    /// Sets whether the server accepts PUT and DELETE, as WebDAV servers do. Defaults to `false`,
    /// with which `save` and `delete` fail with `Unsupported` and send no request.
    #[must_use]
    pub fn writable(mut self, writable: bool) -> Self {
        self.writable = writable;
        self
    }

    /// Sets whether the server supports WebDAV (PROPFIND), which `list` requires. Defaults to the
    /// value of [`writable`](Self::writable). If it is `false`, `list` fails with `Unsupported` and
    /// sends no request.
    ///
    /// `delete` finds out whether the server supports WebDAV in any case, so that it deletes no
    /// directories.
    #[must_use]
    pub fn webdav(mut self, webdav: bool) -> Self {
        self.webdav = Some(webdav);
        self
    }

    /// Sets the time limit for the headers of a response, including the time for connecting.
    /// Defaults to `10s`. A save has another limit: see [`idle_timeout`](Self::idle_timeout).
    #[must_use]
    pub fn header_timeout(mut self, time: Duration) -> Self {
        self.header_timeout = time;
        self
    }

    /// Sets the time limit for each chunk of a body. Defaults to `30s`. The time in which the
    /// caller reads nothing does not count.
    ///
    /// In a save, it limits the time in which the connection accepts no bytes. After the last
    /// chunk, the response must arrive within the sum of this time and
    /// [`header_timeout`](Self::header_timeout).
    #[must_use]
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.idle_timeout = time;
        self
    }

    /// Sets how many bytes may be in temporary files at a time. The driver collects an object in
    /// such a file if the response does not state its length. Defaults to 1 GiB.
    ///
    /// The bytes of an object count until its body is dropped. `open` fails with `TooLarge` if one
    /// object has more bytes, and with `RateLimited`, retryable, if too few bytes are left.
    #[must_use]
    pub fn max_spool_size(mut self, bytes: u64) -> Self {
        self.max_spool_size = bytes;
        self
    }

    /// Sets whether headers of [`header`](Self::header) may be sent without TLS to another machine.
    /// Defaults to `false`, with which `build` fails if there are headers and the base URL begins
    /// with `http://`. Requests to `localhost` and to loopback addresses are always permitted.
    #[must_use]
    pub fn allow_http(mut self, allow: bool) -> Self {
        self.allow_http = allow;
        self
    }

    /// Adds a header to every request, such as `Authorization`. All requests go to the host of the
    /// base URL. The value is a secret: neither `Debug` output nor errors contain it. Without TLS,
    /// [`allow_http`](Self::allow_http) is required.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), Secret::new(value)));
        self
    }

    /// Sets the base URL of public links. Defaults to the base URL of the driver.
    #[must_use]
    pub fn public_url(mut self, base: LinkBase) -> Self {
        self.public_url = Some(base);
        self
    }

    /// Sets whether a body that stalls or breaks off resumes over another connection. Defaults to
    /// `true`.
    ///
    /// With `false`, the body ends with the error, after all bytes that arrived before it. A caller
    /// that has another source of the object can continue from there. Configurations cannot set it.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Builds the driver. Sends no request.
    ///
    /// # Errors
    /// - `InvalidConfig`, which names the option, for a base URL that is not an HTTP URL, or that
    ///   has a user name, a query or a fragment; for a timeout of zero; for a header that is
    ///   invalid, that the driver sets itself, or that would be sent without TLS; and for `https`
    ///   in a program that is built without TLS.
    /// - `Unexpected` if TLS cannot be set up, for example because the system has no root
    ///   certificates.
    pub fn build(self) -> Result<Http> {
        let base = base(self.base_url)?;
        let headers = headers(self.headers)?;
        check_tls(&base, &headers, self.allow_http)?;
        check_timeout("header_timeout", self.header_timeout)?;
        check_timeout("idle_timeout", self.idle_timeout)?;
        let public_url = self.public_url.map_or_else(|| base.clone().try_into(), Ok)?;
        let http =
            ClientConfig::new(self.header_timeout).max_headers(MAX_HEADERS).build_for(&base)?;
        Ok(Http::new(Inner {
            writable: self.writable,
            lists: self.webdav.unwrap_or(self.writable),
            resume: self.resume,
            public_url,
            client: Client::new(http, base, headers, self.header_timeout, self.idle_timeout),
            webdav: Webdav::default(),
            spool: Spool::new(self.max_spool_size, self.max_spool_size, SPOOL_ADVICE),
        }))
    }
}

/// Shows the names of headers without their values. Shows only the host of the URL, which may
/// contain a password until `build` refuses it.
impl fmt::Debug for HttpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("HttpBuilder")
            .field("host", &self.base_url.host_str())
            .field("writable", &self.writable)
            .field("webdav", &self.webdav)
            .field("headers", &headers)
            .finish_non_exhaustive()
    }
}

fn base(mut url: Url) -> Result<Url> {
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(Error::config(
            "option base_url: set a URL that begins with https:// or http://",
        ));
    }
    check_tls_support(url.scheme())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::config(
            "option base_url: set a URL without user name and password; credentials belong in the \
             option headers",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::config(
            "option base_url: set a URL without a query and without a fragment",
        ));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// Refuses headers that would pass a network without TLS.
fn check_tls(base: &Url, headers: &HeaderMap, allow_http: bool) -> Result<()> {
    let is_readable = base.scheme() == "http" && !is_loopback(base.host_str().unwrap_or_default());
    if is_readable && !headers.is_empty() && !allow_http {
        return Err(Error::config(
            "option headers: base_url has no TLS, so others could read the headers; use https://, or \
             set allow_http = true if they are not secret or the network is private",
        ));
    }
    Ok(())
}

fn check_timeout(option: &str, time: Duration) -> Result<()> {
    if time.is_zero() {
        return Err(Error::config(format!(
            "option {option}: with zero, every request would fail; set a longer time"
        )));
    }
    Ok(())
}

fn headers(options: Vec<(String, Secret)>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in options {
        let bad = |why: &str| Error::config(format!("option headers: {name:?} {why}"));
        let header = HeaderName::try_from(&name).map_err(|_| bad("is not the name of a header"))?;
        if RESERVED.contains(&header) {
            return Err(bad("is set by the driver itself"));
        }
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| bad("has a value with a line break or another control character"))?;
        value.set_sensitive(true);
        headers.append(header, value);
    }
    Ok(headers)
}

storage_core::options! {
    /// The options of a configuration.
    #[derive(Debug)]
    struct HttpOptions {
        /// The URL of the directory that contains the objects.
        #[serde(deserialize_with = "config::url::deserialize")]
        base_url: Url => "URL", required;
        /// Whether the server accepts PUT and DELETE, as WebDAV servers do.
        #[serde(default)]
        writable: bool => "boolean", default false;
        /// Whether the server supports WebDAV, which `list` requires.
        #[serde(default)]
        webdav: Option<bool> => "boolean", otherwise "the value of `writable`";
        /// Time limit for the headers of a response, including the time for connecting.
        #[serde(default, deserialize_with = "duration::option")]
        header_timeout: Option<Duration> => "duration", default "10s";
        /// Time limit for each chunk of a body.
        #[serde(default, deserialize_with = "duration::option")]
        idle_timeout: Option<Duration> => "duration", default "30s";
        /// How many bytes of objects without a stated length may be in temporary files at a time.
        #[serde(default, deserialize_with = "byte_size::option")]
        max_spool_size: Option<u64> => "size", default "1GiB";
        /// Whether `headers` may be sent without TLS to another machine.
        #[serde(default)]
        allow_http: bool => "boolean", default false;
        /// The headers of every request, by name.
        #[serde(default)]
        headers: BTreeMap<String, Secret> => "table of secrets";
    }
}

/// Registers the driver `http` and its schemes `http` and `https`. The part of a URL before the
/// query is the base URL, as in `https://host/dir/?idle_timeout=10s`.
///
/// The driver takes its own [options](crate#options) and those of every driver. `public_url` is the
/// base URL of links.
///
/// ```
/// let mut registry = storage_core::Registry::new();
/// storage_http::register(&mut registry);
/// let storage = registry.open_url("https://files.example.com/media?header_timeout=3s")?;
/// assert_eq!(storage.info().location, "https://files.example.com/media/");
/// # Ok::<(), storage_core::Error>(())
/// ```
pub fn register(registry: &mut Registry) {
    registry.register("http", |options: HttpOptions, context| {
        let mut builder = builder_from(options);
        builder.public_url = context.common().public_url.clone();
        Ok(Arc::new(builder.build()?))
    });
    for scheme in ["http", "https"] {
        registry.register_scheme(scheme, "http", format!("{scheme}://host/dir/"), |url| {
            let mut base = url.clone();
            base.set_query(None);
            Ok(Options::new().with("base_url", base.as_str()))
        });
    }
}

/// Returns a builder with the options of a configuration.
fn builder_from(options: HttpOptions) -> HttpBuilder {
    let mut builder = Http::builder(options.base_url).writable(options.writable);
    builder.webdav = options.webdav;
    builder.header_timeout = options.header_timeout.unwrap_or(HEADER_TIMEOUT);
    builder.idle_timeout = options.idle_timeout.unwrap_or(IDLE_TIMEOUT);
    builder.max_spool_size = options.max_spool_size.unwrap_or(MAX_SPOOL_SIZE);
    builder.allow_http = options.allow_http;
    builder.headers = options.headers.into_iter().collect();
    builder
}

#[cfg(test)]
mod tests {
    use storage_core::config::DeclaredOptions;

    use super::*;

    #[test]
    fn the_declared_defaults_are_those_of_the_driver() {
        let declared = Options::new()
            .with("base_url", "https://files.example.com/")
            .with_declared_defaults(HttpOptions::SPECS);
        let declared = builder_from(declared.read("http").unwrap());
        let default = Http::builder("https://files.example.com/".parse().unwrap());
        let fields = |builder: &HttpBuilder| {
            let times = (builder.header_timeout, builder.idle_timeout);
            (times, builder.writable, builder.max_spool_size, builder.allow_http)
        };
        assert_eq!(fields(&declared), fields(&default));
    }
}
