//! Preconditions (RFC 9110, section 13): whether a request that has some is carried out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use http::{HeaderMap, HeaderValue};
use storage_core::{ETag, ObjectMeta};

/// What the preconditions of a GET or HEAD come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preconditions {
    /// They hold, or there are none.
    Proceed,
    /// 304: the client has this version.
    NotModified,
    /// 412: the client wants another version.
    PreconditionFailed,
}

/// Whether a request has preconditions, so that the object's metadata has to be known first.
/// If-Range is none: it is about the range alone.
#[must_use]
pub fn is_conditional(headers: &HeaderMap) -> bool {
    [IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH, IF_MODIFIED_SINCE]
        .iter()
        .any(|name| headers.contains_key(name))
}

/// Evaluates the preconditions of a GET or HEAD on an object that is there, in the order of RFC
/// 9110, section 13.2.2.
///
/// A date that cannot be read is no condition. A list of ETags that cannot be read names none: the
/// client knows a version that this server cannot tell, so If-Match fails, and If-None-Match sends
/// the object.
#[must_use]
pub fn evaluate_preconditions(headers: &HeaderMap, meta: &ObjectMeta) -> Preconditions {
    let etag = meta.etag.as_ref();
    if let Some(wanted) = ETags::read(headers, IF_MATCH) {
        if !wanted.any(etag, ETag::strong_eq) {
            return Preconditions::PreconditionFailed;
        }
    } else if let (Some(date), Some(modified)) =
        (date(headers, &IF_UNMODIFIED_SINCE), meta.last_modified)
        && seconds(modified) > seconds(date)
    {
        return Preconditions::PreconditionFailed;
    }
    if let Some(known) = ETags::read(headers, IF_NONE_MATCH) {
        if known.any(etag, ETag::weak_eq) {
            return Preconditions::NotModified;
        }
    } else if let (Some(date), Some(modified)) =
        (date(headers, &IF_MODIFIED_SINCE), meta.last_modified)
        && seconds(modified) <= seconds(date)
    {
        return Preconditions::NotModified;
    }
    Preconditions::Proceed
}

/// Whether the range of a request is of the version that is there (If-Range, RFC 9110, section
/// 13.1.5). If not, the whole object is to be sent.
///
/// Only a strong validator will do: a weak ETag never matches, nor does the date of an object that
/// was changed within the last second, and might be once more.
#[must_use]
pub fn range_applies(headers: &HeaderMap, meta: &ObjectMeta) -> bool {
    let Some(value) = headers.get(IF_RANGE) else { return true };
    let Some(text) = text_of(value) else { return false };
    if text.contains('"') {
        let wanted = text.trim().parse::<ETag>();
        return wanted
            .is_ok_and(|wanted| meta.etag.as_ref().is_some_and(|etag| etag.strong_eq(&wanted)));
    }
    match (httpdate::parse_http_date(text.trim()), meta.last_modified) {
        (Ok(date), Some(modified)) => {
            let is_settled = SystemTime::now()
                .duration_since(modified)
                .is_ok_and(|age| age > Duration::from_secs(1));
            is_settled && seconds(date) == seconds(modified)
        }
        _ => false,
    }
}

/// HTTP counts in seconds.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    // More than one date is none.
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()
}

