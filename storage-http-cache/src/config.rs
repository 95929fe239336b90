//! The driver's options: for programs ([`HttpCacheBuilder`]) and for configuration ([`register`]).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde::{Deserialize, Deserializer, de};
use storage_client::check_tls_support;
use storage_core::config::{self, Secret, Value, byte_size, duration};
use storage_core::layers::PublicUrl;
use storage_core::signed_url::SigningKey;
use storage_core::{
    BuildContext, Capabilities, Driver, DriverInfo, Error, Registry, Result, Storage,
};
use url::{Host, Url};

use super::{rendezvous, status};
use crate::breaker::BreakerSettings;
use crate::bypass::Until;
use crate::cache::{HttpCache, Shared};
use crate::client::{Client, ClientSettings};
use crate::known::Known;
use crate::link::LinkPolicy;
use crate::mirror::{Mirror, MirrorSettings};

/// For how long a key bypasses a mirror that cannot be purged.
const UNPURGED: Duration = Duration::from_secs(60 * 60);

/// How a mirror is asked whether it has an object, before a link to it is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verify {
    /// In the protocol of the cache tier: `GET /verify/<key>` answers JSON, objects are at
    /// `/download/<key>`. For our mirror server, and the original one.
    #[default]
    CacheTier,
    /// By `HEAD /<key>`; objects are at `/<key>`. For any web server: a file server, or a cache
    /// such as nginx with `proxy_cache`. ETags of such a mirror are not compared with origin's;
    /// sizes are.
    Head,
    /// Not at all: a mirror that is healthy has everything, or fetches it. Objects are at `/<key>`.
    None,
}

/// What a mirror hears of after a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OnSave {
    /// It is to forget the object. Needs a token.
    Purge,
    /// It is to forget the object and fetch the new one. Needs a token.
    Prefetch,
    /// Nothing. The key bypasses the mirror for an hour, in this process alone: for objects that
    /// are never replaced.
    None,
}

/// How to set up the driver. See [`build`](Self::build).
#[derive(Clone)]
pub struct HttpCacheBuilder {
    mirrors: Vec<Url>,
    origin: Storage,
    tuning: Tuning,
}

/// The options but for who the mirrors and origin are.
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

impl HttpCacheBuilder {
    pub(crate) fn new(mirrors: Vec<Url>, origin: Storage) -> Self {
        Self { mirrors, origin, tuning: Tuning::default() }
    }

    setters! {
        /// How the mirrors are asked whether they have an object; in the protocol of the cache tier
        /// by default.
        verify: Verify => verify;
        /// For how long an answer to that is remembered, and what origin said of objects; 120 s by
        /// default.
        memo: Duration => memo;
        /// How long a mirror may take to begin its answer; 1 s by default.
        header_timeout: Duration => header_timeout;
        /// How long the body of a mirror's answer may stall; 10 s by default.
        idle_timeout: Duration => idle_timeout;
        /// The token that the mirrors' admin routes ask for.
        token: impl Into<String> => Some(Secret::new(token));
        /// Whether the token may be sent without TLS, to a URL that begins with `http://`: only in
        /// a network that you trust. An address of this machine (`localhost`, `127.0.0.1`, `[::1]`)
        /// needs no permission. `false` by default.
        allow_http: bool => allow_http;
        /// What the mirrors hear of after a save; by default they purge if there is a token, else
        /// nothing.
        on_save: OnSave => Some(on_save);
        /// Objects with fewer bytes skip the mirrors, as soon as their size is known: an object
        /// whose size nobody has told yet is asked of a mirror the first time. 0 by default.
        min_size: u64 => min_size;
        /// The mirrors' signing key. Links to a mirror, also those that the driver follows, are
        /// then signed with it.
        signing_key: SigningKey => Some(signing_key);
        /// Whether everybody may read the mirrors. Then a link that origin would sign may become a
        /// plain link to a mirror, which works for ever; `false` by default.
        public: bool => public;
        /// How many failures in a row have a mirror be left alone; 5 by default.
        breaker_failures: u32 => breaker_failures;
        /// For how long; times how often it has happened since the mirror was last healthy, up to
        /// 10 minutes. 30 s by default.
        breaker_open: Duration => breaker_open;
        /// For how long a mirror is not asked for a key whose last request met trouble; 20 s by
        /// default.
        key_penalty: Duration => key_penalty;
        /// Where the admin routes are (`purge/`, `prefetch/`), if not at the mirror's own address.
        /// With several mirrors, it has to speak for all of them.
        admin: Url => Some(admin);
    }

