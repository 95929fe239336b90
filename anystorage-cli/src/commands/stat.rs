//! `stat`: all that is known of an object.

use anystorage::{Error, ErrorKind, ObjectMeta};
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::location::Location;
use crate::output::Output;
use crate::places::{Places, Want};

/// Show all that is known of an object
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print it as one line of JSON
    #[arg(long)]
    json: bool,
    /// The object
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, places: &mut Places) -> Result<Exit, Failure> {
    let place = places.find(&args.location, Want::Existing)?;
    let meta = place.storage.stat(place.key()?).await.map_err(|error| place.failure(&error))?;
    let fields = fields(&meta).map_err(|error| place.failure(&error))?;
    let mut output = Output::new();
    if args.json {
        output.json(&fields)?;
    } else {
        write_fields(&mut output, "", &fields)?;
    }
    output.flush()?;
    Ok(Exit::Done)
}

fn fields(meta: &ObjectMeta) -> anystorage::Result<Value> {
    serde_json::to_value(meta)
        .map_err(|cause| Error::new(ErrorKind::Unexpected, "cannot be shown").with_source(cause))
}

/// `name: value`, with the names of the JSON form; those of inner tables behind a dot.
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
