//! A client uses the provider of cryptography that the application has installed.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]
#![cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]

use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use storage_client::{ClientConfig, Route};

#[test]
fn a_client_uses_the_cryptography_provider_of_the_process() {
    let config = ClientConfig::new(Duration::from_secs(1));
    for route in [Route::Proxied, Route::Direct, Route::Plain] {
        config.build(route).unwrap();
    }
    assert!(CryptoProvider::get_default().is_none(), "a client installs no provider");
    // No connection is possible with this provider, so a client cannot be built with it.
    let useless = CryptoProvider { cipher_suites: Vec::new(), ..ring::default_provider() };
    useless.install_default().unwrap();
    config.build(Route::Proxied).unwrap_err();
}
