//! `releases`: shows the releases of a published website.

use anystorage::format_time;
use anystorage::publish::{self, Releases};
use serde_json::json;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::output::Output;
use crate::publishing;
use crate::resolver::Resolver;

/// Show the releases of a published website
///
/// Prints a line for each release: its id, and since when it is current or until when it was. More
/// lines name a release whose pages are being written, and a publisher that is at work.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The directory that was published to
    #[arg(value_name = "DEST")]
    destination: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let (place, destination) = publishing::destination(resolver, &args.destination)?;
    let found = publish::releases(&destination).await;
    let found = found.map_err(|error| publishing::failure(&place, &error))?;
    let mut output = Output::new();
    match args.json {
        true => write_json(&mut output, &found)?,
        false => write(&mut output, &found)?,
    }
    output.flush()?;
    Ok(ExitStatus::Success)
}

fn write(output: &mut Output, found: &Releases) -> Result<(), Failure> {
    if let Some(current) = &found.current {
        let since = format_time(current.since);
        output.line(&format!("{}  current since {since}", current.release))?;
    }
    for previous in &found.previous {
        let ended = format_time(previous.ended);
        let what = if previous.abandoned { "was not completed at" } else { "until" };
        output.line(&format!("{}  {what} {ended}", previous.release))?;
    }
    if let Some(switching) = &found.switching {
        output.line(&format!("{switching}  its pages are being written, or were in part"))?;
    }
    if let Some(claim) = &found.claim {
        let expires = format_time(claim.expires);
        output.line(&format!("claimed by {} until {expires}", claim.publisher))?;
    }
    Ok(())
}

fn write_json(output: &mut Output, found: &Releases) -> Result<(), Failure> {
    let previous: Vec<_> = found
        .previous
        .iter()
        .map(|previous| {
            json!({
                "release": previous.release,
                "ended": format_time(previous.ended),
                "abandoned": previous.abandoned,
            })
        })
        .collect();
    output.json(&json!({
        "current": found.current.as_ref().map(|current| {
            json!({ "release": current.release, "since": format_time(current.since) })
        }),
        "previous": previous,
        "switching": found.switching,
        "claim": found.claim.as_ref().map(|claim| {
            json!({ "publisher": claim.publisher, "expires": format_time(claim.expires) })
        }),
    }))
}
