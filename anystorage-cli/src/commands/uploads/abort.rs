//! `uploads abort`: aborts multipart uploads that were begun long ago.

use std::time::{Duration, SystemTime};

use anystorage::UnfinishedUpload;
use anystorage::config::duration;
use futures_util::StreamExt;

use super::{Selection, uploads};
use crate::exit::{ExitStatus, Failure, print_line};
use crate::output::Output;
use crate::place::Place;
use crate::resolver::Resolver;

/// Abort multipart uploads that were begun long ago, and delete their parts
///
/// An aborted upload cannot be completed anymore, so the age must exceed the duration of any
/// upload. An upload whose beginning is not known stays. Reports what could not be aborted, and
/// aborts the rest. -v prints each upload.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage uploads abort media:                    those that are older than 7 days
  anystorage uploads abort -n media:                 show which these are
  anystorage uploads abort --older-than 36h media: videos/")]
pub(crate) struct Args {
    /// The age above which an upload is aborted: 36h, 7d, 2w
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = age)]
    older_than: Duration,
    /// Print the location of each upload that would be aborted, and abort nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    selection: Selection,
}

pub(super) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let place = args.selection.resolve(resolver)?;
    let limit = SystemTime::now().checked_sub(args.older_than).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut uploads = uploads(&place)?;
    let mut output = Output::new();
    let (mut aborted, mut failed) = (0_u64, 0_u64);
    while let Some(upload) = uploads.next().await {
        let result = match upload {
            Ok(upload) if upload.begun.is_none_or(|begun| begun >= limit) => continue,
            Ok(upload) if args.dry_run => {
                output.line(&place.with_text(upload.key.as_str()).to_string())?;
                continue;
            }
            Ok(upload) => abort(&place, upload).await,
            Err(error) => Err(place.failure(&error)),
        };
        match result {
            Ok(()) => aborted += 1,
            Err(failure) => {
                output.flush()?;
                failed += 1;
                failure.report();
            }
        }
    }
    output.flush()?;
    if failed > 0 {
        if !args.dry_run {
            print_line(&format!("{failed} not aborted, {aborted} aborted"));
        }
        return Ok(ExitStatus::Failed);
    }
    tracing::info!("{aborted} aborted");
    Ok(ExitStatus::Success)
}

async fn abort(place: &Place, upload: UnfinishedUpload) -> Result<(), Failure> {
    let at = place.with_text(upload.key.as_str());
    let failure = |error| at.failure(&error);
    let upload = place.storage.resume_multipart(upload.key, upload.id).map_err(failure)?;
    upload.abort().await.map_err(failure)?;
    tracing::info!("aborted the upload of {at}");
    Ok(())
}

fn age(text: &str) -> Result<Duration, String> {
    // `7` would mean seconds, and abort what is being uploaded.
    let has_unit = text.bytes().any(|byte| byte.is_ascii_alphabetic());
    let age = duration::parse(text).filter(|_| has_unit);
    age.ok_or_else(|| "write a time with its unit, as in 90m, 36h or 7d".to_owned())
}
