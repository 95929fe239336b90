//! `stat`: shows the metadata of objects.

use anystorage::{Error, ErrorKind, ObjectMeta};
use futures_util::StreamExt;
use serde_json::Value;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::output::Output;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};
use crate::source::Source;

/// Show size, time, ETag, checksums and metadata of objects
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage stat media:a.png
  anystorage stat --json 'media:2024/*.png' | jq -r .content_type
  anystorage stat -r media:avatars

Patterns are those of cp: see anystorage cp --help. Without --json, an empty line separates objects.
anystorage meta set changes the metadata.")]
pub(crate) struct Args {
    /// Show all objects below a directory
    #[arg(short, long)]
    recursive: bool,
    /// Print one line of JSON for each object
    #[arg(long)]
    json: bool,
    /// The objects or patterns, or with -r the directories: NAME:KEY, URLs or local paths
    #[arg(value_name = "LOC", required = true)]
    locations: Vec<Location>,
}

/// How many objects are looked up at a time.
const CONCURRENCY: usize = 8;

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let mut printer = Printer { output: Output::new(), json: args.json, is_first: true };
    let mut exit = ExitStatus::Success;
    for location in &args.locations {
        let place = resolver.resolve(location, Purpose::Existing)?;
        let Some(source) = Source::many(&place, args.recursive).await? else {
            // The key is checked first, because a wrong one is a wrong command line.
            place.key()?;
            exit = exit.or(printer.print(stat(place).await)?);
            continue;
        };
        let objects = source.objects()?.map(|place| async { stat(place?).await });
        let mut objects = objects.buffered(CONCURRENCY);
        let mut nothing = true;
        while let Some(found) = objects.next().await {
            nothing = false;
            exit = exit.or(printer.print(found)?);
        }
        if nothing && !(args.recursive && place.text.is_empty()) {
            return Err(source.no_match());
        }
    }
    printer.output.flush()?;
    Ok(exit)
}

async fn stat(place: Place) -> Result<Value, Failure> {
    let meta = place.storage.stat(place.key()?).await.map_err(|error| place.failure(&error))?;
    fields(&meta).map_err(|error| place.failure(&error))
}

/// Prints the fields of objects.
struct Printer {
    output: Output,
    json: bool,
    is_first: bool,
}

impl Printer {
    /// Prints the fields of one object, or reports the failure.
    fn print(&mut self, found: Result<Value, Failure>) -> Result<ExitStatus, Failure> {
        let fields = match found {
            Ok(fields) => fields,
            Err(failure) => {
                self.output.flush()?;
                return Ok(failure.report());
            }
        };
        if self.json {
            self.output.json(&fields)?;
        } else {
            if !std::mem::replace(&mut self.is_first, false) {
                self.output.line("")?;
            }
            write_fields(&mut self.output, "", &fields)?;
        }
        Ok(ExitStatus::Success)
    }
}

fn fields(meta: &ObjectMeta) -> anystorage::Result<Value> {
    serde_json::to_value(meta).map_err(|cause| {
        Error::new(ErrorKind::Unexpected, "the metadata cannot be printed as JSON")
            .with_source(cause)
    })
}

/// Writes `name: value` with the names of the JSON form. A dot separates the names of inner tables.
fn write_fields(output: &mut Output, name: &str, value: &Value) -> Result<(), Failure> {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                write_fields(output, &name, value)?;
            }
            Ok(())
        }
        Value::String(text) => output.line(&format!("{name}: {text}")),
        other => output.line(&format!("{name}: {other}")),
    }
}
