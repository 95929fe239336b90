//! Lists the public API of each library crate in `docs/api/`, one file a crate.
//!
//! ```text
//! cargo run -p public-api              compares the files with the sources; fails if they differ
//! cargo run -p public-api -- --write   writes the files
//! ```
//!
//! Reads the sources with `syn`, so it needs no nightly compiler and no published version. What it
//! lists is the API with all features; items for one feature are marked. Items that are
//! `#[doc(hidden)]` are not part of the API. Macros that generate items are not expanded.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

mod krate;
mod listing;
mod render;

use std::path::Path;
use std::process::ExitCode;

use krate::Crate;

/// The crates that applications and authors of drivers depend on.
const CRATES: &[&str] = &[
    "anystorage",
    "anystorage-cli",
    "storage-actix",
    "storage-axum",
    "storage-client",
    "storage-core",
    "storage-fs",
    "storage-http",
    "storage-http-cache",
    "storage-mirror",
    "storage-s3",
    "storage-serve",
    "storage-testkit",
    "storage-publish",
    "storage-transfer",
];

fn main() -> ExitCode {
    let write = std::env::args().any(|argument| argument == "--write");
    let updated = CRATES.iter().map(|name| update(name, write)).collect::<Result<Vec<_>, _>>();
    match updated.map(|same| !same.contains(&false)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("the public API changed: review it with cargo run -p public-api -- --write");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("public-api: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Compares or writes the listing of one crate. Returns whether it is up to date.
fn update(name: &str, write: bool) -> Result<bool, String> {
    let listing = listing::of(&Crate::load(name, &Path::new(name).join("src/lib.rs"))?);
    let file = Path::new("docs/api").join(format!("{name}.txt"));
    if write {
        std::fs::create_dir_all("docs/api").map_err(|error| format!("docs/api: {error}"))?;
        std::fs::write(&file, listing).map_err(|error| format!("{}: {error}", file.display()))?;
        return Ok(true);
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    show_difference(name, &committed, &listing);
    Ok(committed == listing)
}

/// Prints the lines that only one of the two listings has.
fn show_difference(name: &str, old: &str, new: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(old), lines(new));
    for line in old.iter().filter(|line| !new.contains(line)) {
        println!("{name}: - {}", line.trim());
    }
    for line in new.iter().filter(|line| !old.contains(line)) {
        println!("{name}: + {}", line.trim());
    }
}
