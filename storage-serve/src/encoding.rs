//! Chooses how an encoded object is sent to a client (RFC 9110 sections 8.4 and 12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// How an object is sent to a client that does not accept its `Content-Encoding`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodingPolicy {
    /// Decodes gzip and deflate while sending. The response has no length, no ranges, and its own
    /// weak ETag. For other encodings, the response is 406.
    ///
    /// For a request without `Accept-Encoding`, gzip and deflate are decoded, because simple
    /// programs cannot decode them. Other encodings are sent as stored. This is the default.
    ///
    /// The body fails if the stored bytes exceed 1 MiB plus 64 times the output; if gzip has more
    /// than 10,000 members plus one for each 64 bytes of output; or if the output exceeds 64 MiB
    /// plus 256 times the input.
    #[default]
    Decode,
    /// Responds with 406. A request without `Accept-Encoding` accepts any encoding (RFC 9110
    /// section 12.5.3).
    Refuse,
    /// Sends the stored bytes to every client, as S3 does.
    AsStored,
}

/// How an object is sent to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SentEncoding {
    AsStored,
    Decoded(Coding),
    NotAcceptable,
}

impl EncodingPolicy {
    /// Chooses how an object is sent, from its stored encoding and the headers of the request.
    pub(crate) fn choose(self, stored: Option<&str>, request: &HeaderMap) -> SentEncoding {
        let Some(stored) =
            stored.filter(|stored| self != Self::AsStored && is_encoded(Some(stored)))
        else {
            return SentEncoding::AsStored;
        };
        if is_accepted(stored, request) {
            return SentEncoding::AsStored;
        }
        let has_no_preference = !request.contains_key(ACCEPT_ENCODING);
        match Coding::of(stored) {
            Some(coding) if self == Self::Decode && accepts(IDENTITY, request).unwrap_or(true) => {
                SentEncoding::Decoded(coding)
            }
            _ if has_no_preference => SentEncoding::AsStored,
            _ => SentEncoding::NotAcceptable,
        }
    }
}

const IDENTITY: &str = "identity";

