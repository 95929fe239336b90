//! The HTTP client that everything goes through: requests to S3, and those for credentials.

use std::time::Duration;

use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector};
use reqwest::redirect::Policy;
use storage_core::{Error, Result};

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept that nobody uses; S3 itself closes it a little later.
const IDLE: Duration = Duration::from_secs(15);

/// How many headers an answer may have. User metadata of 2 KiB can be hundreds.
const MAX_HEADERS: usize = 1024;

/// A client that does as it is told: it follows no redirection, decodes no body, and keeps no cookie.
pub(crate) fn client() -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("anystorage/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .http1_only()
        .http1_max_headers(MAX_HEADERS)
        .tcp_nodelay(true)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        // Whoever uses this crate may have enabled these for clients of their own.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .build()
        .map_err(|cause| Error::unexpected("no HTTP client: are the system's root certificates installed?", cause))
}

/// Hands the one client to whoever asks for credentials.
#[derive(Debug)]
pub(crate) struct Connector(pub(crate) reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}
