//! The driver's options: for programs ([`HttpBuilder`]) and for configuration ([`register`]).

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

/// How long until the headers of an answer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long between two pieces of a body.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many bytes temporary files have together.
const MAX_SPOOL_SIZE: u64 = 1024 * 1024 * 1024;
/// What to do where an object without a length exceeds the spool.
const SPOOL_ADVICE: &str =
    "have the server send Content-Length, or raise the option max_spool_size";

/// Headers that belong to the driver or to the connection.
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

/// How to set up the driver. See [`build`](Self::build).
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
    /// Whether the server takes PUT and DELETE, as WebDAV servers do. `false` unless set: then
    /// `save` and `delete` are `Unsupported`.
    #[must_use]
    pub fn writable(mut self, writable: bool) -> Self {
        self.writable = writable;
        self
    }

    /// How long the headers of an answer may take, the opening of a connection included; 10 s by
    /// default.
    #[must_use]
    pub fn header_timeout(mut self, time: Duration) -> Self {
        self.header_timeout = time;
        self
    }

    /// How long a body may stall between two pieces; 30 s by default. The time that its reader
    /// takes does not count. The answer to a save may take so long, and as long as headers may,
    /// after its last piece.
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

    /// A header that goes along with every request, to the server of the base URL alone. Its value
    /// is taken for a secret: neither `Debug` output nor errors show it. Without TLS it needs
    /// [`allow_http`](Self::allow_http).
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), Secret::new(value)));
        self
    }

    /// Where links lead to, if that is another place than the base URL.
    #[must_use]
    pub fn public_url(mut self, base: LinkBase) -> Self {
        self.public_url = Some(base);
        self
    }

    /// Whether a body that stalls or breaks off goes on over another connection; it does unless set
    /// otherwise. For those who have another source to go on from: they get the error, after all
    /// bytes that came before it.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Makes the driver. Sends nothing.
    ///
    /// # Errors
    /// `InvalidConfig` that names the option: a base URL that is none of HTTP, or has a user name,
    /// a query or a fragment; a timeout of zero; a header that cannot be sent, is the driver's own,
    /// or would be sent without TLS.
    pub fn build(self) -> Result<Http> {
        let base = base(self.base_url)?;
        let headers = headers(self.headers)?;
        check_tls(&base, &headers, self.allow_http)?;
        check_timeout("header_timeout", self.header_timeout)?;
        check_timeout("idle_timeout", self.idle_timeout)?;
        let http = ClientConfig::new(self.header_timeout)
            .max_headers(MAX_HEADERS)
            .build_for(base.host_str().unwrap_or_default())?;
        Ok(Http::new(Inner {
            writable: self.writable,
            resume: self.resume,
            public_url: self.public_url.unwrap_or_else(|| base.clone().into()),
            client: Client::new(http, base, headers, self.header_timeout, self.idle_timeout),
            webdav: Webdav::default(),
            spool: Spool::new(self.max_spool_size, self.max_spool_size, SPOOL_ADVICE),
        }))
    }
}

/// Shows no value of a header, and of the URL the host alone: there may be a password in it, which
/// `build` refuses.
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
        return Err(Error::config("option base_url: a URL that begins with https:// or http://"));
    }
    check_tls_support(url.scheme())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::config(
            "option base_url: a URL without user name and password; what authenticates belongs into the option headers",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::config("option base_url: a URL without a query and without a fragment"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// Refuses to send secrets readable through a network.
fn check_tls(base: &Url, headers: &HeaderMap, allow_http: bool) -> Result<()> {
    let is_readable = base.scheme() == "http" && !is_loopback(base.host_str().unwrap_or_default());
    if is_readable && !headers.is_empty() && !allow_http {
        return Err(Error::config(
            "option headers: base_url has no TLS, so every machine on the way could read the headers; write https://, or \
             set allow_http = true if they are no secrets or the network is private",
        ));
    }
    Ok(())
}

fn check_timeout(option: &str, time: Duration) -> Result<()> {
    if time.is_zero() {
        return Err(Error::config(format!("option {option}: zero would fail everything")));
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
            .map_err(|_| bad("has a value that no header can have"))?;
        value.set_sensitive(true);
        headers.append(header, value);
    }
    Ok(headers)
}

storage_core::options! {
    /// The options as configuration has them.
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

/// Registers the driver `http` and its schemes `http` and `https`
/// (`https://host/dir/?idle_timeout=10s`: what stands before the query is the base URL).
///
/// The driver takes its own [options](crate#options) and those of every driver. `public_url` is the
/// base of links.
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
        let mut builder = Http::builder(options.base_url).writable(options.writable);
        builder.header_timeout = options.header_timeout.unwrap_or(HEADER_TIMEOUT);
        builder.idle_timeout = options.idle_timeout.unwrap_or(IDLE_TIMEOUT);
        builder.max_spool_size = options.max_spool_size.unwrap_or(MAX_SPOOL_SIZE);
        builder.allow_http = options.allow_http;
        builder.headers = options.headers.into_iter().collect();
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
