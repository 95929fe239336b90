//! Selects the cryptography of `https` by the features `tls-aws-lc` and `tls-ring`.
//!
//! Both use `rustls` and the root certificates of the system. If both features are on, AWS-LC is
//! used. Without either, `https` is refused when a driver is built.
//!
//! If the application has installed a provider for the whole process
//! (`rustls::crypto::CryptoProvider::install_default`), for example one that is certified for FIPS,
//! that provider is used instead. The drivers install no provider, because that would affect the
//! application and its other libraries.

use storage_core::{Error, Result};

/// Refuses a URL with the scheme `https` if the program is built without TLS.
///
/// # Errors
/// `InvalidConfig` that names the features.
pub fn check_tls_support(scheme: &str) -> Result<()> {
    if scheme == "https" && !cfg!(any(feature = "tls-aws-lc", feature = "tls-ring")) {
        return Err(Error::config(
            "https needs TLS, and this program is built without it: enable the feature \
             \"tls-aws-lc\" or \"tls-ring\" of anystorage",
        ));
    }
    Ok(())
}

/// Sets the cryptography of a client to the provider of the process, or to ring if there is none.
#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
pub(crate) fn configure(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder> {
    use rustls_platform_verifier::BuilderVerifierExt;

    let config =
        with_ring().and_then(BuilderVerifierExt::with_platform_verifier).map_err(unusable)?;
    Ok(builder.tls_backend_preconfigured(config.with_no_client_auth()))
}

#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
fn with_ring() -> std::result::Result<Builder, rustls::Error> {
    use std::sync::Arc;

    use rustls::crypto::CryptoProvider;

    let provider = CryptoProvider::get_default()
        .map_or_else(|| Arc::new(rustls::crypto::ring::default_provider()), Arc::clone);
    rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
type Builder = rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>;

#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
fn unusable(cause: rustls::Error) -> Error {
    Error::unexpected("TLS cannot be used: are the system's root certificates installed?", cause)
}

/// Changes nothing: with AWS-LC, `reqwest` itself uses the provider of the process, or AWS-LC if
/// there is none.
#[cfg(not(all(feature = "tls-ring", not(feature = "tls-aws-lc"))))]
#[allow(clippy::unnecessary_wraps, reason = "the form for ring can fail")]
pub(crate) fn configure(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder> {
    Ok(builder)
}

/// Sets that no certificate is accepted, so that none are read. For clients of `http` URLs.
#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
pub(crate) fn without_roots(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder> {
    let config = with_ring()
        .map_err(|cause| Error::unexpected("the cryptography of TLS cannot be used", cause))?
        .with_root_certificates(rustls::RootCertStore::empty());
    Ok(builder.tls_backend_preconfigured(config.with_no_client_auth()))
}

/// Sets that no certificate is accepted, so that none are read. For clients of `http` URLs.
#[cfg(feature = "tls-aws-lc")]
#[allow(clippy::unnecessary_wraps, reason = "the form for ring can fail")]
pub(crate) fn without_roots(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder> {
    Ok(builder.tls_certs_only([]))
}

/// Changes nothing: this build has no TLS.
#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
#[allow(clippy::unnecessary_wraps, reason = "the form for ring can fail")]
pub(crate) fn without_roots(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder> {
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_needs_no_tls() {
        check_tls_support("http").unwrap();
    }

    #[test]
    fn https_is_supported_if_a_tls_feature_is_on() {
        let is_built_in = cfg!(any(feature = "tls-aws-lc", feature = "tls-ring"));
        match check_tls_support("https") {
            Ok(()) => assert!(is_built_in),
            Err(error) => {
                assert!(!is_built_in);
                assert!(error.message().contains("tls-ring"), "{error}");
            }
        }
    }
}
