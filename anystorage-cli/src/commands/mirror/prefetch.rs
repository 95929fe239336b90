//! `mirror prefetch`: fills the cache of a mirror ahead of requests.

use std::time::Duration;

use anystorage::{Error, ErrorKind, Key};
use futures_util::StreamExt;
use serde_json::json;

use super::keys::{self, KeyArgs};
use crate::exit::{ExitStatus, Failure, print_line};
use crate::mirror_client::{Client, MirrorArgs, PREFETCH_WAIT};
use crate::output::Output;

/// The maximum number of attempts for a key, a second apart, while the mirror has too many fetches.
const BUSY_ATTEMPTS: usize = 60;
/// The reason of a mirror that has too many fetches.
const BUSY: &str = "busy";

/// Fetch objects from origin into the cache, and wait until they are cached
///
/// Prints how many objects are in the cache, and reports the others with the reason. An object that
/// is fresh in the cache is not fetched again. Objects above max_object_size are never cached.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage mirror prefetch --config mirror.toml episodes/001.mp3
  anystorage mirror prefetch --config mirror.toml --prefix episodes/2024/
  anystorage mirror prefetch --url https://mirror.example.com/ --list keys.txt --concurrency 32")]
pub(super) struct Args {
    #[command(flatten)]
    mirror: MirrorArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// How many objects to fetch at a time
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    concurrency: u16,
    /// Print one line of JSON: available, failed
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<ExitStatus, Failure> {
    let client = Client::new(&args.mirror)?;
    let keys = match &args.keys.prefix {
        Some(prefix) => keys::of_origin(&client, prefix),
        None => args.keys.named().await?,
    };
    let (mut available, mut failed) = (0_u64, 0_u64);
    let results = keys.map(|key| async { prefetch(&client, &key?).await });
    let mut results = results.buffer_unordered(usize::from(args.concurrency));
    while let Some(result) = results.next().await {
        match result {
            Ok(()) => available += 1,
            Err(failure) => {
                failed += 1;
                failure.report();
            }
        }
    }
    let mut output = Output::new();
    match args.json {
        true => output.json(&json!({ "available": available, "failed": failed }))?,
        false => output.line(&format!("{available} available"))?,
    }
    output.flush()?;
    if failed > 0 {
        print_line(&format!("{failed} not available"));
        return Ok(ExitStatus::Failed);
    }
    Ok(ExitStatus::Success)
}

async fn prefetch(client: &Client, key: &Key) -> Result<(), Failure> {
    let mut url = client.route("prefetch", Some(key));
    url.query_pairs_mut().append_pair("wait", &PREFETCH_WAIT.to_string());
    let mut attempts = 0;
    loop {
        let document = client.post(url.clone()).await?;
        if document["available"].as_bool() == Some(true) {
            tracing::info!("available {key}");
            return Ok(());
        }
        // The mirror ends a fetch for which no byte arrives, so this ends, too.
        if document["fetching"].as_bool() == Some(true) {
            continue;
        }
        let reason = document["reason"].as_str().unwrap_or("the mirror states no reason");
        attempts += 1;
        if reason != BUSY || attempts == BUSY_ATTEMPTS {
            let error = Error::new(ErrorKind::Unexpected, format!("not cached: {reason}"));
            return Err(Failure::local(key.as_str(), &error));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
