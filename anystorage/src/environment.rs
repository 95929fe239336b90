//! [`Environment`]: the variables that a configuration may read, as a value, so that tests do not have
//! to change the variables of the process.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

use storage_core::{Error, Result};

/// Environment variables: those of the process, and explicitly set ones.
///
/// ```
/// use anystorage::{Environment, Loader};
///
/// let environment = Environment::empty().with("STORAGE_DEFAULT_URL", "scratch:");
/// let definitions = Loader::new().with_environment(environment).env()?;
/// assert_eq!(definitions.names().collect::<Vec<_>>(), ["default"]);
/// # Ok::<(), anystorage::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Environment {
    process: bool,
    given: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Uses the variables of the process, which are read when they are needed.
    #[must_use]
    pub fn process() -> Self {
        Self { process: true, given: BTreeMap::new() }
    }

    /// Uses no variables of the process.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Sets a variable in this value. The process is not changed.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.given.insert(name.into(), value.into());
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<OsString> {
        let given = self.given.get(OsStr::new(name)).cloned();
        given.or_else(|| self.process.then(|| std::env::var_os(name)).flatten())
    }

    /// Returns the value of a variable. An empty variable counts as unset, as in many tools.
    pub(crate) fn setting(&self, name: &str) -> Option<OsString> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Returns a value as text.
    pub(crate) fn text(name: &str, value: OsString) -> Result<String> {
        value.into_string().map_err(|_| {
            Error::config(format!("the environment variable {name} is not UTF-8 text"))
        })
    }

    /// Returns the names of all variables.
    pub(crate) fn names(&self) -> Vec<String> {
        let process =
            self.process.then(std::env::vars_os).into_iter().flatten().map(|(name, _)| name);
        let mut names: Vec<_> = process
            .chain(self.given.keys().cloned())
            .filter_map(|name| name.into_string().ok())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Hides the values, which may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("process", &self.process)
            .field("given", &self.given.keys().collect::<Vec<_>>())
            .finish()
    }
}
