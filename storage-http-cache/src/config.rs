//! The options of the driver: [`HttpCacheBuilder`] in code, [`register`] for configurations.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde::{Deserialize, Deserializer, de};
use storage_client::{check_tls_support, is_loopback};
use storage_core::config::{self, Secret, Value, byte_size, duration};
use storage_core::layers::PublicUrl;
use storage_core::signed_url::SigningKey;
use storage_core::{
    BuildContext, Capabilities, Driver, DriverInfo, Error, Registry, Result, Storage,
};
use url::Url;

use crate::breaker::BreakerSettings;
use crate::bypass::BypassEnd;
use crate::client::{Client, ClientSettings};
use crate::driver::HttpCache;
use crate::link_policy::LinkPolicy;
use crate::mirror::{Mirror, MirrorSettings};
use crate::origin_memo::OriginMemo;
use crate::shared::Inner;
use crate::verify::Verify;
use crate::{rendezvous, status};

/// How long a key bypasses a mirror that cannot be purged (1 h).
const BYPASS_WITHOUT_PURGE: Duration = Duration::from_secs(60 * 60);

/// What the driver requests from the mirrors after a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OnSave {
    /// To remove the object. Requires a token.
    Purge,
    /// To remove the object and to fetch the new one. Requires a token.
    Prefetch,
    /// Nothing. The key bypasses the mirrors for one hour, through this driver only. Use it for
    /// objects that are never replaced.
    None,
}

/// Sets the options of a [`HttpCache`] and builds it. Created by [`HttpCache::builder`].
#[derive(Clone)]
pub struct HttpCacheBuilder {
    mirrors: Vec<Url>,
    origin: Storage,
    tuning: Tuning,
}

/// All options except the mirrors and origin.
#[derive(Clone)]
struct Tuning {
    verify: Verify,
    memo: Duration,
    header_timeout: Duration,
    idle_timeout: Duration,
    token: Option<Secret>,
    allow_http: bool,
    on_save: Option<OnSave>,
    min_size: u64,
    signing_key: Option<SigningKey>,
    public: bool,
    breaker_failures: u32,
    breaker_open: Duration,
    key_penalty: Duration,
    admin: Option<Url>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            verify: Verify::CacheTier,
            memo: Duration::from_secs(120),
            header_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(10),
            token: None,
            allow_http: false,
            on_save: None,
            min_size: 0,
            signing_key: None,
            public: false,
            breaker_failures: 5,
            breaker_open: Duration::from_secs(30),
            key_penalty: Duration::from_secs(20),
            admin: None,
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $value:expr;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: $type) -> Self {
            self.tuning.$name = $value;
            self
        })*
    };
}

impl HttpCache {
    /// Creates a builder for a driver that reads from these mirrors, in an order that depends on
    /// the key, and from `origin`, the storage that they mirror.
    ///
    /// ```
    /// use storage_core::{Memory, Storage};
    /// use storage_http_cache::HttpCache;
    ///
    /// let mirror = "https://downloads.example.com/".parse()?;
    /// let cache = HttpCache::builder(vec![mirror], Memory::storage()).token("secret").build()?;
    /// let storage = Storage::new(cache);
    /// assert_eq!(storage.info().location, "https://downloads.example.com/ -> memory:");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn builder(mirrors: Vec<Url>, origin: Storage) -> HttpCacheBuilder {
        HttpCacheBuilder { mirrors, origin, tuning: Tuning::default() }
    }
}

