//! What `sync --job` and the commands of `transfer` share: finding a job, its names, its limits,
//! and its result.

use std::path::Path;
use std::time::Duration;

use anystorage::config::duration;
use anystorage::transfer::{
    Bandwidth, Directory, Filter, Job, JobSpec, Side, SyncOptions, Work, WorkEnded, WorkSummary,
    server_side,
};
use anystorage::{Error, ErrorKind};
use url::Url;

use crate::compare::path_below;
use crate::exit::{ExitStatus, Failure};
use crate::links::{SpecialFile, Unsearched};
use crate::location::Location;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};
use crate::syncing::options::LimitArgs;
use crate::syncing::sides::Sides;
use crate::syncing::specials::Specials;
use crate::syncing::summary::{Rerun, SyncResult};
use crate::verbosity;

/// The shards of a sync with one worker. A failed copy keeps the extras of its shard.
pub(crate) const SHARDS_OF_SYNC: usize = 16;

/// Where a job is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JobLocation {
    /// The directory with the state of the job: NAME:PREFIX, a URL or a local path
    #[arg(long, value_name = "LOC")]
    pub(crate) job: Location,
}

/// The options of a job that are no part of what is transferred.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct JobArgs {
    /// How long a shard stays claimed by a worker that no longer stores its state; stored in the
    /// job, where a later, shorter time has no effect [default: 60s]
    #[arg(long, value_name = "TIME", requires = "job", value_parser = lease)]
    lease: Option<Duration>,
}

impl JobArgs {
    pub(crate) fn apply(self, spec: JobSpec) -> JobSpec {
        match self.lease {
            Some(lease) => spec.lease(lease),
            None => spec,
        }
    }
}

fn lease(text: &str) -> Result<Duration, String> {
    match duration::parse(text).ok_or("write a time as in 90s or 2m")? {
        lease if lease < Duration::from_millis(500) => Err("write at least 500ms".to_owned()),
        lease => Ok(lease),
    }
}

/// Finds the directory of a job.
pub(crate) fn directory(resolver: &mut Resolver, location: &Location) -> Result<Place, Failure> {
    let place = resolver.resolve(location, Purpose::NewDirectory)?.directory()?;
    match &*place.storage.info().name {
        "memory" => Err(Failure::usage(format!(
            "{place}: the state of a job must outlive this process: name another storage"
        ))),
        _ => Ok(place),
    }
}

/// Returns the directory as the engine needs it.
pub(crate) fn at(place: &Place) -> Result<Directory, Failure> {
    Directory::new(&place.storage, &place.text).map_err(|error| place.failure(&error))
}

/// Opens a job.
pub(crate) async fn open(
    resolver: &mut Resolver,
    location: &Location,
) -> Result<(Place, Job), Failure> {
    let place = directory(resolver, location)?;
    let job = Job::open(&at(&place)?).await;
    let job = job.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::usage(format!(
            "{place}: there is no job here; anystorage transfer plan makes one"
        )),
        _ => failure(&place, &error),
    })?;
    Ok((place, job))
}

/// Returns the failure of an error of a job's documents. Another specification is wrong usage.
pub(crate) fn failure(place: &Place, error: &Error) -> Failure {
    let failure = place.failure(error);
    match error.kind() {
        ErrorKind::Conflict | ErrorKind::Unsupported => failure.with_exit(ExitStatus::Usage),
        _ if error.is_retryable() => failure.with_exit(ExitStatus::RunAgain),
        _ => failure,
    }
}

/// Creates a job, or opens the one of the same specification. Prints what a plan warns about.
pub(crate) async fn plan(
    place: &Place,
    spec: JobSpec,
    sides: &Sides,
    shards: usize,
    borders: Option<Vec<String>>,
) -> Result<Job, Failure> {
    let at = at(place)?;
    refuse_overlap(place, sides)?;
    let both = (&sides.from, &sides.to);
    let warnings = Job::warnings(both.0, both.1).await;
    for (side, warning) in warnings.map_err(|error| failure(&sides.source, &error))? {
        let place = if side == Side::Source { &sides.source } else { &sides.target };
        verbosity::note(&format!("{place}: {warning}"));
    }
    let job = match borders {
        Some(borders) => Job::plan_with_borders(&at, spec, both, borders).await,
        None => Job::plan(&at, spec, both, shards).await,
    };
    job.map_err(|error| failure(place, &error))
}

/// Fails if the documents of the job would be objects of a side, which it copies or deletes, or if
/// its directory contains a side.
fn refuse_overlap(place: &Place, sides: &Sides) -> Result<(), Failure> {
    for side in [&sides.source, &sides.target] {
        let relation = if path_below(side, place).is_some() {
            "be below"
        } else if path_below(place, side).is_some() {
            "contain"
        } else {
            continue;
        };
        return Err(Failure::usage(format!(
            "{place}: the directory of a job cannot {relation} {side}, which the job transfers"
        )));
    }
    Ok(())
}

