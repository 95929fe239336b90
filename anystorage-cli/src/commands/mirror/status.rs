//! `mirror status` and `mirror top`: the state of a mirror, and its most requested objects.

use serde_json::Value;

use crate::exit::{ExitStatus, Failure};
use crate::mirror_client::{Client, MirrorArgs};
use crate::output::Output;
use crate::sizes;

/// Show the state of a mirror: hit rate, size of the cache, fetches
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage mirror status --config mirror.toml
  anystorage mirror status --url https://mirror.example.com/ --json | jq .hit_rate")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    mirror: MirrorArgs,
    /// Print the whole document of the mirror as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Show the most requested objects of today, or without analytics since the start
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage mirror top --config mirror.toml -n 5

The columns are the number of requests, the bytes that the cache and origin supplied today, or
without analytics the size of the object, and the key. mirror --export writes tables of other days.")]
pub(super) struct TopArgs {
    #[command(flatten)]
    mirror: MirrorArgs,
    /// How many objects to show, at most 20
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    number: usize,
    /// Print one JSON object on each line
    #[arg(long)]
    json: bool,
}

pub(super) async fn status(args: &StatusArgs) -> Result<ExitStatus, Failure> {
    let client = Client::new(&args.mirror)?;
    let document = client.get(client.route("status", None)).await?;
    let mut output = Output::new();
    if args.json {
        output.json(&document)?;
    } else {
        for (name, value) in summary(&document) {
            output.line(&format!("{:<22} {value}", format!("{name}:")))?;
        }
    }
    output.flush()?;
    Ok(ExitStatus::Success)
}

/// Returns the most important figures. Leaves out those that the mirror does not report.
fn summary(document: &Value) -> Vec<(&'static str, String)> {
    let number = |name: &str| document[name].as_u64();
    let bytes = |name: &str| number(name).map(sizes::human);
    let percent = |name: &str| document[name].as_f64().map(|rate| format!("{:.1} %", 100.0 * rate));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let cache = bytes("bytes").zip(bytes("max_size"));
    let rows = [
        ("version", text(&document["version"])),
        ("origin", text(&document["origin"]["location"])),
        ("uptime", number("uptime_seconds").map(uptime)),
        ("hit rate", percent("hit_rate")),
        ("hit rate by bytes", percent("byte_hit_rate")),
        ("cache", cache.map(|(used, max)| format!("{used} of {max}"))),
        ("objects", number("objects").map(|count| count.to_string())),
        ("running fetches", number("in_flight").map(|count| count.to_string())),
        ("fetched from origin", bytes("origin_bytes_total")),
        ("failures of origin", number("failed_total").map(|count| count.to_string())),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn uptime(seconds: u64) -> String {
    format!("{} d {} h {} min", seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60)
}

pub(super) async fn top(args: &TopArgs) -> Result<ExitStatus, Failure> {
    let client = Client::new(&args.mirror)?;
    let document = client.get(client.route("status", None)).await?;
    let today = document["today"]["top"].as_array();
    let rows = today.or_else(|| document["top"].as_array());
    let mut output = Output::new();
    for row in rows.into_iter().flatten().take(args.number) {
        match args.json {
            true => output.json(row)?,
            false => output.line(&line(row))?,
        }
    }
    output.flush()?;
    Ok(ExitStatus::Success)
}

fn line(row: &Value) -> String {
    let requests = row["requests"].as_u64().unwrap_or_default();
    let bytes = |name: &str| row[name].as_u64().map(sizes::human);
    let sizes = match bytes("bytes_hit").zip(bytes("bytes_miss")) {
        Some((hit, miss)) => format!("{hit:>10}  {miss:>10}"),
        None => format!("{:>10}", bytes("size").unwrap_or_default()),
    };
    format!("{requests:>8}  {sizes}  {}", row["key"].as_str().unwrap_or_default())
}
