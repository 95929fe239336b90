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

/// Declares the options of a driver: a struct that `serde` reads, and the name, type, default and
/// purpose of each option for errors, manuals and commands
/// ([`DeclaredOptions::SPECS`](crate::config::DeclaredOptions::SPECS)).
///
/// A field is declared as `name: Type => "type for readers", default;`. The default is one of
///
/// | | |
/// |-|-|
/// | `required` | a configuration without the option is an error |
/// | `default "30s"` | this value, as TOML writes it |
/// | `otherwise "the profile's region"` | a description |
/// | nothing | the option is unset |
///
/// The default is documentation: the field's type (`Option`) or its `#[serde(default)]` applies it.
/// The first paragraph of a field's documentation is the purpose of the option. A type for readers
/// that contains the word `secret` marks a secret. The struct gets `#[derive(Deserialize)]` and
/// refuses unknown options; the calling crate depends on `serde` with its feature `derive`.
///
/// ```
/// use std::path::PathBuf;
/// use std::time::Duration;
/// use storage_core::config::{DeclaredOptions, OptionDefault, duration};
///
/// storage_core::options! {
///     /// The options of the driver `tape`.
///     #[derive(Debug)]
///     pub struct TapeOptions {
///         /// The device of the drive.
///         device: PathBuf => "path", required;
///         /// How long the drive may take to wind.
///         ///
///         /// A new tape winds once before it is written.
///         #[serde(default, deserialize_with = "duration::option")]
///         wind_timeout: Option<Duration> => "duration", default "5m";
///     }
/// }
///
/// let [device, timeout] = TapeOptions::SPECS else { unreachable!() };
/// assert_eq!((device.name(), device.default()), ("device", OptionDefault::Required));
/// assert_eq!(timeout.default(), OptionDefault::Value("\"5m\""));
/// assert_eq!(timeout.help(), "How long the drive may take to wind.");
/// ```
#[macro_export]
macro_rules! options {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $docs:literal])+
                $(#[serde $serde:tt])?
                $field_vis:vis $field:ident: $type:ty
                    => $kind:literal $(, $rule:ident $($value:literal)?)?;
            )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(::serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $vis struct $name {
            $(
                $(#[doc = $docs])+
                $(#[serde $serde])?
                $field_vis $field: $type,
            )*
        }

        impl $crate::config::DeclaredOptions for $name {
            const SPECS: &'static [$crate::config::OptionSpec] = &[
                $($crate::config::OptionSpec::new(
                    ::std::stringify!($field),
                    $kind,
                    $crate::option_default!($($rule $($value)?)?),
                    ::std::concat!($($docs, "\n"),+),
                ),)*
            ];
        }
    };
}

/// The default of one option of [`options!`].
#[doc(hidden)]
#[macro_export]
macro_rules! option_default {
    () => {
        $crate::config::OptionDefault::Unset
    };
    (required) => {
        $crate::config::OptionDefault::Required
    };
    (default $value:literal) => {
        $crate::config::OptionDefault::Value(::std::stringify!($value))
    };
    (otherwise $text:literal) => {
        $crate::config::OptionDefault::Described($text)
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DeclaredOptions, Options, Secret};

    crate::options! {
        /// Options with each kind of default.
        #[derive(Debug)]
        #[allow(dead_code, reason = "declared for its list of options")]
        struct Declared {
            /// Where the objects are.
            root: String => "path", required;
            /// Whether a save is synced
            /// before it returns.
            ///
            /// More about it.
            #[serde(default)]
            durable: bool => "boolean", default true;
            /// The largest object.
            max_size: Option<u64> => "size", otherwise "a tenth of `root` | all";
            /// The token.
            token: Option<Secret> => "secret";
        }
    }

    #[test]
    fn a_declared_option_has_a_name_a_type_a_default_and_a_purpose() {
        let shown: Vec<_> = Declared::SPECS
            .iter()
            .map(|spec| (spec.name(), spec.kind(), spec.default().to_string(), spec.help()))
            .collect();
        let expected = [
            ("root", "path", "required", "Where the objects are."),
            ("durable", "boolean", "true", "Whether a save is synced before it returns."),
            ("max_size", "size", "a tenth of `root` | all", "The largest object."),
            ("token", "secret", "", "The token."),
        ];
        assert_eq!(
            shown,
            expected.map(|(name, kind, default, help)| {
                (name, kind, default.to_owned(), help.to_owned())
            })
        );
        assert_eq!(Declared::SPECS.iter().filter(|spec| spec.is_secret()).count(), 1);
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_declared_names() {
        let error = Options::new().with("rot", "/").read::<Declared>("mine").unwrap_err();
        let names: Vec<_> = Declared::SPECS.iter().map(OptionSpec::name).collect();
        assert!(error.message().contains(&names.join(", ")), "{error}");
    }

    #[test]
    fn a_table_of_options_is_markdown() {
        assert_eq!(
            markdown_table(Declared::SPECS),
            "| option | type | default | purpose |\n\
             |-|-|-|-|\n\
             | `root` | path | required | Where the objects are. |\n\
             | `durable` | boolean | `true` | Whether a save is synced before it returns. |\n\
             | `max_size` | size | a tenth of `root` \\| all | The largest object. |\n\
             | `token` | secret | | The token. |\n"
        );
    }
}