impl HttpCacheBuilder {
    setters! {
        /// Sets how the driver checks that a mirror has an object before it returns a link to it.
        /// This also determines the URLs of objects. Defaults to [`Verify::CacheTier`].
        verify: Verify => verify;
        /// Sets how long the results of these checks and recent responses of origin are used, for
        /// up to 65,536 and 16,384 keys. Defaults to `120s`.
        memo: Duration => memo;
        /// Sets the time limit for connecting to a mirror and for the headers of its response.
        /// Defaults to `1s`.
        header_timeout: Duration => header_timeout;
        /// Sets the time limit for each chunk of a mirror's body. After it, the rest is read from
        /// origin. Defaults to `10s`.
        idle_timeout: Duration => idle_timeout;
        /// Sets the bearer token of the mirrors' admin routes, which purges need. Defaults to none.
        token: impl Into<String> => Some(Secret::new(token));
        /// Sets whether the token may be sent without TLS, to a URL that begins with `http://`.
        /// Defaults to `false`. Permit it only in a network that you trust. It is always permitted
        /// to this machine (`localhost` and loopback addresses).
        allow_http: bool => allow_http;
        /// Sets what the driver requests from the mirrors after a save. Defaults to
        /// [`OnSave::Purge`] with a token and to [`OnSave::None`] without one.
        on_save: OnSave => Some(on_save);
        /// Sets the size in bytes below which objects are read from origin. Defaults to `0`. A size
        /// is known for one hour after a read or a save of the object, so other reads may use a
        /// mirror.
        min_size: u64 => min_size;
        /// Sets the mirrors' signing key, with which links to a mirror and the requests of the
        /// driver are signed. Defaults to none.
        signing_key: SigningKey => Some(signing_key);
        /// Sets whether everyone may read the mirrors. Defaults to `false`. With `true`, a plain
        /// link to a mirror, which never expires, may replace a link that origin would sign.
        public: bool => public;
        /// Sets how many consecutive failures open the circuit breaker of a mirror. Defaults to
        /// `5`.
        breaker_failures: u32 => breaker_failures;
        /// Sets how long the breaker stays open. The time is multiplied by how often it has opened
        /// since the last success, up to 10 minutes. Defaults to `30s`.
        breaker_open: Duration => breaker_open;
        /// Sets how long a key is not requested from a mirror after a request for it failed.
        /// Defaults to `20s`.
        key_penalty: Duration => key_penalty;
        /// Sets the base URL of the admin routes (`purge/`, `prefetch/`). Defaults to the URL of
        /// the mirror. With several mirrors, a purge at this URL must apply to all of them.
        admin: Url => Some(admin);
    }

    /// Builds the driver. Sends no request.
    ///
    /// # Errors
    /// - `InvalidConfig`, which names the option, if there is no mirror; for a mirror or an `admin`
    ///   that is not an HTTP URL, or that has a user name, a query or a fragment; for a timeout or
    ///   a number of failures of zero; for `public` with `signing_key`; for `on_save` without
    ///   `token`; for a `token` that a header cannot contain, or that would be sent without TLS;
    ///   and for `https` in a program that is built without TLS.
    /// - `Unexpected` if TLS cannot be set up, for example because the system has no root
    ///   certificates.
    pub fn build(self) -> Result<HttpCache> {
        let Self { mirrors, origin, tuning } = self;
        if mirrors.is_empty() {
            return Err(Error::config("option mirror: set at least one URL"));
        }
        tuning.check()?;
        tuning.check_tls(&mirrors)?;
        let token = tuning.token.as_ref().map(bearer).transpose()?;
        let admin = tuning.admin.as_ref().map(|url| checked("admin", url)).transpose()?;
        let settings = tuning.mirror_settings();
        let built = mirrors.iter().map(|base| {
            let client = Client::new(ClientSettings {
                base: checked("mirror", base)?,
                verify: tuning.verify,
                admin: admin.clone(),
                token: token.clone(),
                signing_key: tuning.signing_key.clone(),
                header_timeout: tuning.header_timeout,
                idle_timeout: tuning.idle_timeout,
            })?;
            Ok(Mirror::new(client, settings))
        });
        let built = built.collect::<Result<Vec<_>>>()?;
        let links = LinkPolicy {
            public: tuning.public,
            signs: tuning.signing_key.is_some(),
            origin: origin.info().capabilities,
        };
        status::describe();
        if !links.leads_to_mirrors() {
            tracing::info!(
                "links lead to origin and not to the mirror, because origin is not public and \
                 neither `public = true` nor `signing_key` is set"
            );
        }
        Ok(HttpCache::from_inner(Inner {
            info: info(&built, origin.info(), links.capabilities()),
            origin: Arc::clone(origin.driver()),
            seeds: built
                .iter()
                .map(|mirror| rendezvous::seed(mirror.client.base().as_str()))
                .collect(),
            mirrors: built,
            memo: OriginMemo::new(tuning.memo, tuning.min_size),
            links,
            counts: Default::default(),
        }))
    }
}

