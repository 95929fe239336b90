//! `list`: walks the tree in byte order of the whole key.
//!
//! A directory `x` sorts as `x/`, because its keys begin with that. So `a-b`, `a.b` and `a/b` are
//! in the order of their bytes, which differs from the order of the names. The walk holds in memory
//! the remaining names of the present directory and of its ancestors, and a batch of entries.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use storage_core::{
    Entry, EntryStream, Error, ErrorKind, Key, ListOptions, ObjectEntry, Prefix, Result, roll_up,
};

use crate::blocking;
use crate::names::is_reserved;

/// How many entries one trip to the blocking pool returns.
const BATCH_SIZE: usize = 512;

/// How many ancestors of the present directory stay open. Those further out are opened again when
/// the walk returns to them.
const MAX_OPEN: usize = 16;

/// The directories and files that a walk reads.
pub(crate) trait Tree: Send + Sync + 'static {
    type Directory: Send + 'static;
    type Error: Send;

    /// Opens a directory by its path below the root, without a trailing slash.
    fn open_directory(&self, path: &str) -> Result<Self::Directory, Self::Error>;

    /// Returns the names of the files and directories in a directory, in any order. Other types of
    /// files, and reserved names, are left out.
    fn names_in(
        &self,
        directory: &Self::Directory,
    ) -> Result<impl Iterator<Item = Result<Name, Self::Error>>, Self::Error>;

    /// Returns the entry of a file in a directory, or `None` if it is not a regular file.
    fn entry(
        &self,
        directory: &Self::Directory,
        key: &Key,
    ) -> Result<Option<ObjectEntry>, Self::Error>;

    /// Returns whether an error means that the file or directory certainly does not exist.
    fn means_absent(error: &Self::Error) -> bool;

    /// Returns whether an error means that the permission is missing.
    fn means_forbidden(error: &Self::Error) -> bool;

    /// Converts an error to one whose message contains the failed action.
    fn error(error: Self::Error, action: &'static str) -> Error;
}

/// Lists a tree.
pub(crate) fn list<T: Tree>(tree: &Arc<T>, prefix: &Prefix, options: &ListOptions) -> EntryStream {
    // Only `/` ends at directories. Any other delimiter requires walking the whole tree.
    let by_directory = options.delimiter.as_deref() == Some("/");
    let walk = Walk {
        tree: Arc::clone(tree),
        prefix: prefix.as_str().to_owned(),
        start_after: options
            .start_after
            .clone()
            .filter(|_| by_directory || options.delimiter.is_none()),
        by_directory,
        frames: Vec::new(),
        has_begun: false,
    };
    let batches = stream::unfold(Some(walk), |walk| async {
        let mut walk = walk?;
        let done = blocking::run(move |_| {
            let batch = walk.next_batch();
            Ok((walk, batch))
        });
        match done.await {
            Ok((walk, batch)) => {
                let is_last = batch.len() < BATCH_SIZE;
                Some((stream::iter(batch), (!is_last).then_some(walk)))
            }
            Err(error) => Some((stream::iter(vec![Err(error)]), None)),
        }
    });
    let entries = batches.flatten();
    if by_directory || options.delimiter.is_none() {
        entries.boxed()
    } else {
        roll_up(entries, prefix, options)
    }
}

struct Walk<T: Tree> {
    tree: Arc<T>,
    prefix: String,
    start_after: Option<String>,
    by_directory: bool,
    frames: Vec<Frame<T::Directory>>,
    has_begun: bool,
}

/// A directory that the walk is in.
struct Frame<D> {
    /// Its path with a trailing slash; empty for the root.
    path: String,
    directory: Option<D>,
    /// The names to visit, in reverse order.
    names: Vec<Name>,
}

/// A name in a directory.
pub(crate) enum Name {
    /// The name of a directory has a trailing slash.
    Valid(String),
    /// A lossy form of a name that is not UTF-8.
    Invalid(String),
}

