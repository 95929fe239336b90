//! Finds the files of a directory.

use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use storage_core::{Error, ErrorKind, Key, Result};

use super::options::SiteOptions;
use super::patterns::Patterns;

/// The deepest directory. A key has at most 1024 bytes, so that no file can be much deeper.
const MAX_DEPTH: usize = 512;

/// A file of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The path in the directory, with `/`.
    pub(crate) path: String,
    pub(crate) location: PathBuf,
}

/// Returns the files of a directory that are published, sorted by path.
pub(crate) fn walk(directory: &Path, options: &SiteOptions) -> Result<Vec<Source>> {
    let exclude = Patterns::new("exclude", options.exclude.iter().map(String::as_str))?;
    let mut walk = Walk { options, exclude, parents: Vec::new(), files: Vec::new() };
    walk.directory(directory, "")?;
    walk.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.files)
}

struct Walk<'a> {
    options: &'a SiteOptions,
    exclude: Patterns,
    /// The canonical paths of the directories that are open, to which no link may lead.
    parents: Vec<PathBuf>,
    files: Vec<Source>,
}

impl Walk<'_> {
    fn directory(&mut self, location: &Path, path: &str) -> Result<()> {
        let canonical = fs::canonicalize(location).map_err(|error| failed(error, path))?;
        if self.parents.contains(&canonical) || self.parents.len() > MAX_DEPTH {
            let message = "a symbolic link leads to a directory that contains it: exclude it";
            return Err(Error::new(ErrorKind::InvalidInput, message).with_key(path));
        }
        self.parents.push(canonical);
        for entry in fs::read_dir(location).map_err(|error| failed(error, path))? {
            let entry = entry.map_err(|error| failed(error, path))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                let message = "the name is not UTF-8: rename the file or exclude its directory";
                let name = format!("{path}{}", name.to_string_lossy());
                return Err(Error::new(ErrorKind::InvalidKey, message).with_key(name));
            };
            let kind = entry.file_type().map_err(|error| failed(error, path))?;
            self.entry(&entry.path(), format!("{path}{name}"), name, kind)?;
        }
        self.parents.pop();
        Ok(())
    }

    fn entry(&mut self, location: &Path, path: String, name: &str, kind: FileType) -> Result<()> {
        let kind = if kind.is_symlink() {
            if self.is_excluded(&path, name, location.is_dir()) {
                return Ok(());
            }
            self.follow(location, &path)?
        } else {
            kind
        };
        if self.is_excluded(&path, name, kind.is_dir()) {
            return Ok(());
        }
        if kind.is_dir() {
            return self.directory(location, &format!("{path}/"));
        }
        if !kind.is_file() {
            let message = "this is not a regular file: exclude it";
            return Err(Error::new(ErrorKind::InvalidInput, message).with_key(path));
        }
        Key::new(path.as_str()).map_err(|error| error.with_key(&path))?;
        self.files.push(Source { path, location: location.to_owned() });
        Ok(())
    }

    fn follow(&self, location: &Path, path: &str) -> Result<FileType> {
        if !self.options.follow_symlinks {
            let message = "this is a symbolic link: exclude it, or set `follow_symlinks`";
            return Err(Error::new(ErrorKind::InvalidInput, message).with_key(path));
        }
        let metadata = fs::metadata(location).map_err(|error| failed(error, path))?;
        Ok(metadata.file_type())
    }

    fn is_excluded(&self, path: &str, name: &str, is_directory: bool) -> bool {
        let is_hidden = name.starts_with('.') && name != ".well-known";
        let by_default = is_hidden && !self.options.include_hidden;
        self.exclude.decides(path, is_directory).unwrap_or(by_default)
    }
}

/// Adds to an error of the operating system which file it concerns.
pub(crate) fn failed(error: std::io::Error, path: &str) -> Error {
    let path = if path.is_empty() { "." } else { path };
    Error::from(error).with_key(path).with_context("cannot read a file or directory of the site")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for path in files {
            let location = directory.path().join(path);
            fs::create_dir_all(location.parent().unwrap()).unwrap();
            fs::write(location, path).unwrap();
        }
        directory
    }

    fn paths(directory: &Path, options: &SiteOptions) -> Vec<String> {
        walk(directory, options).unwrap().into_iter().map(|source| source.path).collect()
    }

    #[test]
    fn files_are_sorted_by_bytes_of_their_paths() {
        let directory = site(&["b.txt", "a/z.txt", "a.txt", "a/b/c.txt"]);
        let found = paths(directory.path(), &SiteOptions::default());
        assert_eq!(found, ["a.txt", "a/b/c.txt", "a/z.txt", "b.txt"]);
    }

    #[test]
    fn hidden_files_are_published_only_if_asked_for() {
        let directory = site(&[".git/x", ".well-known/y", ".htaccess", "z"]);
        let options = SiteOptions::default();
        assert_eq!(paths(directory.path(), &options), [".well-known/y", "z"]);
        let options = SiteOptions { exclude: vec!["!.htaccess".into()], ..options };
        assert_eq!(paths(directory.path(), &options), [".htaccess", ".well-known/y", "z"]);
        let options =
            SiteOptions { include_hidden: true, exclude: vec!["/.git".into()], ..options };
        assert_eq!(paths(directory.path(), &options), [".htaccess", ".well-known/y", "z"]);
    }

    #[test]
    fn excluded_directories_are_not_read() {
        let directory = site(&["a/b.psd", "drafts/c.html", "d.html"]);
        let exclude = vec!["*.psd".to_owned(), "drafts/".to_owned()];
        let options = SiteOptions { exclude, ..SiteOptions::default() };
        assert_eq!(paths(directory.path(), &options), ["d.html"]);
    }

    #[test]
    fn an_invalid_name_is_an_error() {
        let directory = site(&["a\nb"]);
        let error = walk(directory.path(), &SiteOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let directory = site(&[]);
        let missing = directory.path().join("x");
        let error = walk(&missing, &SiteOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_an_error_unless_it_is_excluded_or_followed() {
        let directory = site(&["a.txt"]);
        std::os::unix::fs::symlink("a.txt", directory.path().join("b.txt")).unwrap();
        let options = SiteOptions::default();
        let error = walk(directory.path(), &options).unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some("b.txt")));
        let excluding = SiteOptions { exclude: vec!["b.txt".into()], ..options.clone() };
        assert_eq!(paths(directory.path(), &excluding), ["a.txt"]);
        let following = SiteOptions { follow_symlinks: true, ..options };
        assert_eq!(paths(directory.path(), &following), ["a.txt", "b.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_directory_above_is_an_error() {
        let directory = site(&["a/b.txt"]);
        std::os::unix::fs::symlink("..", directory.path().join("a/up")).unwrap();
        let options = SiteOptions { follow_symlinks: true, ..SiteOptions::default() };
        let error = walk(directory.path(), &options).unwrap_err();
        assert!(error.message().contains("leads to a directory that contains it"), "{error}");
    }
}
