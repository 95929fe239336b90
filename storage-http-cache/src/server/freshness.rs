//! How long what is kept may be served without asking origin (RFC 9111, section 4; RFC 5861).

use std::time::{Duration, SystemTime};

use storage_core::{Key, Metadata};

/// What to do where origin says nothing.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    /// For all objects, and for those that a rule is for.
    pub(crate) ttl: Duration,
    pub(crate) rules: Vec<Rule>,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
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

impl Directives {
    fn read(text: &str) -> Self {
        let mut found = Self::default();
        for directive in text.split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            // A number that cannot be read is the shortest time (RFC 9111, section 4.2.1).
            let seconds = || Some(Duration::from_secs(value.trim().trim_matches('"').parse().unwrap_or(0)));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "private" => found.forbids = true,
                "no-cache" => found.no_cache = true,
                "must-revalidate" | "proxy-revalidate" => found.must_revalidate = true,
                // It also forbids stale answers to a shared cache (section 5.2.2.10).
                "s-maxage" => (found.s_maxage, found.must_revalidate) = (seconds(), true),
                "max-age" => found.max_age = seconds(),
                "stale-while-revalidate" => found.while_revalidate = seconds(),
                "stale-if-error" => found.if_error = seconds(),
                _ => {}
            }
        }
        found
    }
}

/// Whether origin lets a cache that many share keep the object.
pub(crate) fn may_keep(metadata: &Metadata) -> bool {
    !metadata.cache_control.as_deref().is_some_and(|text| Directives::read(text).forbids)
}

impl Defaults {
    /// The freshness of an object that origin vouched for at a time.
    pub(crate) fn of(&self, key: &Key, metadata: &Metadata, vouched_at: SystemTime) -> Freshness {
        let said = Directives::read(metadata.cache_control.as_deref().unwrap_or_default());
        let until_expires = metadata.expires.map(|at| at.duration_since(vouched_at).unwrap_or_default());
        let lifetime = match said.s_maxage.or(said.max_age).or(until_expires) {
            _ if said.no_cache => Duration::ZERO,
            Some(lifetime) => lifetime,
            None => self.ttl(key, metadata.content_type.as_deref()),
        };
        if said.must_revalidate || said.no_cache {
            return Freshness { lifetime, while_revalidate: Duration::ZERO, if_error: Duration::ZERO };
        }
        Freshness {
            lifetime,
            while_revalidate: said.while_revalidate.unwrap_or(self.stale_while_revalidate),
            if_error: said.if_error.unwrap_or(self.stale_if_error),
        }
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
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn defaults() -> Defaults {
        let rule = |matches, seconds| Rule { matches, ttl: Duration::from_secs(seconds) };
        Defaults {
            ttl: Duration::from_secs(100),
            rules: vec![
                rule(Matches::Prefix("live/".to_owned()), 1),
                rule(Matches::ContentType("audio/*".to_owned()), 1000),
                rule(Matches::ContentType("text/html".to_owned()), 10),
            ],
            stale_while_revalidate: Duration::from_secs(5),
            stale_if_error: Duration::from_secs(50),
        }
    }

    fn of(key: &str, metadata: &Metadata) -> Freshness {
        defaults().of(&Key::new(key).unwrap(), metadata, NOW)
    }

    fn seconds(metadata: &Metadata) -> u64 {
        of("a", metadata).lifetime.as_secs()
    }

    #[test]
    fn origin_says_how_long() {
        assert_eq!(seconds(&Metadata::new().cache_control("public, max-age=60")), 60);
        assert_eq!(seconds(&Metadata::new().cache_control("max-age=60, s-maxage=\"7\"")), 7);
        assert_eq!(seconds(&Metadata::new().cache_control("Max-Age = 60")), 60);
        assert_eq!(seconds(&Metadata::new().cache_control("max-age=soon")), 0);
        assert_eq!(seconds(&Metadata::new().cache_control("no-cache, max-age=60")), 0);
        assert_eq!(seconds(&Metadata::new().expires(NOW + Duration::from_secs(30))), 30);
        assert_eq!(seconds(&Metadata::new().expires(NOW + Duration::from_secs(30)).cache_control("max-age=60")), 60);
    }

    #[test]
    fn the_configuration_counts_only_where_origin_says_nothing() {
        assert_eq!(seconds(&Metadata::new()), 100);
        assert_eq!(seconds(&Metadata::new().content_type("audio/mpeg")), 1000);
        assert_eq!(seconds(&Metadata::new().content_type("Text/HTML; charset=utf-8")), 10);
        assert_eq!(of("live/a", &Metadata::new().content_type("audio/mpeg")).lifetime.as_secs(), 1);
        assert_eq!(seconds(&Metadata::new().content_type("audio/mpeg").cache_control("max-age=3")), 3);
    }

    #[test]
    fn a_shared_cache_keeps_nothing_private() {
        assert!(!may_keep(&Metadata::new().cache_control("private, max-age=60")));
        assert!(!may_keep(&Metadata::new().cache_control("No-Store")));
        assert!(may_keep(&Metadata::new().cache_control("no-cache")));
        assert!(may_keep(&Metadata::new()));
    }

    #[test]
    fn what_must_be_revalidated_is_never_stale() {
        for said in ["max-age=10, must-revalidate", "s-maxage=10", "max-age=10, proxy-revalidate", "no-cache"] {
            let freshness = of("a", &Metadata::new().cache_control(said));
            assert_eq!((freshness.while_revalidate, freshness.if_error), (Duration::ZERO, Duration::ZERO), "{said}");
        }
    }

    #[test]
    fn origin_may_allow_stale_answers() {
        let said = "max-age=10, stale-while-revalidate=20, stale-if-error=30";
        let freshness = of("a", &Metadata::new().cache_control(said));
        let at = |seconds| freshness.state(Duration::from_secs(seconds));
        assert_eq!(
            (at(9), at(10), at(29), at(30)),
            (State::Fresh, State::StaleWhileRevalidate, State::StaleWhileRevalidate, State::Stale)
        );
        assert!(freshness.serves_errors(Duration::from_secs(39)) && !freshness.serves_errors(Duration::from_secs(40)));
    }
}