/// Shows hosts instead of URLs, because a URL may contain a password until `build` refuses it.
impl fmt::Debug for HttpCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCacheBuilder")
            .field(
                "mirrors",
                &self
                    .mirrors
                    .iter()
                    .map(|url| url.host_str().unwrap_or_default())
                    .collect::<Vec<_>>(),
            )
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

fn info(mirrors: &[Arc<Mirror>], origin: &DriverInfo, capabilities: Capabilities) -> DriverInfo {
    let mirrors: Vec<_> = mirrors.iter().map(|mirror| mirror.client.base().as_str()).collect();
    DriverInfo::new(
        "http-cache",
        format!("{} -> {}", mirrors.join(", "), origin.location),
        capabilities,
    )
}

impl Tuning {
    fn check(&self) -> Result<()> {
        for (option, time) in
            [("header_timeout", self.header_timeout), ("idle_timeout", self.idle_timeout)]
        {
            if time.is_zero() {
                return Err(Error::config(format!(
                    "option {option}: with zero, every request would fail; set a longer time"
                )));
            }
        }
        if self.breaker_failures == 0 {
            return Err(Error::config("option breaker_failures: set at least 1"));
        }
        if self.public && self.signing_key.is_some() {
            return Err(Error::config(
                "options public and signing_key exclude each other, because a mirror with a signing \
                 key accepts only signed links: remove one of them",
            ));
        }
        if self.token.is_none() && matches!(self.on_save, Some(OnSave::Purge | OnSave::Prefetch)) {
            return Err(Error::config(
                "option on_save: a mirror accepts a purge only with a token; set the option token",
            ));
        }
        Ok(())
    }

    /// Refuses a token that would pass a network without TLS.
    fn check_tls(&self, mirrors: &[Url]) -> Result<()> {
        if self.token.is_none() || self.allow_http {
            return Ok(());
        }
        let targets = self.admin.as_ref().map_or(mirrors, std::slice::from_ref);
        match targets
            .iter()
            .find(|url| url.scheme() == "http" && !is_loopback(url.host_str().unwrap_or_default()))
        {
            None => Ok(()),
            Some(url) => Err(Error::config(format!(
                "option token: it would be sent to {} without TLS, where others can read it; use \
                 an https:// URL, or set allow_http = true if you trust the network",
                url.host_str().unwrap_or_default()
            ))),
        }
    }

