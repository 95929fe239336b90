//! Copies, moves or saves many objects, several at a time: `cp -r`, `mv -r`, `put -r`, `get -r`,
//! and all of them with patterns.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anystorage::{Entry, Error, ErrorKind, Key, Metadata, ObjectEntry, Result, Storage, transfer};
use futures_util::StreamExt;

use crate::compare::{overlap, path_below, same_object};
use crate::copy::{copy_listed, copy_object, refuse_same_object};
use crate::exit::{ExitStatus, Failure, print_line};
use crate::links::{self, LinkPolicy, LinkTarget, SpecialFile, SpecialKind, Unsearched};
use crate::metadata::MetadataArgs;
use crate::moves::{move_object, refuse_read_only};
use crate::output::Output;
use crate::pattern::Pattern;
use crate::place::Place;
use crate::progress::Progress;
use crate::resolver::Resolver;
use crate::source::Source;
use crate::verbosity;

/// How many failures are printed at the end. Any further one is printed at once.
const MAX_DEFERRED_FAILURES: usize = 1000;

/// The options of every command that handles many objects.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ManyArgs {
    /// How many objects to handle at a time, with -r or a pattern
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub(crate) concurrency: u16,
    /// Print what the command would do, one line for each object, and change nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// What is done with each object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action<'a> {
    /// Copies it with its metadata.
    Copy(&'a MetadataArgs),
    /// Copies it with its metadata, and deletes the source.
    Move(&'a MetadataArgs),
    /// Saves its bytes with new metadata.
    Save(&'a NewObject),
}

/// The metadata of a saved object, and whether it may replace another one.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewObject {
    pub(crate) metadata: Metadata,
    /// Determines the content type by the name of the key alone, as for a local file, which has
    /// none.
    pub(crate) is_local_file: bool,
    pub(crate) create_new: bool,
}

impl NewObject {
    fn metadata(&self, key: &Key) -> Metadata {
        let mut metadata = self.metadata.clone();
        if self.is_local_file {
            metadata.content_type = Some(anystorage::content_type::of_key(key));
        }
        metadata
    }
}

impl Action<'_> {
    fn past(self) -> &'static str {
        match self {
            Self::Copy(_) => "copied",
            Self::Move(_) => "moved",
            Self::Save(_) => "saved",
        }
    }

    /// Handles an object, of which a listing may have an entry.
    async fn run(
        self,
        from: (&Storage, &Key),
        listed: Option<&ObjectEntry>,
        to: (&Storage, &Key),
        progress: &Progress,
    ) -> Result<()> {
        match self {
            Self::Copy(metadata) => match listed {
                Some(listed) => copy_listed((from.0, listed), to, metadata, progress).await,
                None => copy_object(from, to, metadata, progress).await.map(drop),
            },
            Self::Move(metadata) => move_object(from, to, metadata, progress).await.map(drop),
            Self::Save(new) => save_object(from, to, new, progress).await,
        }
    }
}

/// Saves the bytes of an object. A local file that changes meanwhile is read again, before its copy
/// is visible.
async fn save_object(
    (source, from): (&Storage, &Key),
    (target, to): (&Storage, &Key),
    new: &NewObject,
    progress: &Progress,
) -> Result<()> {
    let copy = transfer::copy(source, from, target, to).as_one_stream();
    let mut copy = copy.map_metadata(|_| new.metadata(to));
    if new.create_new {
        copy = copy.create_new();
    }
    if let Some(on_bytes) = progress.on_bytes() {
        copy = copy.on_bytes(on_bytes);
    }
    copy.await.map(drop)
}

/// What a transfer does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransferOptions<'a> {
    pub(crate) action: Action<'a>,
    pub(crate) links: LinkPolicy,
    pub(crate) many: &'a ManyArgs,
}

