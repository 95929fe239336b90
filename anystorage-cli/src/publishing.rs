//! What the commands `publish`, `releases` and `rollback` share: the table `[publish]`, and the
//! destination.

use std::path::Path;

use anystorage::publish::PublishConfig;
use anystorage::{Error, Storage};
use serde::Deserialize;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};

/// Finds the destination: the place for messages, and the directory as a storage.
pub(crate) fn destination(
    resolver: &mut Resolver,
    location: &Location,
) -> Result<(Place, Storage), Failure> {
    let place = resolver.resolve(location, Purpose::NewDirectory)?.directory()?;
    let storage = match place.text.trim_end_matches('/') {
        "" => place.storage.clone(),
        prefix => place.storage.prefixed(prefix).map_err(|error| place.failure(&error))?,
    };
    Ok((place, storage))
}

/// Returns the failure of a publish. Another publisher, and a service that is unavailable, are
/// reasons to run again.
pub(crate) fn failure(place: &Place, error: &Error) -> Failure {
    let failure = place.failure(error);
    match error.is_retryable() {
        true => failure.with_exit(ExitStatus::RunAgain),
        false => failure,
    }
}

/// Reads a table of the configuration file. Without the file or the table, returns the defaults,
/// unless the table was named.
pub(crate) fn config(file: Option<&Path>, section: Option<&str>) -> Result<PublishConfig, Failure> {
    let name = section.unwrap_or("publish");
    let Some(file) = file else {
        return match section {
            None => Ok(PublishConfig::default()),
            Some(_) => Err(Failure::usage(format!(
                "--config-section {name}: there is no configuration file: name one with --config"
            ))),
        };
    };
    let at = |what: &str| Failure::usage(format!("{}: [{name}]: {what}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| at(&error.to_string()))?;
    let mut tables: toml::Table = toml::from_str(&text).map_err(|error| at(error.message()))?;
    match (tables.remove(name), section) {
        (Some(table), _) => {
            PublishConfig::deserialize(table).map_err(|error| at(error.message()))
        }
        (None, None) => Ok(PublishConfig::default()),
        (None, Some(_)) => Err(at("there is no such table")),
    }
}
