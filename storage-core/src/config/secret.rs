//! [`Secret`]: a text that `Debug` and errors do not show.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// The newtype name that makes [`ValueDeserializer`](super::parse) check the origin of the text.
pub(super) const SECRET: &str = "$anystorage::Secret";

/// The error for a secret in a URL. Process lists, histories and logs show URLs.
pub(super) const IN_URL: &str = "a URL holds no secrets: set it in a config file, where \"${VAR}\" takes it from the \
                                 environment";

const NOT_REPLACED: &str = "it holds ${, but nothing replaces variables here: give the secret itself, or replace \
                            variables when the configuration is read, as anystorage::Loader does ($${ is the text ${)";

/// The minimum of different bytes of a secret that is not [trivial](Secret::is_trivial).
const MIN_DIFFERENT_BYTES: usize = 6;

/// A password, signing key or token. Its `Debug` form does not contain the text.
///
/// Deserialising fails for an option of a URL, and for a text with `${` (but not `$${`) where no
/// variables are replaced: that is the name of a secret and not the secret.
///
/// ```
/// use storage_core::config::Secret;
///
/// let secret = Secret::new("hunter2");
/// assert_eq!(format!("{secret:?}"), "Secret(...)");
/// assert_eq!(secret.expose(), "hunter2");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether the text has fewer than 6 different bytes, so that it is a placeholder and
    /// not a secret: zeros, spaces, `abcabcabc`.
    #[must_use]
    pub fn is_trivial(&self) -> bool {
        is_trivial(self.0.as_bytes())
    }
}

/// See [`Secret::is_trivial`].
pub(crate) fn is_trivial(secret: &[u8]) -> bool {
    let mut is_used = [false; 256];
    secret.iter().for_each(|&byte| is_used[usize::from(byte)] = true);
    is_used.iter().filter(|&&is_used| is_used).count() < MIN_DIFFERENT_BYTES
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(SECRET, SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Secret, D::Error> {
        let text = String::deserialize(deserializer)?;
        if contains_variable(&text) {
            Err(de::Error::custom(NOT_REPLACED))
        } else {
            Ok(Secret(text))
        }
    }

    /// Reads the text of options whose variables have been replaced.
    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Secret, E> {
        String::from_utf8(bytes).map(Secret).map_err(|_| E::custom("expected UTF-8"))
    }
}

/// Returns whether the text contains a `${` that is not escaped as `$${`.
fn contains_variable(text: &str) -> bool {
    text.match_indices("${").any(|(at, _)| !text[..at].ends_with('$'))
}

#[cfg(test)]
mod tests {
    use super::super::{Options, Value, expand_variables};
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Mine {
        token: Secret,
    }

    fn read(options: Options) -> Result<String, String> {
        let mine: Result<Mine, _> = options.read("mine");
        mine.map(|mine| mine.token.expose().to_owned()).map_err(|error| error.message().to_owned())
    }

    fn token(text: &str) -> Options {
        Options::new().with("token", text)
    }

    #[test]
    fn a_variable_is_refused_as_a_secret_where_variables_are_not_replaced() {
        for text in ["${MIRROR_SIGNING_KEY}", "a${", "$${a}${b}"] {
            let said = read(token(text)).unwrap_err();
            assert!(said.starts_with("option token: it holds ${, but nothing"), "{said}");
        }
        for text in ["$${a}", "$a", "{a}", ""] {
            assert_eq!(read(token(text)).unwrap(), text);
        }
        let json = serde_json::from_str::<Mine>(r#"{ "token": "${A}" }"#).unwrap_err();
        assert!(json.to_string().contains("it holds ${"), "{json}");
        assert_eq!(serde_json::from_str::<Secret>("\"a\"").unwrap().expose(), "a");
    }

    #[test]
    fn a_secret_may_contain_the_syntax_of_variables_after_their_replacement() {
        let mut options = token("$${a} ${B}");
        expand_variables(&mut options, &|_| Some("${c}".to_owned())).unwrap();
        assert_eq!(read(options).unwrap(), "${a} ${c}");
    }

    #[test]
    fn an_inline_table_keeps_the_mark_that_its_variables_were_replaced() {
        #[derive(serde::Deserialize)]
        struct Outer {
            origin: Value,
            origins: Vec<Value>,
        }
        let nested = |text: &str| Value::Table(token(text));
        let mut options = Options::new().with("origin", nested("$${a"));
        options.insert("origins", Value::Array(vec![nested("$${b")]));
        expand_variables(&mut options, &|_| None).unwrap();
        let mut outer: Outer = options.read("outer").unwrap();
        let mut texts = Vec::new();
        for value in [outer.origin, outer.origins.remove(0)] {
            let Value::Table(table) = value else { panic!("not a table") };
            assert!(table.get("$anystorage::origin").is_none());
            texts.push(read(table).unwrap());
        }
        assert_eq!(texts, ["${a", "${b"]);
    }

    #[test]
    fn a_secret_in_a_url_is_refused() {
        let mut options = token("a");
        options.mark_as_url();
        let said = read(options).unwrap_err();
        assert!(
            said.starts_with("option token: a URL holds no secrets: set it in a config file"),
            "{said}"
        );
    }

    #[test]
    fn a_placeholder_is_trivial_and_random_text_is_not() {
        for text in [
            "",
            " ",
            "                ",
            "0000000000000000",
            "abcabcabcabcabcabcabc",
            "0101010101010101",
        ] {
            assert!(Secret::new(text).is_trivial(), "{text:?}");
        }
        for text in
            ["0123456789abcdef", "9f86d081884c7d659a2feaa0c55ad015", "a secret of many bytes"]
        {
            assert!(!Secret::new(text).is_trivial(), "{text:?}");
        }
    }
}
