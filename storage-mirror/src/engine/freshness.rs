//! Computes how long a stored object may be served without a request to origin (RFC 9111 section 4;
//! RFC 5861).

use std::time::{Duration, SystemTime};

use storage_core::{Key, Metadata, ObjectMeta};

/// The default lifetime of an object.
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(60 * 60);

/// The times that apply if the headers of origin set none.
#[derive(Debug, Clone)]
pub(crate) struct FreshnessPolicy {
    /// The lifetime of objects that match no rule.
    pub(crate) ttl: Duration,
    pub(crate) rules: Vec<Rule>,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    /// Whether these times are upper bounds, which origin can shorten and not extend.
    pub(crate) is_upper_bound: bool,
}

/// A separate lifetime for some objects.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) matches: Matches,
    pub(crate) ttl: Duration,
}

/// The objects that a rule applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Matches {
    /// Objects whose key begins with this prefix.
    Prefix(String),
    /// Objects of this content type. `audio/*` matches all subtypes.
    ContentType(String),
}

impl Matches {
    fn is_match(&self, key: &Key, content_type: Option<&str>) -> bool {
        match self {
            Self::Prefix(prefix) => key.as_str().starts_with(prefix),
            Self::ContentType(wanted) => content_type.is_some_and(|given| {
                let given = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                wanted.strip_suffix('*').map_or(given == *wanted, |kind| given.starts_with(kind))
            }),
        }
    }
}

/// How long an object may be served after origin last sent or confirmed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// How long it is served without a request to origin.
    pub(crate) lifetime: Duration,
    /// How long after its lifetime it is served while it is revalidated in the background.
    pub(crate) while_revalidate: Duration,
    /// How long after its lifetime it is served if origin fails.
    pub(crate) if_error: Duration,
}

/// The directives of `Cache-Control` that this cache follows.
#[derive(Debug, Default, Clone, Copy)]
struct Directives {
    no_store: bool,
    no_cache: bool,
    must_revalidate: bool,
    max_age: Option<Duration>,
    s_maxage: Option<Duration>,
    while_revalidate: Option<Duration>,
    if_error: Option<Duration>,
}

/// The maximum time, in seconds (RFC 9111 section 1.2.2).
const MAX_SECONDS: u64 = 1 << 31;

impl Directives {
    /// Parses the value of `Cache-Control`. If a directive occurs twice, the first one counts (RFC
    /// 9111 section 4.2.1).
    fn read(text: &str) -> Self {
        let mut found = Self::default();
        for directive in split_outside_quotes(text) {
            let (name, value) = match directive.split_once('=') {
                Some((name, value)) => (name, Some(unquoted(value))),
                None => (directive, None),
            };
            let time = match name.trim().to_ascii_lowercase().as_str() {
                "max-age" => &mut found.max_age,
                "stale-while-revalidate" => &mut found.while_revalidate,
                "stale-if-error" => &mut found.if_error,
                "s-maxage" => {
                    // It also forbids stale responses from a shared cache (RFC 9111 section
                    // 5.2.2.10).
                    found.must_revalidate = true;
                    &mut found.s_maxage
                }
                other => {
                    match other {
                        "no-store" => found.no_store = true,
                        "private" => found.no_store |= value.is_none_or(names_stored_field),
                        "no-cache" => found.no_cache |= value.is_none_or(names_stored_field),
                        "must-revalidate" | "proxy-revalidate" => found.must_revalidate = true,
                        _ => {}
                    }
                    continue;
                }
            };
            time.get_or_insert_with(|| seconds(value.unwrap_or_default()));
        }
        found
    }
}

/// Parses a time. An invalid number is zero (RFC 9111 section 4.2.1), and a number that overflows
/// is the maximum (section 1.2.2).
fn seconds(value: &str) -> Duration {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Duration::ZERO;
    }
    // Digits fail to parse only if the number overflows.
    Duration::from_secs(value.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS))
}

/// Splits a text at the commas that are not in a quoted string.
fn split_outside_quotes(text: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |c: char| {
        let is_comma = c == ',' && !is_quoted;
        match c {
            '"' if !is_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        is_escaped = is_quoted && c == '\\' && !is_escaped;
        is_comma
    })
}

