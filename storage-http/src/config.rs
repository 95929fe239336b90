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
    resume: bool,
    header_timeout: Duration,
    idle_timeout: Duration,
    max_spool_size: u64,
    allow_http: bool,
    headers: Vec<(String, Secret)>,
}

impl Http {
    /// Creates a builder of a driver for the files below a URL, which may or may not end in a
    /// slash.
    #[must_use]
    pub fn builder(base_url: Url) -> HttpBuilder {
        HttpBuilder {
            base_url,
            public_url: None,
            writable: false,
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
    /// Sets whether the server accepts PUT and DELETE, as WebDAV servers do. Defaults to `false`:
    /// then `save` and `delete` fail with `Unsupported`.
    #[must_use]
    pub fn writable(mut self, writable: bool) -> Self {
        self.writable = writable;
        self
    }

    /// Sets the time limit for the headers of a response, including the time for connecting.
    /// Defaults to `10s`.
    #[must_use]
    pub fn header_timeout(mut self, time: Duration) -> Self {
        self.header_timeout = time;
        self
    }

    /// Sets the time limit between two chunks of a body. Defaults to `30s`. The time in which the
    /// caller reads nothing does not count. The response to a save must arrive within this time and
    /// [`header_timeout`](Self::header_timeout) after the last chunk.
    #[must_use]
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.idle_timeout = time;
        self
    }

    /// Sets how many bytes the temporary files have together in which objects are collected whose
    /// responses state no length. Defaults to 1 GiB. An object holds its share until its body is
    /// read to the end or dropped.
    #[must_use]
    pub fn max_spool_size(mut self, bytes: u64) -> Self {
        self.max_spool_size = bytes;
        self
    }

    /// Sets whether headers of [`header`](Self::header) may be sent without TLS to another machine.
    /// Defaults to `false`: then `build` fails if the base URL begins with `http://`. Loopback
    /// addresses need no permission.
    #[must_use]
    pub fn allow_http(mut self, allow: bool) -> Self {
        self.allow_http = allow;
        self
    }

    /// Adds a header that every request has. Requests go to the host of the base URL only. The
    /// value is a secret: neither `Debug` output nor errors contain it. Without TLS it needs
    /// [`allow_http`](Self::allow_http).
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), Secret::new(value)));
        self
    }

    /// Sets the base URL of links. Defaults to the base URL of the driver.
    #[must_use]
    pub fn public_url(mut self, base: LinkBase) -> Self {
        self.public_url = Some(base);
        self
    }

    /// Sets whether a body that stalls or breaks off resumes over another connection. Defaults to
    /// `true`. Set `false` to resume from another source: then the body ends with the error, after
    /// all bytes that arrived before it.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Builds the driver. Sends no request.
    ///
    /// # Errors
    /// `InvalidConfig`, which names the option: a base URL that is not an HTTP URL, or has a user
    /// name, a query or a fragment; a timeout of zero; a header that is invalid, that the driver
    /// sets itself, or that would be sent without TLS. `Unexpected` if the system lacks what TLS
    /// needs.
    pub fn build(self) -> Result<Http> {
        let base = base(self.base_url)?;
        let headers = headers(self.headers)?;
        check_tls(&base, &headers, self.allow_http)?;
        check_timeout("header_timeout", self.header_timeout)?;
        check_timeout("idle_timeout", self.idle_timeout)?;
        let public_url = self.public_url.map_or_else(|| base.clone().try_into(), Ok)?;
        let http = ClientConfig::new(self.header_timeout)
            .max_headers(MAX_HEADERS)
            .build_for(base.host_str().unwrap_or_default())?;
        Ok(Http::new(Inner {
            writable: self.writable,
            resume: self.resume,
            public_url,
            client: Client::new(http, base, headers, self.header_timeout, self.idle_timeout),
            webdav: Webdav::default(),
            spool: Spool::new(self.max_spool_size, self.max_spool_size, SPOOL_ADVICE),
        }))
    }
}

/// Shows no value of a header, and only the host of the URL: a URL may contain a password, which
/// only `build` refuses.
impl fmt::Debug for HttpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("HttpBuilder")
            .field("host", &self.base_url.host_str())
            .field("writable", &self.writable)
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
            "option {option}: zero would fail every request; set a longer time"
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
            .map_err(|_| bad("has a value that no header can contain"))?;
        value.set_sensitive(true);
        headers.append(header, value);
    }
    Ok(headers)
}

storage_core::options! {
    /// The options of a configuration.
    #[derive(Debug)]
    struct HttpOptions {
        /// The directory that holds the objects.
        #[serde(deserialize_with = "config::url::deserialize")]
        base_url: Url => "URL", required;
        /// Whether the server takes PUT and DELETE, as WebDAV servers do.
        #[serde(default)]
        writable: bool => "boolean", default false;
        /// How long the headers of a response may take, with the connection.
        #[serde(default, deserialize_with = "duration::option")]
        header_timeout: Option<Duration> => "duration", default "10s";
        /// How long a body may stall.
        #[serde(default, deserialize_with = "duration::option")]
        idle_timeout: Option<Duration> => "duration", default "30s";
        /// How many bytes of responses without a length are kept in temporary files at a time.
        #[serde(default, deserialize_with = "byte_size::option")]
        max_spool_size: Option<u64> => "size", default "1GiB";
        /// Whether `headers` may be sent without TLS to another machine.
        #[serde(default)]
        allow_http: bool => "boolean", default false;
        /// Headers of every request, by name.
        #[serde(default)]
        headers: BTreeMap<String, Secret> => "table of secrets";
    }
}

/// Registers the driver `http` and its schemes `http` and `https`. In
/// `https://host/dir/?idle_timeout=10s` the part before the query is the base URL.
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
