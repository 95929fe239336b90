//! [`PageQuery`]: what the query of the status page selects.

use std::str::FromStr;

use url::form_urlencoded::{self, Serializer};

use super::super::analytics::Day;

/// The maximum length of a searched text, in bytes. No key is longer.
const MAX_SEARCH: usize = 1024;
/// The bounds of `refresh`, in seconds.
const REFRESH: std::ops::RangeInclusive<u32> = 5..=3600;

/// The days that the figures and charts cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    /// The latest days, including the current one.
    Latest(u32),
    /// All kept days.
    All,
}

impl Period {
    /// The periods that the page offers, with their names.
    pub(super) const OFFERED: [(Self, &'static str); 6] = [
        (Self::Latest(1), "Today"),
        (Self::Latest(7), "7 days"),
        (Self::Latest(28), "28 days"),
        (Self::Latest(91), "91 days"),
        (Self::Latest(364), "52 weeks"),
        (Self::All, "All"),
    ];
    const DEFAULT: Self = Self::Latest(28);

    /// Returns the value of the parameter `days`.
    fn value(self) -> String {
        match self {
            Self::Latest(days) => days.to_string(),
            Self::All => "all".to_owned(),
        }
    }
}

/// The parameters of the page. A parameter that is unknown or invalid has no effect, so that an
/// old bookmark still shows the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageQuery {
    pub(super) period: Period,
    /// The day of the list of keys. `None` is the current day.
    pub(super) day: Option<Day>,
    /// The text that the listed keys contain.
    pub(super) search: String,
    /// The number of the key where the search begins.
    pub(super) from: usize,
    /// The seconds after which the browser loads the page again.
    pub(super) refresh: Option<u32>,
    /// Whether JSON is requested, regardless of what the client accepts.
    pub(super) is_json: bool,
}

impl Default for PageQuery {
    fn default() -> Self {
        Self {
            period: Period::DEFAULT,
            day: None,
            search: String::new(),
            from: 0,
            refresh: None,
            is_json: false,
        }
    }
}

impl PageQuery {
    pub(super) fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "days" => {
                    let mut offered = Period::OFFERED.into_iter();
                    if let Some((period, _)) = offered.find(|(period, _)| period.value() == value) {
                        parsed.period = period;
                    }
                }
                "day" => parsed.day = value.parse().ok(),
                "q" => parsed.search = shortened(value.trim()),
                "from" => parsed.from = number(&value).unwrap_or_default(),
                "refresh" => {
                    parsed.refresh = number(&value).filter(|seconds| REFRESH.contains(seconds));
                }
                "format" => parsed.is_json = value == "json",
                _ => {}
            }
        }
        parsed
    }

    /// Returns a relative URL of the page with these parameters.
    pub(super) fn href(&self) -> String {
        let mut href = Serializer::for_suffix("?".to_owned(), 1);
        for (name, value) in self.parameters() {
            href.append_pair(name, &value);
        }
        href.finish()
    }

    /// Returns the parameters that differ from the default, with their values.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = Vec::new();
        if self.period != Period::DEFAULT {
            parameters.push(("days", self.period.value()));
        }
        if let Some(seconds) = self.refresh {
            parameters.push(("refresh", seconds.to_string()));
        }
        if let Some(day) = self.day {
            parameters.push(("day", day.to_string()));
        }
        if !self.search.is_empty() {
            parameters.push(("q", self.search.clone()));
        }
        if self.from > 0 {
            parameters.push(("from", self.from.to_string()));
        }
        parameters
    }
}

/// Returns at most 1024 bytes of a text.
fn shortened(text: &str) -> String {
    let end = (0..=text.len().min(MAX_SEARCH)).rfind(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

fn number<N: FromStr>(text: &str) -> Option<N> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_its_own_url() {
        let query = "?days=364&refresh=60&day=2025-01-31&q=a%26b%3D%3Cc%3E+d&from=100000";
        let parsed = PageQuery::parse(&query[1..]);
        assert_eq!(
            (&*parsed.search, parsed.from, parsed.refresh),
            ("a&b=<c> d", 100_000, Some(60))
        );
        assert_eq!(parsed.href(), query);
        assert_eq!(PageQuery::parse("").href(), "?");
        for (period, _) in Period::OFFERED {
            let query = PageQuery { period, ..PageQuery::default() };
            assert_eq!(PageQuery::parse(&query.href()[1..]), query);
        }
    }

    #[test]
    fn invalid_and_unknown_parameters_have_no_effect() {
        for query in ["days=0", "days=1000000", "day=31.1.2025", "from=-1", "refresh=1", "x=y&&="] {
            assert_eq!(PageQuery::parse(query), PageQuery::default(), "{query}");
        }
        assert_eq!(PageQuery::parse(&format!("q={}", "é".repeat(1000))).search.len(), 1024);
    }
}
