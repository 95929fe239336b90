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

/// The forms for ring, which `reqwest` does not set up itself.
#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
mod with_ring {
    use std::sync::Arc;

    use rustls::crypto::{CryptoProvider, ring};
    use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
    use rustls_platform_verifier::BuilderVerifierExt;
    use storage_core::{Error, Result};

    /// Sets the cryptography of a client to the provider of the process, or to ring if there is
    /// none.
    pub(crate) fn configure(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder> {
        let config = config().and_then(BuilderVerifierExt::with_platform_verifier);
        let config = config.map_err(|cause| {
            Error::unexpected(
                "TLS cannot be used: are the system's root certificates installed?",
                cause,
            )
        })?;
        Ok(builder.tls_backend_preconfigured(config.with_no_client_auth()))
    }

    /// Sets that no certificate is accepted, so that none are read. For clients of `http` URLs.
    pub(crate) fn without_roots(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder> {
        let config = config()
            .map_err(|cause| Error::unexpected("the cryptography of TLS cannot be used", cause))?
            .with_root_certificates(RootCertStore::empty());
        Ok(builder.tls_backend_preconfigured(config.with_no_client_auth()))
    }

    fn config() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
        let provider = CryptoProvider::get_default()
            .map_or_else(|| Arc::new(ring::default_provider()), Arc::clone);
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
    }
}

#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
pub(crate) use with_ring::{configure, without_roots};

/// The forms for AWS-LC, and for a build without TLS. They return results because those for ring
/// can fail.
#[cfg(not(all(feature = "tls-ring", not(feature = "tls-aws-lc"))))]
#[allow(clippy::unnecessary_wraps, reason = "the forms for ring can fail")]
mod by_reqwest {
    use storage_core::Result;

    /// Changes nothing: with AWS-LC, `reqwest` itself uses the provider of the process, or AWS-LC
    /// if there is none.
    pub(crate) fn configure(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder> {
        Ok(builder)
    }

    /// Sets that no certificate is accepted, so that none are read. For clients of `http` URLs.
    pub(crate) fn without_roots(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder> {
        #[cfg(feature = "tls-aws-lc")]
        let builder = builder.tls_certs_only([]);
        Ok(builder)
    }
}

#[cfg(not(all(feature = "tls-ring", not(feature = "tls-aws-lc"))))]
pub(crate) use by_reqwest::{configure, without_roots};

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