/// Returns the name by which any worker finds a directory. A local path is absolute.
///
/// # Errors
/// A usage error for a URL with options. They may be private, so the state contains none, and
/// workers would find another storage.
pub(crate) fn name(location: &Location, place: &Place) -> Result<String, Failure> {
    if has_options(location, place) {
        return Err(Failure::usage(format!(
            "{place}: a job stores no options of a URL, so its workers would find another \
             storage: name the storage in the configuration"
        )));
    }
    if place.local {
        let path = Path::new(&place.storage.info().location).join(&place.text);
        let absolute = std::path::absolute(&path).unwrap_or(path);
        return Ok(absolute.display().to_string());
    }
    Ok(match (location, Url::parse(&place.label)) {
        (Location::Url(_), Ok(mut url)) => {
            // This encodes `?` and `#`, but takes `%` for the beginning of an encoded byte, and `\`
            // for a slash.
            let text = place.text.replace('%', "%25").replace('\\', "%5C");
            url.set_path(&format!("/{text}"));
            url.into()
        }
        _ => place.to_string(),
    })
}

/// Whether a location is a URL with a query.
fn has_options(location: &Location, place: &Place) -> bool {
    match location {
        Location::Url(text) => text.contains('?'),
        // The key in a storage of the configuration is the text itself. Otherwise it is a URL, such
        // as `memory:?prefix=a`.
        Location::Named { key, .. } => {
            key.trim_end_matches('/') != place.text.trim_end_matches('/')
        }
        _ => false,
    }
}

/// Why a job with deletions refuses symlinks and special files: they are no objects.
pub(crate) const WOULD_DELETE: &str = "--exclude it, or a job with --delete would delete what the \
                                       destination has under its name";
/// Why a plan refuses them: no worker would report what it leaves out.
pub(crate) const WOULD_LEAVE_OUT: &str = "no worker would copy it: --exclude it, or --skip-links";

/// Fails for this reason if a local source has symlinks or special files, or if that is unknown.
pub(crate) async fn refuse_specials(
    sides: &Sides,
    filter: &Filter,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let (Some(directory), Some(reason)) = (sides.local_source(), reason) else { return Ok(()) };
    let (mut first, source) = (None, &sides.source);
    Specials::find(directory, filter, |found| {
        first.get_or_insert_with(|| match found {
            Ok(SpecialFile { name, .. }) => {
                Failure::usage(format!("{source}{name}: a symlink or special file: {reason}"))
            }
            Err(Unsearched { name, error }) => {
                Failure::local(&format!("{source}{name}"), error).with_hint("or --exclude it")
            }
        });
    })
    .await;
    first.map_or(Ok(()), Err)
}

/// Sets the limits of a worker.
pub(crate) fn limited(mut work: Work, limits: LimitArgs) -> Work {
    work = work.server_side(server_side());
    if let Some(bytes) = limits.bandwidth {
        work = work.bandwidth(Bandwidth::new(bytes));
    }
    if let Some(requests) = limits.requests {
        work = work.requests(requests);
    }
    match limits.concurrency() {
        Some(concurrency) => work.concurrency(concurrency),
        None => work,
    }
}

/// Prints the result of a worker, and returns its exit code. `finished` is whether the files of the
/// options were written; the numbers are those of failures and of unknown names that the engine
/// does not count.
pub(crate) fn report(
    sides: &Sides,
    summary: WorkSummary,
    options: &SyncOptions,
    (finished, (own_failures, own_unknown)): (Result<(), Failure>, (u64, u64)),
    rerun: Rerun,
    json: bool,
) -> Result<ExitStatus, Failure> {
    let is_cancelled = matches!(summary.ended, WorkEnded::Cancelled);
    let result = SyncResult {
        sides,
        summary: summary.into(),
        comparison: options.comparison,
        existing: options.existing,
        deletes: options.delete.is_some(),
        dry_run: false,
        has_key_list: false,
        inventory: None,
        is_cancelled,
        rerun,
        own_failures,
        own_unknown,
    };
    result.report(finished, json)
}

#[cfg(test)]
mod tests {
    use anystorage::Memory;
    use percent_encoding::percent_decode_str;

    use super::*;

    fn place(label: &str, text: &str) -> Place {
        let (label, text) = (label.to_owned(), text.to_owned());
        Place { storage: Memory::storage(), label, text, local: false }
    }

    fn url(text: &str) -> Location {
        Location::Url(text.to_owned())
    }

    #[test]
    fn the_name_of_a_url_is_read_as_the_same_directory() {
        for text in [
            "",
            "a/",
            "a b/",
            "50%/",
            "a%2Fb/",
            "why?/",
            "c#/",
            "\u{e9}/e\u{301}/",
            "a+b/",
            "a\\b/",
        ] {
            for base in ["s3://bucket/", "https://example.com/"] {
                let name = name(&url(base), &place(base, text)).unwrap();
                let read = Url::parse(&name).unwrap();
                assert_eq!((read.query(), read.fragment()), (None, None), "{name}");
                let path = read.path().strip_prefix('/').unwrap();
                assert_eq!(percent_decode_str(path).decode_utf8().unwrap(), text);
            }
        }
        let named = Location::Named { name: "media".to_owned(), key: "50%?".to_owned() };
        assert_eq!(name(&named, &place("media:", "50%?/")).unwrap(), "media:50%?/");
    }

    #[test]
    fn a_url_with_options_has_no_name() {
        let named = Location::Named { name: "memory".to_owned(), key: "?prefix=a".to_owned() };
        for (location, place) in [
            (url("s3://bucket/a?endpoint=https://s3.example.com"), place("s3://bucket/", "a/")),
            (url("file:///a?durable=false"), place("file:///a/", "")),
            (named, place("memory:", "")),
        ] {
            assert!(name(&location, &place).is_err(), "{location}");
        }
    }
}
