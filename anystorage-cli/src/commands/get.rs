//! `get`: writes an object to a local file, or many objects below a local directory.

use std::error::Error as _;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use anystorage::{Error, Key, Object};

use crate::commands::cp::transfer_many;
use crate::compare::is_file;
use crate::exit::{ExitStatus, Failure};
use crate::links::LinkPolicy;
use crate::location::Location;
use crate::moves::refuse_changed;
use crate::output;
use crate::place::Place;
use crate::progress::Progress;
use crate::resolver::{Purpose, Resolver};
use crate::transfer::{Action, ManyArgs, NewObject, TransferOptions};

/// Write an object to a local file, or with -r a directory to a local one
///
/// An existing file is replaced once the object is complete. A pipe or another special file is
/// written to directly.
///
/// With -r or a pattern, each object becomes a file below the directory DEST, and its metadata is
/// left out: `anystorage cp -r` keeps it. Nothing is written outside DEST: symlinks in it are not
/// followed. Reports every object that could not be written, and writes the rest.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage get media:a.png                    write ./a.png
  anystorage get media:a.png - | md5sum         write to standard output
  anystorage get -r media:avatars               write all objects below avatars/ to .
  anystorage get -r media:avatars ./pictures    write them to a directory
  anystorage get 'media:2024/*.png' pictures    write what a pattern matches

Patterns are those of cp: see anystorage cp --help.")]
pub(crate) struct Args {
    /// Write all objects below a directory
    #[arg(short, long)]
    recursive: bool,
    /// With -r from a local directory: skip symlinks and special files without an error
    #[arg(long, requires = "recursive")]
    skip_links: bool,
    #[command(flatten)]
    many: ManyArgs,
    /// The object: NAME:KEY, a URL or a local path; a pattern, or with -r a directory
    #[arg(value_name = "LOC")]
    location: Location,
    /// A local file; a directory, which gets a file with the object's name; or - for standard
    /// output
    #[arg(value_name = "DEST", default_value = ".")]
    destination: PathBuf,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let place = resolver.resolve(&args.location, Purpose::Existing)?;
    let to_standard_output = args.destination.as_os_str() == "-";
    if to_standard_output && args.recursive {
        return Err(Failure::usage("-r writes many files: name a local directory other than -"));
    }
    if to_standard_output {
        let key = place.key()?;
        if args.many.dry_run {
            output::print(&format!("{place} -> -"))?;
            return Ok(ExitStatus::Success);
        }
        let object = place.storage.open(key).await.map_err(|error| place.failure(&error))?;
        output::write_object(&place, object).await?;
        return Ok(ExitStatus::Success);
    }
    let new = NewObject { is_local_file: true, ..NewObject::default() };
    let options = TransferOptions {
        action: Action::Save(&new),
        links: if args.skip_links { LinkPolicy::Skip } else { LinkPolicy::Keep },
        many: &args.many,
    };
    let to = Location::Path(args.destination.clone());
    if transfer_many(resolver, &place, &to, args.recursive, &options).await? {
        return Ok(ExitStatus::Success);
    }
    let key = place.key()?;
    let object = place.storage.open(&key).await.map_err(|error| place.failure(&error))?;
    let path = file_for(&args.destination, &key)?;
    if args.many.dry_run {
        output::print(&format!("{place} -> {}", path.display()))?;
        return Ok(ExitStatus::Success);
    }
    let opened = object.meta().clone();
    let is_onto_itself = is_file(&place, &path);
    let saved = async {
        save(object, &path).await?;
        match is_onto_itself {
            true => Ok(()),
            false => refuse_changed((&place.storage, &key), &opened).await,
        }
    };
    saved.await.map_err(|error| failure(&place, &path, &error))?;
    tracing::info!("saved {place} -> {}", path.display());
    Ok(ExitStatus::Success)
}

/// Returns the file to write: the destination, or a file with the object's name in it.
fn file_for(destination: &Path, key: &Key) -> Result<PathBuf, Failure> {
    let ends_in_slash = destination.to_string_lossy().ends_with(std::path::is_separator);
    if !ends_in_slash && !destination.is_dir() {
        return Ok(destination.to_owned());
    }
    // A name that is valid on one system may be a path on another, such as `a\..\b` on Windows.
    let mut parts = Path::new(key.name()).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) if name == OsStr::new(key.name()) => {
            Ok(destination.join(name))
        }
        _ => Err(Failure::usage(format!(
            "{key}: not a valid file name on this system: name the file, too"
        ))),
    }
}

fn failure(place: &Place, path: &Path, error: &Error) -> Failure {
    // A named pipe without a reader ends the command quietly, as standard output does.
    if is_broken_pipe(error) {
        return Failure::output_closed();
    }
    Failure::at(&format!("{place} -> {}", path.display()), error)
}

fn is_broken_pipe(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

async fn save(object: Object, path: &Path) -> anystorage::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).map_err(Error::from)?;
    }
    // As on standard output, a bar would disturb the reader of a pipe or a terminal.
    let show_bar = path.metadata().map_or(true, |meta| meta.is_file());
    let progress = Progress::bytes(show_bar, Some(object.content_length()));
    progress.count_object(object).save_to_file(path).await
}
