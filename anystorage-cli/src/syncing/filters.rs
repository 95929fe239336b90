//! The options `--include`, `--exclude` and `--filter-from`: one list of rules, in the order of the
//! command line.

use std::path::{Path, PathBuf};

use anystorage::Error;
use anystorage::transfer::Filter;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, value_parser};

use crate::exit::{ExitStatus, Failure};

/// The rules in the order of the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct FilterArgs {
    rules: Vec<FilterRule>,
}

#[derive(Debug, Clone)]
enum FilterRule {
    Include(String),
    Exclude(String),
    From(PathBuf),
}

impl FilterArgs {
    /// Returns the files of rules.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.rules.iter().filter_map(|rule| match rule {
            FilterRule::From(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// Reads the files, and returns the filter. To be called once, because a file may be a pipe.
    ///
    /// # Errors
    /// A usage error for a file that cannot be read or a pattern that is invalid.
    pub(crate) fn build(&self) -> Result<Filter, Failure> {
        let mut filter = Filter::builder();
        for rule in &self.rules {
            filter = match rule {
                FilterRule::Include(pattern) => filter.include(pattern),
                FilterRule::Exclude(pattern) => filter.exclude(pattern),
                FilterRule::From(path) => {
                    let name = path.display().to_string();
                    let text = std::fs::read_to_string(path).map_err(|error| {
                        let error = Error::from(error).with_context("--filter-from");
                        Failure::local(&name, &error).with_exit(ExitStatus::Usage)
                    })?;
                    filter.rules_from(&text, &name)
                }
            };
        }
        filter.build().map_err(|error| Failure::usage(error.message()))
    }
}

impl clap::Args for FilterArgs {
    fn augment_args(command: Command) -> Command {
        command
            .arg(pattern("include", "Handle the keys that a pattern matches"))
            .arg(pattern("exclude", "Leave out the keys that a pattern matches, on both sides"))
            .arg(option("filter-from", "FILE").value_parser(value_parser!(PathBuf)).help(
                "Read patterns from a file like .gitignore: PATTERN excludes, !PATTERN includes",
            ))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn pattern(name: &'static str, help: &'static str) -> Arg {
    option(name, "PATTERN").help(help)
}

fn option(name: &'static str, value: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .action(ArgAction::Append)
        .help_heading("Filters, in their order: the last one that matches a key decides")
}

impl FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut rules = Vec::new();
        collect(matches, "include", FilterRule::Include, &mut rules);
        collect(matches, "exclude", FilterRule::Exclude, &mut rules);
        collect(matches, "filter-from", FilterRule::From, &mut rules);
        rules.sort_by_key(|(index, _)| *index);
        Ok(Self { rules: rules.into_iter().map(|(_, rule)| rule).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Adds the values of an option, with their positions on the command line.
fn collect<T: Clone + Send + Sync + 'static>(
    matches: &ArgMatches,
    name: &str,
    rule: fn(T) -> FilterRule,
    rules: &mut Vec<(usize, FilterRule)>,
) {
    let indices = matches.indices_of(name).into_iter().flatten();
    let values = matches.get_many::<T>(name).into_iter().flatten();
    rules.extend(indices.zip(values.cloned().map(rule)));
}
