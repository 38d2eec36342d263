//! `oxbox completions`: a shell's completion script, made from the options themselves.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Arguments;
use crate::output;

/// Options of `oxbox completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell.
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(options: &Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "oxbox", &mut script);
    Ok(output::bytes(&script)?)
}
