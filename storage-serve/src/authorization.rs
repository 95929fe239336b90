//! Decides which requests are allowed: all of them, or those with a signed link.

use std::time::{Duration, SystemTime};

use storage_core::internal::escape_invisible;
use storage_core::signed_url::Grant;
use storage_core::{Key, UrlMethod};
use url::form_urlencoded;

use crate::settings::Settings;

/// The permission of a request.
pub(super) struct Authorized {
    /// The grant of the request's link. Empty without a link.
    pub(super) grant: Grant,
    /// Whether the request needs its link. Shared caches must not store the response then.
    pub(super) is_by_link: bool,
}

impl Authorized {
    /// Returns the lifetime of a link that replaces the link of the request. It ends when that link
    /// ends, in whole seconds, and lasts at least 1 s.
    pub(super) fn limit_lifetime(&self, lifetime: Duration) -> Duration {
        let Some(end) = self.grant.expires_at.filter(|_| self.is_by_link) else { return lifetime };
        let left = Duration::from_secs(
            end.duration_since(SystemTime::now()).unwrap_or_default().as_secs(),
        );
        lifetime.min(left).max(Duration::from_secs(1))
    }
}

impl Settings {
    /// Returns the permission of a request, or `None` if it is not allowed.
    ///
    /// Denies by default: with a signing key, a request needs a valid link unless reads are public.
    /// If a request has a link, it is verified in any case, because it may set headers of the
    /// response.
    pub(super) fn authorize(
        &self,
        method: UrlMethod,
        key: &Key,
        query: &str,
    ) -> Option<Authorized> {
        let public = Authorized { grant: Grant::default(), is_by_link: false };
        let Some(links) = &self.links else {
            return (method != UrlMethod::Put).then_some(public);
        };
        if method != UrlMethod::Put && self.public_reads && !is_link(query) {
            return Some(public);
        }
        match links.verify(method, key, query, SystemTime::now()) {
            Ok(grant) => Some(Authorized { grant, is_by_link: !self.public_reads }),
            Err(error) => {
                tracing::debug!(
                    key = &*escape_invisible(key.as_str()),
                    reason = error.message(),
                    "a link was refused"
                );
                None
            }
        }
    }
}

/// Returns whether a query contains a parameter of signed links.
fn is_link(query: &str) -> bool {
    let is_parameter =
        |name: &str| name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("X-Storage-"));
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| is_parameter(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_with_a_parameter_of_signed_links_is_a_link() {
        for query in [
            "X-Storage-Signature=0",
            "v=1&X-Storage-Method=GET",
            "X%2DStorage-Type=a",
            "x-storage-expires=9",
        ] {
            assert!(is_link(query), "{query}");
        }
        for query in ["", "v=1", "q=X-Storage-Signature", "X-Stor=1", "é=1"] {
            assert!(!is_link(query), "{query}");
        }
    }
}
