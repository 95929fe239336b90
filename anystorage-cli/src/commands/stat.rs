//! `stat`: shows the metadata of an object.

use anystorage::{Error, ErrorKind, ObjectMeta};
use serde_json::Value;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::output::Output;
use crate::resolver::{Purpose, Resolver};

/// Show size, time, ETag, checksums and metadata of an object
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// The object: NAME:KEY, a URL or a local path
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let place = resolver.resolve(&args.location, Purpose::Existing)?;
    let meta = place.storage.stat(place.key()?).await.map_err(|error| place.failure(&error))?;
    let fields = fields(&meta).map_err(|error| place.failure(&error))?;
    let mut output = Output::new();
    if args.json {
        output.json(&fields)?;
    } else {
        write_fields(&mut output, "", &fields)?;
    }
    output.flush()?;
    Ok(ExitStatus::Success)
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
