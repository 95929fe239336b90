//! `options!` declares names, types, defaults and purposes beside the struct that `serde` reads.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use storage_core::config::{DeclaredOptions, OptionSpec, Options, Secret, markdown_table};

storage_core::options! {
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