    fn mirror_settings(&self) -> MirrorSettings {
        let default = if self.token.is_some() { OnSave::Purge } else { OnSave::None };
        let on_save = self.on_save.unwrap_or(default);
        MirrorSettings {
            verify: self.verify,
            memo: self.memo,
            breaker: BreakerSettings { failures: self.breaker_failures, open: self.breaker_open },
            key_penalty: self.key_penalty,
            bypass_end: match on_save {
                OnSave::None => BypassEnd::After(BYPASS_WITHOUT_PURGE),
                OnSave::Purge | OnSave::Prefetch => BypassEnd::PurgeConfirmed,
            },
            prefetch: on_save == OnSave::Prefetch,
        }
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue> {
    let bad = || {
        Error::config("option token: expected visible ASCII characters, which a header can contain")
    };
    let legal = |byte: u8| (0x21..0x7f).contains(&byte);
    if token.expose().is_empty() || !token.expose().bytes().all(legal) {
        return Err(bad());
    }
    let mut value =
        HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| bad())?;
    value.set_sensitive(true);
    Ok(value)
}

/// Checks a base URL: keys can be appended to it, and it contains no secret.
fn checked(option: &str, url: &Url) -> Result<Url> {
    let bad = |expected: &str| Err(Error::config(format!("option {option}: {expected}")));
    if !matches!(url.scheme(), "http" | "https") {
        return bad("set a URL that begins with https:// or http://");
    }
    check_tls_support(url.scheme())?;
    if !url.username().is_empty() || url.password().is_some() {
        return bad("set a URL without user name and password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return bad("set a URL without query and fragment");
    }
    Ok(url.clone())
}

storage_core::options! {
    /// The options of a configuration.
    struct HttpCacheOptions {
        /// The base URL of the mirror, or a list of URLs. With several, each key has a preferred
        /// one.
        mirror: Mirrors => "URL or list of URLs", required;
        /// The storage that contains the objects: the name of another storage, or a table.
        origin: Value => "name or table", required;
        /// How the driver checks that a mirror has an object before it returns a link to it: with
        /// the mirror's own protocol (`cache-tier`), with HEAD, or not at all.
        #[serde(default)]
        verify: Verify => "`cache-tier`, `head` or `none`", default "cache-tier";
        /// How long the results of these checks and recent responses of origin are used.
        #[serde(default, deserialize_with = "duration::option")]
        memo: Option<Duration> => "duration", default "120s";
        /// Time limit for the headers of a mirror's response, including the time for connecting.
        #[serde(default, deserialize_with = "duration::option")]
        header_timeout: Option<Duration> => "duration", default "1s";
        /// Time limit for each chunk of a mirror's body. After it, the rest is read from origin.
        #[serde(default, deserialize_with = "duration::option")]
        idle_timeout: Option<Duration> => "duration", default "10s";
        /// The `admin_token` of the mirror, for purges, and without `admin` for stored metadata.
        token: Option<Secret> => "secret";
        /// Whether `token` may be sent without TLS to another machine.
        #[serde(default)]
        allow_http: bool => "boolean", default false;
        /// What the driver requests from the mirror after a save: to remove the object, to remove
        /// it and fetch the new one, or nothing.
        on_save: Option<OnSave> => "`purge`, `prefetch` or `none`",
            otherwise "`purge` with a token, else `none`";
        /// The size below which objects are read from origin, once it is known.
        #[serde(default, deserialize_with = "byte_size::option")]
        min_size: Option<u64> => "size", default 0;
        /// The `signing_key` of the mirror, if it is private.
        signing_key: Option<Secret> => "secret";
        /// Whether a plain link to the mirror is permitted where origin would sign the link.
        #[serde(default)]
        public: bool => "boolean", default false;
        /// How many consecutive failures open the circuit breaker of a mirror, so that it is not
        /// used.
        breaker_failures: Option<u32> => "integer", default 5;
        /// How long the circuit breaker stays open, times how often it has opened since the last
        /// success, up to 10 minutes.
        #[serde(default, deserialize_with = "duration::option")]
        breaker_open: Option<Duration> => "duration", default "30s";
        /// How long a key is not requested from a mirror after a request for it failed.
        #[serde(default, deserialize_with = "duration::option")]
        key_penalty: Option<Duration> => "duration", default "20s";
        /// The base URL of the admin routes, if they have their own listener.
        #[serde(default, deserialize_with = "config::url::option")]
        admin: Option<Url> => "URL", otherwise "the mirror's own";
    }
}

/// Registers the driver `http-cache`. It has no URL form, because it refers to another storage.
///
/// The driver takes its own [options](crate#options) and those of every driver. `public_url` is the
/// public base URL of origin, for links while no mirror is in use.
///
/// ```
/// use storage_core::config::StoragesConfig;
///
/// let mut registry = storage_core::Registry::with_memory();
/// storage_http_cache::register(&mut registry);
/// let config: StoragesConfig = serde_json::from_str(
///     r#"{
///         "default": { "driver": "http-cache", "mirror": "https://downloads.example.com/", "origin": "media" },
///         "media": { "driver": "memory" }
///     }"#,
/// )?;
/// let storage = registry.open_named(&config, "default")?;
/// assert_eq!(storage.info().name, "http-cache");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn register(registry: &mut Registry) {
    registry.register("http-cache", build);
}

fn build(options: HttpCacheOptions, context: &BuildContext<'_>) -> Result<Arc<dyn Driver>> {
    let origin =
        context.storage(&options.origin).map_err(|error| error.with_context("option origin"))?;
    // Applied only to origin, because links to the mirror have another base URL.
    let origin = match context.common().public_url.clone() {
        Some(base) => origin.layer(|inner| PublicUrl::new(inner, base)),
        None => origin,
    };
    let (mirrors, tuning) = options.into_parts()?;
    Ok(Arc::new(HttpCacheBuilder { mirrors, origin, tuning }.build()?))
}

impl HttpCacheOptions {
    /// Returns the mirrors, and the options except the mirrors and origin.
    fn into_parts(self) -> Result<(Vec<Url>, Tuning)> {
        let (options, default) = (self, Tuning::default());
        let tuning = Tuning {
            verify: options.verify,
            memo: options.memo.unwrap_or(default.memo),
            header_timeout: options.header_timeout.unwrap_or(default.header_timeout),
            idle_timeout: options.idle_timeout.unwrap_or(default.idle_timeout),
            token: options.token,
            allow_http: options.allow_http,
            on_save: options.on_save,
            min_size: options.min_size.unwrap_or(default.min_size),
            signing_key: options
                .signing_key
                .map(|secret| SigningKey::new(secret.expose()))
                .transpose()?,
            public: options.public,
            breaker_failures: options.breaker_failures.unwrap_or(default.breaker_failures),
            breaker_open: options.breaker_open.unwrap_or(default.breaker_open),
            key_penalty: options.key_penalty.unwrap_or(default.key_penalty),
            admin: options.admin,
        };
        let Mirrors(mirrors) = options.mirror;
        Ok((mirrors, tuning))
    }
}

/// One URL or a list of URLs.
struct Mirrors(Vec<Url>);

impl<'de> Deserialize<'de> for Mirrors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MirrorsVisitor)
    }
}

