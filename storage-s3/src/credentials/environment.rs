//! [`Environment`]: the environment variables that the driver reads. It is a value, so that tests
//! need not change those of the process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use storage_core::{Error, Result};

/// Environment variables, looked up by name: those of the process, or those that a test passes.
#[derive(Clone)]
pub(crate) struct Environment {
    /// `None` for the variables of the process.
    given: Option<BTreeMap<String, OsString>>,
}

impl Environment {
    /// Returns the variables of the process. Each is read when it is needed.
    pub(crate) fn process() -> Self {
        Self { given: None }
    }

    /// Returns these variables only.
    #[cfg(test)]
    pub(crate) fn of<V: Into<OsString>>(
        variables: impl IntoIterator<Item = (&'static str, V)>,
    ) -> Self {
        Self {
            given: Some(
                variables
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.into()))
                    .collect(),
            ),
        }
    }

    /// Returns a variable's value without surrounding white space. An empty variable counts as not
    /// set, because many tools unset variables in this way.
    ///
    /// # Errors
    /// `InvalidConfig` if the value is not UTF-8.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let text = value.into_string().map_err(|_| {
            Error::config(format!("the environment variable {name} is not UTF-8 text"))
        })?;
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// Whether a variable is `true`, in any case.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(super) fn is_on(&self, name: &str) -> Result<bool> {
        Ok(self.text(name)?.is_some_and(|value| value.eq_ignore_ascii_case("true")))
    }

    /// Returns the endpoint that the variables set for a service (`S3`, `STS`), unless
    /// `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is on.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(crate) fn endpoint_of(&self, service: &str) -> Result<Option<String>> {
        if self.ignores_endpoints()? {
            return Ok(None);
        }
        match self.text(&format!("AWS_ENDPOINT_URL_{service}"))? {
            Some(endpoint) => Ok(Some(endpoint)),
            None => self.text("AWS_ENDPOINT_URL"),
        }
    }

    /// Whether endpoints of variables and profiles are ignored.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(super) fn ignores_endpoints(&self) -> Result<bool> {
        self.is_on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
    }

    /// Returns a variable as a path. `~/` stands for the home directory.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.raw(name).filter(|value| !value.is_empty())?);
        match (path.strip_prefix("~"), self.home()) {
            (Ok(below), Some(home)) => Some(home.join(below)),
            _ => Some(path),
        }
    }

    /// Returns the home directory of the user.
    pub(super) fn home(&self) -> Option<PathBuf> {
        match &self.given {
            // Reads the user database if the variable `HOME` is not set.
            None => std::env::home_dir(),
            Some(given) => given.get("HOME").map(PathBuf::from),
        }
        .filter(|home| !home.as_os_str().is_empty())
    }

    fn raw(&self, name: &str) -> Option<OsString> {
        match &self.given {
            None => std::env::var_os(name),
            Some(given) => given.get(name).cloned(),
        }
    }
}

/// Shows no values, because any of them may be a secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.given.is_some() {
            "Environment(given)"
        } else {
            "Environment(process)"
        })
    }
}
