//! [`PublishConfig`]: the table `[publish]`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use storage_core::config::duration;

use super::encodings::Encoding;
use crate::site::SiteOptions;

/// The number of releases that are kept by default.
pub(crate) const DEFAULT_KEEP: u32 = 3;
/// How long the files of a release are kept by default after it stopped being current.
pub(crate) const DEFAULT_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The table `[publish]` of a configuration. An unknown key is an error that lists the known ones.
///
/// ```
/// use storage_publish::{PublishConfig, PublishOptions};
///
/// let config: PublishConfig = toml::from_str(r#"
///     keep = 5
///     encodings = ["gzip", "br"]
///     keep_names = ["robots.txt", "favicon.ico", "sw.js"]
///
///     [[rules]]
///     match = "fonts/**"
///     cache_control = "public, max-age=31536000"
///     expires = "1y"
/// "#)?;
/// let options = PublishOptions::from_config(&config)?;
/// # let _ = options;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PublishConfig {
    /// Patterns of files that are not published. Defaults to none.
    pub exclude: Vec<String>,
    /// Whether names that begin with a dot are published. Defaults to `false`.
    pub include_hidden: bool,
    /// Whether symbolic links are followed. If not, a link is an error. Defaults to `false`.
    pub follow_symlinks: bool,
    /// Patterns of files that keep their names, beside HTML pages. Defaults to none.
    pub keep_names: Vec<String>,
    /// Whether a file keeps its name if a text mentions it in a place that is no known reference.
    /// Defaults to `true`.
    pub keep_mentioned: bool,
    /// Patterns of files whose names a bundler has hashed already. Defaults to none.
    pub bundled_names: Vec<String>,
    /// Whether names are recognised that usual bundlers have hashed. Defaults to `true`.
    pub bundler_rules: bool,
    /// Patterns of files whose references are not read. Defaults to none.
    pub verbatim: Vec<String>,
    /// Patterns of references that may name no file. Defaults to none.
    pub ignore_references: Vec<String>,
    /// The path of the site's root on its host: `"/blog"`. Defaults to `"/"`.
    pub base_path: String,
    /// The number of releases that are kept, the current one included. Defaults to 3.
    pub keep: u32,
    /// How long the files of a release are kept after it stopped being current: `"7d"`, `"12h"`.
    /// Defaults to `"7d"`.
    #[serde(deserialize_with = "duration::deserialize")]
    pub grace: Duration,
    /// The precompressed siblings of files for which no rule decides: `"gzip"`, `"br"`, `"zstd"`.
    /// Defaults to none.
    pub encodings: Vec<Encoding>,
    /// The mirrors whose copies of pages are purged after a release became current. Defaults to
    /// none. See [`PublishOptions::purge`](crate::PublishOptions::purge).
    pub purge: Vec<String>,
    /// The rules for headers, in order of precedence.
    pub rules: Vec<RuleConfig>,
}

impl Default for PublishConfig {
    fn default() -> Self {
        Self {
            exclude: Vec::new(),
            include_hidden: false,
            follow_symlinks: false,
            keep_names: Vec::new(),
            keep_mentioned: true,
            bundled_names: Vec::new(),
            bundler_rules: true,
            verbatim: Vec::new(),
            ignore_references: Vec::new(),
            base_path: "/".to_owned(),
            keep: DEFAULT_KEEP,
            grace: DEFAULT_GRACE,
            encodings: Vec::new(),
            purge: Vec::new(),
            rules: Vec::new(),
        }
    }
}

impl PublishConfig {
    /// Returns the options that concern the files of the site, for
    /// [`Site::build`](crate::Site::build).
    #[must_use]
    pub fn site_options(&self) -> SiteOptions {
        let mut options = SiteOptions::default();
        options.base_path.clone_from(&self.base_path);
        options.exclude.clone_from(&self.exclude);
        options.include_hidden = self.include_hidden;
        options.follow_symlinks = self.follow_symlinks;
        options.keep_names.clone_from(&self.keep_names);
        options.keep_mentioned = self.keep_mentioned;
        options.bundler_rules = self.bundler_rules;
        options.verbatim.clone_from(&self.verbatim);
        options.bundled_names.clone_from(&self.bundled_names);
        options.ignore_references.clone_from(&self.ignore_references);
        options
    }
}

/// A table `[[publish.rules]]`: the headers of the files that match a pattern. For each header, the
/// first rule that matches the file and sets the header decides.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RuleConfig {
    /// The pattern for paths in the directory: `*` and `?` stay in one level, `**` is any number of
    /// levels. A pattern without a slash matches the last segment.
    #[serde(rename = "match")]
    pub pattern: String,
    /// `Cache-Control`. Defaults to `public, max-age=31536000, immutable` for hashed names, and to
    /// `no-cache` for other ones.
    pub cache_control: Option<String>,
    /// `Expires`, as the time after the file is stored: `"1y"`. It is renewed when less than half
    /// of that time is left. Not set by default.
    #[serde(default, deserialize_with = "duration::option")]
    pub expires: Option<Duration>,
    /// `Content-Type`. Determined from the extension and the first bytes by default.
    pub content_type: Option<String>,
    /// `Content-Disposition`. Not set by default.
    pub content_disposition: Option<String>,
    /// `Content-Language`. Not set by default.
    pub content_language: Option<String>,
    /// User metadata. Each name counts as a header of its own.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The precompressed siblings. `[]` for none.
    pub encodings: Option<Vec<Encoding>>,
    /// The one encoding in which the file is stored under its own name, for every client, with
    /// `Content-Encoding`. For buckets without a server in front that chooses an encoding. The file
    /// has no siblings then.
    pub encoding: Option<Encoding>,
}

impl RuleConfig {
    /// Creates a rule that sets nothing. Set the fields directly.
    #[must_use]
    pub fn new(pattern: impl Into<String>) -> Self {
        Self { pattern: pattern.into(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PublishConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_table_has_the_documented_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config, PublishConfig::default());
        assert_eq!((config.keep, config.grace), (3, Duration::from_secs(604_800)));
        assert_eq!(config.base_path, "/");
        assert!(config.encodings.is_empty());
    }

    #[test]
    fn an_unknown_key_is_an_error_that_lists_the_known_ones() {
        let error = parse("kep = 5").unwrap_err();
        assert!(error.contains("kep") && error.contains("`keep`"), "{error}");
        let error = parse("[[rules]]\nmatch = \"*\"\ncache = \"x\"").unwrap_err();
        assert!(error.contains("`cache_control`"), "{error}");
        let error = parse("encodings = [\"deflate\"]").unwrap_err();
        assert!(error.contains("deflate") && error.contains("`gzip`"), "{error}");
    }

    #[test]
    fn a_duration_that_is_none_is_an_error_with_an_example() {
        let error = parse("grace = \"soon\"").unwrap_err();
        assert!(error.contains("15m"), "{error}");
    }

    #[test]
    fn a_rule_needs_a_pattern() {
        let error = parse("[[rules]]\ncache_control = \"no-cache\"").unwrap_err();
        assert!(error.contains("match"), "{error}");
    }
}
