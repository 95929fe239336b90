//! `list`: walks the tree in byte order of the whole key.
//!
//! A directory `x` sorts as `x/`, because its keys begin with that. So `a-b`, `a.b` and `a/b` come
//! in the order of their bytes, which differs from the order of the names. Memory contains the
//! remaining names of the present directory and of its ancestors.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use rustix::fs::{self, AtFlags, Dir, DirEntry, FileType};
use rustix::io::Errno;
use storage_core::{
    Entry, EntryStream, Error, ErrorKind, Key, ListOptions, ObjectEntry, Prefix, Result, roll_up,
};

use super::errno::{means_absent, os_error};
use super::root::{Root, is_directory, is_regular, is_reserved};
use super::shared::Shared;
use super::version::Version;
use crate::blocking;

/// How many entries one trip to the blocking pool returns.
const BATCH_SIZE: usize = 512;

/// How many ancestors of the present directory stay open. Those further out are opened again when
/// the walk returns to them.
const MAX_OPEN: usize = 16;

pub(crate) fn list(shared: &Arc<Shared>, prefix: &Prefix, options: &ListOptions) -> EntryStream {
    // Other delimiters than that of the file system require walking the whole tree.
    let by_directory = options.delimiter.as_deref() == Some("/");
    let walk = Walk {
        root: Arc::clone(&shared.root),
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

struct Walk {
    root: Arc<Root>,
    prefix: String,
    start_after: Option<String>,
    by_directory: bool,
    frames: Vec<Frame>,
    has_begun: bool,
}

/// A directory that the walk is in.
struct Frame {
    /// Its path with a trailing slash; empty for the root.
    path: String,
    directory: Option<OwnedFd>,
    /// The names to visit, in reverse order.
    names: Vec<Name>,
}

enum Name {
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

impl Walk {
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
                    Err(errno) if means_absent(errno) => {}
                    Err(errno) => {
                        batch.push(Err(unreadable(errno, &with_trailing_slash(&directory))));
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
                Err(errno) => {
                    let error = os_error(errno, "looking up a file").with_key(path);
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
            Err(errno) if is_system_directory(errno, &path) => {}
            // It may contain a file, so it is listed.
            Err(_) => batch.push(Prefix::new(path).map(Entry::Prefix)),
        }
    }

    /// Enters a directory. If it cannot be read, adds one error, and the walk continues with its
    /// siblings.
    fn enter_or_report(&mut self, path: &str, batch: &mut Vec<Result<Entry>>) {
        match self.enter(path.trim_end_matches('/')) {
            Ok(frame) => self.frames.push(frame),
            Err(errno) if means_absent(errno) || is_system_directory(errno, path) => {}
            // The caller has seen this error and resumes after it.
            Err(_) if self.start_after.as_deref() == Some(path) => {}
            Err(errno) => batch.push(Err(unreadable(errno, path).with_listing_continues(true))),
        }
    }

    fn enter(&self, path: &str) -> Result<Frame, Errno> {
        let directory = self.root.open_directory(path)?;
        let path = with_trailing_slash(path);
        let mut names = names_in(&directory)?.collect::<Result<Vec<_>, _>>()?;
        // Reverse byte order.
        names.sort_unstable_by(|a, b| b.as_str().cmp(a.as_str()));
        // Some file systems return a name twice if it is replaced during the read.
        names.dedup_by(|a, b| matches!((a, b), (Name::Valid(a), Name::Valid(b)) if a == b));
        Ok(Frame { path, directory: Some(directory), names })
    }

    /// Returns the entry of a file, or `None` if it is not a regular file or was removed.
    fn stat(&mut self, key: &Key) -> Result<Option<Entry>, Errno> {
        let Some(frame) = self.frames.last_mut() else { return Ok(None) };
        let found = directory_of(&self.root, frame)
            .and_then(|directory| fs::statat(directory, key.name(), AtFlags::SYMLINK_NOFOLLOW));
        match found {
            Ok(stat) if is_regular(&stat) => {
                let version = Version::of(&stat);
                let mut entry = ObjectEntry::new(key.clone(), version.size);
                entry.last_modified = Some(version.modified_time());
                Ok(Some(Entry::Object(entry)))
            }
            Ok(_) => Ok(None),
            Err(errno) if means_absent(errno) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Returns whether a directory contains a file at any depth. Usually its first name decides.
    fn contains_file(&self, path: &str) -> Result<bool, Errno> {
        let directory = match self.root.open_directory(path) {
            Err(errno) if means_absent(errno) => return Ok(false),
            directory => directory?,
        };
        let mut inner = Vec::new();
        for name in names_in(&directory)? {
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

fn unreadable(errno: Errno, path: &str) -> Error {
    os_error(errno, "listing a directory").with_key(path)
}

/// Returns whether this is `lost+found`, which every ext4 file system has at its root and which
/// only the superuser may read.
fn is_system_directory(errno: Errno, path: &str) -> bool {
    errno == Errno::ACCESS && path == "lost+found/"
}

/// Returns the open directory of a frame, and opens it again if it was closed.
fn directory_of<'a>(root: &Root, frame: &'a mut Frame) -> Result<&'a OwnedFd, Errno> {
    match &mut frame.directory {
        Some(directory) => Ok(directory),
        closed => Ok(closed.insert(root.open_directory(frame.path.trim_end_matches('/'))?)),
    }
}

/// Returns the names of the files and directories in a directory, in the order of the system. Other
/// types of files are not objects.
fn names_in(directory: &OwnedFd) -> Result<impl Iterator<Item = Result<Name, Errno>>, Errno> {
    let entries = Dir::read_from(directory)?;
    Ok(entries.filter_map(move |entry| entry.map(|entry| name_of(directory, &entry)).transpose()))
}

fn name_of(directory: &OwnedFd, entry: &DirEntry) -> Option<Name> {
    let raw = entry.file_name();
    if matches!(raw.to_bytes(), b"." | b"..") {
        return None;
    }
    let slash = match entry.file_type() {
        FileType::RegularFile => "",
        FileType::Directory => "/",
        // Some file systems do not report the type.
        FileType::Unknown => match fs::statat(directory, raw, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_regular(&stat) => "",
            Ok(stat) if is_directory(&stat) => "/",
            _ => return None,
        },
        _ => return None,
    };
    match raw.to_str() {
        Ok(name) => (!is_reserved(name)).then(|| Name::Valid(format!("{name}{slash}"))),
        Err(_) => Some(Name::Invalid(format!("{}{slash}", raw.to_string_lossy()))),
    }
}

fn invalid_name(path: &str) -> Error {
    let message = "the name of a file or directory cannot be part of a key";
    Error::new(ErrorKind::InvalidKey, message).with_key(path).with_listing_continues(true)
}
