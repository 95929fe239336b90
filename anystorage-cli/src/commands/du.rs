//! `du`: prints how many objects and bytes are below each directory, from one recursive listing.

use anystorage::{Entry, Error, ErrorKind, Result as StorageResult};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::json;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::output::Output;
use crate::pattern::Pattern;
use crate::place::Place;
use crate::progress::Progress;
use crate::resolver::{Purpose, Resolver};
use crate::sizes;
use crate::source::Source;
use crate::transfer::report_folder_markers;

/// Print how many objects and bytes are below a directory
///
/// Each line is the size in bytes, the number of objects, and the directory. The last line is the
/// sum of the location. Without --max-depth it is the only one, because a storage may have millions
/// of directories. A directory without objects has no line.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage du media:                      the size of a whole storage
  anystorage du -H -d 1 media:photos        each directory of one level, and their sum
  anystorage du 'media:**/*.png'            the size of what a pattern matches
  anystorage du -d 2 media: | sort -n       the largest directories last
  anystorage du -d 1 --json media: | jq ... one JSON object on each line

A location is a directory, with or without a slash at the end, or an object, if nothing is below
it. Patterns are those of cp -r: see anystorage cp --help. If a part of the location cannot be
listed, the exit code is 1, and the sums contain the other objects.")]
pub(crate) struct Args {
    /// Also print the directories at most this many levels below the location
    #[arg(short = 'd', long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    max_depth: usize,
    /// Show sizes as 1.5 KiB, 20.0 MiB
    #[arg(short = 'H', long, conflicts_with = "json")]
    human: bool,
    /// Print one JSON object on each line: prefix, objects, bytes; the prefix of the last line is
    /// that of the location
    #[arg(long)]
    json: bool,
    /// A directory, an object or a pattern: NAME:KEY, a URL or a local path
    #[arg(value_name = "LOC")]
    location: Location,
}

/// The number of objects, and their size.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sum {
    objects: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// The sums of the directories that contain the current key. In byte order, all keys of a directory
/// follow each other, so the sum of a directory is complete at the first key outside it.
#[derive(Debug)]
struct Tree {
    max_depth: usize,
    /// The length of the prefix of the location.
    root: usize,
    /// The prefix of the innermost open directory.
    path: String,
    /// The length of the prefix of each open directory, and its sum without that of open
    /// directories in it. The outermost is first, below the location.
    open: Vec<(usize, Sum)>,
    total: Sum,
}

impl Tree {
    fn new(root: &str, max_depth: usize) -> Self {
        Self {
            max_depth,
            root: root.len(),
            path: root.to_owned(),
            open: Vec::new(),
            total: Sum::default(),
        }
    }

    /// Adds an object. The caller has closed the directories that do not contain it.
    fn add(&mut self, key: &str, bytes: u64) {
        let known = self.path.len();
        let below = key.get(known..).unwrap_or_default();
        let deeper = self.max_depth.saturating_sub(self.open.len());
        for (slash, _) in below.match_indices('/').take(deeper) {
            self.open.push((known + slash + 1, Sum::default()));
        }
        if let Some((length, _)) = self.open.last() {
            self.path.push_str(key.get(self.path.len()..*length).unwrap_or_default());
        }
        self.innermost().add(Sum { objects: 1, bytes });
    }

    /// Closes the innermost directory if it does not contain this key, or if there is no further
    /// key. Returns its prefix and its sum.
    fn close(&mut self, key: Option<&str>) -> Option<(String, Sum)> {
        if key.is_some_and(|key| key.starts_with(&self.path)) {
            return None;
        }
        let (length, sum) = self.open.pop()?;
        let prefix = self.path[..length].to_owned();
        self.path.truncate(self.open.last().map_or(self.root, |(length, _)| *length));
        self.innermost().add(sum);
        Some((prefix, sum))
    }

    fn innermost(&mut self) -> &mut Sum {
        self.open.last_mut().map_or(&mut self.total, |(_, sum)| sum)
    }
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let place = resolver.resolve(&args.location, Purpose::Existing)?;
    let source = Source::directory_or_pattern(&place).await?;
    let mut usage = Usage {
        args: &args,
        directory: &source.directory,
        tree: Tree::new(&source.directory.text, args.max_depth),
        output: Output::new(),
        progress: Progress::listing(),
        folder_markers: 0,
        exit: ExitStatus::Success,
    };
    let is_empty = usage.read(source.entries()?).await?;
    let text = match is_empty {
        true => usage.read_object(&place, &source).await?,
        false => source.pattern.as_ref().map_or(&source.directory.text[..], Pattern::as_str),
    };
    usage.finish(text)
}

/// A run of the command.
struct Usage<'a> {
    args: &'a Args,
    directory: &'a Place,
    tree: Tree,
    output: Output,
    progress: Progress,
    folder_markers: u64,
    exit: ExitStatus,
}

