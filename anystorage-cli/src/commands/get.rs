//! `get`: an object into a local file.

use std::error::Error as _;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use anystorage::{Error, Key, Object};

use crate::exit::{Exit, Failure};
use crate::location::Location;
use crate::output;
use crate::place::Place;
use crate::places::{Places, Want};
use crate::progress::Progress;

/// Write an object to a local file
///
/// The file is replaced when all has arrived; until then the old one stays. What is no regular
/// file, as a pipe, is written to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The object
    #[arg(value_name = "LOC")]
    location: Location,
    /// A local file; a directory, for a file of the object's name in it; or - for standard output
    #[arg(value_name = "DEST")]
    destination: PathBuf,
}

pub(crate) async fn run(args: Args, places: &mut Places) -> Result<Exit, Failure> {
    let place = places.find(&args.location, Want::Existing)?;
    let key = place.key()?;
    let object = place.storage.open(&key).await.map_err(|error| place.failure(&error))?;
    if args.destination.as_os_str() == "-" {
        output::write_object(&place, object).await?;
    } else {
        let path = file_for(&args.destination, &key)?;
        save(object, &path).await.map_err(|error| failure(&place, &path, &error))?;
    }
    Ok(Exit::Done)
}

/// The file to write: the destination, or one of the object's name in it.
fn file_for(destination: &Path, key: &Key) -> Result<PathBuf, Failure> {
    let ends_in_slash = destination.to_string_lossy().ends_with(std::path::is_separator);
    if !ends_in_slash && !destination.is_dir() {
        return Ok(destination.to_owned());
    }
    // A name that is harmless on one system may lead elsewhere on another, as `a\..\b` does on
    // Windows.
    let mut parts = Path::new(key.name()).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) if name == OsStr::new(key.name()) => {
            Ok(destination.join(name))
        }
        _ => Err(Failure::usage(format!("{key}: not the name of a file here: name the file too"))),
    }
}

fn failure(place: &Place, path: &Path, error: &Error) -> Failure {
    // A pipe with a name is left like one without.
    if is_broken_pipe(error) {
        return Failure::closed();
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
    // As with standard output: whoever reads a pipe or has a terminal there would be disturbed by a
    // bar.
    let wanted = path.metadata().map_or(true, |meta| meta.is_file());
    let progress = Progress::bytes(wanted, Some(object.content_length()));
    progress.object(object).save_to_file(path).await
}
