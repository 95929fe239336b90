//! [`Rules`]: the headers and encodings of each file.

use std::collections::BTreeMap;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use storage_core::{Error, Metadata, Result};

use super::config::{PublishConfig, RuleConfig};
use super::encodings::Encoding;
use crate::site::Naming;

/// The name of the user metadata in which an encoded object records the SHA-256 of its plain form.
pub const PLAIN_SHA256: &str = "plain-sha256";

/// The `Cache-Control` of names that have a hash of the content.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// The `Cache-Control` of other names.
const NO_CACHE: &str = "no-cache";

/// The rules of a configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    encodings: Vec<Encoding>,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: GlobMatcher,
    metadata: Metadata,
    expires: Option<Duration>,
    encodings: Option<Vec<Encoding>>,
    encoding: Option<Encoding>,
}

/// What the rules decide for one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Decision {
    /// The headers. Without a content type if no rule sets it, and without `expires`.
    pub(crate) metadata: Metadata,
    pub(crate) expires: Option<Duration>,
    /// The siblings.
    pub(crate) encodings: Vec<Encoding>,
    /// The encoding under the file's own name.
    pub(crate) encoding: Option<Encoding>,
}

impl Rules {
    /// # Errors
    /// `InvalidConfig` that names the rule.
    pub(crate) fn new(config: &PublishConfig) -> Result<Self> {
        check_encodings("encodings", &config.encodings)?;
        let rules = config.rules.iter().enumerate().map(|(index, rule)| {
            let context = format!("rules[{index}] (match = {:?})", rule.pattern);
            Rule::new(rule)
                .map_err(|error| Error::config(error.message().to_owned()))
                .map_err(|error| error.with_context(&context))
        });
        Ok(Self { rules: rules.collect::<Result<_>>()?, encodings: config.encodings.clone() })
    }

    /// Decides for the file with this path. For each header, the first rule that sets it decides.
    pub(crate) fn decide(&self, path: &str, naming: Naming) -> Decision {
        let mut decision = Decision::default();
        let (mut encodings, mut encoding) = (None, None);
        for rule in self.rules.iter().filter(|rule| rule.pattern.is_match(path)) {
            decision.metadata.fill_from(&rule.metadata);
            decision.expires = decision.expires.or(rule.expires);
            // The first rule that mentions encodings decides on both keys.
            if encodings.is_none() && encoding.is_none() {
                encodings = rule.encodings.as_ref();
                encoding = rule.encoding;
            }
        }
        decision.encoding = encoding;
        if encoding.is_none() {
            decision.encodings = encodings.unwrap_or(&self.encodings).clone();
        }
        let default = match naming {
            Naming::Hashed | Naming::Bundled => IMMUTABLE,
            Naming::Fixed => NO_CACHE,
        };
        decision.metadata.cache_control.get_or_insert_with(|| default.to_owned());
        decision
    }
}

impl Rule {
    fn new(config: &RuleConfig) -> Result<Self> {
        if let Some(encodings) = &config.encodings {
            check_encodings("encodings", encodings)?;
        }
        if let Some(encoding) = config.encoding {
            check_encodings("encoding", &[encoding])?;
        }
        if config.encoding.is_some() && config.encodings.as_ref().is_some_and(|all| !all.is_empty())
        {
            return Err(Error::config(
                "`encoding` stores the file in one encoding under its own name, so that \
                 `encodings` has no effect: set one of them",
            ));
        }
        Ok(Self {
            pattern: pattern(&config.pattern)?,
            metadata: metadata(config)?,
            expires: config.expires,
            encodings: config.encodings.clone(),
            encoding: config.encoding,
        })
    }
}

fn metadata(config: &RuleConfig) -> Result<Metadata> {
    let mut metadata = Metadata::new();
    metadata.cache_control.clone_from(&config.cache_control);
    metadata.content_type.clone_from(&config.content_type);
    metadata.content_disposition.clone_from(&config.content_disposition);
    metadata.content_language.clone_from(&config.content_language);
    let lower = |(name, value): (&String, &String)| (name.to_ascii_lowercase(), value.clone());
    metadata.user_metadata = config.metadata.iter().map(lower).collect::<BTreeMap<_, _>>();
    if metadata.user_metadata.contains_key(PLAIN_SHA256) {
        return Err(Error::config(format!("the metadata {PLAIN_SHA256} is reserved")));
    }
    metadata.validated()
}

