//! [`MirrorConfig`]: the options of the mirror server.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, de};
use storage_core::config::{Secret, byte_size, duration, local_path};
use storage_core::signed_url::SigningKey;
use storage_core::{Error, Result};
use storage_serve::Cors;

use super::price::Price;
use crate::engine::{
    Clock, DEFAULT_TTL, EngineOptions, FreshnessPolicy, Matches, Rule, StalePolicy,
};
use crate::store::{DEFAULT_INDEX_MEMORY, DEFAULT_MEMORY, Limits, OPEN_FILES};

storage_core::options! {
    /// The options of a mirror in its configuration file. The program that reads the file builds
    /// the storage from `origin`, which is not part of this type. Unknown keys are errors.
    ///
    /// Durations (`"120s"`, `"5m"`, `"24h"`) and sizes (`"50GiB"`, `"500MB"`) are texts.
    ///
    /// ```
    /// use storage_mirror::MirrorConfig;
    ///
    /// let config: MirrorConfig = serde_json::from_str(
    ///     r#"{
    ///         "listen": "127.0.0.1:8080",
    ///         "cache_dir": "/var/cache/anystorage",
    ///         "max_size": "50GiB",
    ///         "ttl": "1h"
    ///     }"#,
    /// )?;
    /// let config = config.validated()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug, Clone)]
    #[non_exhaustive]
    pub struct MirrorConfig {
        /// The address and port of the public routes.
        pub listen: SocketAddr => "address", required;
        /// A directory that only the mirror uses.
        #[serde(deserialize_with = "local_path::deserialize")]
        pub cache_dir: PathBuf => "path", required;
        /// Upper bound for the disk space of the objects.
        #[serde(deserialize_with = "byte_size::deserialize")]
        pub max_size: u64 => "size", required;
        /// Larger objects are passed through and not stored.
        #[serde(default, deserialize_with = "byte_size::option")]
        pub max_object_size: Option<u64> => "size", otherwise "a tenth of `max_size`";
        /// Upper bound for the memory of metadata and of objects that are requested often.
        #[serde(default = "default_memory", deserialize_with = "byte_size::deserialize")]
        pub memory: u64 => "size", default "64MiB";
        /// Upper bound for the memory of the index: about 200 bytes and the key for each object.
        /// When it is full, objects are evicted as if the disk were full.
        #[serde(default = "default_index_memory", deserialize_with = "byte_size::deserialize")]
        pub index_memory: u64 => "size", default "512MiB";
        /// The prefixes of the keys that are served.
        pub allow: Option<Vec<String>> => "list of texts", otherwise "all keys";
        /// The lifetime of an object if origin sets none: a duration, or a table of durations by
        /// content type (`"audio/*"`), prefix (`"prefix:live/"`) and `default`.
        #[serde(default)]
        pub ttl: Ttl => "duration or table", default "1h";
        /// How long a missing object counts as missing without a request to origin.
        #[serde(default = "default_negative_ttl", deserialize_with = "duration::deserialize")]
        pub negative_ttl: Duration => "duration", default "10s";
        /// How long an expired object is served while origin fails, unless its `Cache-Control` sets
        /// another time.
        #[serde(default = "default_stale_if_error", deserialize_with = "duration::deserialize")]
        pub stale_if_error: Duration => "duration", default "24h";
        /// How long an expired object is served while it is revalidated, unless its `Cache-Control`
        /// sets another time.
        #[serde(default, deserialize_with = "duration::deserialize")]
        pub stale_while_revalidate: Duration => "duration", default "0s";
        /// Whether the first client is redirected to the URL of origin while the cache fills in the
        /// background.
        #[serde(default)]
        pub redirect_on_miss: bool => "boolean", default false;
        /// Whether the mirror serves the website that was published to origin: its pages and files,
        /// in the best encoding, and nothing else.
        ///
        /// The program has to pass the paths of the website ([`Server::bind_website`]).
        ///
        /// [`Server::bind_website`]: crate::Server::bind_website
        #[serde(default)]
        pub website: bool => "boolean", default false;
        /// The address and port of the admin routes: purges, metrics and status.
        pub admin_listen: Option<SocketAddr> => "address", otherwise "`listen`";
        /// The token of the admin routes: at least 16 visible ASCII characters, 6 of them
        /// different. Without it there are no admin routes.
        ///
        /// Clients send `Authorization: Bearer <token>`.
        pub admin_token: Option<Secret> => "secret";
        /// The file of the access log, or `"-"` for standard output: Combined Log Format with the
        /// cache status and the time in milliseconds.
        ///
        /// A reload reopens the file, so that it can be moved away before.
        #[serde(default, deserialize_with = "local_path::option")]
        pub access_log: Option<PathBuf> => "path";
        /// How many days analytics (downloads and bytes of each key) are kept. 0 disables them.
        ///
        /// They are stored in `analytics` below `cache_dir` and do not count towards `max_size`.
        #[serde(default = "default_analytics_days")]
        pub analytics_days: usize => "integer", default 400;
        /// The price that origin charges for sending one GB (10^9 bytes), as in `0.09`. With it,
        /// the status page shows how much money the cache saves.
        pub price_per_gb: Option<f64> => "number";
        /// The currency of `price_per_gb`, as in `"€"` or `"EUR"`.
        #[serde(default = "default_currency")]
        pub currency: String => "text", default "$";
        /// The addresses of proxies in front of the mirror, whose `Forwarded` or `X-Forwarded-For`
        /// names the client.
        ///
        /// If both headers (RFC 7239) are present and name different clients, neither is used.
        /// Without this option, the access log, the analytics and `max_connections_per_client`
        /// count all clients behind a proxy as one client.
        #[serde(default)]
        pub trusted_proxies: Vec<IpAddr> => "list of addresses", otherwise "none";
        /// The key of signed links. With it, only links that are signed with it are served; without
        /// it, every object that `allow` permits is public.
        pub signing_key: Option<Secret> => "secret";
        /// The origins of the pages that may read objects from a browser, as in
        /// `"https://www.example.com"`. `["*"]` allows every page.
        ///
        /// Fonts, `fetch` and players need it (CORS). Requests with cookies are not allowed.
        #[serde(default)]
        pub cors_origins: Vec<String> => "list of texts", otherwise "none";
        /// The number of threads that serve requests.
        pub workers: Option<usize> => "integer", otherwise "one for each core";
        /// The maximum number of concurrent connections.
        #[serde(default = "default_max_connections")]
        pub max_connections: usize => "integer", default 10000;
        /// The maximum number of concurrent connections of one address (IPv6: one /64). Does not
        /// apply to `trusted_proxies`.
        ///
        /// Further connections are closed at once.
        pub max_connections_per_client: Option<usize> => "integer",
            otherwise "a tenth of `max_connections`";
        /// The minimum number of bytes per second that a client has to read while bytes are ready.
        /// 0 disables the limit.
        ///
        /// Slower clients are disconnected. A client may pause for 60 seconds. Each `min_rate`
        /// bytes that it reads allow one second more, up to 10 minutes, so that a listener can
        /// pause a player. If the limit is disabled, a client may pause for 10 minutes after each
        /// read.
        #[serde(default = "default_min_rate", deserialize_with = "byte_size::deserialize")]
        pub min_rate: u64 => "size", default "1KiB";
    }
}

