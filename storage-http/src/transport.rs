//! Connections: an HTTP client that does as it is told. It follows no redirection, decodes no body,
//! and keeps no cookie.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::redirect::Policy;
use storage_core::{Error, Result};

/// How long a connection is kept that nobody uses: less than servers do, so that it is not they who
/// close it while a request is on its way.
const IDLE: Duration = Duration::from_secs(15);
/// How many headers an answer may have. User metadata of 2 KiB can be hundreds.
const MAX_HEADERS: usize = 1024;

/// A client for one host, which may take so long to accept a connection.
pub(crate) fn client(host: &str, connect: Duration) -> Result<reqwest::Client> {
    build(builder(host, connect).http1_max_headers(MAX_HEADERS))
}

/// Such a client, to be finished by [`build`].
pub fn builder(host: &str, connect: Duration) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("anystorage/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(connect)
        .pool_idle_timeout(IDLE)
        // Whoever uses this crate may have enabled these for clients of their own.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate();
    if is_this_machine(host) { builder.no_proxy() } else { builder }
}

/// The client.
///
/// # Errors
/// `Unexpected` if the system lacks what TLS needs.
pub fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client> {
    builder.build().map_err(|cause| {
        Error::unexpected("no HTTP client: are the system's root certificates installed?", cause)
    })
}

/// What stays on this machine goes through no proxy.
pub(super) fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_told_from_others() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["127.example.com", "10.0.0.1", "[2600::1]", "localhost.example.com"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
