//! The headers of the draft in a request, in the notation of each version.

use http::HeaderMap;

use super::problem::Problem;
use super::structured;
use crate::body_headers;

const COMPLETE: &str = "upload-complete";
const INCOMPLETE: &str = "upload-incomplete";
const OFFSET: &str = "upload-offset";
const LENGTH: &str = "upload-length";
const VERSION: &str = "upload-draft-interop-version";

/// Whether a client uses the names of interop version 3, which says the opposite of
/// `Upload-Complete` in `Upload-Incomplete`, and sends PATCH without a type up to version 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    /// Whether the client knows `Upload-Incomplete`, and not `Upload-Complete`.
    pub(super) says_incomplete: bool,
    /// Whether PATCH has the type `application/partial-upload`.
    pub(super) has_type: bool,
}

impl Dialect {
    /// The version is only a hint: a client of another one is understood as far as possible.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let version = structured::size(headers, VERSION).ok().flatten();
        let says_incomplete =
            match (headers.contains_key(INCOMPLETE), headers.contains_key(COMPLETE)) {
                (true, false) => true,
                (false, true) => false,
                _ => version == Some(3),
            };
        Self { says_incomplete, has_type: version.is_none_or(|version| version > 5) }
    }
}

/// What a request says about its upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields {
    /// Whether the body contains the last bytes.
    pub(super) is_complete: Option<bool>,
    /// Where the body begins.
    pub(super) offset: Option<u64>,
    /// `Upload-Length`: the size of the whole file.
    length: Option<u64>,
    /// `Content-Length`.
    pub(super) body_size: Option<u64>,
}

impl Fields {
    pub(super) fn read(headers: &HeaderMap, dialect: Dialect) -> Result<Self, Problem> {
        let is_complete = match dialect.says_incomplete {
            true => structured::boolean(headers, INCOMPLETE)?.map(|incomplete| !incomplete),
            false => structured::boolean(headers, COMPLETE)?,
        };
        Ok(Self {
            is_complete,
            offset: structured::size(headers, OFFSET)?,
            length: structured::size(headers, LENGTH)?,
            body_size: body_headers::content_length(headers)
                .map_err(|_| Problem::bad("Content-Length must be a number of bytes."))?,
        })
    }

    /// Returns the size of the whole file, if the request contains it in one of two ways: the
    /// header, or where the body ends if that is the end of the file.
    pub(super) fn length(&self, offset: u64, is_last: bool) -> Result<Option<u64>, Problem> {
        let end = self.body_size.filter(|_| is_last).map(|size| offset.saturating_add(size));
        match (self.length, end) {
            (Some(length), Some(end)) if length != end => Err(Problem::inconsistent_length()),
            (length, end) => Ok(length.or(end)),
        }
    }
}

/// Returns whether a request has a header that only this protocol has.
pub(in crate::uploads) fn is_of_draft(headers: &HeaderMap) -> bool {
    [COMPLETE, INCOMPLETE, VERSION].iter().any(|name| headers.contains_key(*name))
}

/// Returns whether the headers of the draft say that the body is the whole file.
pub(in crate::uploads) fn is_whole(headers: &HeaderMap) -> bool {
    let is = |name, value: &str| headers.get(name).is_some_and(|found| found == value);
    is(COMPLETE, "?1") || is(INCOMPLETE, "?0")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(headers: &[(&'static str, &'static str)]) -> Result<Fields, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Fields::read(&map, Dialect::of(&map))
    }

    #[test]
    fn version_3_says_the_opposite() {
        let incomplete = [("upload-incomplete", "?1"), ("upload-draft-interop-version", "3")];
        assert_eq!(read(&incomplete).unwrap().is_complete, Some(false));
        assert_eq!(read(&[("upload-incomplete", "?0")]).unwrap().is_complete, Some(true));
        assert_eq!(read(&[("upload-complete", "?0")]).unwrap().is_complete, Some(false));
        assert_eq!(read(&[]).unwrap().is_complete, None);
    }

    #[test]
    fn the_length_follows_from_the_last_body_and_must_not_contradict_the_header() {
        let body = read(&[("content-length", "5")]).unwrap();
        assert!(matches!(body.length(3, true), Ok(Some(8))));
        assert!(matches!(body.length(3, false), Ok(None)));
        let both = read(&[("content-length", "5"), ("upload-length", "8")]).unwrap();
        assert!(matches!(both.length(3, true), Ok(Some(8))));
        assert!(matches!(both.length(1, false), Ok(Some(8))));
        assert!(both.length(4, true).is_err());
        assert!(read(&[("content-length", "+5")]).is_err());
        assert!(read(&[("content-length", "5"), ("content-length", "5")]).is_err());
    }
}