struct MirrorsVisitor;

impl<'de> de::Visitor<'de> for MirrorsVisitor {
    type Value = Mirrors;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL or a list of URLs")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Mirrors, E> {
        Ok(Mirrors(vec![config::url::parse(text).map_err(E::custom)?]))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Mirrors, A::Error> {
        let mut urls = Vec::new();
        while let Some(url) = seq.next_element::<String>()? {
            urls.push(config::url::parse(&url).map_err(de::Error::custom)?);
        }
        Ok(Mirrors(urls))
    }
}

#[cfg(test)]
mod tests {
    use storage_core::config::{DeclaredOptions, Options};

    use super::*;

    #[test]
    fn the_declared_defaults_are_those_of_the_driver() {
        let declared = Options::new()
            .with("mirror", "https://downloads.example.com/")
            .with("origin", "media")
            .with_declared_defaults(HttpCacheOptions::SPECS);
        let (_, declared) =
            declared.read::<HttpCacheOptions>("http-cache").unwrap().into_parts().unwrap();
        let fields = |tuning: &Tuning| {
            let times = (tuning.memo, tuning.header_timeout, tuning.idle_timeout);
            let breaker = (tuning.breaker_failures, tuning.breaker_open, tuning.key_penalty);
            (times, breaker, tuning.verify, tuning.min_size, tuning.allow_http, tuning.public)
        };
        assert_eq!(fields(&declared), fields(&Tuning::default()));
    }
}