/// Removes the quotes around a value. Escaped quotes stay, because numbers and names have none.
fn unquoted(value: &str) -> &str {
    let value = value.trim();
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// Returns whether `no-cache="..."` or `private="..."` names a header that is stored and sent again
/// (RFC 9111 sections 5.2.2.4 and 5.2.2.7). Other headers, such as `Set-Cookie`, are never stored,
/// which satisfies these directives.
fn names_stored_field(fields: &str) -> bool {
    const STORED: [&str; 8] = [
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "etag",
        "expires",
        "last-modified",
    ];
    let is_stored = |field: &str| {
        STORED.contains(&field) || (field.starts_with("x-") && field.contains("-meta-"))
    };
    // An empty list counts as no list.
    fields.trim().is_empty()
        || fields.split(',').any(|field| is_stored(&field.trim().to_ascii_lowercase()))
}

/// Returns whether a shared cache may store an object with these headers.
pub(crate) fn may_store(object: &ObjectMeta) -> bool {
    let varies = object.response.is_some_and(|response| response.varies_always);
    !varies
        && !object
            .metadata
            .cache_control
            .as_deref()
            .is_some_and(|text| Directives::read(text).no_store)
}

impl FreshnessPolicy {
    /// Returns the freshness of an object. `date` is the time of the response by the clock of
    /// origin, from which `Expires` counts.
    pub(crate) fn of(&self, key: &Key, metadata: &Metadata, date: SystemTime) -> Freshness {
        let directives = Directives::read(metadata.cache_control.as_deref().unwrap_or_default());
        let until_expires = metadata.expires.map(|at| at.duration_since(date).unwrap_or_default());
        let ttl = self.ttl(key, metadata.content_type.as_deref());
        let lifetime = match directives.s_maxage.or(directives.max_age).or(until_expires) {
            _ if directives.no_cache => Duration::ZERO,
            Some(lifetime) => self.bounded(lifetime, ttl),
            None => ttl,
        };
        if directives.must_revalidate || directives.no_cache {
            return Freshness {
                lifetime,
                while_revalidate: Duration::ZERO,
                if_error: Duration::ZERO,
            };
        }
        Freshness {
            lifetime,
            while_revalidate: directives
                .while_revalidate
                .map_or(self.stale_while_revalidate, |time| {
                    self.bounded(time, self.stale_while_revalidate)
                }),
            if_error: directives
                .if_error
                .map_or(self.stale_if_error, |time| self.bounded(time, self.stale_if_error)),
        }
    }

    /// Returns origin's time, or the configured one if that is an upper bound and less.
    fn bounded(&self, from_origin: Duration, configured: Duration) -> Duration {
        if self.is_upper_bound { from_origin.min(configured) } else { from_origin }
    }

    fn ttl(&self, key: &Key, content_type: Option<&str>) -> Duration {
        let rule = self.rules.iter().find(|rule| rule.matches.is_match(key, content_type));
        rule.map_or(self.ttl, |rule| rule.ttl)
    }
}

/// The freshness of an object at an age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Fresh,
    /// Serve it, and revalidate it in the background.
    StaleWhileRevalidate,
    /// Revalidate it before it is served.
    Stale,
}

impl Freshness {
    pub(crate) fn state(&self, age: Duration) -> State {
        if age < self.lifetime {
            State::Fresh
        } else if age < self.lifetime.saturating_add(self.while_revalidate) {
            State::StaleWhileRevalidate
        } else {
            State::Stale
        }
    }

    /// Returns whether the object may be served if origin fails.
    pub(crate) fn may_serve_on_error(&self, age: Duration) -> bool {
        age < self.lifetime.saturating_add(self.if_error)
    }
}