/// Handles all objects of a source, several at a time. Continues if one fails. The key of each copy
/// is that of its source relative to the source's directory, below the destination.
pub(crate) async fn transfer(
    resolver: &mut Resolver,
    source: &Source,
    to: &Place,
    options: &TransferOptions<'_>,
) -> Result<(), Failure> {
    let shown = format!("{source} -> {to}");
    refuse_overlap(source, to).map_err(|error| Failure::at(&shown, &error))?;
    if matches!(options.action, Action::Move(_)) {
        refuse_read_only(&source.directory, &shown)?;
    }
    let tally = Tally {
        progress: Progress::objects(),
        past: options.action.past(),
        planned: options.many.dry_run.then(Output::new),
        done: 0,
        failed: 0,
        folder_markers: 0,
        deferred: Vec::new(),
    };
    let mut transfer = Transfer {
        resolver,
        to,
        source_below: path_below(to, &source.directory).filter(|path| !path.is_empty()),
        options,
        tally,
        link_directories: Vec::new(),
    };
    transfer.source(source, to).await?;
    let folder_markers = transfer.tally.folder_markers;
    let done = transfer.tally.finish()?;
    if done + folder_markers > 0 {
        return Ok(());
    }
    match &source.pattern {
        Some(_) => Err(source.no_match()),
        None if source.directory.text.is_empty() => Ok(()),
        None => Err(empty_directory_failure(&source.directory).await),
    }
}

/// Fails if the copies are below the source, where they would be listed as sources again.
fn refuse_overlap(source: &Source, to: &Place) -> Result<()> {
    let is_one_level = source.pattern.as_ref().is_some_and(Pattern::is_one_level);
    if is_one_level && same_object(&source.directory, to) {
        let message = "the objects are in this directory already; nothing was changed";
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    if !is_one_level && path_below(&source.directory, to).is_some() {
        return Err(overlap_error());
    }
    Ok(())
}

fn overlap_error() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "one directory is inside the other, so the copies would be copied again",
    )
}

/// Prints the number of folder markers that a command has skipped, if there are any.
pub(crate) fn report_folder_markers(count: u64) {
    if count > 0 {
        verbosity::note(&format!(
            "{count} folder markers skipped: they are not objects; rm -r deletes them"
        ));
    }
}

/// A transfer in progress.
struct Transfer<'a> {
    resolver: &'a mut Resolver,
    /// The destination of all objects.
    to: &'a Place,
    /// The path of the source below the destination, if it is there. Nothing is written to it.
    source_below: Option<String>,
    options: &'a TransferOptions<'a>,
    tally: Tally,
    /// The directories of the symlinks that were followed to the current directory, outermost
    /// first.
    link_directories: Vec<PathBuf>,
}

