//! Errors of the command line, formatted as one line like all other errors.

use std::ffi::OsString;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::exit::Failure;

/// Returns an error of the parser as one line: the mistake, the tips, and where to read more.
pub(crate) fn failure(error: &clap::Error, arguments: impl Iterator<Item = OsString>) -> Failure {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let paragraphs = text.split("\n\n").map(join_lines);
    let messages: Vec<_> = paragraphs
        .take_while(|paragraph| !begins_usage(paragraph))
        .filter(|message| !message.is_empty())
        .collect();
    let command = command_name(arguments).map(|name| format!("{name} ")).unwrap_or_default();
    Failure::usage(format!("{}; see anystorage {command}--help", messages.join("; ")))
}

/// Whether a paragraph begins the usage, which `--help` also shows.
fn begins_usage(paragraph: &str) -> bool {
    ["Usage: ", "For more information"].iter().any(|start| paragraph.starts_with(start))
}

fn join_lines(paragraph: &str) -> String {
    paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Returns the name of the command in the arguments, such as `mirror purge`, if there is one.
fn command_name(arguments: impl Iterator<Item = OsString>) -> Option<String> {
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(arguments).ok()?;
    let mut names = Vec::new();
    let mut next = matches.subcommand();
    while let Some((name, matches)) = next {
        names.push(name);
        next = matches.subcommand();
    }
    (!names.is_empty()).then(|| names.join(" "))
}
