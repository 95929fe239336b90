//! The tables of options in manuals and documentation are those that the drivers declare.
//!
//! `UPDATE_TABLES=1 cargo test --workspace --test options` writes them.

#![cfg(all(
    feature = "fs",
    feature = "s3",
    feature = "http",
    feature = "cache",
    feature = "http-cache",
    feature = "mirror"
))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};

use anystorage::config::{CommonOptions, DeclaredOptions, OptionSpec, markdown_table};
use anystorage::mirror::MirrorConfig;

/// Files with a table of options, which each stands between `<!-- options of NAME -->` and
/// `<!-- end of options -->`. A line of a Rust file begins with `//!`.
const FILES: &[&str] = &[
    "docs/s3.md",
    "docs/cache-tier.md",
    "anystorage/src/lib.rs",
    "storage-fs/src/lib.rs",
    "storage-http/src/lib.rs",
    "storage-http-cache/src/lib.rs",
    "storage-mirror/src/cache/mod.rs",
    "storage-s3/src/lib.rs",
];

const BEGIN: &str = "<!-- options of ";
const END: &str = "<!-- end of options -->";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn options_of(name: &str) -> &'static [OptionSpec] {
    match name {
        "mirror" => MirrorConfig::SPECS,
        "every driver" => CommonOptions::SPECS,
        driver => anystorage::registry().describe(driver).expect(driver).options,
    }
}

/// Returns the text with its tables as they are declared, and the names of the tables.
fn with_tables(text: &str) -> (String, Vec<String>) {
    let (mut written, mut names, mut is_inside) = (String::new(), Vec::new(), false);
    for line in text.lines() {
        let (comment, content) = match line.strip_prefix("//! ") {
            Some(content) => ("//! ", content),
            None => ("", line),
        };
        if content == END {
            is_inside = false;
        }
        if !is_inside {
            written.push_str(line);
            written.push('\n');
        }
        let name = content.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(name) = name {
            assert!(!is_inside, "the table before {name} does not end");
            is_inside = true;
            names.push(name.to_owned());
            // Markdown ends a comment with an empty line.
            let table = format!("\n{}\n", markdown_table(options_of(name)));
            for row in table.lines() {
                written.push_str(format!("{comment}{row}").trim_end());
                written.push('\n');
            }
        }
    }
    assert!(!is_inside, "the last table does not end");
    (written, names)
}

#[test]
fn tables_of_options_are_what_the_drivers_declare() {
    let mut tables = Vec::new();
    for file in FILES {
        let path = root().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let (expected, names) = with_tables(&text);
        assert!(!names.is_empty(), "{file} has no table of options");
        tables.extend(names);
        if std::env::var_os("UPDATE_TABLES").is_some() {
            std::fs::write(&path, expected).unwrap();
        } else if text != expected {
            let differs = expected.lines().zip(text.lines()).find(|(new, old)| new != old);
            panic!("{file}: run with UPDATE_TABLES=1; the first line that differs: {differs:?}");
        }
    }
    let drivers = anystorage::registry();
    let drivers = drivers.drivers().filter(|name| !options_of(name).is_empty());
    for name in drivers.chain(["mirror", "every driver"]) {
        assert!(tables.iter().any(|table| table == name), "no manual lists the options of {name}");
    }
}

#[test]
fn the_facade_lists_every_driver_with_its_url_forms_and_options() {
    let text = std::fs::read_to_string(root().join("anystorage/src/lib.rs")).unwrap();
    let registry = anystorage::registry();
    for driver in registry.drivers().filter_map(|name| registry.describe(name)) {
        let names: Vec<_> =
            driver.options.iter().map(|option| format!("`{}`", option.name())).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let forms: Vec<_> = driver.url_forms.iter().map(|form| format!("`{form}`")).collect();
        let forms = if forms.is_empty() { "none".to_owned() } else { forms.join(", ") };
        let row = format!("//! | `{}` | {forms} | {names} |", driver.name);
        assert!(text.lines().any(|line| line == row), "anystorage/src/lib.rs lacks the row\n{row}");
    }
}

#[test]
fn every_option_has_a_type_and_a_purpose_of_whole_sentences() {
    let registry = anystorage::registry();
    let drivers = registry.drivers().map(options_of);
    for option in drivers.chain([MirrorConfig::SPECS, CommonOptions::SPECS]).flatten() {
        let (name, help) = (option.name(), option.help());
        assert!(!option.kind().is_empty(), "{name}");
        assert!(help.ends_with('.') || help.ends_with(')'), "{name}: {help}");
        assert!(help.starts_with(char::is_uppercase) && !help.contains("]("), "{name}: {help}");
    }
}
