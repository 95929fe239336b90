//! `ls`: lists the entries of a storage, one on each line.

use anystorage::internal::floor_to_second;
use anystorage::{Entry, Error, ErrorKind, ObjectEntry, Result as StorageResult, format_time};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, future};
use serde_json::json;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::output::Output;
use crate::pattern::Pattern;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};
use crate::sizes;
use crate::transfer::report_folder_markers;

/// List keys in byte order, one level or all
///
/// Directories end in a slash. The location is a prefix, as on S3: `ls media:avatars/a` finds
/// `avatars/ada.png`, and `ls media:avatars/` lists the directory. A local directory is listed with
/// or without a slash at the end. A local path that does not exist is an error, and so is a pattern
/// that matches nothing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage ls media:                      list one level of a storage
  anystorage ls -lH media:avatars/          list a directory with sizes and times
  anystorage ls -r --total media:           list all keys, and then their number and size
  anystorage ls 'media:2024/*.png'          list what a pattern matches
  anystorage ls -r --json media: | jq ...   one JSON object on each line

Patterns are those of cp: see anystorage cp --help. Without -r they also match directories of the
last level. If keys begin with exactly this text, those are listed instead.")]
pub(crate) struct Args {
    /// List all levels; with a pattern also the contents of matching directories
    #[arg(short, long)]
    recursive: bool,
    /// Show the size in bytes and the time of the last change, too
    #[arg(short, long)]
    long: bool,
    /// Show sizes as 1.5 KiB, 20.0 MiB; implies --long
    #[arg(short = 'H', long, conflicts_with = "json")]
    human: bool,
    /// Print the number and the size of all listed objects at the end
    #[arg(long, visible_alias = "summarize")]
    total: bool,
    /// Print one JSON object on each line: key, size, etag, last_modified; or prefix; at the end
    /// with --total: objects, prefixes, bytes
    #[arg(long)]
    json: bool,
    /// A storage or a prefix of keys in it: NAME:PREFIX, a URL or a local path; or a pattern
    #[arg(value_name = "LOC")]
    location: Location,
}

/// The sum of a listing.
#[derive(Debug, Default)]
struct Total {
    objects: u64,
    prefixes: u64,
    bytes: u64,
}

impl Total {
    fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Object(object) => {
                self.objects += 1;
                self.bytes = self.bytes.saturating_add(object.size);
            }
            _ => self.prefixes += 1,
        }
    }

    fn write(&self, output: &mut Output, args: &Args) -> Result<(), Failure> {
        let Self { objects, prefixes, bytes } = self;
        if args.json {
            return output.json(&json!({
                "objects": objects, "prefixes": prefixes, "bytes": bytes
            }));
        }
        let directories = match prefixes {
            0 => String::new(),
            _ => format!("{prefixes} directories, "),
        };
        let size = if args.human { sizes::human(*bytes) } else { format!("{bytes} bytes") };
        output.line(&format!("total: {directories}{objects} objects, {size}"))
    }
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let place = resolver.resolve(&args.location, Purpose::Existing)?;
    let (mut entries, is_pattern) = entries(&place, args.recursive).await?;
    let mut output = Output::new();
    let mut exit = ExitStatus::Success;
    let (mut total, mut folder_markers, mut nothing) = (Total::default(), 0, true);
    while let Some(entry) = entries.next().await {
        if matches!(entry, Ok(Entry::FolderMarker(_))) {
            folder_markers += 1;
            continue;
        }
        nothing = false;
        match entry {
            Ok(entry) => {
                total.add(&entry);
                match args.json {
                    true => output.json(&json(&entry))?,
                    false => output.line(&line(&entry, &args))?,
                }
            }
            // After an invalid name or an unreadable directory the listing continues. After other
            // errors the stream ends.
            Err(error) => {
                output.flush()?;
                exit = place.entry_failure(&error).report();
            }
        }
    }
    // A prefix without keys is a valid result, but a local path that does not exist is a mistake.
    if nothing && (is_pattern || (place.local && !place.text.is_empty())) {
        let message = match is_pattern {
            true => "no key matches this pattern",
            false => "no regular file or directory here",
        };
        return Err(place.failure(&Error::new(ErrorKind::NotFound, message)));
    }
    if args.total {
        total.write(&mut output, &args)?;
    }
    output.flush()?;
    if args.recursive {
        report_folder_markers(folder_markers);
    }
    Ok(exit)
}

type Entries = BoxStream<'static, StorageResult<Entry>>;

/// Lists the keys that begin with the text of a place. If there are none and the text is a pattern,
/// lists those that match it. Also returns whether that is the case.
async fn entries(place: &Place, recursive: bool) -> Result<(Entries, bool), Failure> {
    if !Pattern::is_pattern(&place.text) {
        return Ok((list(place, recursive)?, false));
    }
    // A prefix may be too long for a key, or contain what no key contains, and still be a pattern.
    if place.prefix().is_ok() {
        let mut literal = list(place, recursive)?;
        if let Some(first) = literal.next().await {
            return Ok((futures_util::stream::iter([first]).chain(literal).boxed(), false));
        }
    }
    let pattern = Pattern::new(&place.text, recursive)
        .map_err(|reason| Failure::usage(format!("{place}: not a valid pattern: {reason}")))?;
    let listed = list(&place.with_text(pattern.prefix()), !pattern.is_one_level())?;
    let matching = move |entry: &StorageResult<Entry>| match entry {
        Ok(entry) => pattern.matches(entry.name()),
        Err(error) if error.kind() == ErrorKind::InvalidKey => {
            error.key().is_none_or(|key| pattern.matches(key))
        }
        Err(_) => true,
    };
    Ok((listed.filter(move |entry| future::ready(matching(entry))).boxed(), true))
}

fn list(place: &Place, recursive: bool) -> Result<Entries, Failure> {
    let mut list = place.storage.list(place.prefix()?);
    if recursive {
        list = list.with_folder_markers();
    } else {
        list = list.delimiter("/");
    }
    Ok(list.entries().boxed())
}

fn json(entry: &Entry) -> serde_json::Value {
    match entry {
        Entry::Object(object) => json!(object),
        other => json!({ "prefix": other.name() }),
    }
}

fn line(entry: &Entry, args: &Args) -> String {
    let is_long = args.long || args.human;
    match entry {
        Entry::Object(object) if is_long => {
            let size = match args.human {
                true => sizes::human(object.size),
                false => object.size.to_string(),
            };
            long(&size, &time(object), object.key.as_str())
        }
        other if is_long => long("-", "-", other.name()),
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
