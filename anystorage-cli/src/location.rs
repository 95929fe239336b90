//! [`Location`]: an argument of a command that names a storage, an object or a directory, as typed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

/// A location as it was typed. [`Resolver`](crate::resolver::Resolver) finds its storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// `-`: standard input or output.
    Standard,
    /// `NAME:KEY`. It is a URL if no storage but a URL scheme has this name: `memory:`.
    Named { name: String, key: String },
    /// Text with `://`.
    Url(String),
    /// `./x`, `../x`, `/x`.
    Path(PathBuf),
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Standard);
        }
        if is_path(text) {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        let Some((name, key)) = text.split_once(':') else {
            return Err(format!("write NAME:KEY, a URL, or ./{text} for a local path"));
        };
        // This is not NAME:KEY, because no key begins with a slash.
        if key.starts_with("//") {
            return Ok(Self::Url(text.to_owned()));
        }
        if name.is_empty() {
            return Err("the storage's name is missing before the ':'".to_owned());
        }
        if name.contains(['/', '\\']) {
            return Err(format!("write ./{text} for a local path"));
        }
        Ok(Self::Named { name: name.to_owned(), key: key.to_owned() })
    }
}

fn is_path(text: &str) -> bool {
    let relative =
        matches!(text, "." | "..") || ["./", "../"].iter().any(|start| text.starts_with(start));
    // On Windows, C:\x and .\x are paths, too.
    let windows = cfg!(windows) && (text.starts_with(".\\") || text.starts_with("..\\"));
    relative || windows || Path::new(text).is_absolute()
}

/// Writes the location for messages. A URL is written without the parts that may be secret.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("-"),
            Self::Named { name, key } => write!(f, "{name}:{key}"),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Url(text) => match Url::parse(text) {
                Ok(url) => f.write_str(without_secrets(url).as_str()),
                Err(_) => f.write_str("the URL"),
            },
        }
    }
}

/// Returns a URL without user name, password, query and fragment.
pub(crate) fn without_secrets(mut url: Url) -> Url {
    // The first two fail for URLs that cannot have a user name or a password.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Location {
        text.parse().unwrap()
    }

    fn named(name: &str, key: &str) -> Location {
        Location::Named { name: name.to_owned(), key: key.to_owned() }
    }

    #[test]
    fn text_with_a_colon_is_a_key_in_a_named_storage() {
        assert_eq!(read("media:"), named("media", ""));
        assert_eq!(read("media:a/"), named("media", "a/"));
        assert_eq!(read("media:a/b.png"), named("media", "a/b.png"));
        assert_eq!(read("media:a:b"), named("media", "a:b"));
        assert_eq!(read("media:-"), named("media", "-"));
        assert_eq!(read("media:../up"), named("media", "../up"));
        assert_eq!(read("memory:"), named("memory", ""));
        assert_eq!(read("user-uploads:a"), named("user-uploads", "a"));
    }

    #[test]
    fn text_with_two_slashes_after_the_colon_is_a_url() {
        for text in [
            "file:///abs/dir/file",
            "s3://bucket/key",
            "s3://bucket",
            "file:///a?public_url=https://x/",
        ] {
            assert_eq!(read(text), Location::Url(text.to_owned()));
        }
    }

    #[test]
    fn text_that_begins_with_a_dot_or_a_slash_is_a_local_path() {
        for text in ["./x", "../x", "/x", ".", "..", "/", "./a:b", "/a:b", "./a://b", "./", "./-"] {
            assert_eq!(read(text), Location::Path(PathBuf::from(text)));
        }
    }

    #[test]
    fn a_dash_is_standard_input_or_output() {
        assert_eq!(read("-"), Location::Standard);
    }

    #[test]
    fn ambiguous_text_is_an_error_that_contains_the_unambiguous_form() {
        for text in ["file.txt", "a/b", "dir/a:b", ".hidden", "..."] {
            let error = text.parse::<Location>().unwrap_err();
            assert!(error.contains(&format!("./{text}")), "{error}");
        }
        for text in ["", ":", ":key"] {
            assert!(text.parse::<Location>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_displayed_location_contains_no_secret() {
        let shown = |text: &str| read(text).to_string();
        assert_eq!(shown("s3://ada:hunter2@bucket/key?secret=x#y"), "s3://bucket/key");
        assert_eq!(shown("s3://ada:hunter2@buc ket/key"), "the URL");
        assert_eq!(shown("media:a/b"), "media:a/b");
        assert_eq!(shown("./a b"), "./a b");
    }
}
