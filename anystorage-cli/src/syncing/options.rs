//! The options of `sync` and `transfer plan`: what is copied, kept and deleted, and how fast.

use anystorage::Key;
use anystorage::transfer::{
    Comparison, Concurrency, DeleteExtras, Existing, Filter, HeaderRule, LostMetadata, MaxDelete,
    SyncOptions,
};

use crate::sizes;
use crate::syncing::filters::FilterArgs;

/// What is copied, kept and deleted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OptionArgs {
    /// Delete objects of the destination that the source lacks, after all copies
    #[arg(long)]
    pub(crate) delete: bool,
    /// Delete nothing if there are more extra objects than N, or P% of those of the destination
    #[arg(long, value_name = "N|P%", requires = "delete", value_parser = max_delete)]
    pub(crate) max_delete: Option<MaxDelete>,
    /// Move objects into this directory of the destination before they are replaced or deleted; it
    /// is not compared
    #[arg(long, value_name = "PREFIX", value_parser = backup)]
    pub(crate) backup: Option<String>,
    /// Delete although the source has no objects
    #[arg(long, requires = "delete")]
    pub(crate) allow_empty_source: bool,
    /// How objects are compared: listing, size, mtime, etag or checksum
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value = "listing",
        hide_possible_values = true
    )]
    pub(crate) compare: CompareBy,
    #[command(flatten)]
    pub(crate) existing: ExistingArgs,
    #[command(flatten)]
    pub(crate) filters: FilterArgs,
    /// Set a header of the copies of the keys that a pattern matches; may be repeated
    #[arg(long, value_name = "GLOB:NAME=VALUE", value_parser = header_rule)]
    pub(crate) set_header: Vec<HeaderRule>,
    /// What to do with metadata that the destination cannot keep: keep, which makes that key fail,
    /// or drop
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value = "keep",
        hide_possible_values = true
    )]
    pub(crate) metadata: LostBy,
}

impl OptionArgs {
    pub(crate) fn comparison(&self) -> Comparison {
        self.compare.comparison()
    }

    pub(crate) fn existing(&self) -> Existing {
        self.existing.existing()
    }

    /// Returns the options of the engine, with this filter.
    pub(crate) fn options(&self, filter: Filter, deletes: bool) -> SyncOptions {
        let mut options = SyncOptions::new();
        options.comparison = self.comparison();
        options.existing = self.existing();
        options.filter = filter;
        options.delete = deletes.then(|| match self.max_delete {
            Some(max) => DeleteExtras::new().max(max),
            None => DeleteExtras::new(),
        });
        options.backup.clone_from(&self.backup);
        options.headers.clone_from(&self.set_header);
        options.lost_metadata = match self.metadata {
            LostBy::Keep => LostMetadata::Fail,
            LostBy::Drop => LostMetadata::DropAndReport,
        };
        options.allow_empty_source = self.allow_empty_source;
        options
    }
}

/// What happens with objects that both sides have.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(multiple = false)]
pub(crate) struct ExistingArgs {
    /// Copy what is missing, and leave what exists as it is, without a comparison
    #[arg(long, conflicts_with = "compare")]
    ignore_existing: bool,
    /// Leave objects of the destination that are newer than those of the source
    #[arg(long)]
    update: bool,
    /// Make objects that differ a failure, and leave them as they are
    #[arg(long)]
    immutable: bool,
}

impl ExistingArgs {
    fn existing(self) -> Existing {
        match (self.ignore_existing, self.update, self.immutable) {
            (true, _, _) => Existing::Ignore,
            (_, true, _) => Existing::Update,
            (_, _, true) => Existing::Immutable,
            _ => Existing::Replace,
        }
    }
}

/// How fast a sync may be.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct LimitArgs {
    /// The most bytes per second that pass through this command, as in 10MiB
    #[arg(long, value_name = "SIZE", value_parser = bandwidth)]
    pub(crate) bandwidth: Option<u64>,
    /// The most requests per second for objects and their parts, without those for listings
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: Option<u64>,
    /// How many objects to handle at a time; by default as many as the services keep up with
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: Option<u16>,
}

impl LimitArgs {
    /// Returns how many objects are handled at a time, if the option is set.
    pub(crate) fn concurrency(self) -> Option<Concurrency> {
        self.concurrency.map(|objects| Concurrency::Fixed(usize::from(objects)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CompareBy {
    Listing,
    Size,
    Mtime,
    Etag,
    Checksum,
}

impl CompareBy {
    fn comparison(self) -> Comparison {
        match self {
            Self::Listing => Comparison::Listing,
            Self::Size => Comparison::Size,
            Self::Mtime => Comparison::Mtime,
            Self::Etag => Comparison::ETag,
            Self::Checksum => Comparison::Checksum,
        }
    }
}

/// What happens with metadata that the destination cannot keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LostBy {
    /// The key fails.
    #[value(alias = "fail")]
    Keep,
    /// The copy lacks it. The other name is that of `cp`.
    #[value(alias = "drop-invalid")]
    Drop,
}

fn max_delete(text: &str) -> Result<MaxDelete, String> {
    let wrong = || "write a number, or a percentage from 0% to 100%".to_owned();
    match text.strip_suffix('%') {
        Some(percent) => match percent.parse::<u8>() {
            Ok(percent) if percent <= 100 => Ok(MaxDelete::Percent(percent)),
            _ => Err(wrong()),
        },
        None => text.parse().map(MaxDelete::Count).map_err(|_| wrong()),
    }
}

fn backup(text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('/');
    Key::new(name).map(|key| key.to_string()).map_err(|error| error.message().to_owned())
}

fn bandwidth(text: &str) -> Result<u64, String> {
    match sizes::parse(text)? {
        0 => Err("write at least 1 byte per second".to_owned()),
        bytes => Ok(bytes),
    }
}

fn header_rule(text: &str) -> Result<HeaderRule, String> {
    let (pattern, name, value) = header_parts(text)
        .ok_or("write GLOB:NAME=VALUE, as in '*.css:Cache-Control=max-age=3600'")?;
    HeaderRule::new(pattern, name, value).map_err(|error| error.message().to_owned())
}

/// Splits `GLOB:NAME=VALUE`. The pattern ends at the first colon before a name and `=`.
fn header_parts(text: &str) -> Option<(&str, &str, &str)> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.match_indices(':').find_map(|(colon, _)| {
        let (name, value) = text[colon + 1..].split_once('=')?;
        (colon > 0 && is_name(name)).then_some((&text[..colon], name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_deletions_is_a_number_or_a_percentage() {
        assert_eq!(max_delete("10"), Ok(MaxDelete::Count(10)));
        assert_eq!(max_delete("50%"), Ok(MaxDelete::Percent(50)));
        for wrong in ["", "%", "-1", "101%", "1.5%", "ten"] {
            assert!(max_delete(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_header_rule_ends_its_pattern_before_the_name() {
        for (text, parts) in [
            ("*.css:Cache-Control=max-age=3600", ("*.css", "Cache-Control", "max-age=3600")),
            ("a:b/*=x:x-amz-meta-k=v:w=x", ("a:b/*=x", "x-amz-meta-k", "v:w=x")),
            ("**:Content-Type=text/a; b=c", ("**", "Content-Type", "text/a; b=c")),
        ] {
            assert_eq!(header_parts(text), Some(parts));
            header_rule(text).unwrap();
        }
        for wrong in ["", "*.css", "*.css:Cache-Control", ":Cache-Control=x", "*:X-Odd=x", "*:=x"] {
            assert!(header_rule(wrong).is_err(), "{wrong}");
        }
    }
}
