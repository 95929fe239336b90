//! What is wrong with a command line, in one line like any other error.

use std::ffi::OsString;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::exit::Failure;

/// What the parser says, without its layout: the mistake and its tips, and where to read more.
pub(crate) fn failure(said: &clap::Error, arguments: impl Iterator<Item = OsString>) -> Failure {
    let text = said.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let paragraphs = text.split("\n\n").map(joined);
    let told: Vec<_> = paragraphs
        .take_while(|paragraph| !closes(paragraph))
        .filter(|told| !told.is_empty())
        .collect();
    let command = command_of(arguments).map(|name| format!("{name} ")).unwrap_or_default();
    Failure::usage(format!("{}; see anystorage {command}--help", told.join("; ")))
}

/// Whether from here on only the usage is repeated, which `--help` shows too.
fn closes(paragraph: &str) -> bool {
    ["Usage: ", "For more information"].iter().any(|start| paragraph.starts_with(start))
}

fn joined(paragraph: &str) -> String {
    paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The command that was meant, if one can be seen.
fn command_of(arguments: impl Iterator<Item = OsString>) -> Option<String> {
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(arguments).ok()?;
    matches.subcommand_name().map(str::to_owned)
}
