//! `drivers`: lists the drivers, or the options of one.

use anystorage::config::{CommonOptions, DeclaredOptions, OptionSpec};
use anystorage::{DriverDescription, Registry};

use crate::exit::{ExitStatus, Failure};
use crate::output::Output;

/// List the drivers and their URL forms, or the options of one driver
///
/// With a NAME, prints the type, default and purpose of each option, and the common options of all
/// drivers at the end. Defaults have the syntax of a configuration file.
///
/// Exit codes: 0 success, 2 unknown driver or wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage drivers       list the drivers
  anystorage drivers s3    list the options of one")]
pub(crate) struct Args {
    /// The driver whose options to list
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(crate) fn run(args: &Args, registry: &Registry) -> Result<ExitStatus, Failure> {
    let mut output = Output::new();
    match &args.name {
        Some(name) => {
            let driver = registry.describe(name).ok_or_else(|| unknown_driver(name, registry))?;
            options(&driver, &mut output)?;
        }
        None => drivers(registry, &mut output)?,
    }
    output.flush()?;
    Ok(ExitStatus::Success)
}

fn unknown_driver(name: &str, registry: &Registry) -> Failure {
    let known = registry.drivers().collect::<Vec<_>>().join(", ");
    Failure::usage(format!("no driver is called {name:?}; known drivers: {known}"))
}

/// Prints a line for each driver.
fn drivers(registry: &Registry, output: &mut Output) -> Result<(), Failure> {
    let drivers: Vec<_> = registry.drivers().filter_map(|name| registry.describe(name)).collect();
    let width = drivers.iter().map(|driver| driver.name.len()).max().unwrap_or_default();
    for driver in &drivers {
        output.line(&format!("{:width$}  {}", driver.name, url_forms(driver)))?;
    }
    Ok(())
}

fn url_forms(driver: &DriverDescription<'_>) -> String {
    match driver.url_forms.as_slice() {
        [] => "(configuration file only)".to_owned(),
        forms => forms.join("  "),
    }
}

/// Prints the options of a driver.
fn options(driver: &DriverDescription<'_>, output: &mut Output) -> Result<(), Failure> {
    output.line(&format!("{}  {}", driver.name, url_forms(driver)))?;
    let tables = [("Options", driver.options), ("Options of every driver", CommonOptions::SPECS)];
    let all = || tables.iter().flat_map(|(_, options)| options.iter());
    let names = all().map(|option| option.name().len()).max().unwrap_or_default();
    let kinds = all().map(|option| plain(option.kind()).len()).max().unwrap_or_default();
    for (title, options) in tables.iter().filter(|(_, options)| !options.is_empty()) {
        output.line("")?;
        output.line(&format!("{title}:"))?;
        for option in *options {
            output.line(line(option, names, kinds).trim_end())?;
            output.line(&format!("      {}", plain(&option.help())))?;
        }
    }
    Ok(())
}

fn line(option: &OptionSpec, names: usize, kinds: usize) -> String {
    let default = plain(&option.default().to_string());
    format!("  {:names$}  {:kinds$}  {default}", option.name(), plain(option.kind()))
}

/// Returns a text without the backticks of Markdown.
fn plain(text: &str) -> String {
    text.replace('`', "")
}
