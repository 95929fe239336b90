//! Who may do what: everybody, or whoever has a signed link.

use std::time::{Duration, SystemTime};

use storage_core::internal::escape_invisible;
use storage_core::signed_url::Grant;
use storage_core::{Key, UrlMethod};
use url::form_urlencoded;

use crate::settings::Settings;

/// A request that may be answered.
pub(super) struct Admitted {
    /// What its link allows.
    pub(super) grant: Grant,
    /// Whether it has a link, so that the answer is not for everybody.
    pub(super) by_link: bool,
}

impl Admitted {
    /// Returns for how long a link may work that stands in for the one of the request: not longer
    /// than that, in whole seconds, and at least one.
    pub(super) fn at_most(&self, lifetime: Duration) -> Duration {
        let Some(end) = self.grant.expires_at.filter(|_| self.by_link) else { return lifetime };
        let left = Duration::from_secs(
            end.duration_since(SystemTime::now()).unwrap_or_default().as_secs(),
        );
        lifetime.min(left).max(Duration::from_secs(1))
    }
}

impl Settings {
    /// Deny by default: with a signing key a request is answered that has a valid link, or reads
    /// what is public. A link that is there is verified in any case: what it says changes the
    /// answer.
    pub(super) fn admit(&self, method: UrlMethod, key: &Key, query: &str) -> Option<Admitted> {
        let public = Admitted { grant: Grant::default(), by_link: false };
        let Some(signing_key) = &self.signing_key else {
            return (method != UrlMethod::Put).then_some(public);
        };
        if method != UrlMethod::Put && self.public_reads && !is_link(query) {
            return Some(public);
        }
        match signing_key.verify(method, key, query, SystemTime::now()) {
            Ok(grant) => Some(Admitted { grant, by_link: !self.public_reads }),
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

/// Whether a query means to be that of a signed link.
fn is_link(query: &str) -> bool {
    let starts =
        |name: &str| name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("X-Storage-"));
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| starts(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_told_by_the_names_of_its_parameters() {
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
