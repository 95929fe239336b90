//! TLS: which cryptography `https` uses, chosen by the features `tls-aws-lc` and `tls-ring`.
//!
//! Both use `rustls` and the root certificates of the system. If both features are on, AWS-LC is
//! used. Without either, `https` is refused when a driver is built.

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

/// Sets the cryptography of a client. No default of the process is read or set, so that libraries
/// that choose differently do not disturb each other.
#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
pub(crate) fn configure(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder> {
    use std::sync::Arc;

    use rustls_platform_verifier::BuilderVerifierExt;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|cause| {
            Error::unexpected(
                "TLS cannot be used: are the system's root certificates installed?",
                cause,
            )
        })?;
    Ok(builder.tls_backend_preconfigured(config.with_no_client_auth()))
}

#[cfg(not(all(feature = "tls-ring", not(feature = "tls-aws-lc"))))]
#[allow(clippy::unnecessary_wraps, reason = "the form for ring can fail")]
pub(crate) fn configure(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder> {
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
