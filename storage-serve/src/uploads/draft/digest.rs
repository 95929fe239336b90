//! `Content-Digest` and `Repr-Digest` (RFC 9530).

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Item, ListEntry};

use super::problem::Problem;
use super::structured;
use crate::uploads::engine::{ExpectedChecksum, Failure};

const CONTENT: &str = "content-digest";
const REPRESENTATION: &str = "repr-digest";

/// The algorithms that are verified, with the engine's names.
const ALGORITHMS: [(&str, &str); 1] = [("sha-256", "sha256")];
const WANTED: HeaderValue = HeaderValue::from_static("sha-256=10");

/// The digest of a body.
pub(super) struct Digest {
    header: &'static str,
    algorithm: &'static str,
    value: Vec<u8>,
}

/// Reads the digest that a body has to have. One that cannot be verified is rejected, because the
/// client relies on it.
///
/// `Repr-Digest` is the digest of the whole file. It can be verified if the body is the whole file.
pub(super) fn read(headers: &HeaderMap, is_whole: bool) -> Result<Option<Digest>, Problem> {
    let content = of_header(headers, CONTENT)?;
    let representation = of_header(headers, REPRESENTATION)?;
    if representation.is_some() && !is_whole {
        return Err(Problem::bad(
            "Repr-Digest can be verified only in a request that contains the whole file. Send \
             Content-Digest with each request instead.",
        ));
    }
    match (content, representation) {
        // Both are digests of the same bytes.
        (Some(content), Some(representation)) => {
            let is_same_algorithm = content.algorithm == representation.algorithm;
            if is_same_algorithm && content.value != representation.value {
                return Err(Problem::bad("Content-Digest and Repr-Digest contradict each other."));
            }
            Ok(Some(representation))
        }
        (content, representation) => Ok(content.or(representation)),
    }
}

impl Digest {
    pub(super) fn checksum(&self) -> Result<ExpectedChecksum, Problem> {
        let invalid = || {
            let reason = "the value has another length than a digest of this algorithm";
            Problem::invalid_digest(self.header, self.algorithm, reason)
        };
        let known = ALGORITHMS.iter().find(|(name, _)| *name == self.algorithm);
        known
            .and_then(|(_, name)| ExpectedChecksum::new(name, self.value.clone()))
            .ok_or_else(invalid)
    }
}

/// Returns the problem of a request whose body had to have this digest.
pub(super) fn problem(failure: Failure, digest: Option<&Digest>) -> Problem {
    match (failure, digest) {
        (Failure::WrongChecksum, Some(Digest { header, algorithm, .. })) => {
            Problem::mismatching_digest(header, algorithm)
        }
        (failure, _) => failure.into(),
    }
}

/// Returns the strongest digest of a header.
fn of_header(headers: &HeaderMap, header: &'static str) -> Result<Option<Digest>, Problem> {
    let Some(members) = structured::dictionary(headers, header)? else { return Ok(None) };
    for (algorithm, _) in ALGORITHMS {
        match members.get(algorithm) {
            None => {}
            Some(ListEntry::Item(Item { bare_item: BareItem::ByteSequence(value), .. })) => {
                return Ok(Some(Digest { header, algorithm, value: value.clone() }));
            }
            Some(_) => {
                let reason = "the value is no byte sequence";
                return Err(Problem::invalid_digest(header, algorithm, reason));
            }
        }
    }
    let found: Vec<String> = members.keys().map(ToString::to_string).collect();
    let problem = Problem::unsupported_digest(header, &found);
    let wanted = match header {
        CONTENT => "want-content-digest",
        _ => "want-repr-digest",
    };
    Err(problem.header(HeaderName::from_static(wanted), WANTED))
}
