//! `get`: writes an object to a local file.

use std::error::Error as _;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use anystorage::{Error, Key, Object};

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::output;
use crate::place::Place;
use crate::progress::Progress;
use crate::resolver::{Purpose, Resolver};

/// Write an object to a local file
///
/// An existing file is replaced once the object is complete. A pipe or another special file is
/// written to directly.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The object: NAME:KEY, a URL or a local path
    #[arg(value_name = "LOC")]
    location: Location,
    /// A local file; a directory, which gets a file with the object's name; or - for standard
    /// output
    #[arg(value_name = "DEST")]
    destination: PathBuf,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let place = resolver.resolve(&args.location, Purpose::Existing)?;
    let key = place.key()?;
    let object = place.storage.open(&key).await.map_err(|error| place.failure(&error))?;
    if args.destination.as_os_str() == "-" {
        output::write_object(&place, object).await?;
    } else {
        let path = file_for(&args.destination, &key)?;
        save(object, &path).await.map_err(|error| failure(&place, &path, &error))?;
    }
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
