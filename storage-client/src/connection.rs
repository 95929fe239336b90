//! [`ClientConfig`]: sets up the HTTP client of a driver, for the [`Route`] of its requests.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::redirect::Policy;
use storage_core::{Error, Result};

use crate::tls;

/// How long an unused connection is kept (15 s). Most servers keep it longer, so that they do not
/// close it while a request is being sent.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// How many headers a response with user metadata may need, because 2 KiB of user metadata can be
/// hundreds of entries.
pub const MAX_HEADERS: usize = 1024;

/// How requests reach a server, which decides what a client needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Through the proxies of the environment: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and
    /// `NO_PROXY`.
    Proxied,
    /// Without a proxy, because the host [bypasses proxies](bypasses_proxies).
    Direct,
    /// Without a proxy and without TLS: the scheme is `http`. A client for this route does not read
    /// the root certificates, which would take some milliseconds.
    Plain,
}

impl Route {
    /// Returns the route of requests with this scheme and this host.
    #[must_use]
    pub fn of(scheme: &str, host: &str) -> Self {
        match (bypasses_proxies(host), scheme) {
            (false, _) => Self::Proxied,
            (true, "http") => Self::Plain,
            (true, _) => Self::Direct,
        }
    }
}

/// The configuration of an HTTP client that follows no redirection, decodes no body, stores no
/// cookie and sends no `Referer`. It uses HTTP/1.1 and closes connections that were unused for 15
/// s.
#[derive(Debug, Clone, Copy)]
pub struct ClientConfig {
    connect_timeout: Duration,
    max_headers: Option<usize>,
}

impl ClientConfig {
    /// Creates a configuration. `connect_timeout` limits the time in which a connection opens,
    /// including TLS.
    #[must_use]
    pub fn new(connect_timeout: Duration) -> Self {
        Self { connect_timeout, max_headers: None }
    }

    /// Sets how many headers a response may have, usually [`MAX_HEADERS`]. Defaults to 100.
    ///
    /// The client reserves room for this many headers for each response, which slows down small
    /// responses. A response with more headers fails.
    #[must_use]
    pub fn max_headers(mut self, count: usize) -> Self {
        self.max_headers = Some(count);
        self
    }

    /// Builds a client for requests to the server of a URL, by their [route](Route::of).
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_for(self, url: &reqwest::Url) -> Result<reqwest::Client> {
        self.build(Route::of(url.scheme(), url.host_str().unwrap_or_default()))
    }

    /// Builds a client for a route.
    ///
    /// # Errors
    /// `Unexpected` if TLS cannot be set up, for example because the system has no root
    /// certificates.
    pub fn build(self, route: Route) -> Result<reqwest::Client> {
        let builder = self.builder();
        let builder = match route {
            Route::Proxied => tls::configure(builder)?,
            Route::Direct => tls::configure(builder.no_proxy())?,
            Route::Plain => tls::without_roots(builder.no_proxy())?,
        };
        builder.build().map_err(|cause| {
            Error::unexpected(
                "the HTTP client could not be built: are the system's root certificates installed?",
                cause,
            )
        })
    }

    fn builder(self) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("anystorage/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .referer(false)
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            // An application may enable these features of reqwest for clients of its own.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate();
        match self.max_headers {
            Some(count) => builder.http1_max_headers(count),
            None => builder,
        }
    }
}

/// Returns whether a host is this machine: `localhost` or a loopback address. A request to it
/// passes no network, so it may be sent without TLS.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    address(host).map_or(host == "localhost", |address| address.is_loopback())
}

/// Returns whether requests to a host use no proxy: this machine, link-local addresses, and the
/// metadata services of cloud instances (169.254.169.254) and containers (fd00:ec2::/32), whose
/// credentials a proxy must not see.
#[must_use]
pub fn bypasses_proxies(host: &str) -> bool {
    is_loopback(host)
        || match address(host) {
            Some(IpAddr::V4(address)) => address.is_link_local(),
            Some(IpAddr::V6(address)) => {
                address.is_unicast_link_local() || address.segments()[..2] == [0xfd00, 0xec2]
            }
            None => false,
        }
}

/// Parses the IP address of a host in the form of URLs, which put an IPv6 address in brackets.
fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: [&str; 4] = ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"];
    const LINK_LOCAL: [&str; 4] =
        ["169.254.169.254", "169.254.170.2", "[fd00:ec2::254]", "[fe80::1]"];
    const OTHERS: [&str; 5] = [
        "127.example.com",
        "10.0.0.1",
        "[2600::1]",
        "localhost.example.com",
        "sts.eu-west-1.amazonaws.com",
    ];

    #[test]
    fn requests_to_this_machine_and_to_metadata_services_use_no_proxy() {
        for host in LOOPBACK.iter().chain(&LINK_LOCAL) {
            assert!(bypasses_proxies(host), "{host}");
        }
        for host in OTHERS {
            assert!(!bypasses_proxies(host), "{host}");
        }
    }

    #[test]
    fn only_plain_requests_without_a_proxy_need_no_root_certificates() {
        for host in LOOPBACK.iter().chain(&LINK_LOCAL) {
            assert_eq!(Route::of("http", host), Route::Plain, "{host}");
            assert_eq!(Route::of("https", host), Route::Direct, "{host}");
        }
        for host in OTHERS {
            assert_eq!(Route::of("http", host), Route::Proxied, "{host}");
            assert_eq!(Route::of("https", host), Route::Proxied, "{host}");
        }
    }

    #[test]
    fn a_link_local_address_is_not_this_machine() {
        for host in LOOPBACK {
            assert!(is_loopback(host), "{host}");
        }
        for host in LINK_LOCAL.iter().chain(&OTHERS) {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
