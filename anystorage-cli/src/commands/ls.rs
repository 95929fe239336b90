//! `ls`: lists the entries of a storage, one on each line.

use anystorage::internal::floor_to_second;
use anystorage::{Entry, Error, ErrorKind, ObjectEntry, format_time};

use crate::copy::report_folder_markers;
use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::output::Output;
use crate::resolver::{Purpose, Resolver};

/// List keys in byte order, one level or all
///
/// Directories end in a slash. The location is a literal prefix, as on S3: `ls media:avatars/a`
/// finds `avatars/ada.png`, and `ls media:avatars/` lists the directory. A local directory is
/// listed with or without a slash at the end. A local path that does not exist is an error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List all levels
    #[arg(short, long)]
    recursive: bool,
    /// Show the size in bytes and the time of the last change, too
    #[arg(short, long)]
    long: bool,
    /// Print one JSON object on each line: key, size, etag, last_modified; or prefix
    #[arg(long)]
    json: bool,
    /// A storage or a prefix of keys in it: NAME:PREFIX, a URL or a local path
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let place = resolver.resolve(&args.location, Purpose::Existing)?;
    let mut list = place.storage.list(place.prefix()?);
    if !args.recursive {
        list = list.delimiter("/");
    }
    let mut entries = list.entries();
    let mut output = Output::new();
    let mut exit = ExitStatus::Success;
    let mut nothing = true;
    while let Some(entry) = entries.next().await {
        nothing = false;
        match entry {
            Ok(entry) if args.json => output.json(&json(&entry))?,
            Ok(entry) => output.line(&line(&entry, &args))?,
            // After an invalid name or an unreadable directory the listing continues. After other
            // errors the stream ends.
            Err(error) => {
                output.flush()?;
                exit = place.entry_failure(&error).report();
            }
        }
    }
    output.flush()?;
    if args.recursive {
        report_folder_markers(entries.folder_markers());
    }
    // A prefix without keys is a valid result, but a local path that does not exist is a mistake.
    if nothing && place.local && !place.text.is_empty() {
        return Err(
            place.failure(&Error::new(ErrorKind::NotFound, "no regular file or directory here"))
        );
    }
    Ok(exit)
}

fn json(entry: &Entry) -> serde_json::Value {
    match entry {
        Entry::Object(object) => serde_json::json!(object),
        other => serde_json::json!({ "prefix": other.name() }),
    }
}

fn line(entry: &Entry, args: &Args) -> String {
    match entry {
        Entry::Object(object) if args.long => {
            long(&object.size.to_string(), &time(object), object.key.as_str())
        }
        other if args.long => long("-", "-", other.name()),
        other => other.name().to_owned(),
    }
}

fn long(size: &str, time: &str, name: &str) -> String {
    format!("{size:>14}  {time:<20}  {name}")
}

/// Returns the time in whole seconds, so that all lines have the same length. Rounds down, also
/// before 1970.
fn time(object: &ObjectEntry) -> String {
    object.last_modified.map_or_else(|| "-".to_owned(), |time| format_time(floor_to_second(time)))
}
