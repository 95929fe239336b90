//! `cat`: writes objects to standard output.

use anystorage::{ByteRange, Entry};
use futures_util::StreamExt;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::output;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};
use crate::source::Source;

/// Write an object to standard output, or all objects that a pattern matches
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage cat media:notes.txt                write an object
  anystorage cat --range 0-99 media:notes.txt   write its first 100 bytes
  anystorage cat 'logs:2024-05-*.log' | grep 500

Patterns are those of cp: see anystorage cp --help. The first failure ends the command.")]
pub(crate) struct Args {
    /// Write only these bytes, counted from 0 as in HTTP: 0-99 are the first hundred, 100- the
    /// rest, -100 the last hundred
    #[arg(long, value_name = "A-B", value_parser = range, allow_hyphen_values = true)]
    range: Option<ByteRange>,
    /// The object: NAME:KEY, a URL or a local path; or a pattern
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let place = resolver.resolve(&args.location, Purpose::Existing)?;
    let Some(source) = Source::pattern(&place, false).await? else {
        write(&place, args.range).await?;
        return Ok(ExitStatus::Success);
    };
    let (mut entries, mut nothing) = (source.entries()?, true);
    while let Some(entry) = entries.next().await {
        let entry = entry.map_err(|error| source.directory.entry_failure(&error))?;
        if let Entry::Object(object) = entry {
            nothing = false;
            write(&source.directory.with_text(object.key.as_str()), args.range).await?;
        }
    }
    if nothing { Err(source.no_match()) } else { Ok(ExitStatus::Success) }
}

async fn write(place: &Place, range: Option<ByteRange>) -> Result<(), Failure> {
    let mut open = place.storage.open(place.key()?);
    if let Some(range) = range {
        open = open.range(range);
    }
    let object = open.await.map_err(|error| place.failure(&error))?;
    output::write_object(place, object).await
}

fn range(text: &str) -> Result<ByteRange, String> {
    let bad = || "write A-B, A- or -N, with positions counted from 0 and A at most B".to_owned();
    let number = |text: &str| {
        // `parse` would accept `+5`.
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten().ok_or_else(bad)
    };
    let (from, to) = text.split_once('-').ok_or_else(bad)?;
    let range = match (from, to) {
        ("", last) => ByteRange::last(number(last)?),
        (from, "") => ByteRange::from(number(from)?..),
        (from, to) => ByteRange::from(number(from)?..=number(to)?),
    };
    range.validated().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_the_syntax_of_http() {
        assert_eq!(range("0-99").unwrap(), ByteRange::FromTo(0, 100));
        assert_eq!(range("7-7").unwrap(), ByteRange::FromTo(7, 8));
        assert_eq!(range("100-").unwrap(), ByteRange::From(100));
        assert_eq!(range("-100").unwrap(), ByteRange::Last(100));
        assert_eq!(range("0-18446744073709551615").unwrap(), ByteRange::FromTo(0, u64::MAX));
        for bad in [
            "",
            "-",
            "5",
            "a-b",
            "9-3",
            "-0",
            "+1-2",
            "1-2-3",
            "1 - 2",
            "0-18446744073709551616",
            "0-9,20-29",
        ] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
