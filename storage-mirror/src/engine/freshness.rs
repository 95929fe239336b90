//! How long what is kept may be served without asking origin (RFC 9111, section 4; RFC 5861).

use std::time::{Duration, SystemTime};

use storage_core::{Key, Metadata, ObjectMeta};

/// How long an object is fresh unless configured.
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(60 * 60);

/// What to do where origin says nothing.
#[derive(Debug, Clone)]
pub(crate) struct FreshnessPolicy {
    /// For all objects, and for those that a rule is for.
    pub(crate) ttl: Duration,
    pub(crate) rules: Vec<Rule>,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    /// Whether these times are upper bounds. Origin can then shorten them and not extend them.
    pub(crate) is_upper_bound: bool,
}

/// A freshness of its own for some objects.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) matches: Matches,
    pub(crate) ttl: Duration,
}

/// Which objects a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Matches {
    /// Those whose key begins so.
    Prefix(String),
    /// Those of a content type; `audio/*` is every kind of audio.
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

/// What may be done with an object, for how long after origin last vouched for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// Served as it is for so long.
    pub(crate) lifetime: Duration,
    /// Then served for so long while origin is asked behind the client's back.
    pub(crate) while_revalidate: Duration,
    /// Served for so long when origin fails.
    pub(crate) if_error: Duration,
}

/// What origin says of keeping an object.
#[derive(Debug, Default, Clone, Copy)]
struct Directives {
    forbids: bool,
    no_cache: bool,
    must_revalidate: bool,
    max_age: Option<Duration>,
    s_maxage: Option<Duration>,
    while_revalidate: Option<Duration>,
    if_error: Option<Duration>,
}

/// The greatest number of seconds that is counted with (RFC 9111, section 1.2.2).
const MAX_SECONDS: u64 = 1 << 31;

impl Directives {
    /// Of two times for the same, the first counts (RFC 9111, section 4.2.1).
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
                    // It also forbids stale responses from a shared cache (section 5.2.2.10).
                    found.must_revalidate = true;
                    &mut found.s_maxage
                }
                other => {
                    match other {
                        "no-store" => found.forbids = true,
                        "private" => found.forbids |= value.is_none_or(names_a_kept_field),
                        "no-cache" => found.no_cache |= value.is_none_or(names_a_kept_field),
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

/// A number that cannot be read is the shortest time (RFC 9111, section 4.2.1), and one that is
/// beyond all integers the longest.
fn seconds(value: &str) -> Duration {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Duration::ZERO;
    }
    // Digits alone fail to parse only if they are too many.
    Duration::from_secs(value.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS))
}

/// The parts between commas, of which those in a quoted string are none.
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