impl Name {
    fn as_str(&self) -> &str {
        match self {
            Self::Valid(name) | Self::Invalid(name) => name,
        }
    }
}

impl<T: Tree> Walk<T> {
    /// Returns the next entries: fewer than [`BATCH_SIZE`] at the end.
    fn next_batch(&mut self) -> Vec<Result<Entry>> {
        let mut batch = Vec::with_capacity(BATCH_SIZE);
        if !std::mem::replace(&mut self.has_begun, true) {
            let directory =
                self.prefix.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
            // No key has a reserved segment.
            if !directory.split('/').any(is_reserved) {
                match self.enter(&directory) {
                    Ok(frame) => self.frames.push(frame),
                    Err(error) if T::means_absent(&error) => {}
                    Err(error) => {
                        batch.push(Err(unreadable::<T>(error, &with_trailing_slash(&directory))));
                    }
                }
            }
        }
        while batch.len() < BATCH_SIZE
            && let Some(frame) = self.frames.last_mut()
        {
            match frame.names.pop() {
                Some(name) => self.visit(&name, &mut batch),
                None => drop(self.frames.pop()),
            }
        }
        batch
    }

    /// Visits the next name of the innermost directory.
    fn visit(&mut self, name: &Name, batch: &mut Vec<Result<Entry>>) {
        let Some(frame) = self.frames.last() else { return };
        let path = format!("{}{}", frame.path, name.as_str());
        if !self.may_match(&path) {
            return;
        }
        let key = match name {
            Name::Valid(_) => Key::new(path.trim_end_matches('/')).ok(),
            Name::Invalid(_) => None,
        };
        match key {
            None => batch.push(Err(invalid_name(&path))),
            Some(_) if path.ends_with('/') => self.visit_directory(path, batch),
            Some(key) => match self.stat(&key) {
                Ok(entry) => batch.extend(entry.map(Ok)),
                Err(error) => {
                    let error = T::error(error, "looking up a file").with_key(path);
                    batch.push(Err(error.with_listing_continues(true)));
                }
            },
        }
    }

    /// Returns whether the path or anything below it may belong to the listing.
    fn may_match(&self, path: &str) -> bool {
        let is_directory = path.ends_with('/');
        let in_prefix =
            path.starts_with(&self.prefix) || (is_directory && self.prefix.starts_with(path));
        let after = match &self.start_after {
            None => true,
            Some(after) if is_directory && !self.by_directory => {
                path > after.as_str() || after.starts_with(path)
            }
            Some(after) => path > after.as_str(),
        };
        in_prefix && after
    }

    fn visit_directory(&mut self, path: String, batch: &mut Vec<Result<Entry>>) {
        if !self.by_directory {
            let depth = self.frames.len();
            if depth >= MAX_OPEN
                && let Some(outer) = self.frames.get_mut(depth - MAX_OPEN)
            {
                outer.directory = None;
            }
            return self.enter_or_report(&path, batch);
        }
        match self.contains_file(path.trim_end_matches('/')) {
            Ok(true) => batch.push(Prefix::new(path).map(Entry::Prefix)),
            Ok(false) => {}
            Err(error) if is_system_directory::<T>(&error, &path) => {}
            // It may contain a file, so it is listed.
            Err(_) => batch.push(Prefix::new(path).map(Entry::Prefix)),
        }
    }

    /// Enters a directory. If it cannot be read, adds one error, and the walk continues with its
    /// siblings.
    fn enter_or_report(&mut self, path: &str, batch: &mut Vec<Result<Entry>>) {
        match self.enter(path.trim_end_matches('/')) {
            Ok(frame) => self.frames.push(frame),
            Err(error) if T::means_absent(&error) || is_system_directory::<T>(&error, path) => {}
            // The caller has seen this error and resumes after it.
            Err(_) if self.start_after.as_deref() == Some(path) => {}
            Err(error) => {
                batch.push(Err(unreadable::<T>(error, path).with_listing_continues(true)));
            }
        }
    }

