//! [`HeaderRule`]: metadata for the copies of keys that match a pattern.

use globset::{GlobBuilder, GlobMatcher};
use storage_core::{Error, ErrorKind, Metadata, Result, parse_time};

/// Gives the copies of matching keys one field of metadata in place of that of their source.
#[derive(Debug, Clone)]
pub struct HeaderRule {
    pattern: GlobMatcher,
    /// The pattern, the name and the value.
    parts: (String, String, String),
    field: Metadata,
}

impl HeaderRule {
    /// Creates a rule. The pattern matches keys below the directory: `*` and `?` stay in one
    /// level, `**` is any number of levels. A pattern without a slash matches the last segment of
    /// a key. The name is that of a header (`Cache-Control`, `Content-Type`, `Content-Encoding`,
    /// `Content-Disposition`, `Content-Language`, `Expires`) or `x-amz-meta-NAME` for user
    /// metadata.
    ///
    /// ```
    /// let rule = storage_transfer::HeaderRule::new("*.css", "Cache-Control", "max-age=31536000")?;
    /// # Ok::<(), storage_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if the pattern is invalid, the name unknown, or the value not allowed.
    pub fn new(pattern: &str, name: &str, value: &str) -> Result<Self> {
        let whole = match pattern.contains('/') {
            true => pattern.trim_start_matches('/').to_owned(),
            false => format!("**/{pattern}"),
        };
        let glob = GlobBuilder::new(&whole).literal_separator(true).backslash_escape(false).build();
        let glob =
            glob.map_err(|error| invalid(format!("pattern {pattern:?}: {}", error.kind())))?;
        Ok(Self {
            pattern: glob.compile_matcher(),
            parts: (pattern.to_owned(), name.to_owned(), value.to_owned()),
            field: field(name, value)?.validated()?,
        })
    }

    /// Returns the pattern, the name and the value.
    pub(crate) fn parts(&self) -> (String, String, String) {
        self.parts.clone()
    }

    /// Returns the metadata with the fields of all rules that match.
    pub(crate) fn apply(rules: &[Self], name: &str, metadata: &Metadata) -> Metadata {
        let mut changed = Metadata::new();
        for rule in rules.iter().rev().filter(|rule| rule.pattern.is_match(name)) {
            changed.fill_from(&rule.field);
        }
        changed.fill_from(metadata);
        changed
    }
}

fn field(name: &str, value: &str) -> Result<Metadata> {
    let metadata = Metadata::new();
    let lower = name.to_ascii_lowercase();
    Ok(match lower.as_str() {
        "content-type" => metadata.content_type(value),
        "content-encoding" => metadata.content_encoding(value),
        "content-disposition" => metadata.content_disposition(value),
        "content-language" => metadata.content_language(value),
        "cache-control" => metadata.cache_control(value),
        "expires" => metadata.expires(parse_time(value)?),
        _ => match lower.strip_prefix("x-amz-meta-") {
            Some(user) => metadata.user(user, value),
            None => {
                return Err(invalid(format!(
                    "unknown header {name:?}; known headers: Cache-Control, Content-Disposition, \
                     Content-Encoding, Content-Language, Content-Type, Expires, x-amz-meta-NAME"
                )));
            }
        },
    })
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(rules: &[(&str, &str, &str)], name: &str) -> Metadata {
        let rules: Vec<_> =
            rules.iter().map(|rule| HeaderRule::new(rule.0, rule.1, rule.2).unwrap()).collect();
        HeaderRule::apply(&rules, name, &Metadata::new().content_type("text/css").user("a", "b"))
    }

    #[test]
    fn a_rule_replaces_one_field_of_matching_keys() {
        let rule = ("*.css", "Cache-Control", "no-cache");
        let expected = Metadata::new().content_type("text/css").user("a", "b");
        assert_eq!(applied(&[rule], "x/a.js"), expected);
        assert_eq!(applied(&[rule], "x/a.css"), expected.cache_control("no-cache"));
    }

    #[test]
    fn the_last_matching_rule_wins() {
        let rules = [
            ("**", "cache-control", "max-age=1"),
            ("x/*", "Cache-Control", "max-age=2"),
            ("*.js", "x-amz-meta-A", "c"),
        ];
        let metadata = applied(&rules, "x/a.css");
        assert_eq!(metadata.cache_control.as_deref(), Some("max-age=2"));
        assert_eq!(applied(&rules, "y/a.js").user_metadata["a"], "c");
        assert_eq!(applied(&rules, "x/y/a.css").cache_control.as_deref(), Some("max-age=1"));
    }

    #[test]
    fn an_invalid_rule_names_what_is_wrong() {
        for (pattern, name, value, part) in [
            ("[a", "Cache-Control", "x", "[a"),
            ("*", "X-Odd", "x", "X-Odd"),
            ("*", "Cache-Control", "a\nb", "cache_control"),
            ("*", "Expires", "soon", "soon"),
        ] {
            let error = HeaderRule::new(pattern, name, value).unwrap_err();
            assert!(error.message().contains(part), "{error}");
        }
    }
}
