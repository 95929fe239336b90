//! [`Environment`]: the variables that the driver reads, as a value, so that a test need not change those of the process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use storage_core::{Error, Result};

/// Environment variables, looked up one at a time and by name: those of the process, or given ones.
#[derive(Clone)]
pub(crate) struct Environment {
    /// `None` for those of the process.
    given: Option<BTreeMap<String, OsString>>,
}

impl Environment {
    /// The variables of the process, looked up when they are needed.
    pub(crate) fn process() -> Self {
        Self { given: None }
    }

    /// These variables alone.
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

    /// A variable's value, without white space around it. One that is empty counts as not set,
    /// which is how many tools unset them.
    ///
    /// # Errors
    /// `InvalidConfig` if the value is no text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let text = value.into_string().map_err(|_| {
            Error::config(format!("the environment variable {name} is not UTF-8 text"))
        })?;
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// Whether a switch is on: `true`, in any case.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(super) fn is_on(&self, name: &str) -> Result<bool> {
        Ok(self.text(name)?.is_some_and(|value| value.eq_ignore_ascii_case("true")))
    }

    /// The endpoint that variables name for a service (`S3`, `STS`), unless another one says that
    /// none is to be heeded.
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

    /// Whether endpoints of variables and profiles are not to be heeded.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(super) fn ignores_endpoints(&self) -> Result<bool> {
        self.is_on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
    }

    /// A variable that names a file. `~/` stands for the home directory.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.raw(name).filter(|value| !value.is_empty())?);
        match (path.strip_prefix("~"), self.home()) {
            (Ok(below), Some(home)) => Some(home.join(below)),
            _ => Some(path),
        }
    }

    /// The home directory of whoever runs this.
    pub(super) fn home(&self) -> Option<PathBuf> {
        match &self.given {
            // Asks the user database too, should there be no variable.
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

/// Values are not shown: any of them may be a secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.given.is_some() {
            "Environment(given)"
        } else {
            "Environment(process)"
        })
    }
}
