//! `ls`: what is there, one entry a line.

use anystorage::internal::floor_to_second;
use anystorage::{Entry, Error, ErrorKind, ObjectEntry, format_time};

use crate::copy::say_folder_markers;
use crate::exit::{Exit, Failure};
use crate::location::Location;
use crate::output::Output;
use crate::places::{Places, Want};

/// List keys in byte order, one level or all
///
/// Directories end in a slash. A key is a literal beginning, as on S3: `ls media:avatars/a` finds
/// `avatars/ada.png`; write `media:avatars/` for what is inside. A local path that is a directory
/// lists what is inside; one that leads to nothing is an error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List all levels
    #[arg(short, long)]
    recursive: bool,
    /// Show size and time of the last change too
    #[arg(short, long)]
    long: bool,
    /// Print one JSON object a line: key, size, etag, last_modified; or prefix
    #[arg(long)]
    json: bool,
    /// A storage or the beginning of keys in it
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, places: &mut Places) -> Result<Exit, Failure> {
    let place = places.find(&args.location, Want::Existing)?;
    let mut list = place.storage.list(place.prefix()?);
    if !args.recursive {
        list = list.delimiter("/");
    }
    let mut entries = list.entries();
    let mut output = Output::new();
    let mut exit = Exit::Done;
    let mut nothing = true;
    while let Some(entry) = entries.next().await {
        nothing = false;
        match entry {
            Ok(entry) if args.json => output.json(&json(&entry))?,
            Ok(entry) => output.line(&line(&entry, &args))?,
            // An odd name or an unreadable directory does not end the listing; after other errors
            // the stream ends.
            Err(error) => {
                output.flush()?;
                exit = place.entry_failure(&error).tell();
            }
        }
    }
    output.flush()?;
    if args.recursive {
        say_folder_markers(entries.folder_markers());
    }
    // That no key begins with this is an answer; a path that leads nowhere is a mistake.
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

/// In whole seconds, so that all lines are equally long; the second in which it was, also
/// before 1970.
fn time(object: &ObjectEntry) -> String {
    object.last_modified.map_or_else(|| "-".to_owned(), |time| format_time(floor_to_second(time)))
}
