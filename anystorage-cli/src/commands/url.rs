//! `url`: prints a link to an object, or a form to upload one.

use std::ops::RangeInclusive;
use std::time::Duration;

use anystorage::config::duration;
use anystorage::{Link, UrlBuilder, UrlMethod, format_time};
use serde_json::json;

use crate::exit::{ExitStatus, Failure, print_line};
use crate::location::Location;
use crate::output::Output;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};

/// Print a link to an object: a public one, or with --expires a signed one
///
/// With --method POST, prints the URL of a form and then its fields, one on each line. Send them in
/// this order, before the file: `curl -F NAME=VALUE ... -F file=@photo.png URL`. If the location
/// ends in a slash, the upload may have any name below it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage url media:a.png                            the public link
  anystorage url --expires 15m media:private/a.pdf      a signed link
  curl -T a.png $(anystorage url --method PUT --expires 5m media:a.png)
  anystorage url --method POST --expires 1h --content-type 'image/*' --content-length 1-2000000 \
media:uploads/")]
pub(crate) struct Args {
    /// How long a signed link is valid: 90s, 15m, 1h 30m
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<Duration>,
    /// Print the same link for this time, so that caches can store its content; the link is valid
    /// for up to this time longer
    #[arg(long, value_name = "TIME", value_parser = time, requires = "expires")]
    stable_for: Option<Duration>,
    /// Method of the link: GET, HEAD, PUT or POST; defaults to GET
    #[arg(
        long,
        value_name = "METHOD",
        default_value = "GET",
        value_parser = method,
        hide_default_value = true
    )]
    method: UrlMethod,
    /// The Content-Type that an upload must have; for POST also a pattern such as image/*
    #[arg(long, value_name = "T")]
    content_type: Option<String>,
    /// The size that an upload must have, in bytes; for POST also a range A-B
    #[arg(long, value_name = "N", value_parser = length)]
    content_length: Option<RangeInclusive<u64>>,
    /// Print one line of JSON: url, method, expires_at, headers, fields
    #[arg(long)]
    json: bool,
    /// The object: NAME:KEY, a URL or a local path
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let place = resolver.resolve(&args.location, Purpose::Existing)?;
    let link = build_link(&args, &place)?.await.map_err(|error| place.failure(&error))?;
    let mut output = Output::new();
    if args.json {
        output.json(&as_json(&link))?;
    } else {
        output.line(link.as_str())?;
        for (name, value) in &link.fields {
            output.line(&format!("{name}={value}"))?;
        }
    }
    output.flush()?;
    if !args.json {
        for (name, value) in &link.headers {
            print_line(&format!("send this header with the request: {name}: {value}"));
        }
    }
    Ok(ExitStatus::Success)
}

fn build_link(args: &Args, place: &Place) -> Result<UrlBuilder, Failure> {
    let method = args.method;
    if matches!(method, UrlMethod::Put | UrlMethod::Post) && args.expires.is_none() {
        let method = method.as_str();
        let message =
            format!("a link for {method} has to be signed: add --expires, as in --expires 15m");
        return Err(Failure::usage(format!("{place}: {message}")));
    }
    let directory = place.text.strip_suffix('/').filter(|_| method == UrlMethod::Post);
    let mut link = match directory {
        Some(directory) => place.storage.url(place.with_text(directory).key()?).any_name(),
        None => place.storage.url(place.key()?),
    };
    link = link.method(method);
    if let Some(time) = args.expires {
        link = link.expires_in(time);
    }
    if let Some(window) = args.stable_for {
        link = link.stable_for(window);
    }
    if let Some(content_type) = &args.content_type {
        link = link.content_type(content_type);
    }
    match &args.content_length {
        None => Ok(link),
        Some(range) if method == UrlMethod::Post => Ok(link.content_length_range(range.clone())),
        Some(range) if range.start() == range.end() => Ok(link.content_length(*range.start())),
        Some(_) => {
            Err(Failure::usage(format!("{place}: a range of lengths is only possible for POST")))
        }
    }
}

fn as_json(link: &Link) -> serde_json::Value {
    let headers: serde_json::Map<_, _> =
        link.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "url": link.as_str(),
        "method": link.method.as_str(),
        "expires_at": link.expires_at.map(format_time),
        "headers": headers,
        "fields": link.fields,
    })
}

fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "write a time as in 90s, 15m or 1h 30m".to_owned())
}

fn method(text: &str) -> Result<UrlMethod, String> {
    let methods = [UrlMethod::Get, UrlMethod::Head, UrlMethod::Put, UrlMethod::Post];
    let found = methods.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "write GET, HEAD, PUT or POST".to_owned())
}

fn length(text: &str) -> Result<RangeInclusive<u64>, String> {
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let range = match text.split_once('-') {
        Some((from, to)) => number(from).zip(number(to)),
        None => number(text).map(|exact| (exact, exact)),
    };
    let range = range.filter(|(from, to)| from <= to).map(|(from, to)| from..=to);
    range
        .ok_or_else(|| "write a number of bytes, as in 5000000, or A-B, as in 1-5000000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_a_number_or_a_range() {
        assert_eq!(length("5").unwrap(), 5..=5);
        assert_eq!(length("0-5000000").unwrap(), 0..=5_000_000);
        for bad in
            ["", "-", "-5", "5-", "9-3", "+5", "1-2-3", "1 - 2", "5MB", "18446744073709551616"]
        {
            assert!(length(bad).is_err(), "{bad}");
        }
    }
}