impl Transfer<'_> {
    /// Handles one directory or pattern: its objects, and then the symlinks and special files of a
    /// local one.
    ///
    /// # Errors
    /// Fails only if the name of the directory is invalid or standard output cannot be written. The
    /// tally contains all other failures.
    async fn source(&mut self, source: &Source, to: &Place) -> Result<(), Failure> {
        let progress = self.tally.progress.clone();
        let many = self.options.many;
        // A dry run sends no requests for the objects, and prints the lines in the order of the
        // keys.
        let concurrency = if many.dry_run { 1 } else { usize::from(many.concurrency) };
        let from = &source.directory;
        let (options, source_below) = (self.options, self.source_below.as_deref());
        let entries = source.entries()?;
        // The directories that the listing has reported are not reported again.
        let mut unlisted = HashSet::new();
        let entries = entries.inspect(|entry| {
            let key = entry.as_ref().err().and_then(Error::key);
            let name = key.and_then(|key| key.strip_prefix(from.text.as_str()));
            if let Some(name) = name.filter(|_| unlisted.len() < MAX_DEFERRED_FAILURES) {
                unlisted.insert(name.to_owned());
            }
        });
        let done = entries.map(|entry| options.entry(from, to, source_below, entry, &progress));
        let mut done = done.buffer_unordered(concurrency);
        while let Some(result) = done.next().await {
            self.tally.count(result)?;
        }
        drop(done);
        if !from.local || self.options.links == LinkPolicy::Skip {
            return Ok(());
        }
        let directory = Path::new(&from.storage.info().location).join(&from.text);
        let mut specials = links::find_special_files(directory);
        while let Some(found) = specials.recv().await {
            match found {
                Ok(special) if source.contains(&special.name) => {
                    self.special(&special, from, to).await?;
                }
                Err(Unsearched { name, error })
                    if source.may_contain_at(&name) && !unlisted.contains(&name) =>
                {
                    let at = from.with_text(format!("{}{name}", from.text));
                    self.tally.count(Err(at.failure(&error)))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Handles the target of a symlink, or counts a special file as a failure.
    async fn special(
        &mut self,
        special: &SpecialFile,
        from: &Place,
        to: &Place,
    ) -> Result<(), Failure> {
        let at = from.with_text(format!("{}{}", from.text, special.name));
        let to = to.with_text(format!("{}{}", to.text, special.name));
        let past = self.tally.past;
        let refused = match &special.kind {
            SpecialKind::Symlink(Ok(target)) if self.options.links == LinkPolicy::Follow => {
                return self.follow(&at, target, &to).await;
            }
            SpecialKind::Symlink(Err(cause)) if self.options.links == LinkPolicy::Follow => {
                broken_link_error(cause)
            }
            SpecialKind::Symlink(_) => Error::unsupported(match self.options.links {
                LinkPolicy::Keep => format!("a symlink, not {past}: --skip-links skips it"),
                _ => format!(
                    "a symlink, not {past}: --follow copies its target, --skip-links skips it"
                ),
            }),
            SpecialKind::Other(what) => {
                Error::unsupported(format!("{what}, not {past}: --skip-links skips it"))
            }
            SpecialKind::InvalidName => Error::new(
                ErrorKind::InvalidKey,
                "a symlink or special file whose name is not UTF-8 text",
            ),
        };
        self.tally.count(Err(at.failure(&refused)))
    }

    async fn follow(&mut self, at: &Place, target: &LinkTarget, to: &Place) -> Result<(), Failure> {
        let past = self.tally.past;
        if !target.file_type.is_file() && !target.file_type.is_dir() {
            let message = format!("a symlink to {}, not {past}", links::describe(target.file_type));
            return self.tally.count(Err(at.failure(&Error::unsupported(message))));
        }
        if target.file_type.is_dir() && target.is_loop(&self.link_directories) {
            let message = "a symlink to a directory that contains it: following it would not end";
            return self.tally.count(Err(at.failure(&Error::new(ErrorKind::Conflict, message))));
        }
        let followed = match self.resolver.followed(&target.path) {
            Ok(followed) => followed,
            Err(failure) => return self.tally.count(Err(failure)),
        };
        if target.file_type.is_file() {
            let done = self.file(&followed, to).await;
            return self.tally.count(done);
        }
        // A directory that contains the destination would yield the copies again, so the check
        // compares with the destination of the whole transfer.
        if overlap(&followed, self.to) {
            return self
                .tally
                .count(Err(Failure::at(&format!("{at} -> {}", self.to), &overlap_error())));
        }
        self.link_directories.push(target.link_directory.clone());
        let to = to.with_text(format!("{}/", to.text));
        let source = Source { directory: followed, pattern: None };
        if let Err(failure) = Box::pin(self.source(&source, &to)).await {
            self.tally.count(Err(failure))?;
        }
        self.link_directories.pop();
        Ok(())
    }

    async fn file(&self, from: &Place, to: &Place) -> Result<Handled, Failure> {
        refuse_same_object(from, to)?;
        self.options.object(from, None, to, &self.tally.progress).await
    }
}

impl TransferOptions<'_> {
    async fn entry(
        &self,
        from: &Place,
        to: &Place,
        source_below: Option<&str>,
        entry: Result<Entry>,
        progress: &Progress,
    ) -> Result<Handled, Failure> {
        let listed = match entry {
            Ok(Entry::Object(object)) => object,
            // The listing contains no common prefixes, so this is a folder marker.
            Ok(_) => return Ok(Handled::FolderMarker),
            Err(error) => return Err(from.entry_failure(&error)),
        };
        let source = from.with_text(listed.key.as_str());
        let rest = source.text.strip_prefix(from.text.as_str()).unwrap_or(&source.text);
        let target = to.with_text(format!("{}{rest}", to.text));
        if source_below.is_some_and(|path| begins_with(rest, path)) {
            return Err(Failure::at(&format!("{source} -> {target}"), &overlap_error()));
        }
        self.object(&source, Some(&listed), &target, progress).await
    }

    async fn object(
        &self,
        from: &Place,
        listed: Option<&ObjectEntry>,
        to: &Place,
        progress: &Progress,
    ) -> Result<Handled, Failure> {
        let shown = || format!("{from} -> {to}");
        let source = from.key()?;
        // The key is too long, for example. That is not a wrong command line.
        let target = Key::new(to.text.as_str()).map_err(|error| Failure::at(&shown(), &error))?;
        if self.many.dry_run {
            return Ok(Handled::Planned(shown()));
        }
        let ends = ((&from.storage, &source), (&to.storage, &target));
        let _shown = progress.begin(source.as_str());
        let done = self.action.run(ends.0, listed, ends.1, progress);
        done.await.map_err(|error| Failure::at(&shown(), &error))?;
        tracing::info!("{} {}", self.action.past(), shown());
        Ok(Handled::Object)
    }
}

/// Whether a key begins with a path. Ignores case, because some file systems do.
fn begins_with(key: &str, path: &str) -> bool {
    key.get(..path.len()).is_some_and(|start| start.eq_ignore_ascii_case(path))
}

fn broken_link_error(cause: &std::io::Error) -> Error {
    let kind = match cause.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unsupported,
    };
    Error::new(kind, format!("a symlink that cannot be followed: {cause}; --skip-links skips it"))
}

/// Returns the failure for a directory without objects. It names an object of that name, or keys
/// that begin with the name, if they exist.
async fn empty_directory_failure(from: &Place) -> Failure {
    let name = from.with_text(from.text.trim_end_matches('/'));
    let failure = |message: String| Failure::at(from, &Error::new(ErrorKind::NotFound, message));
    let (Ok(key), Ok(prefix)) = (name.key(), name.prefix()) else {
        return failure("nothing is below this directory".to_owned());
    };
    match from.storage.exists(key).await {
        Ok(true) => {
            return failure(format!(
                "nothing is below this directory, but {name} is an object: name it without -r"
            ));
        }
        Ok(false) => {}
        Err(error) => return name.failure(&error),
    }
    match from.storage.list(prefix).entries().next().await {
        Some(Ok(_)) => failure(format!(
            "nothing is below this directory; anystorage ls -r {name} shows keys that begin with \
             this name, which are copied without -r"
        )),
        Some(Err(error)) => from.entry_failure(&error),
        None => failure("nothing is below this directory".to_owned()),
    }
}

/// What was handled.
enum Handled {
    Object,
    FolderMarker,
    /// The line of a dry run.
    Planned(String),
}

/// The results of a transfer.
struct Tally {
    progress: Progress,
    past: &'static str,
    /// The output of a dry run.
    planned: Option<Output>,
    done: u64,
    failed: u64,
    folder_markers: u64,
    deferred: Vec<Failure>,
}

impl Tally {
    /// # Errors
    /// Fails only if the line of a dry run cannot be written.
    fn count(&mut self, handled: Result<Handled, Failure>) -> Result<(), Failure> {
        match handled {
            Ok(Handled::FolderMarker) => self.folder_markers += 1,
            Ok(handled) => {
                self.done += 1;
                self.progress.set_objects(self.done);
                if let (Handled::Planned(line), Some(output)) = (handled, &mut self.planned) {
                    output.line(&line)?;
                }
            }
            Err(failure) => {
                self.failed += 1;
                if self.deferred.len() < MAX_DEFERRED_FAILURES {
                    self.deferred.push(failure);
                } else {
                    self.progress.suspend(|| failure.report());
                }
            }
        }
        Ok(())
    }

    /// Prints the failures. Returns the number of objects.
    fn finish(self) -> Result<u64, Failure> {
        let Self { progress, past, planned, done, failed, folder_markers, deferred } = self;
        drop(progress);
        if let Some(mut output) = planned {
            output.flush()?;
        }
        report_folder_markers(folder_markers);
        if failed > 0 {
            for failure in deferred {
                failure.report();
            }
            print_line(&format!("{failed} not {past}, {done} {past}"));
            return Err(Failure::silent(ExitStatus::Failed));
        }
        tracing::info!("{done} {past}");
        Ok(done)
    }
}
