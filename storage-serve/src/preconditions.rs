//! Evaluates the preconditions of requests (RFC 9110 section 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use http::{HeaderMap, HeaderValue};
use storage_core::{ETag, ObjectMeta};

/// The result of evaluating the preconditions of a GET or HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preconditions {
    /// All of them hold, or there are none.
    Proceed,
    /// The client has this version: respond with 304.
    NotModified,
    /// The client requires another version: respond with 412.
    PreconditionFailed,
}

/// Returns whether a request has preconditions, which need the object's metadata. Ignores If-Range,
/// which concerns only the range.
#[must_use]
pub fn is_conditional(headers: &HeaderMap) -> bool {
    [IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH, IF_MODIFIED_SINCE]
        .iter()
        .any(|name| headers.contains_key(name))
}

/// Evaluates the preconditions of a GET or HEAD of an existing object, in the order of RFC 9110
/// section 13.2.2.
///
/// An invalid date is ignored. An invalid list of ETags matches no version: If-Match then fails,
/// and If-None-Match holds.
#[must_use]
pub fn evaluate_preconditions(headers: &HeaderMap, meta: &ObjectMeta) -> Preconditions {
    let etag = meta.etag.as_ref();
    if let Some(wanted) = ETags::parse(headers, IF_MATCH) {
        if !wanted.matches(etag, ETag::strong_eq) {
            return Preconditions::PreconditionFailed;
        }
    } else if let (Some(date), Some(modified)) =
        (date(headers, &IF_UNMODIFIED_SINCE), meta.last_modified)
        && seconds(modified) > seconds(date)
    {
        return Preconditions::PreconditionFailed;
    }
    if let Some(known) = ETags::parse(headers, IF_NONE_MATCH) {
        if known.matches(etag, ETag::weak_eq) {
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

/// Returns whether the range of a request applies to the present version (If-Range, RFC 9110
/// section 13.1.5). If not, respond with the whole object.
///
/// Only a strong validator matches. A weak ETag does not, and neither does the date of an object
/// that changed within the last second, because it may change again within that second.
#[must_use]
pub fn range_applies(headers: &HeaderMap, meta: &ObjectMeta) -> bool {
    range_applies_at(headers, meta, SystemTime::now())
}

fn range_applies_at(headers: &HeaderMap, meta: &ObjectMeta, now: SystemTime) -> bool {
    let Some(value) = headers.get(IF_RANGE) else { return true };
    let Some(text) = text_of(value) else { return false };
    if text.contains('"') {
        let wanted = text.trim().parse::<ETag>();
        return wanted
            .is_ok_and(|wanted| meta.etag.as_ref().is_some_and(|etag| etag.strong_eq(&wanted)));
    }
    match (httpdate::parse_http_date(text.trim()), meta.last_modified) {
        (Ok(date), Some(modified)) => {
            let age = now.duration_since(modified);
            let is_old_enough = age.is_ok_and(|age| age > Duration::from_secs(1));
            is_old_enough && seconds(date) == seconds(modified)
        }
        _ => false,
    }
}

/// Returns the time in seconds since 1970, the precision of HTTP dates.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    // Several dates are invalid.
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()
}

/// Returns the value as UTF-8. An ETag may contain other characters than ASCII (RFC 9110 section
/// 8.8.3).
pub(super) fn text_of(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// The value of If-Match or If-None-Match.
enum ETags {
    /// `*`: any version.
    Any,
    List(Vec<ETag>),
}

impl ETags {
    fn parse(headers: &HeaderMap, name: HeaderName) -> Option<Self> {
        let mut values = headers.get_all(name).iter().peekable();
        values.peek()?;
        let mut tags = Vec::new();
        for value in values {
            let Some(text) = text_of(value) else { continue };
            if text.trim() == "*" {
                return Some(Self::Any);
            }
            tags.extend(split_list(text).filter_map(|tag| tag.parse().ok()));
        }
        Some(Self::List(tags))
    }

    fn matches(&self, etag: Option<&ETag>, same: fn(&ETag, &ETag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => etag.is_some_and(|etag| tags.iter().any(|tag| same(tag, etag))),
        }
    }
}

/// Returns the members of a list. Quoted parts may contain commas.
pub(super) fn split_list(text: &str) -> impl Iterator<Item = &str> {
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
        // HTTP dates have no fractions of a second.
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
    fn if_none_match_compares_each_member_of_its_list_weakly() {
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
    fn an_etag_may_contain_other_characters_than_ascii() {
        let meta = meta(ETag::strong("\u{e9}").unwrap());
        let quoted = HeaderValue::from_str("\"\u{e9}\"").unwrap();
        let with = |name: HeaderName| HeaderMap::from_iter([(name, quoted.clone())]);
        assert_eq!(evaluate_preconditions(&with(IF_NONE_MATCH), &meta), Preconditions::NotModified);
        assert_eq!(evaluate_preconditions(&with(IF_MATCH), &meta), Preconditions::Proceed);
        assert!(range_applies(&with(IF_RANGE), &meta));
    }

    #[test]
    fn if_match_compares_strongly_and_fails_for_an_invalid_list() {
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
    fn dates_are_compared_in_seconds() {
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
    fn conditions_with_etags_take_precedence_over_dates() {
        let changed = headers([(IF_NONE_MATCH, r#""old""#), (IF_MODIFIED_SINCE, DATE)]);
        assert_eq!(evaluate_preconditions(&changed, &strong()), Preconditions::Proceed);
        let same = headers([(IF_MATCH, r#""x,y""#), (IF_UNMODIFIED_SINCE, BEFORE)]);
        assert_eq!(evaluate_preconditions(&same, &strong()), Preconditions::Proceed);
        let both = headers([(IF_MATCH, r#""old""#), (IF_NONE_MATCH, r#""x,y""#)]);
        assert_eq!(evaluate_preconditions(&both, &strong()), Preconditions::PreconditionFailed);
    }

    #[test]
    fn if_range_needs_a_strong_validator() {
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
    }

    #[test]
    fn a_date_is_a_strong_validator_more_than_one_second_after_the_change() {
        let (headers, meta) = (headers([(IF_RANGE, DATE)]), strong());
        let modified = meta.last_modified.unwrap();
        let applies = |age| range_applies_at(&headers, &meta, modified + age);
        assert!(!applies(Duration::ZERO) && !applies(Duration::from_secs(1)));
        assert!(applies(Duration::from_millis(1001)));
        let earlier = modified - Duration::from_secs(1);
        assert!(!range_applies_at(&headers, &meta, earlier), "the clock was put back");
    }
}