#[cfg(test)]
mod tests {
    use storage_core::ResponseMeta;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn defaults() -> FreshnessPolicy {
        let rule = |matches, seconds| Rule { matches, ttl: Duration::from_secs(seconds) };
        FreshnessPolicy {
            ttl: Duration::from_secs(100),
            rules: vec![
                rule(Matches::Prefix("live/".to_owned()), 1),
                rule(Matches::ContentType("audio/*".to_owned()), 1000),
                rule(Matches::ContentType("text/html".to_owned()), 10),
            ],
            stale_while_revalidate: Duration::from_secs(5),
            stale_if_error: Duration::from_secs(50),
            is_upper_bound: false,
        }
    }

    fn of(key: &str, metadata: &Metadata) -> Freshness {
        defaults().of(&Key::new(key).unwrap(), metadata, NOW)
    }

    fn lifetime(metadata: &Metadata) -> u64 {
        of("a", metadata).lifetime.as_secs()
    }

    #[test]
    fn the_headers_of_origin_set_the_lifetime() {
        assert_eq!(lifetime(&Metadata::new().cache_control("public, max-age=60")), 60);
        assert_eq!(lifetime(&Metadata::new().cache_control("max-age=60, s-maxage=\"7\"")), 7);
        assert_eq!(lifetime(&Metadata::new().cache_control("Max-Age = 60")), 60);
        assert_eq!(lifetime(&Metadata::new().cache_control("max-age=soon")), 0);
        assert_eq!(lifetime(&Metadata::new().cache_control("no-cache, max-age=60")), 0);
        assert_eq!(lifetime(&Metadata::new().expires(NOW + Duration::from_secs(30))), 30);
        assert_eq!(
            lifetime(
                &Metadata::new().expires(NOW + Duration::from_secs(30)).cache_control("max-age=60")
            ),
            60
        );
    }

    #[test]
    fn the_configured_lifetime_applies_if_origin_sets_none() {
        assert_eq!(lifetime(&Metadata::new()), 100);
        assert_eq!(lifetime(&Metadata::new().content_type("audio/mpeg")), 1000);
        assert_eq!(lifetime(&Metadata::new().content_type("Text/HTML; charset=utf-8")), 10);
        assert_eq!(of("live/a", &Metadata::new().content_type("audio/mpeg")).lifetime.as_secs(), 1);
        assert_eq!(
            lifetime(&Metadata::new().content_type("audio/mpeg").cache_control("max-age=3")),
            3
        );
    }

    fn sent_with(metadata: Metadata) -> ObjectMeta {
        let mut object = ObjectMeta::new(Key::new("a").unwrap(), 1);
        object.metadata = metadata;
        object
    }

    #[test]
    fn a_private_object_is_not_stored() {
        let may_store = |cache_control: &str| {
            may_store(&sent_with(Metadata::new().cache_control(cache_control)))
        };
        assert!(!may_store("private, max-age=60"));
        assert!(!may_store("No-Store"));
        assert!(!may_store("private=\"Set-Cookie, ETag\""));
        assert!(may_store("no-cache"));
        assert!(may_store("private=\"set-cookie\", max-age=60"));
        assert!(
            may_store("max-age=60, extension=\"a, no-store, b\""),
            "directives in a quoted string do not count"
        );
        assert!(
            may_store("max-age=60, extension=\"a\\\", no-store, b\""),
            "an escaped quote does not end the string"
        );
        assert!(!may_store("extension=\"a\", no-store"));
        assert!(super::may_store(&sent_with(Metadata::new())));
    }

    #[test]
    fn a_response_that_always_varies_is_not_stored() {
        let mut object = sent_with(Metadata::new().cache_control("max-age=60"));
        let mut response = ResponseMeta::new(Duration::ZERO, NOW);
        object.response = Some(response);
        assert!(may_store(&object));
        response.varies_always = true;
        object.response = Some(response);
        assert!(!may_store(&object));
    }

