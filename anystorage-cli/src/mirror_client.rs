//! [`Client`]: requests to the admin routes of a running mirror.
//!
//! The token comes from the configuration file or the environment, because other users of a machine
//! can read the arguments of a process. No message contains it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anystorage::config::Secret;
use anystorage::internal::object_url;
use anystorage::{Error, ErrorKind, Key, Loader};
use http::{Method, StatusCode};
use serde_json::Value;
use storage_client::{ClientConfig, is_loopback, send_error};
use url::Url;

use crate::exit::Failure;
use crate::location::without_secrets;

const TOKEN_VARIABLE: &str = "ANYSTORAGE_MIRROR_TOKEN";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit for a response (10 minutes). A purge of a large cache removes each file before it
/// responds. A prefetch waits for at most 30 seconds by [`PREFETCH_WAIT`].
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a response to a prefetch may wait for the object, in seconds.
pub(crate) const PREFETCH_WAIT: u64 = 30;
/// Upper bound for the document of a response.
const MAX_DOCUMENT_BYTES: usize = 16 << 20;

/// The mirror that the command sends requests to.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct MirrorArgs {
    /// The mirror's configuration file, for its address and its admin_token
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The URL of the mirror, or of its admin routes; the token is the value of
    /// ANYSTORAGE_MIRROR_TOKEN
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
}

/// Sends requests to one mirror.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Secret,
}

impl Client {
    pub(crate) fn new(args: &MirrorArgs) -> Result<Self, Failure> {
        let (base, token) = match (&args.config, &args.url) {
            (Some(file), _) => from_file(file)?,
            (None, Some(url)) => from_url(url)?,
            (None, None) => return Err(Failure::usage("add --config FILE or --url URL")),
        };
        Self::with_token(base, token)
    }

    /// Returns a client of the mirror at a URL. The token is the value of
    /// `ANYSTORAGE_MIRROR_TOKEN`.
    pub(crate) fn of_url(url: &Url) -> Result<Self, Failure> {
        let (base, token) = from_url(url)?;
        Self::with_token(base, token)
    }

    /// Returns a client of the mirror with these admin routes.
    pub(crate) fn with_token(base: Url, token: Secret) -> Result<Self, Failure> {
        let http = ClientConfig::new(CONNECT_TIMEOUT).build_for(&base);
        let http = http.map_err(|error| Failure::at(&without_secrets(base.clone()), &error))?;
        Ok(Self { http, base, token })
    }

    /// Returns the URL of the mirror for messages.
    pub(crate) fn shown(&self) -> Url {
        without_secrets(self.base.clone())
    }

    /// Removes one object from the cache.
    pub(crate) async fn purge(&self, key: &Key) -> Result<(), Error> {
        self.try_send(Method::POST, self.route("purge", Some(key))).await.map(drop)
    }

    /// Returns the URL of a route, or of a key below a route.
    pub(crate) fn route(&self, name: &str, key: Option<&Key>) -> Url {
        let mut url = self.base.clone();
        // A URL that `from_url` has accepted has path segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(name);
        }
        key.map_or(url.clone(), |key| {
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.push("");
            }
            object_url(&url, key)
        })
    }

    pub(crate) async fn get(&self, url: Url) -> Result<Value, Failure> {
        self.send(Method::GET, url).await
    }

    pub(crate) async fn post(&self, url: Url) -> Result<Value, Failure> {
        self.send(Method::POST, url).await
    }

    /// Sends a request and returns the document of a successful response.
    async fn send(&self, method: Method, url: Url) -> Result<Value, Failure> {
        let shown = without_secrets(url.clone());
        let document = self.try_send(method, url).await;
        document.map_err(|error| Failure::at(&shown, &error))
    }

    async fn try_send(&self, method: Method, url: Url) -> Result<Value, Error> {
        let failed = |error| send_error(error, "the mirror", "its address", "");
        let request = self.http.request(method, url).timeout(RESPONSE_TIMEOUT);
        let request = request.bearer_auth(self.token.expose());
        let request = request.header(http::header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_DOCUMENT_BYTES {
                return Err(Error::new(ErrorKind::TooLarge, "the response has more than 16 MiB"));
            }
        }
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|cause| {
            Error::unexpected("the response is not JSON: is this the URL of a mirror?", cause)
        })
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> Error {
    let (kind, message) = match status {
        StatusCode::UNAUTHORIZED => (
            ErrorKind::PermissionDenied,
            "the mirror does not accept the token: set ANYSTORAGE_MIRROR_TOKEN, or admin_token in \
             the file of --config, to the admin_token of the mirror"
                .to_owned(),
        ),
        StatusCode::NOT_FOUND => (
            ErrorKind::NotFound,
            "there is no such route: the mirror needs an admin_token, and its admin routes may \
             have another address (admin_listen)"
                .to_owned(),
        ),
        _ => {
            let text = String::from_utf8_lossy(body);
            let line = text.lines().next().unwrap_or_default();
            let line: String = line.chars().take(200).collect();
            (ErrorKind::Unexpected, format!("the mirror responds with {status}: {line}"))
        }
    };
    Error::new(kind, message)
}

