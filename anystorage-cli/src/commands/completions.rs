//! `completions`: prints the completions of a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::{ExitStatus, Failure};
use crate::output::Output;

/// Print the completions of a shell: bash, elvish, fish, powershell or zsh
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bash:  anystorage completions bash > ~/.local/share/bash-completion/completions/anystorage
  zsh:   anystorage completions zsh > /usr/local/share/zsh/site-functions/_anystorage
  fish:  anystorage completions fish > ~/.config/fish/completions/anystorage.fish")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<ExitStatus, Failure> {
    // The generator panics if it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "anystorage", &mut script);
    let mut output = Output::new();
    output.bytes(&script)?;
    output.flush()?;
    Ok(ExitStatus::Success)
}
