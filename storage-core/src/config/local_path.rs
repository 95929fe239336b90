//! Local paths in options, for `#[serde(deserialize_with)]`. Refuses `~` and `$HOME`, which only a
//! shell expands.

use std::path::PathBuf;

use serde::de::{self, Deserialize, Deserializer};

/// Reads a path.
///
/// # Errors
/// The deserializer's error, if the path begins with `~` or `$`. The message states what to write
/// instead. Taken literally, such a path would name a directory in the working directory.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = String::deserialize(deserializer)?;
    if path.starts_with("~") {
        return Err(de::Error::custom(
            "~ is not replaced in a configuration: write \"${HOME}/...\", or \"./~...\" for a file of that name",
        ));
    }
    if path.starts_with('$') {
        return Err(de::Error::custom(
            "a path that begins with $: write a variable with braces, as in \"${HOME}/...\", in a file whose variables \
             are replaced, or \"./$...\" for a file of that name",
        ));
    }
    Ok(PathBuf::from(path))
}

/// Reads an optional path. Use it with `#[serde(default)]`.
///
/// # Errors
/// As [`deserialize`].
pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;

    #[derive(Debug, serde::Deserialize)]
    struct Mine {
        #[serde(deserialize_with = "super::deserialize")]
        root: PathBuf,
    }

    fn read(root: &str) -> Result<PathBuf, String> {
        let mine: Result<Mine, _> = Options::new().with("root", root).read("mine");
        mine.map(|mine| mine.root).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_path_that_only_a_shell_expands_is_refused_with_a_correction() {
        for root in ["~", "~/media", "~ada/media", "$HOME/media", "$HOME", "${HOME}/media"] {
            let message = read(root).unwrap_err();
            assert!(
                message.starts_with("option root: ") && message.contains("${HOME}/..."),
                "{root}: {message}"
            );
        }
        for root in ["/srv/~/$a", "./~", "./$HOME", "media", "a~b"] {
            assert_eq!(read(root).unwrap(), PathBuf::from(root));
        }
    }
}
