//! A registry with two test drivers, so that the tests do not depend on features.

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::Arc;

use anystorage::config::{Options, Secret, Value};
use anystorage::{Definitions, Environment, Error, ErrorKind, Loader, Memory, Registry};
use serde::Deserialize;

/// The options of the driver `probe`, one of each type.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for their errors only")]
struct Probe {
    root: String,
    #[serde(default)]
    level: Option<u32>,
    #[serde(default)]
    ratio: Option<f64>,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    token: Option<Secret>,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    window: Option<Window>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Fast,
    Safe,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its errors only")]
struct Window {
    width: u8,
}

/// The options of the driver `alias`, which refers to another storage.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alias {
    origin: Value,
}

pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.register("probe", |options: Options, _| {
        options.read::<Probe>("probe")?;
        Ok(Arc::new(Memory::new()))
    });
    registry.register("alias", |options: Options, context| {
        let alias: Alias = options.read("alias")?;
        Ok(Arc::clone(context.storage(&alias.origin)?.driver()))
    });
    registry.register_scheme("probe", "probe", "probe:/objects", |url| {
        Ok(Options::new().with("root", url.path()))
    });
    registry
}

/// Returns a loader with the drivers above and an empty environment.
pub(crate) fn loader() -> Loader {
    Loader::new().with_registry(registry()).with_environment(Environment::empty())
}

pub(crate) fn read(toml: &str) -> Definitions {
    loader().toml_str(toml).unwrap()
}

/// Returns the error message for the storage `default` of an invalid document.
pub(crate) fn refusal(toml: &str) -> String {
    match loader().toml_str(toml) {
        Ok(definitions) => refused(definitions.open("default").unwrap_err()),
        Err(error) => refused(error),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "reads better where it is called")]
pub(crate) fn refused(error: Error) -> String {
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    error.message().to_owned()
}

/// Returns the `Display` and `Debug` output of an error and of its sources.
pub(crate) fn everything(error: &Error) -> String {
    let mut all = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(cause) = source {
        write!(all, " {cause} {cause:?}").unwrap();
        source = cause.source();
    }
    all
}