/// An ETag may hold what is not ASCII (RFC 9110, section 8.8.3).
pub(super) fn text_of(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// The value of If-Match or If-None-Match.
enum ETags {
    /// `*`: any version.
    Any,
    These(Vec<ETag>),
}

impl ETags {
    fn read(headers: &HeaderMap, name: HeaderName) -> Option<Self> {
        let mut values = headers.get_all(name).iter().peekable();
        values.peek()?;
        let mut tags = Vec::new();
        for value in values {
            let Some(text) = text_of(value) else { continue };
            if text.trim() == "*" {
                return Some(Self::Any);
            }
            tags.extend(split(text).filter_map(|tag| tag.parse().ok()));
        }
        Some(Self::These(tags))
    }

    fn any(&self, etag: Option<&ETag>, same: fn(&ETag, &ETag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => etag.is_some_and(|etag| tags.iter().any(|tag| same(tag, etag))),
        }
    }
}

/// The members of a list, whose quoted parts may hold commas.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    })
    .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_core::Key;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn meta(etag: ETag) -> ObjectMeta {
        let mut meta = ObjectMeta::new(Key::new("a").unwrap(), 10);
        meta.etag = Some(etag);
        // A fraction of a second, which no header can tell.
        meta.last_modified =
            Some(httpdate::parse_http_date(DATE).unwrap() + Duration::from_millis(500));
        meta
    }

    fn strong() -> ObjectMeta {
        meta(ETag::strong("x,y").unwrap())
    }

    fn headers<const N: usize>(of: [(HeaderName, &str); N]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn if_none_match_compares_weakly_in_lists() {
        for known in [r#""x,y""#, r#"W/"x,y""#, r#""a", "x,y" ,"b""#, "*"] {
            assert_eq!(
                evaluate_preconditions(&headers([(IF_NONE_MATCH, known)]), &strong()),
                Preconditions::NotModified,
                "{known}"
            );
        }
        for other in [r#""x""#, r#""x", "y""#, "x,y", r#""X,Y""#, ""] {
            assert_eq!(
                evaluate_preconditions(&headers([(IF_NONE_MATCH, other)]), &strong()),
                Preconditions::Proceed,
                "{other}"
            );
        }
        let two = headers([(IF_NONE_MATCH, r#""a""#), (IF_NONE_MATCH, r#""x,y""#)]);
        assert_eq!(evaluate_preconditions(&two, &strong()), Preconditions::NotModified);
    }

    #[test]
    fn an_etag_need_not_be_ascii() {
        let meta = meta(ETag::strong("\u{e9}").unwrap());
        let quoted = HeaderValue::from_str("\"\u{e9}\"").unwrap();
        let with = |name: HeaderName| HeaderMap::from_iter([(name, quoted.clone())]);
        assert_eq!(evaluate_preconditions(&with(IF_NONE_MATCH), &meta), Preconditions::NotModified);
        assert_eq!(evaluate_preconditions(&with(IF_MATCH), &meta), Preconditions::Proceed);
        assert!(range_applies(&with(IF_RANGE), &meta));
    }

    #[test]
    fn if_match_compares_strongly() {
        assert_eq!(
            evaluate_preconditions(&headers([(IF_MATCH, r#""x,y""#)]), &strong()),
            Preconditions::Proceed
        );
        assert_eq!(
            evaluate_preconditions(&headers([(IF_MATCH, "*")]), &strong()),
            Preconditions::Proceed
        );
        assert_eq!(
            evaluate_preconditions(&headers([(IF_MATCH, r#"W/"x,y""#)]), &strong()),
            Preconditions::PreconditionFailed
        );
        let weak = meta(ETag::weak("x,y").unwrap());
        assert_eq!(
            evaluate_preconditions(&headers([(IF_MATCH, r#"W/"x,y""#)]), &weak),
            Preconditions::PreconditionFailed
        );
        assert_eq!(
            evaluate_preconditions(&headers([(IF_MATCH, "nonsense")]), &strong()),
            Preconditions::PreconditionFailed
        );
    }

    #[test]
    fn dates_count_in_seconds() {
        assert_eq!(
            evaluate_preconditions(&headers([(IF_MODIFIED_SINCE, DATE)]), &strong()),
            Preconditions::NotModified
        );
        assert_eq!(
            evaluate_preconditions(&headers([(IF_MODIFIED_SINCE, BEFORE)]), &strong()),
            Preconditions::Proceed
        );
        assert_eq!(
            evaluate_preconditions(&headers([(IF_UNMODIFIED_SINCE, DATE)]), &strong()),
            Preconditions::Proceed
        );
        assert_eq!(
            evaluate_preconditions(&headers([(IF_UNMODIFIED_SINCE, BEFORE)]), &strong()),
            Preconditions::PreconditionFailed
        );
        assert_eq!(
            evaluate_preconditions(&headers([(IF_MODIFIED_SINCE, "yesterday")]), &strong()),
            Preconditions::Proceed
        );
    }

    #[test]
    fn etags_win_over_dates() {
        let changed = headers([(IF_NONE_MATCH, r#""old""#), (IF_MODIFIED_SINCE, DATE)]);
        assert_eq!(evaluate_preconditions(&changed, &strong()), Preconditions::Proceed);
        let same = headers([(IF_MATCH, r#""x,y""#), (IF_UNMODIFIED_SINCE, BEFORE)]);
        assert_eq!(evaluate_preconditions(&same, &strong()), Preconditions::Proceed);
        let both = headers([(IF_MATCH, r#""old""#), (IF_NONE_MATCH, r#""x,y""#)]);
        assert_eq!(evaluate_preconditions(&both, &strong()), Preconditions::PreconditionFailed);
    }

    #[test]
    fn a_range_needs_a_strong_validator() {
        assert!(range_applies(&HeaderMap::new(), &strong()));
        assert!(range_applies(&headers([(IF_RANGE, r#""x,y""#)]), &strong()));
        assert!(range_applies(&headers([(IF_RANGE, DATE)]), &strong()));
        let weak = meta(ETag::weak("x,y").unwrap());
        for (value, meta) in [
            (r#"W/"x,y""#, &weak),
            (r#""x,y""#, &weak),
            (r#""other""#, &strong()),
            (BEFORE, &strong()),
            ("x", &strong()),
        ] {
            assert!(!range_applies(&headers([(IF_RANGE, value)]), meta), "{value}");
        }
        let mut young = strong();
        young.last_modified = Some(SystemTime::now());
        let now = httpdate::fmt_http_date(SystemTime::now());
        assert!(!range_applies(&headers([(IF_RANGE, &now)]), &young));
    }
}