    #[test]
    fn a_number_that_overflows_is_the_maximum_and_an_invalid_number_is_zero() {
        let max_age =
            |value: &str| lifetime(&Metadata::new().cache_control(format!("max-age={value}")));
        for beyond in
            ["2147483648", "2147483649", "18446744073709551616", "99999999999999999999999999999999"]
        {
            assert_eq!(max_age(beyond), MAX_SECONDS, "{beyond}");
        }
        assert_eq!(max_age("2147483647"), MAX_SECONDS - 1);
        for wrong in ["", "+60", "-60", "60.0", "6 0", "'60'", "60s", "\"\"", "\"6"] {
            assert_eq!(max_age(wrong), 0, "{wrong}");
        }
        assert_eq!(lifetime(&Metadata::new().cache_control("max-age")), 0);
    }

    #[test]
    fn the_first_of_two_equal_directives_counts() {
        assert_eq!(lifetime(&Metadata::new().cache_control("max-age=1, max-age=60")), 1);
        assert_eq!(lifetime(&Metadata::new().cache_control("max-age=60, MAX-AGE=1")), 60);
    }

    #[test]
    fn no_cache_for_headers_that_are_not_stored_has_no_effect() {
        let with = |cache_control: &str| {
            lifetime(&Metadata::new().cache_control(format!("max-age=60, {cache_control}")))
        };
        assert_eq!(with("no-cache=\"set-cookie, x-trace\""), 60);
        assert_eq!(with("no-cache=\"Set-Cookie, Content-Type\""), 0);
        assert_eq!(with("no-cache=\"x-amz-meta-author\""), 0);
        assert_eq!(with("no-cache=set-cookie"), 60);
        assert_eq!(with("no-cache=\"\""), 0);
    }

    #[test]
    fn expires_counts_from_the_date_of_the_response() {
        let origin_is_ahead = NOW + Duration::from_secs(3600);
        let metadata = Metadata::new().expires(origin_is_ahead + Duration::from_secs(30));
        let freshness = defaults().of(&Key::new("a").unwrap(), &metadata, origin_is_ahead);
        assert_eq!(freshness.lifetime.as_secs(), 30);
        assert_eq!(lifetime(&Metadata::new().expires(NOW)), 0);
    }

    #[test]
    fn an_object_that_must_be_revalidated_is_never_served_stale() {
        for cache_control in [
            "max-age=10, must-revalidate",
            "s-maxage=10",
            "max-age=10, proxy-revalidate",
            "no-cache",
        ] {
            let freshness = of("a", &Metadata::new().cache_control(cache_control));
            assert_eq!(
                (freshness.while_revalidate, freshness.if_error),
                (Duration::ZERO, Duration::ZERO),
                "{cache_control}"
            );
        }
    }

    #[test]
    fn origin_may_allow_stale_responses() {
        let cache_control = "max-age=10, stale-while-revalidate=20, stale-if-error=30";
        let freshness = of("a", &Metadata::new().cache_control(cache_control));
        let at = |seconds| freshness.state(Duration::from_secs(seconds));
        assert_eq!(
            (at(9), at(10), at(29), at(30)),
            (State::Fresh, State::StaleWhileRevalidate, State::StaleWhileRevalidate, State::Stale)
        );
        assert!(
            freshness.may_serve_on_error(Duration::from_secs(39))
                && !freshness.may_serve_on_error(Duration::from_secs(40))
        );
    }

    #[test]
    fn origin_can_shorten_an_upper_bound_and_not_extend_it() {
        let policy = FreshnessPolicy { is_upper_bound: true, ..defaults() };
        let of = |text: &str| {
            let metadata = Metadata::new().cache_control(text);
            let freshness = policy.of(&Key::new("a").unwrap(), &metadata, NOW);
            (freshness.lifetime, freshness.while_revalidate, freshness.if_error)
        };
        let seconds = Duration::from_secs;
        let longer = "max-age=9999, stale-while-revalidate=9999, stale-if-error=9999";
        assert_eq!(of(longer), (seconds(100), seconds(5), seconds(50)));
        let shorter = "max-age=3, stale-while-revalidate=2, stale-if-error=1";
        assert_eq!(of(shorter), (seconds(3), seconds(2), seconds(1)));
        assert_eq!(of("no-cache"), (seconds(0), seconds(0), seconds(0)));
        assert_eq!(of("public"), (seconds(100), seconds(5), seconds(50)));
    }
}
