//! [`options!`](crate::options!): the declaration of a driver's options.

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
