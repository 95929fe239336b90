//! [`Location`]: what a command's argument names, before any storage has been looked at.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

/// A location as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// `-`: standard input or output.
    Standard,
    /// `NAME:KEY`. Where no storage has this name but a URL scheme has, it is a URL: `memory:`.
    Named { name: String, key: String },
    /// Anything with `://`.
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
        // No key begins with a slash, so this cannot be NAME:KEY.
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
    // On Windows C:\x is a path too, and .\x.
    let windows = cfg!(windows) && (text.starts_with(".\\") || text.starts_with("..\\"));
    relative || windows || Path::new(text).is_absolute()
}

/// For messages: a URL without what may be a secret.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("-"),
            Self::Named { name, key } => write!(f, "{name}:{key}"),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Url(text) => match Url::parse(text) {
                Ok(url) => f.write_str(shown(url).as_str()),
                Err(_) => f.write_str("the URL"),
            },
        }
    }
}

/// A URL without user name, password, query and fragment.
pub(crate) fn shown(mut url: Url) -> Url {
    // These fail for URLs that have no place for them, and so hold none.
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
    fn what_has_a_colon_is_a_key_in_a_named_storage() {
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
    fn what_has_two_slashes_behind_the_colon_is_a_url() {
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
    fn what_begins_with_a_dot_or_a_slash_is_a_local_path() {
        for text in ["./x", "../x", "/x", ".", "..", "/", "./a:b", "/a:b", "./a://b", "./", "./-"] {
            assert_eq!(read(text), Location::Path(PathBuf::from(text)));
        }
    }

    #[test]
    fn a_dash_is_standard_input_or_output() {
        assert_eq!(read("-"), Location::Standard);
    }

    #[test]
    fn what_could_be_meant_otherwise_is_refused_with_the_way_to_write_it() {
        for text in ["file.txt", "a/b", "dir/a:b", ".hidden", "..."] {
            let said = text.parse::<Location>().unwrap_err();
            assert!(said.contains(&format!("./{text}")), "{said}");
        }
        for text in ["", ":", ":key"] {
            assert!(text.parse::<Location>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_location_shows_no_secret() {
        let shown = |text: &str| read(text).to_string();
        assert_eq!(shown("s3://ada:hunter2@bucket/key?secret=x#y"), "s3://bucket/key");
        assert_eq!(shown("s3://ada:hunter2@buc ket/key"), "the URL");
        assert_eq!(shown("media:a/b"), "media:a/b");
        assert_eq!(shown("./a b"), "./a b");
    }
}
