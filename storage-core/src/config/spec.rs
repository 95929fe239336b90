//! [`OptionSpec`]: one option as its driver declares it, for error messages, manuals and commands.

use std::fmt;

/// One option of a driver: its name, type, default and purpose. [`options!`](crate::options!)
/// declares it.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    name: &'static str,
    kind: &'static str,
    default: OptionDefault,
    /// The documentation of the field.
    docs: &'static str,
}

/// The value of an option that a configuration leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionDefault {
    /// The option has no default. A configuration without it is an error.
    Required,
    /// This value, as TOML writes it: `"30s"`, `false`.
    Value(&'static str),
    /// What this sentence fragment describes: ``a tenth of `max_size` ``.
    Described(&'static str),
    /// None: what the option sets up is absent.
    Unset,
}

/// `required`, the value, the description, or nothing.
impl fmt::Display for OptionDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Required => "required",
            Self::Value(text) | Self::Described(text) => text,
            Self::Unset => "",
        })
    }
}

impl OptionSpec {
    /// For [`options!`](crate::options!).
    #[doc(hidden)]
    #[must_use]
    pub const fn new(
        name: &'static str,
        kind: &'static str,
        default: OptionDefault,
        docs: &'static str,
    ) -> Self {
        Self { name, kind, default, docs }
    }

    /// Returns the name of the option, as configurations write it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the type of the value for readers of a manual: `duration`, `size`, `text`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Returns the default.
    #[must_use]
    pub fn default(&self) -> OptionDefault {
        self.default
    }

    /// Returns whether the value is a secret, which no URL may contain and no message shows.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.kind.contains("secret")
    }

    /// Returns the purpose of the option: the first paragraph of its documentation, as one line.
    #[must_use]
    pub fn help(&self) -> String {
        let paragraph = self.docs.lines().map(str::trim).take_while(|line| !line.is_empty());
        paragraph.collect::<Vec<_>>().join(" ")
    }
}

/// Returns a Markdown table of options, for a manual.
///
/// ```
/// # use storage_core::config::{CommonOptions, DeclaredOptions, markdown_table};
/// let table = markdown_table(CommonOptions::SPECS);
/// assert!(table.starts_with("| option | type | default | purpose |\n|-|-|-|-|\n| `prefix` | text |"));
/// ```
#[must_use]
pub fn markdown_table(options: &[OptionSpec]) -> String {
    let mut table = "| option | type | default | purpose |\n|-|-|-|-|\n".to_owned();
    for option in options {
        let default = match option.default() {
            OptionDefault::Value(value) => format!("`{value}`"),
            other => other.to_string(),
        };
        let cells =
            [format!("`{}`", option.name()), option.kind().to_owned(), default, option.help()];
        for cell in cells.map(|cell| cell.replace('|', "\\|")) {
            table.push_str("| ");
            table.push_str(&cell);
            table.push_str(if cell.is_empty() { "" } else { " " });
        }
        table.push_str("|\n");
    }
    table
}
