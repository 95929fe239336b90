//! `mirror purge`: removes objects from the cache of a mirror.

use anystorage::Key;
use futures_util::StreamExt;
use serde_json::json;

use super::keys::KeyArgs;
use crate::exit::{ExitStatus, Failure, print_line};
use crate::mirror_client::{Client, MirrorArgs};
use crate::output::Output;

/// How many requests are sent at a time.
const CONCURRENCY: usize = 8;

/// Remove objects from the cache, so that the mirror fetches them again
///
/// Prints how many objects were in the cache. A key that is not cached is not an error.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage mirror purge --config mirror.toml episodes/001.mp3
  anystorage mirror purge --config mirror.toml --prefix episodes/
  git diff --name-only v1 v2 | anystorage mirror purge --url https://mirror.example.com/ --list -")]
pub(super) struct Args {
    #[command(flatten)]
    mirror: MirrorArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// Print one line of JSON: purged
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<ExitStatus, Failure> {
    let client = Client::new(&args.mirror)?;
    let (purged, failed) = match &args.keys.prefix {
        Some(prefix) => {
            let mut url = client.route("purge", None);
            url.query_pairs_mut().append_pair("prefix", prefix);
            (client.post(url).await?["purged"].as_u64().unwrap_or_default(), 0)
        }
        None => purge_keys(&client, &args.keys).await?,
    };
    let mut output = Output::new();
    match args.json {
        true => output.json(&json!({ "purged": purged }))?,
        false => output.line(&format!("{purged} purged"))?,
    }
    output.flush()?;
    if failed > 0 {
        print_line(&format!("{failed} not purged"));
        return Ok(ExitStatus::Failed);
    }
    Ok(ExitStatus::Success)
}

async fn purge_keys(client: &Client, keys: &KeyArgs) -> Result<(u64, u64), Failure> {
    let (mut purged, mut failed) = (0, 0);
    let results = keys.named().await?.map(|key| async { purge_key(client, &key?).await });
    let mut results = results.buffer_unordered(CONCURRENCY);
    while let Some(result) = results.next().await {
        match result {
            Ok(count) => purged += count,
            Err(failure) => {
                failed += 1;
                failure.report();
            }
        }
    }
    Ok((purged, failed))
}

async fn purge_key(client: &Client, key: &Key) -> Result<u64, Failure> {
    let document = client.post(client.route("purge", Some(key))).await?;
    tracing::info!("purged {key}");
    Ok(document["purged"].as_u64().unwrap_or_default())
}
