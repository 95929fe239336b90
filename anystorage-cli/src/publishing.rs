//! What the commands `publish`, `releases` and `rollback` share: the table `[publish]`, the
//! destination, and failures.

use std::path::Path;

use anystorage::publish::{PublishConfig, PublishOptions, RESERVED_PREFIX};
use anystorage::transfer::Stop;
use anystorage::{Error, Storage};
use serde::Deserialize;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::place::Place;
use crate::purging::MirrorPurge;
use crate::resolver::{Purpose, Resolver};

/// Finds the destination: the place for messages, and the directory as a storage.
pub(crate) fn destination(
    resolver: &mut Resolver,
    location: &Location,
) -> Result<(Place, Storage), Failure> {
    let place = resolver.resolve(location, Purpose::NewDirectory)?.directory()?;
    let whole = format!("/{}/{}", place.label, place.text);
    if whole.contains(&format!("/{RESERVED_PREFIX}")) {
        return Err(Failure::usage(format!(
            "{place}: a destination cannot be below {RESERVED_PREFIX}, where releases are recorded"
        )));
    }
    let storage = match place.text.trim_end_matches('/') {
        "" => place.storage.clone(),
        prefix => place.storage.prefixed(prefix).map_err(|error| place.failure(&error))?,
    };
    Ok((place, storage))
}

/// Returns the failure of a publish. Another publisher, a signal and a service that is unavailable
/// are reasons to run again.
pub(crate) fn failure(place: &Place, error: &Error) -> Failure {
    let failure = match error.key() {
        // A release that is missing is no object, so a hint about objects would mislead.
        None if error.is_not_found() => Failure::local(&place.to_string(), error),
        _ => of_object(place, error),
    };
    match error.is_retryable() {
        true => failure.with_exit(ExitStatus::RunAgain),
        false => failure,
    }
}

/// Returns the failure of an object of the destination, if the error names one.
fn of_object(place: &Place, error: &Error) -> Failure {
    match error.key() {
        Some(key) => Failure::at(&format!("{place}{key}"), error),
        None => place.failure(error),
    }
}

/// Prints the errors of what follows the switch, and returns the exit code.
pub(crate) fn report_leftovers(
    place: &Place,
    stop: &Stop,
    purge: Option<Error>,
    cleanup: Option<Error>,
) -> ExitStatus {
    const AGAIN: &str = "the release is current; the next publish or rollback tries this again";
    let exit = if stop.is_stopped() { ExitStatus::RunAgain } else { ExitStatus::Failed };
    let purge = purge.map(|error| error.with_context("the mirrors were not purged"));
    let cleanup = cleanup.map(|error| error.with_context("old releases were not deleted"));
    let failed = purge
        .into_iter()
        .chain(cleanup)
        .map(|error| of_object(place, &error).with_hint(AGAIN).with_exit(exit).report());
    failed.fold(ExitStatus::Success, ExitStatus::or)
}

/// Returns a number of pages in words.
pub(crate) fn pages(count: u64) -> String {
    format!("{count} page{}", if count == 1 { "" } else { "s" })
}

/// A table of the configuration file.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) config: PublishConfig,
    /// The file and the table, for messages.
    shown: String,
}

impl Section {
    /// Reads a table of the configuration file, by default `[publish]`. Without the file or the
    /// table, returns the defaults, unless the table was named.
    pub(crate) fn read(resolver: &Resolver, name: Option<&str>) -> Result<Self, Failure> {
        let Some(file) = resolver.config_file() else {
            return match name {
                None => Ok(Self { shown: "[publish]".to_owned(), ..Self::default() }),
                Some(name) => Err(Failure::usage(format!(
                    "--config-section {name}: there is no configuration file: name one with \
                     --config or STORAGE_CONFIG"
                ))),
            };
        };
        let table = table(file, name.unwrap_or("publish"))?;
        let shown = format!("{}: [{}]", file.display(), name.unwrap_or("publish"));
        let failure = |what: &str| Failure::usage(format!("{shown}: {what}"));
        let config = match (table, name) {
            (Some(table), _) => PublishConfig::deserialize(table)
                .map_err(|error| failure(error.to_string().replace('\n', " ").trim()))?,
            (None, None) => PublishConfig::default(),
            (None, Some(_)) => return Err(failure("there is no such table")),
        };
        Ok(Self { config, shown })
    }

    /// Returns the options of a publish or a rollback to a place.
    pub(crate) fn options(
        &self,
        resolver: &mut Resolver,
        place: &Place,
        stop: &Stop,
    ) -> Result<PublishOptions, Failure> {
        let mut options = PublishOptions::from_config(&self.config)
            .map_err(|error| Failure::usage(format!("{}: {}", self.shown, error.message())))?;
        let names = &self.config.purge;
        if let Some(purge) = MirrorPurge::new(resolver, names, &place.text, &self.shown)? {
            options = options.purge(purge);
        }
        let stop = stop.clone();
        Ok(options.stop_on(async move { stop.stopped().await }))
    }
}

fn table(file: &Path, name: &str) -> Result<Option<toml::Value>, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{shown}: the file cannot be read: {error}")))?;
    // The message of the parser quotes the line, which may contain a secret.
    let tables = toml::from_str::<toml::Table>(&text).map_err(|error| {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or(&text);
        let line = before.matches('\n').count() + 1;
        Failure::usage(format!("{shown}: line {line} is not TOML"))
    });
    Ok(tables?.remove(name))
}