/// The text in a quoted string. Quotes inside are left as they are: neither numbers nor names have
/// any.
fn unquoted(value: &str) -> &str {
    let value = value.trim();
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// Whether `no-cache="..."` or `private="..."` is of a header that is kept and sent again (RFC
/// 9111, sections 5.2.2.4 and 5.2.2.7). Of the others, such as `Set-Cookie`, nothing is kept, so
/// that what these directives ask for is done.
fn names_a_kept_field(fields: &str) -> bool {
    const KEPT: [&str; 8] = [
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "etag",
        "expires",
        "last-modified",
    ];
    let is_kept = |field: &str| {
        KEPT.contains(&field) || (field.starts_with("x-") && field.contains("-meta-"))
    };
    // A list that names nothing is read as if there were none.
    fields.trim().is_empty()
        || fields.split(',').any(|field| is_kept(&field.trim().to_ascii_lowercase()))
}

/// Whether a cache that many share may keep an object that origin has sent like this.
pub(crate) fn may_keep(object: &ObjectMeta) -> bool {
    let varies = object.response.is_some_and(|response| response.varies_always);
    !varies
        && !object
            .metadata
            .cache_control
            .as_deref()
            .is_some_and(|text| Directives::read(text).forbids)
}

impl FreshnessPolicy {
    /// The freshness of an object that origin vouched for in a response of this date, by origin's
    /// clock.
    pub(crate) fn of(&self, key: &Key, metadata: &Metadata, date: SystemTime) -> Freshness {
        let said = Directives::read(metadata.cache_control.as_deref().unwrap_or_default());
        let until_expires = metadata.expires.map(|at| at.duration_since(date).unwrap_or_default());
        let ttl = self.ttl(key, metadata.content_type.as_deref());
        let lifetime = match said.s_maxage.or(said.max_age).or(until_expires) {
            _ if said.no_cache => Duration::ZERO,
            Some(lifetime) => self.bounded(lifetime, ttl),
            None => ttl,
        };
        if said.must_revalidate || said.no_cache {
            return Freshness {
                lifetime,
                while_revalidate: Duration::ZERO,
                if_error: Duration::ZERO,
            };
        }
        Freshness {
            lifetime,
            while_revalidate: said.while_revalidate.map_or(self.stale_while_revalidate, |time| {
                self.bounded(time, self.stale_while_revalidate)
            }),
            if_error: said
                .if_error
                .map_or(self.stale_if_error, |time| self.bounded(time, self.stale_if_error)),
        }
    }

    /// Returns origin's time, or the configured one if that is an upper bound and less.
    fn bounded(&self, of_origin: Duration, configured: Duration) -> Duration {
        if self.is_upper_bound { of_origin.min(configured) } else { of_origin }
    }

    fn ttl(&self, key: &Key, content_type: Option<&str>) -> Duration {
        let rule = self.rules.iter().find(|rule| rule.matches.is_match(key, content_type));
        rule.map_or(self.ttl, |rule| rule.ttl)
    }
}

/// What an age means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Fresh,
    /// To be served, and asked about.
    StaleWhileRevalidate,
    /// To be asked about before it is served.
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

    /// Whether it may be served although origin fails.
    pub(crate) fn serves_errors(&self, age: Duration) -> bool {
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
    fn origin_says_how_long() {
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
    fn the_configuration_counts_only_where_origin_says_nothing() {
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
    fn a_shared_cache_keeps_nothing_private() {
        let may_keep = |said: &str| may_keep(&sent_with(Metadata::new().cache_control(said)));
        assert!(!may_keep("private, max-age=60"));
        assert!(!may_keep("No-Store"));
        assert!(!may_keep("private=\"Set-Cookie, ETag\""));
        assert!(may_keep("no-cache"));
        assert!(may_keep("private=\"set-cookie\", max-age=60"));
        assert!(
            may_keep("max-age=60, extension=\"a, no-store, b\""),
            "a quoted string holds no directives"
        );
        assert!(
            may_keep("max-age=60, extension=\"a\\\", no-store, b\""),
            "nor behind an escaped quote"
        );
        assert!(!may_keep("extension=\"a\", no-store"));
        assert!(super::may_keep(&sent_with(Metadata::new())));
    }

    #[test]
    fn a_response_that_varies_with_everything_is_not_kept() {
        let mut object = sent_with(Metadata::new().cache_control("max-age=60"));
        let mut response = ResponseMeta::new(Duration::ZERO, NOW);
        object.response = Some(response);
        assert!(may_keep(&object));
        response.varies_always = true;
        object.response = Some(response);
        assert!(!may_keep(&object));
    }

    #[test]
    fn a_time_beyond_all_integers_is_the_longest_and_one_that_is_no_number_the_shortest() {
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
    fn of_two_times_the_first_counts() {
        assert_eq!(lifetime(&Metadata::new().cache_control("max-age=1, max-age=60")), 1);
        assert_eq!(lifetime(&Metadata::new().cache_control("max-age=60, MAX-AGE=1")), 60);
    }

    #[test]
    fn no_cache_with_the_names_of_headers_that_are_not_kept_is_no_no_cache() {
        let with =
            |said: &str| lifetime(&Metadata::new().cache_control(format!("max-age=60, {said}")));
        assert_eq!(with("no-cache=\"set-cookie, x-trace\""), 60);
        assert_eq!(with("no-cache=\"Set-Cookie, Content-Type\""), 0);
        assert_eq!(with("no-cache=\"x-amz-meta-author\""), 0);
        assert_eq!(with("no-cache=set-cookie"), 60);
        assert_eq!(with("no-cache=\"\""), 0);
    }

    #[test]
    fn expires_counts_from_the_date_of_the_response_and_not_from_our_clock() {
        let origin_is_ahead = NOW + Duration::from_secs(3600);
        let metadata = Metadata::new().expires(origin_is_ahead + Duration::from_secs(30));
        let freshness = defaults().of(&Key::new("a").unwrap(), &metadata, origin_is_ahead);
        assert_eq!(freshness.lifetime.as_secs(), 30);
        assert_eq!(lifetime(&Metadata::new().expires(NOW)), 0);
    }

    #[test]
    fn what_must_be_revalidated_is_never_stale() {
        for said in [
            "max-age=10, must-revalidate",
            "s-maxage=10",
            "max-age=10, proxy-revalidate",
            "no-cache",
        ] {
            let freshness = of("a", &Metadata::new().cache_control(said));
            assert_eq!(
                (freshness.while_revalidate, freshness.if_error),
                (Duration::ZERO, Duration::ZERO),
                "{said}"
            );
        }
    }

    #[test]
    fn origin_may_allow_stale_responses() {
        let said = "max-age=10, stale-while-revalidate=20, stale-if-error=30";
        let freshness = of("a", &Metadata::new().cache_control(said));
        let at = |seconds| freshness.state(Duration::from_secs(seconds));
        assert_eq!(
            (at(9), at(10), at(29), at(30)),
            (State::Fresh, State::StaleWhileRevalidate, State::StaleWhileRevalidate, State::Stale)
        );
        assert!(
            freshness.serves_errors(Duration::from_secs(39))
                && !freshness.serves_errors(Duration::from_secs(40))
        );
    }

    #[test]
    fn an_upper_bound_can_be_shortened_by_origin_and_not_extended() {
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