    fn enter(&self, path: &str) -> Result<Frame<T::Directory>, T::Error> {
        let directory = self.tree.open_directory(path)?;
        let path = with_trailing_slash(path);
        let mut names = self.tree.names_in(&directory)?.collect::<Result<Vec<_>, _>>()?;
        // Reverse byte order.
        names.sort_unstable_by(|a, b| b.as_str().cmp(a.as_str()));
        // Some file systems return a name twice if it is replaced during the read.
        names.dedup_by(|a, b| matches!((a, b), (Name::Valid(a), Name::Valid(b)) if a == b));
        Ok(Frame { path, directory: Some(directory), names })
    }

    /// Returns the entry of a file, or `None` if it is not a regular file or was removed.
    fn stat(&mut self, key: &Key) -> Result<Option<Entry>, T::Error> {
        let Some(frame) = self.frames.last_mut() else { return Ok(None) };
        let found =
            directory_of(&*self.tree, frame).and_then(|directory| self.tree.entry(directory, key));
        match found {
            Err(error) if T::means_absent(&error) => Ok(None),
            found => Ok(found?.map(Entry::Object)),
        }
    }

    /// Returns whether a directory contains a file at any depth. Usually its first name decides.
    fn contains_file(&self, path: &str) -> Result<bool, T::Error> {
        let directory = match self.tree.open_directory(path) {
            Err(error) if T::means_absent(&error) => return Ok(false),
            directory => directory?,
        };
        let mut inner = Vec::new();
        for name in self.tree.names_in(&directory)? {
            match name? {
                Name::Valid(name) if name.ends_with('/') => inner.push(name),
                // A directory with an invalid name cannot be entered, so it counts as a file.
                _ => return Ok(true),
            }
        }
        drop(directory);
        let mut found = inner
            .iter()
            .map(|name| self.contains_file(&format!("{path}/{}", name.trim_end_matches('/'))));
        found.find(|found| !matches!(found, Ok(false))).unwrap_or(Ok(false))
    }
}

/// Returns the path of a directory with a trailing slash; empty for the root.
fn with_trailing_slash(directory: &str) -> String {
    if directory.is_empty() { String::new() } else { format!("{directory}/") }
}

fn unreadable<T: Tree>(error: T::Error, path: &str) -> Error {
    T::error(error, "listing a directory").with_key(path)
}

/// Returns whether this is `lost+found`, which every ext4 file system has at its root and which
/// only the superuser may read.
fn is_system_directory<T: Tree>(error: &T::Error, path: &str) -> bool {
    T::means_forbidden(error) && path == "lost+found/"
}

/// Returns the open directory of a frame, and opens it again if it was closed.
fn directory_of<'a, T: Tree>(
    tree: &T,
    frame: &'a mut Frame<T::Directory>,
) -> Result<&'a T::Directory, T::Error> {
    match &mut frame.directory {
        Some(directory) => Ok(directory),
        closed => Ok(closed.insert(tree.open_directory(frame.path.trim_end_matches('/'))?)),
    }
}

impl Name {
    /// Returns the name of a file or directory, or `None` if it is reserved.
    pub(crate) fn new(name: &std::ffi::OsStr, is_directory: bool) -> Option<Self> {
        let slash = if is_directory { "/" } else { "" };
        match name.to_str() {
            Some(name) => (!is_reserved(name)).then(|| Self::Valid(format!("{name}{slash}"))),
            None => Some(Self::Invalid(format!("{}{slash}", name.to_string_lossy()))),
        }
    }
}

fn invalid_name(path: &str) -> Error {
    let message = "the name of a file or directory cannot be part of a key";
    Error::new(ErrorKind::InvalidKey, message).with_key(path).with_listing_continues(true)
}