impl Usage<'_> {
    /// Adds a listing. Returns whether it was empty.
    ///
    /// # Errors
    /// Fails if the listing ends early, because no sum would be right.
    async fn read(
        &mut self,
        mut entries: BoxStream<'static, StorageResult<Entry>>,
    ) -> Result<bool, Failure> {
        let (mut is_empty, mut listed) = (true, 0);
        while let Some(entry) = entries.next().await {
            is_empty = false;
            match entry {
                Ok(Entry::Object(object)) => {
                    let key = object.key.as_str();
                    while let Some((prefix, sum)) = self.tree.close(Some(key)) {
                        self.write(&prefix, sum)?;
                    }
                    self.tree.add(key, object.size);
                    listed += 1;
                    self.progress.count_listed(listed, object.size);
                }
                Ok(Entry::FolderMarker(_)) => self.folder_markers += 1,
                Ok(_) => {}
                Err(error) => {
                    self.output.flush()?;
                    let failure = self.directory.entry_failure(&error);
                    if !error.listing_continues() {
                        return Err(failure);
                    }
                    self.exit = self.progress.suspend(|| failure.report());
                }
            }
        }
        Ok(is_empty)
    }

    /// Adds the object of the name of an empty directory, if there is one. Returns the name to show
    /// in the last line.
    ///
    /// # Errors
    /// Fails if a pattern matches nothing or a local path does not exist. Another storage has no
    /// empty directories, so an empty one is a valid result there.
    async fn read_object<'p>(
        &mut self,
        place: &'p Place,
        source: &'p Source,
    ) -> Result<&'p str, Failure> {
        let directory = source.directory.text.as_str();
        if source.pattern.is_some() {
            return Err(source.no_match());
        }
        if place.names_directory() {
            return match place.local && !place.text.is_empty() {
                true => Err(source.no_match()),
                false => Ok(directory),
            };
        }
        match place.storage.stat(place.key()?).await {
            Ok(meta) => {
                self.tree.total.add(Sum { objects: 1, bytes: meta.size });
                Ok(&place.text)
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !place.local => Ok(directory),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let message = "no regular file or directory here";
                Err(place.failure(&Error::new(ErrorKind::NotFound, message)))
            }
            Err(error) => Err(place.failure(&error)),
        }
    }

    /// Prints the open directories and the total.
    fn finish(mut self, text: &str) -> Result<ExitStatus, Failure> {
        while let Some((prefix, sum)) = self.tree.close(None) {
            self.write(&prefix, sum)?;
        }
        let total = self.tree.total;
        self.write(text, total)?;
        self.output.flush()?;
        report_folder_markers(self.folder_markers);
        Ok(self.exit)
    }

    fn write(&mut self, text: &str, Sum { objects, bytes }: Sum) -> Result<(), Failure> {
        if self.args.json {
            let line = json!({ "prefix": text, "objects": objects, "bytes": bytes });
            return self.progress.suspend(|| self.output.json(&line));
        }
        let size = if self.args.human { sizes::human(bytes) } else { bytes.to_string() };
        let line = format!("{size:>14}  {objects:>10}  {}", self.directory.with_text(text));
        self.progress.suspend(|| self.output.line(&line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the directories and sums in the order in which they are printed.
    fn sums(root: &str, max_depth: usize, keys: &[&str]) -> Vec<(String, u64)> {
        let mut tree = Tree::new(root, max_depth);
        let mut closed = Vec::new();
        for key in keys {
            closed.extend(std::iter::from_fn(|| tree.close(Some(key))));
            assert!(tree.open.len() <= max_depth);
            tree.add(key, 10);
        }
        closed.extend(std::iter::from_fn(|| tree.close(None)));
        closed.push((root.to_owned(), tree.total));
        closed
            .into_iter()
            .map(|(prefix, sum)| {
                assert_eq!(sum.bytes, sum.objects * 10, "{prefix}");
                (prefix, sum.objects)
            })
            .collect()
    }

    fn expected(sums: &[(&str, u64)]) -> Vec<(String, u64)> {
        sums.iter().map(|(prefix, objects)| ((*prefix).to_owned(), *objects)).collect()
    }

    const KEYS: [&str; 9] =
        ["a", "a-b", "a-b/c", "a.b/c", "a/b", "a/b/c/d", "a/b/c/e", "a/bc/d", "ü/a"];

    #[test]
    fn each_directory_contains_the_sums_of_the_directories_in_it() {
        let all = [
            ("a-b/", 1),
            ("a.b/", 1),
            ("a/b/c/", 2),
            ("a/b/", 2),
            ("a/bc/", 1),
            ("a/", 4),
            ("ü/", 1),
            ("", 9),
        ];
        assert_eq!(sums("", 9, &KEYS), expected(&all));
    }

    #[test]
    fn directories_below_the_maximum_depth_count_in_the_one_above() {
        assert_eq!(sums("", 0, &KEYS), expected(&[("", 9)]));
        let one = [("a-b/", 1), ("a.b/", 1), ("a/", 4), ("ü/", 1), ("", 9)];
        assert_eq!(sums("", 1, &KEYS), expected(&one));
        assert_eq!(sums("a/", 1, &KEYS[4..8]), expected(&[("a/b/", 2), ("a/bc/", 1), ("a/", 4)]));
    }

    #[test]
    fn a_key_of_a_thousand_levels_opens_only_the_levels_that_are_printed() {
        let deep = "a/".repeat(1_000) + "b";
        assert_eq!(sums("", 2, &[&deep]), expected(&[("a/a/", 1), ("a/", 1), ("", 1)]));
        assert_eq!(sums("", usize::MAX - 1, &[&deep]).len(), 1_001);
    }
}
