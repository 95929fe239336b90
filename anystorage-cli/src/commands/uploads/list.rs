//! `uploads list`: prints unfinished multipart uploads.

use anystorage::internal::floor_to_second;
use anystorage::{UnfinishedUpload, format_time};
use futures_util::StreamExt;
use serde_json::json;

use super::{Selection, uploads};
use crate::exit::{ExitStatus, Failure};
use crate::output::Output;
use crate::resolver::Resolver;

/// List unfinished multipart uploads: when each was begun, and its key
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage uploads list media:             all unfinished uploads of a storage
  anystorage uploads list media: videos/     those of keys that begin with videos/
  anystorage uploads list --json media:      with their ids, for a script")]
pub(crate) struct Args {
    /// Print one JSON object on each line: key, id, begun
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    selection: Selection,
}

pub(super) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let place = args.selection.resolve(resolver)?;
    let mut uploads = uploads(&place)?;
    let mut output = Output::new();
    let mut exit = ExitStatus::Success;
    while let Some(upload) = uploads.next().await {
        match upload {
            Ok(upload) if args.json => output.json(&as_json(&upload))?,
            Ok(upload) => {
                output.line(&format!(
                    "{:<20}  {}",
                    begun(&upload).unwrap_or("-".into()),
                    upload.key
                ))?;
            }
            Err(error) => {
                output.flush()?;
                exit = place.failure(&error).report();
            }
        }
    }
    output.flush()?;
    Ok(exit)
}

fn begun(upload: &UnfinishedUpload) -> Option<String> {
    upload.begun.map(|begun| format_time(floor_to_second(begun)))
}

fn as_json(upload: &UnfinishedUpload) -> serde_json::Value {
    json!({ "key": upload.key, "id": upload.id, "begun": begun(upload) })
}
