//! `cat`: writes an object to standard output.

use anystorage::ByteRange;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::output;
use crate::resolver::{Purpose, Resolver};

/// Write an object to standard output
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write only these bytes, counted from 0 as in HTTP: 0-99 are the first hundred, 100- the
    /// rest, -100 the last hundred
    #[arg(long, value_name = "A-B", value_parser = range, allow_hyphen_values = true)]
    range: Option<ByteRange>,
    /// The object: NAME:KEY, a URL or a local path
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let place = resolver.resolve(&args.location, Purpose::Existing)?;
    let mut open = place.storage.open(place.key()?);
    if let Some(range) = args.range {
        open = open.range(range);
    }
    let object = open.await.map_err(|error| place.failure(&error))?;
    output::write_object(&place, object).await?;
    Ok(ExitStatus::Success)
}

fn range(text: &str) -> Result<ByteRange, String> {
    let bad = || "write A-B, A- or -N with positions counted from 0, A not beyond B".to_owned();
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