/// Compiles a pattern for paths below the directory, with the meaning of the patterns for headers
/// of `anystorage sync`.
fn pattern(text: &str) -> Result<GlobMatcher> {
    let whole = match text.contains('/') {
        true => text.trim_start_matches('/').to_owned(),
        false => format!("**/{text}"),
    };
    let glob = GlobBuilder::new(&whole).literal_separator(true).backslash_escape(false).build();
    let invalid =
        |error: globset::Error| Error::config(format!("the pattern is invalid: {}", error.kind()));
    Ok(glob.map_err(invalid)?.compile_matcher())
}

fn check_encodings(key: &str, encodings: &[Encoding]) -> Result<()> {
    let checked = encodings.iter().try_for_each(|encoding| encoding.check_built());
    checked.map_err(|error| Error::config(error.message().to_owned()).with_context(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<Rules> {
        Rules::new(&toml::from_str(text).unwrap())
    }

    #[test]
    fn hashed_names_are_immutable_and_other_names_are_revalidated_by_default() {
        let rules = Rules::default();
        for naming in [Naming::Hashed, Naming::Bundled] {
            let decision = rules.decide("app.css", naming);
            assert_eq!(decision.metadata.cache_control.as_deref(), Some(IMMUTABLE));
        }
        let decision = rules.decide("index.html", Naming::Fixed);
        assert_eq!(decision.metadata, Metadata::new().cache_control("no-cache"));
    }

    #[test]
    fn the_first_rule_that_sets_a_header_decides_on_that_header_only() {
        let rules = rules(
            r#"
            encodings = ["gzip"]
            [[rules]]
            match = "docs/**"
            content_language = "en"
            metadata = { Team = "docs" }
            [[rules]]
            match = "*.html"
            cache_control = "max-age=60"
            content_language = "de"
            expires = "1h"
            encodings = []
            metadata = { team = "web", tier = "1" }
            "#,
        )
        .unwrap();
        let decision = rules.decide("docs/a/index.html", Naming::Fixed);
        let expected = Metadata::new()
            .content_language("en")
            .cache_control("max-age=60")
            .user("team", "docs")
            .user("tier", "1");
        assert_eq!(decision.metadata, expected);
        assert_eq!(decision.expires, Some(Duration::from_secs(3600)));
        assert_eq!(decision.encodings, []);
        assert_eq!(rules.decide("docs/a.txt", Naming::Fixed).encodings, [Encoding::Gzip]);
    }

    #[test]
    fn an_encoding_under_the_plain_name_replaces_the_siblings() {
        let rules =
            rules("encodings = [\"gzip\"]\n[[rules]]\nmatch = \"*.css\"\nencoding = \"gzip\"");
        let decision = rules.unwrap().decide("a.css", Naming::Hashed);
        assert_eq!((decision.encoding, decision.encodings), (Some(Encoding::Gzip), vec![]));
    }

    #[test]
    fn the_metadata_of_encoded_objects_has_no_name_that_drivers_reserve() {
        assert!(!PLAIN_SHA256.starts_with("anystorage-"));
    }

    #[test]
    fn an_invalid_rule_is_an_error_that_names_it() {
        let rule =
            |line: &str| format!("[[rules]]\nmatch = \"*\"\n[[rules]]\nmatch = \"b\"\n{line}");
        for line in [
            "cache_control = \"a\\nb\"",
            "content_type = \"png\"",
            "encoding = \"gzip\"\nencodings = [\"gzip\"]",
            "metadata = { plain-sha256 = \"x\" }",
        ] {
            let error = rules(&rule(line)).unwrap_err();
            assert_eq!(error.kind(), storage_core::ErrorKind::InvalidConfig);
            assert!(error.message().starts_with("rules[1] (match = \"b\")"), "{error}");
        }
        assert!(rules("[[rules]]\nmatch = \"[\"").unwrap_err().message().contains("invalid"));
    }
}
