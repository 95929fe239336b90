//! Objects that are stored compressed, and clients that do not accept that (RFC 9110, sections 8.4
//! and 12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// What is done for a client that does not accept the encoding that an object is stored in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodingPolicy {
    /// Gzip and deflate are decoded on the way: without a length, without ranges, and with a weak
    /// ETag of its own. Of other encodings the client is told that there is nothing that it accepts
    /// (406). A client that says nothing of encodings gets what can be decoded decoded, which is
    /// safe for simple programs, and else what is stored.
    ///
    /// The body breaks off if the stored bytes are out of all proportion to what they decode to:
    /// more than 1 MiB and 64 times the output; more than 10,000 members of gzip and one for 64
    /// bytes of output; or an output of more than 64 MiB and 256 times the input.
    #[default]
    Decode,
    /// The client is told that there is nothing that it accepts (406). One that says nothing of
    /// encodings accepts any (RFC 9110, section 12.5.3).
    Refuse,
    /// The stored bytes are sent to everybody, as S3 does.
    AsStored,
}

/// What an object's encoding means for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SentEncoding {
    AsStored,
    Decoded(Coding),
    NotAcceptable,
}

impl EncodingPolicy {
    /// How an object that is stored in an encoding is sent to the client that makes a request.
    pub(crate) fn choose(self, stored: Option<&str>, request: &HeaderMap) -> SentEncoding {
        let Some(stored) =
            stored.filter(|stored| self != Self::AsStored && is_encoded(Some(stored)))
        else {
            return SentEncoding::AsStored;
        };
        if is_accepted(stored, request) {
            return SentEncoding::AsStored;
        }
        let says_nothing = !request.contains_key(ACCEPT_ENCODING);
        match Coding::of(stored) {
            Some(coding) if self == Self::Decode && accepts(IDENTITY, request).unwrap_or(true) => {
                SentEncoding::Decoded(coding)
            }
            _ if says_nothing => SentEncoding::AsStored,
            _ => SentEncoding::NotAcceptable,
        }
    }
}

const IDENTITY: &str = "identity";

/// The encodings that can be decoded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    /// `None` for any other encoding, and for several on top of each other.
    pub(crate) fn of(encoding: &str) -> Option<Self> {
        match encoding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// Whether content has an encoding.
pub(crate) fn is_encoded(encoding: Option<&str>) -> bool {
    encoding
        .map(str::trim)
        .is_some_and(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case(IDENTITY))
}

/// Whether a client says that it accepts all of the encodings.
fn is_accepted(encodings: &str, headers: &HeaderMap) -> bool {
    encodings.split(',').map(str::trim).all(|encoding| accepts(encoding, headers).unwrap_or(false))
}

/// Whether a client accepts an encoding; `None` if it says nothing of it.
fn accepts(encoding: &str, headers: &HeaderMap) -> Option<bool> {
    let mut by_any = None;
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
            by_any = Some(!is_refused);
        }
    }
    by_any
}

/// `x-gzip` means `gzip` (RFC 9110, section 8.4.1.3).
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
    fn a_client_accepts_what_it_names() {
        assert!(accepted("gzip", "gzip, deflate, br"));
        assert!(accepted("gzip", "br;q=1.0, GZIP;q=0.5"));
        assert!(accepted("x-gzip", "gzip"));
        assert!(accepted("gzip", "*"));
        assert!(accepted("gzip", "identity;q=0.5, *;q=0.1"));
        assert!(accepted("gzip, br", "gzip, br"));
    }

    #[test]
    fn a_client_does_not_accept_what_it_refuses_or_does_not_name() {
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
    fn what_a_client_accepts_is_sent_as_it_is_stored() {
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
    fn what_a_client_does_not_accept_is_decoded_or_refused() {
        assert_eq!(
            sent(EncodingPolicy::Decode, "gzip", Some("br")),
            SentEncoding::Decoded(Coding::Gzip)
        );
        assert_eq!(sent(EncodingPolicy::Decode, "br", Some("gzip")), SentEncoding::NotAcceptable);
        assert_eq!(sent(EncodingPolicy::Refuse, "gzip", Some("br")), SentEncoding::NotAcceptable);
        // Nor is the decoded form anything for these.
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
    fn a_client_that_says_nothing_gets_what_it_can_most_likely_read() {
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
    fn one_encoding_can_be_decoded_several_cannot() {
        assert_eq!(Coding::of("GZIP"), Some(Coding::Gzip));
        assert_eq!(Coding::of("deflate"), Some(Coding::Deflate));
        assert_eq!(Coding::of("br"), None);
        assert_eq!(Coding::of("gzip, gzip"), None);
        assert!(!is_encoded(Some("identity")) && !is_encoded(None) && is_encoded(Some("zstd")));
    }
}