/// The encodings that this crate decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    /// Returns the coding of a stored encoding, or `None` for any other and for a list of
    /// encodings.
    pub(crate) fn of(encoding: &str) -> Option<Self> {
        match encoding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// Returns whether content has an encoding.
pub(crate) fn is_encoded(encoding: Option<&str>) -> bool {
    encoding
        .map(str::trim)
        .is_some_and(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case(IDENTITY))
}

/// Returns whether a request explicitly accepts all encodings of a list.
pub(crate) fn is_accepted(encodings: &str, headers: &HeaderMap) -> bool {
    encodings.split(',').map(str::trim).all(|encoding| accepts(encoding, headers).unwrap_or(false))
}

/// Returns whether a request accepts an encoding, or `None` if it does not mention it.
fn accepts(encoding: &str, headers: &HeaderMap) -> Option<bool> {
    let mut by_wildcard = None;
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for member in values.flat_map(|value| value.split(',')) {
        let mut parameters = member.split(';').map(str::trim);
        let name = parameters.next().unwrap_or_default();
        let is_refused = parameters.any(|parameter| {
            let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
            weight
                .is_some_and(|weight| weight.trim().parse().is_ok_and(|weight: f32| weight <= 0.0))
        });
        if canonical(name).eq_ignore_ascii_case(canonical(encoding)) {
            return Some(!is_refused);
        }
        if name == "*" {
            by_wildcard = Some(!is_refused);
        }
    }
    by_wildcard
}

/// Replaces the alias `x-gzip` by `gzip` (RFC 9110 section 8.4.1.3).
fn canonical(encoding: &str) -> &str {
    if encoding.eq_ignore_ascii_case("x-gzip") { "gzip" } else { encoding }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(encoding: &str, accept: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, accept.parse().unwrap());
        is_accepted(encoding, &headers)
    }

    #[test]
    fn a_client_accepts_the_encodings_that_it_lists() {
        assert!(accepted("gzip", "gzip, deflate, br"));
        assert!(accepted("gzip", "br;q=1.0, GZIP;q=0.5"));
        assert!(accepted("x-gzip", "gzip"));
        assert!(accepted("gzip", "*"));
        assert!(accepted("gzip", "identity;q=0.5, *;q=0.1"));
        assert!(accepted("gzip, br", "gzip, br"));
    }

    #[test]
    fn a_client_does_not_accept_encodings_that_it_excludes_or_does_not_list() {
        assert!(!accepted("gzip", "br"));
        assert!(!accepted("gzip", "gzip;q=0, *"));
        assert!(!accepted("gzip", "*; q=0.0"));
        assert!(!accepted("gzip", ""));
        assert!(!accepted("gzip, br", "gzip"));
        assert!(!is_accepted("gzip", &HeaderMap::new()));
    }

    fn sent(option: EncodingPolicy, stored: &str, accept: Option<&str>) -> SentEncoding {
        let headers =
            accept.map(|accept| (ACCEPT_ENCODING, accept.parse().unwrap())).into_iter().collect();
        option.choose(Some(stored), &headers)
    }

    #[test]
    fn an_accepted_encoding_is_sent_as_stored() {
        for option in [EncodingPolicy::Decode, EncodingPolicy::Refuse, EncodingPolicy::AsStored] {
            assert_eq!(sent(option, "gzip", Some("gzip")), SentEncoding::AsStored);
            assert_eq!(sent(option, "identity", Some("identity")), SentEncoding::AsStored);
            assert_eq!(sent(option, "", Some("identity")), SentEncoding::AsStored);
        }
        assert_eq!(
            sent(EncodingPolicy::AsStored, "gzip", Some("identity")),
            SentEncoding::AsStored
        );
    }

    #[test]
    fn an_encoding_that_is_not_accepted_is_decoded_or_refused() {
        assert_eq!(
            sent(EncodingPolicy::Decode, "gzip", Some("br")),
            SentEncoding::Decoded(Coding::Gzip)
        );
        assert_eq!(sent(EncodingPolicy::Decode, "br", Some("gzip")), SentEncoding::NotAcceptable);
        assert_eq!(sent(EncodingPolicy::Refuse, "gzip", Some("br")), SentEncoding::NotAcceptable);
        // These do not accept the decoded form either.
        assert_eq!(
            sent(EncodingPolicy::Decode, "gzip", Some("br, identity;q=0")),
            SentEncoding::NotAcceptable
        );
        assert_eq!(
            sent(EncodingPolicy::Decode, "gzip", Some("br, *;q=0")),
            SentEncoding::NotAcceptable
        );
        assert_eq!(
            sent(EncodingPolicy::Decode, "gzip", Some("identity, *;q=0")),
            SentEncoding::Decoded(Coding::Gzip)
        );
    }

    #[test]
    fn a_client_without_accept_encoding_gets_the_form_that_it_can_most_likely_read() {
        assert_eq!(sent(EncodingPolicy::Decode, "gzip", None), SentEncoding::Decoded(Coding::Gzip));
        assert_eq!(sent(EncodingPolicy::Decode, "br", None), SentEncoding::AsStored);
        assert_eq!(sent(EncodingPolicy::Refuse, "gzip", None), SentEncoding::AsStored);
        assert_eq!(
            sent(EncodingPolicy::Decode, "gzip", Some("")),
            SentEncoding::Decoded(Coding::Gzip)
        );
        assert_eq!(sent(EncodingPolicy::Refuse, "gzip", Some("")), SentEncoding::NotAcceptable);
    }

    #[test]
    fn a_single_encoding_can_be_decoded_and_a_list_cannot() {
        assert_eq!(Coding::of("GZIP"), Some(Coding::Gzip));
        assert_eq!(Coding::of("deflate"), Some(Coding::Deflate));
        assert_eq!(Coding::of("br"), None);
        assert_eq!(Coding::of("gzip, gzip"), None);
        assert!(!is_encoded(Some("identity")) && !is_encoded(None) && is_encoded(Some("zstd")));
    }
}
