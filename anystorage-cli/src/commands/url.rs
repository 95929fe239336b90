//! `url`: a link to an object.

use std::time::Duration;

use anystorage::UrlMethod;
use anystorage::config::duration;

use crate::exit::{Exit, Failure, say};
use crate::location::Location;
use crate::output::Output;
use crate::places::{Places, Want};

/// Print a link to an object: the public one, or with --expires a signed one
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long a signed link works: 90s, 15m, 1h 30m
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<Duration>,
    /// What the link is for: GET, HEAD or PUT
    #[arg(long, value_name = "METHOD", default_value = "GET", value_parser = method, hide_default_value = true)]
    method: UrlMethod,
    /// The object
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, places: &mut Places) -> Result<Exit, Failure> {
    let place = places.find(&args.location, Want::Existing)?;
    if args.method == UrlMethod::Put && args.expires.is_none() {
        let message = "a link for PUT has to be a signed one: add --expires, as in --expires 15m";
        return Err(Failure::usage(format!("{place}: {message}")));
    }
    let mut link = place.storage.url(place.key()?).method(args.method);
    if let Some(time) = args.expires {
        link = link.expires_in(time);
    }
    let link = link.await.map_err(|error| place.failure(&error))?;
    let mut output = Output::new();
    output.line(link.as_str())?;
    output.flush()?;
    for (name, value) in &link.headers {
        say(&format!("to be sent along: {name}: {value}"));
    }
    Ok(Exit::Done)
}

fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "write a time as in 90s, 15m or 1h 30m".to_owned())
}

fn method(text: &str) -> Result<UrlMethod, String> {
    let methods = [UrlMethod::Get, UrlMethod::Head, UrlMethod::Put];
    let found = methods.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "write GET, HEAD or PUT".to_owned())
}