    /// Makes the driver. Asks nobody.
    ///
    /// # Errors
    /// `InvalidConfig` that names the option.
    pub fn build(self) -> Result<HttpCache> {
        let Self { mirrors, origin, tuning } = self;
        if mirrors.is_empty() {
            return Err(Error::config("option mirror: name at least one"));
        }
        tuning.check()?;
        tuning.check_where_the_token_goes(&mirrors)?;
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
                "links lead to origin and not to the mirror, since origin is not public and neither `public = true` nor \
                 `signing_key` is set"
            );
        }
        Ok(HttpCache::from_shared(Shared {
            info: info(&built, origin.info(), links.capabilities()),
            origin: Arc::clone(origin.driver()),
            seeds: built
                .iter()
                .map(|mirror| rendezvous::seed(mirror.client.base().as_str()))
                .collect(),
            mirrors: built,
            known: Known::new(tuning.memo, tuning.min_size),
            links,
            counts: Default::default(),
        }))
    }
}

/// Shows no URL, in which there may be a password: `build` refuses it, but that comes later.
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
                return Err(Error::config(format!("option {option}: zero would fail everything")));
            }
        }
        if self.breaker_failures == 0 {
            return Err(Error::config("option breaker_failures: at least 1"));
        }
        if self.public && self.signing_key.is_some() {
            return Err(Error::config(
                "options public and signing_key: a mirror with a signing key answers signed links alone; leave one out",
            ));
        }
        if self.token.is_none() && matches!(self.on_save, Some(OnSave::Purge | OnSave::Prefetch)) {
            return Err(Error::config(
                "option on_save needs token too: a mirror purges only for those who have it",
            ));
        }
        Ok(())
    }

    /// Refuses a token that would cross a network in clear text.
    fn check_where_the_token_goes(&self, mirrors: &[Url]) -> Result<()> {
        if self.token.is_none() || self.allow_http {
            return Ok(());
        }
        let targets = self.admin.as_ref().map_or(mirrors, std::slice::from_ref);
        match targets.iter().find(|url| url.scheme() == "http" && !is_this_machine(url)) {
            None => Ok(()),
            Some(url) => Err(Error::config(format!(
                "option token: it would be sent to {} without TLS, where others can read it; use an https:// URL, or set \
                 allow_http = true if you trust the network",
                url.host_str().unwrap_or_default()
            ))),
        }
    }

    fn mirror_settings(&self) -> MirrorSettings {
        let by_default = if self.token.is_some() { OnSave::Purge } else { OnSave::None };
        let on_save = self.on_save.unwrap_or(by_default);
        MirrorSettings {
            verify: self.verify,
            memo: self.memo,
            breaker: BreakerSettings { failures: self.breaker_failures, open: self.breaker_open },
            key_penalty: self.key_penalty,
            until: if on_save == OnSave::None { Until::Over(UNPURGED) } else { Until::Purged },
            prefetch: on_save == OnSave::Prefetch,
        }
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue> {
    let bad =
        || Error::config("option token: a text of visible ASCII characters, as a header can hold");
    let legal = |byte: u8| (0x21..0x7f).contains(&byte);
    if token.expose().is_empty() || !token.expose().bytes().all(legal) {
        return Err(bad());
    }
    let mut value =
        HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| bad())?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether what is sent to a URL does not leave this machine.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// A URL that keys can be put behind, and that may be shown.
fn checked(option: &str, url: &Url) -> Result<Url> {
    let bad = |expected: &str| Err(Error::config(format!("option {option}: {expected}")));
    if !matches!(url.scheme(), "http" | "https") {
        return bad("a URL that begins with https:// or http://");
    }
    check_tls_support(url.scheme())?;
    if !url.username().is_empty() || url.password().is_some() {
        return bad("a URL without user name and password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return bad("a URL without query and fragment");
    }
    Ok(url.clone())
}

storage_core::options! {
    /// The options as configuration has them.
    struct HttpCacheOptions {
        /// The base URL of the mirror, or a list of several. Each key has a preferred mirror.
        mirror: Mirrors => "URL or list of URLs", required;
        /// The storage that holds the objects: the name of another storage, or a table.
        origin: Value => "name or table", required;
        /// How the driver checks that a mirror has an object before it returns a link to it: with
        /// the mirror's own protocol (`cache-tier`), with HEAD, or not at all.
        #[serde(default)]
        verify: Verify => "`cache-tier`, `head` or `none`", default "cache-tier";
        /// How long the result of that check is used.
        #[serde(default, deserialize_with = "duration::option")]
        memo: Option<Duration> => "duration", default "120s";
        /// How long a mirror may take to begin a response.
        #[serde(default, deserialize_with = "duration::option")]
        header_timeout: Option<Duration> => "duration", default "1s";
        /// How long a body may stall before the rest is read from origin.
        #[serde(default, deserialize_with = "duration::option")]
        idle_timeout: Option<Duration> => "duration", default "10s";
        /// The `admin_token` of the mirror, for purges, and without `admin` for stored metadata.
        token: Option<Secret> => "secret";
        /// Whether `token` may be sent without TLS to another machine.
        #[serde(default)]
        allow_http: bool => "boolean", default false;
        /// What the driver sends to the mirror after a save.
        on_save: Option<OnSave> => "`purge`, `prefetch` or `none`",
            otherwise "`purge` with a token, else `none`";
        /// Smaller objects are read from origin, once their size is known.
        #[serde(default, deserialize_with = "byte_size::option")]
        min_size: Option<u64> => "size", default 0;
        /// The `signing_key` of the mirror, if it is private.
        signing_key: Option<Secret> => "secret";
        /// Whether a plain link to the mirror is permitted where origin would sign the link.
        #[serde(default)]
        public: bool => "boolean", default false;
        /// After how many consecutive failures a mirror is not used.
        breaker_failures: Option<u32> => "integer", default 5;
        /// For how long, multiplied by the number of times that this happened, up to 10 minutes.
        #[serde(default, deserialize_with = "duration::option")]
        breaker_open: Option<Duration> => "duration", default "30s";
        /// How long a key is not requested from a mirror that failed for it.
        #[serde(default, deserialize_with = "duration::option")]
        key_penalty: Option<Duration> => "duration", default "20s";
        /// The base URL of the admin routes, if they have their own listener.
        #[serde(default, deserialize_with = "config::url::option")]
        admin: Option<Url> => "URL", otherwise "the mirror's own";
    }
}

/// Registers the driver `http-cache`. It has no URL form, since it refers to another storage.
///
/// The driver takes its own [options](crate#options) and those of every driver. `public_url` is the
/// public address of origin's objects: the base of the links that are made while the mirror is down.
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
    // Known here, so that the links to the mirror and those to origin are told apart.
    let origin = match context.common().public_url.clone() {
        Some(base) => origin.layer(|inner| PublicUrl::new(inner, base)),
        None => origin,
    };
    let default = Tuning::default();
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
    Ok(Arc::new(HttpCacheBuilder { mirrors, origin, tuning }.build()?))
}

/// One URL, or a list of them.
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
