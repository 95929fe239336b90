//! [`MirrorPurge`]: purges the mirrors that the table `[publish]` names, after a publish or a
//! rollback.

use anystorage::config::{Secret, StorageConfig, Value};
use anystorage::publish::Purge;
use anystorage::{Error, Key, async_trait};
use futures_util::{StreamExt, stream};
use storage_client::is_loopback;
use url::Url;

use crate::exit::Failure;
use crate::location::without_secrets;
use crate::mirror_client::Client;
use crate::resolver::Resolver;

/// How many requests are sent to one mirror at a time.
const CONCURRENCY: usize = 8;

/// Purges mirrors.
#[derive(Debug)]
pub(crate) struct MirrorPurge {
    mirrors: Vec<Client>,
    /// The prefix of the destination in its storage, which precedes the keys.
    prefix: String,
}

impl MirrorPurge {
    /// Finds the mirrors with these names: URLs, or storages with the driver `http-cache`. Returns
    /// `None` without names. `table` is the table of the names, for messages.
    pub(crate) fn new(
        resolver: &mut Resolver,
        names: &[String],
        prefix: &str,
        table: &str,
    ) -> Result<Option<Self>, Failure> {
        let mut mirrors = Vec::new();
        for name in names {
            let failure = |what: &str| Failure::usage(format!("{table}: purge: {name:?}: {what}"));
            if name.contains("://") {
                let url = Url::parse(name).map_err(|_| {
                    Failure::usage(format!("{table}: purge: write URLs as https://host/"))
                })?;
                mirrors.push(Client::of_url(&url)?);
                continue;
            }
            let definitions = resolver.definitions()?;
            let Some(config) = definitions.config(name) else {
                return match definitions.open(name) {
                    Err(error) => Err(failure(error.message())),
                    Ok(_) => Err(failure("its definition cannot be read")),
                };
            };
            for (base, token) in mirrors_of(config).map_err(|what| failure(&what))? {
                mirrors.push(Client::with_token(base, token)?);
            }
        }
        let purge = Self { mirrors, prefix: prefix.to_owned() };
        Ok((!names.is_empty()).then_some(purge))
    }

    /// Purges keys at one mirror, up to the first error: the claim is held meanwhile, and a mirror
    /// that does not respond must not hold it for each key.
    async fn purge_one(&self, mirror: &Client, keys: &[String]) -> Result<(), Error> {
        let keys = keys.iter().map(|key| Key::new(format!("{}{key}", self.prefix)));
        let keys: Vec<Key> = keys.collect::<Result<_, _>>()?;
        // By number: a closure that takes a reference would make the future not `Send`.
        let requested = &keys;
        let results = stream::iter(0..keys.len()).map(move |index| mirror.purge(&requested[index]));
        let mut results = results.buffer_unordered(CONCURRENCY);
        let mut purged = 0;
        while let Some(result) = results.next().await {
            result.map_err(|error| {
                let keys = keys.len();
                let context = format!("{}: after {purged} of {keys} keys", mirror.shown());
                error.with_context(&context)
            })?;
            purged += 1;
        }
        Ok(())
    }
}

#[async_trait]
impl Purge for MirrorPurge {
    async fn purge(&self, keys: &[String]) -> Result<(), Error> {
        let mut first = None;
        for mirror in &self.mirrors {
            if let Err(error) = self.purge_one(mirror, keys).await {
                tracing::warn!(%error, "a mirror was not purged");
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }
}

/// Returns the base URLs of the admin routes of the mirrors of a storage, and the token.
fn mirrors_of(config: &StorageConfig) -> Result<Vec<(Url, Secret)>, String> {
    if config.driver != "http-cache" {
        return Err(format!(
            "the storage has the driver {}, which has no mirror: name a storage with the driver \
             http-cache, or write the URL of a mirror",
            config.driver
        ));
    }
    let token = match config.options.get("token") {
        Some(Value::String(token)) => Secret::new(token.as_str()),
        _ => return Err("set its option token to the admin_token of the mirror".to_owned()),
    };
    let insecure = config.options.get("allow_http") == Some(&Value::Bool(true));
    let urls = config.options.get("admin").or_else(|| config.options.get("mirror"));
    let urls = match urls {
        Some(Value::Array(urls)) => urls.as_slice(),
        Some(url) => std::slice::from_ref(url),
        None => &[],
    };
    let urls = urls.iter().map(|url| admin_url(url, insecure).map(|url| (url, token.clone())));
    urls.collect()
}

fn admin_url(url: &Value, insecure: bool) -> Result<Url, String> {
    let Value::String(text) = url else { return Err("the URL of its mirror is not text".into()) };
    let url = Url::parse(text).map_err(|_| "the URL of its mirror is not valid".to_owned())?;
    let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
    let Some(host) = host else { return Err("its mirror needs an https:// URL".into()) };
    if url.scheme() == "http" && !insecure && !is_loopback(host) {
        return Err(format!(
            "the token would be sent to {} without encryption: use an https:// URL, or set \
             allow_http = true if you trust the network",
            without_secrets(url)
        ));
    }
    Ok(url)
}
