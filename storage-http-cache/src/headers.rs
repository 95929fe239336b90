//! What a mirror's answer tells of an object.

use http::{HeaderMap, HeaderName};

/// Tells what a cache did (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// How our own mirror server calls itself in it.
const OURS: &str = "anystorage";

/// Whether the answer is our own mirror server's, which hands on origin's ETags.
pub(crate) fn is_ours(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_STATUS).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|member| {
        let name = member.split(';').next().unwrap_or_default().trim();
        name.trim_matches('"').eq_ignore_ascii_case(OURS)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn our_own_server_is_known_by_its_name_in_cache_status() {
        assert!(is_ours(&headers(&[("cache-status", "anystorage; hit")])));
        assert!(is_ours(&headers(&[(
            "cache-status",
            "edge; fwd=miss, \"anystorage\"; fwd=stale; stored"
        )])));
        for other in ["edge; detail=anystorage", "anystorage2; hit", ""] {
            assert!(!is_ours(&headers(&[("cache-status", other)])), "{other}");
        }
        assert!(!is_ours(&HeaderMap::new()));
    }
}