fn from_file(file: &Path) -> Result<(Url, Secret), Failure> {
    let shown = file.display();
    let failure = |error: Error| Failure::at(&shown, &error);
    let config = Loader::new().mirror_config_file(file).map_err(failure)?;
    let token = config.admin_token.ok_or_else(|| {
        failure(Error::config("admin_token is missing, so the mirror has no admin routes"))
    })?;
    let address = config.admin_listen.unwrap_or(config.listen);
    if address.port() == 0 {
        return Err(failure(Error::config(
            "the mirror listens on any free port (0), so use --url with the port that it logs",
        )));
    }
    let url = Url::parse(&format!("http://{}/", reachable(address)));
    let url = url.map_err(|cause| failure(Error::unexpected("not an address", cause)))?;
    Ok((url, token))
}

/// Returns the address at which this machine reaches a listener. One that listens on all addresses
/// is reached at the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

fn from_url(url: &Url) -> Result<(Url, Secret), Failure> {
    let shown = without_secrets(url.clone());
    let usage = |message: &str| Failure::usage(format!("{shown}: {message}"));
    let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
    let host = host.ok_or_else(|| usage("write the URL of a mirror: https://host/"))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(usage(&format!("write no secret in the URL: set {TOKEN_VARIABLE}")));
    }
    if url.scheme() == "http" && !is_loopback(host) {
        return Err(usage("the token would be sent without encryption: use an https:// URL"));
    }
    let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    let token = token
        .ok_or_else(|| usage(&format!("set {TOKEN_VARIABLE} to the admin_token of the mirror")))?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage(format!("{TOKEN_VARIABLE}: not visible ASCII characters")));
    }
    let mut base = url.clone();
    base.set_fragment(None);
    Ok((base, Secret::new(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_on_all_addresses_is_reached_at_the_loopback_address() {
        let reachable = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reachable("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reachable("[::]:80"), "[::1]:80");
        assert_eq!(reachable("10.0.0.5:8080"), "10.0.0.5:8080");
    }

    #[test]
    fn a_route_is_below_the_path_of_the_url() {
        let client = |base: &str| Client {
            http: reqwest::Client::new(),
            base: Url::parse(base).unwrap(),
            token: Secret::new("canary"),
        };
        let key = Key::new("a b/c?.mp3").unwrap();
        for base in ["https://a/", "https://a"] {
            assert_eq!(client(base).route("status", None).as_str(), "https://a/status");
            let purge = client(base).route("purge", Some(&key));
            assert_eq!(purge.as_str(), "https://a/purge/a%20b/c%3F.mp3");
        }
        for base in ["https://a/mirror", "https://a/mirror/"] {
            assert_eq!(client(base).route("status", None).as_str(), "https://a/mirror/status");
        }
        assert!(!format!("{:?}", client("https://a/")).contains("canary"));
    }
}