/// The value of the option `ttl`. Defaults to `1h` for all objects.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ttl {
    /// One lifetime for all objects.
    All(Duration),
    /// A lifetime for each content type (`audio/*`), prefix (`prefix:live/`) and for the others
    /// (`default`).
    Rules(BTreeMap<String, Duration>),
}

impl Default for Ttl {
    fn default() -> Self {
        Self::All(DEFAULT_TTL)
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TtlVisitor)
    }
}

struct TtlVisitor;

const TTL: &str = "a duration, as in \"1h\", or a table of durations by content type \
    (\"audio/*\"), \"prefix:...\" and \"default\"";

impl<'de> de::Visitor<'de> for TtlVisitor {
    type Value = Ttl;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TTL)
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Ttl, E> {
        Ok(Ttl::All(Duration::from_secs(seconds)))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Ttl, E> {
        u64::try_from(seconds)
            .map_err(|_| E::custom(format_args!("expected {TTL}")))
            .and_then(|n| self.visit_u64(n))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Ttl, E> {
        duration::parse(text).map(Ttl::All).ok_or_else(|| E::custom(format_args!("expected {TTL}")))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Ttl, A::Error> {
        let mut table = BTreeMap::new();
        while let Some((name, TtlValue(span))) = map.next_entry()? {
            table.insert(name, span);
        }
        Ok(Ttl::Rules(table))
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct TtlValue(#[serde(deserialize_with = "duration::deserialize")] Duration);

fn default_memory() -> u64 {
    DEFAULT_MEMORY
}

fn default_index_memory() -> u64 {
    DEFAULT_INDEX_MEMORY
}

fn default_min_rate() -> u64 {
    1024
}

fn default_negative_ttl() -> Duration {
    Duration::from_secs(10)
}

fn default_stale_if_error() -> Duration {
    Duration::from_secs(24 * 60 * 60)
}

fn default_analytics_days() -> usize {
    400
}

fn default_currency() -> String {
    "$".to_owned()
}

fn default_max_connections() -> usize {
    10_000
}

/// The minimum length of an `admin_token`, in bytes.
const MIN_TOKEN_BYTES: usize = 16;

impl MirrorConfig {
    /// Checks the options without access to files or the network.
    ///
    /// # Errors
    /// Fails with `InvalidConfig` and the name of the option if an option is invalid.
    pub fn validated(self) -> Result<Self> {
        let bad = |text: &'static str| Err(Error::config(text));
        if self.max_size == 0 {
            return bad("max_size: must be more than 0; set an upper bound, as in \"50GiB\"");
        }
        if self.max_object_size.is_some_and(|size| size > self.max_size) {
            return bad("max_object_size: must be at most max_size");
        }
        // Only these characters can be sent in every header.
        let is_fit = |token: &Secret| {
            let token = token.expose();
            token.len() >= MIN_TOKEN_BYTES && token.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !self.admin_token.as_ref().is_none_or(is_fit) {
            return bad("admin_token: needs at least 16 visible ASCII characters; \
                 make one with: openssl rand -hex 32");
        }
        if self.admin_token.as_ref().is_some_and(Secret::is_trivial) {
            return bad("admin_token: nearly all its characters are the same; \
                 make one with: openssl rand -hex 32");
        }
        if self.admin_listen.is_some() && self.admin_token.is_none() {
            return bad("admin_listen: needs admin_token as well");
        }
        if self.admin_listen == Some(self.listen) && self.listen.port() != 0 {
            return bad("admin_listen: is the same as listen; leave it out to serve both there");
        }
        if self.workers == Some(0) || self.max_connections == 0 {
            return bad("workers and max_connections: must be at least 1");
        }
        if self.max_connections_per_client == Some(0) {
            return bad("max_connections_per_client: must be at least 1; \
                 leave it out for a tenth of max_connections");
        }
        if self.allow.as_ref().is_some_and(Vec::is_empty) {
            return bad("allow: is empty, so no object would be served; leave it out for all keys");
        }
        self.check_website()?;
        self.price()?;
        self.signing_key()?;
        self.freshness()?;
        self.cors()?;
        Ok(self)
    }

    /// Refuses options that have no meaning for the pages of a website.
    fn check_website(&self) -> Result<()> {
        let unusable = [
            ("allow", self.allow.is_some(), "the release decides what is served"),
            ("signing_key", self.signing_key.is_some(), "the pages of a website are public"),
            ("redirect_on_miss", self.redirect_on_miss, "pages have other paths at origin"),
        ];
        if !self.website {
            return Ok(());
        }
        if let Some((option, _, reason)) = unusable.into_iter().find(|(_, is_set, _)| *is_set) {
            return Err(Error::config(format!(
                "{option}: cannot be used with website, because {reason}; leave it out"
            )));
        }
        if self.admin_token.is_some() && self.admin_listen.is_none() {
            return Err(Error::config(
                "website: set admin_listen too, because pages may have the names of admin routes; \
                 or leave out admin_token",
            ));
        }
        Ok(())
    }

    /// Returns the first option that differs and cannot change while a server runs.
    pub(crate) fn first_fixed_difference(&self, other: &Self) -> Option<&'static str> {
        let differs = [
            ("listen", self.listen != other.listen),
            ("admin_listen", self.admin_listen != other.admin_listen),
            ("cache_dir", self.cache_dir != other.cache_dir),
            ("max_size", self.max_size != other.max_size),
            ("max_object_size", self.max_object_size != other.max_object_size),
            ("memory", self.memory != other.memory),
            ("index_memory", self.index_memory != other.index_memory),
            ("ttl", self.ttl != other.ttl),
            ("negative_ttl", self.negative_ttl != other.negative_ttl),
            ("stale_if_error", self.stale_if_error != other.stale_if_error),
            ("stale_while_revalidate", self.stale_while_revalidate != other.stale_while_revalidate),
            ("website", self.website != other.website),
            ("analytics_days", self.analytics_days != other.analytics_days),
            ("workers", self.workers != other.workers),
            ("max_connections", self.max_connections != other.max_connections),
        ];
        differs.into_iter().find(|(_, differs)| *differs).map(|(option, _)| option)
    }

    pub(crate) fn signing_key(&self) -> Result<Option<SigningKey>> {
        self.signing_key.as_ref().map(|secret| SigningKey::new(secret.expose())).transpose()
    }

    /// Returns which pages of other origins may read objects, or `None` if none may.
    pub(crate) fn cors(&self) -> Result<Option<Cors>> {
        if self.cors_origins.is_empty() {
            return Ok(None);
        }
        let cors = Cors::origins(&self.cors_origins);
        let named = |error: Error| Error::config(format!("cors_origins: {}", error.message()));
        cors.map(Some).map_err(named)
    }

    /// Returns the price of traffic, or `None` if `price_per_gb` is not set.
    pub(crate) fn price(&self) -> Result<Option<Price>> {
        Price::new(self.price_per_gb, &self.currency)
    }

    pub(crate) fn max_object_size(&self) -> u64 {
        self.max_object_size.unwrap_or(self.max_size / 10)
    }

    pub(crate) fn max_connections_per_client(&self) -> usize {
        self.max_connections_per_client.unwrap_or(self.max_connections / 10).max(1)
    }

    /// Returns the options of the engine.
    pub(crate) fn engine_options(&self) -> Result<EngineOptions> {
        let limits = Limits {
            max_size: self.max_size,
            max_object_size: Some(self.max_object_size()),
            memory: self.memory,
            index_memory: self.index_memory,
            open_files: OPEN_FILES,
        };
        let freshness = self.freshness()?;
        Ok(EngineOptions {
            limits,
            negative_ttl: self.negative_ttl,
            freshness,
            stale: StalePolicy::AnyFailure,
            requires_strong_etag: false,
            logs_failures: true,
            passes_if_slow: false,
            clock: Clock::new(SystemTime::now),
        })
    }

    fn freshness(&self) -> Result<FreshnessPolicy> {
        let (mut ttl, mut rules) = (DEFAULT_TTL, Vec::new());
        match &self.ttl {
            Ttl::All(span) => ttl = *span,
            Ttl::Rules(table) => {
                for (name, span) in table {
                    match name.strip_prefix("prefix:") {
                        Some(prefix) => rules
                            .push(Rule { matches: Matches::Prefix(prefix.to_owned()), ttl: *span }),
                        None if name == "default" => ttl = *span,
                        None if name.contains('/') => {
                            let matches = Matches::ContentType(name.to_ascii_lowercase());
                            rules.push(Rule { matches, ttl: *span });
                        }
                        None => {
                            return Err(Error::config(format!(
                                "ttl: {name:?} is neither a content type (\"audio/*\") nor \
                                 \"prefix:...\" nor \"default\""
                            )));
                        }
                    }
                }
                // The more specific rule comes first: prefixes before types, long before short.
                rules.sort_by_key(|rule| match &rule.matches {
                    Matches::Prefix(prefix) => (0, usize::MAX - prefix.len()),
                    Matches::ContentType(kind) => (1, usize::MAX - kind.len()),
                });
            }
        }
        Ok(FreshnessPolicy {
            ttl,
            rules,
            stale_while_revalidate: self.stale_while_revalidate,
            stale_if_error: self.stale_if_error,
            is_upper_bound: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use storage_core::config::{DeclaredOptions, Options};

    use super::*;

    #[test]
    fn the_declared_defaults_equal_the_defaults_of_deserialization() {
        let required = Options::new()
            .with("listen", "127.0.0.1:8080")
            .with("cache_dir", "/var/cache/anystorage")
            .with("max_size", "50GiB");
        let declared = required.clone().with_declared_defaults(MirrorConfig::SPECS);
        let [declared, default] =
            [declared, required].map(|options| options.read_table::<MirrorConfig>().unwrap());
        assert_eq!(format!("{declared:?}"), format!("{default:?}"));
    }
}
