//! What was typed. What it means is for `settings` and the commands, whose own options stand beside
//! their code; here is what several of them share.
//!
//! Names of options follow Buildah, buildx and Skopeo where they have one.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};

use crate::command::Command;

/// Builds, moves and serves OCI images: one static binary, no daemon.
#[derive(Debug, Parser)]
#[command(name = "oxbox", version, max_term_width = 110, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say more on standard error; twice says what every part does.
    // Not `-v`, which `build` has for volumes as Buildah does; `-D` is Buildah's and Docker's.
    #[arg(short = 'D', long, alias = "debug", action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// How progress looks.
    #[arg(long, value_enum, default_value_t = Progress::Auto, global = true, env = "BUILDKIT_PROGRESS")]
    pub(crate) progress: Progress,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 the command line or the Dockerfile cannot be understood; \
130 interrupted. Results go to standard output, all else to standard error.";

/// How progress looks: buildx's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// tty on a terminal, plain elsewhere.
    Auto,
    /// What goes on now, drawn over and over.
    Tty,
    /// One line for each thing that happens.
    Plain,
    /// One JSON object in each line, as buildx writes them.
    Rawjson,
    /// Errors, and what a failed step said last.
    Quiet,
    /// Errors alone.
    None,
}

/// Where local state is.
#[derive(Debug, Args)]
pub(crate) struct State {
    /// Folder of the store and the cache [default: /var/lib/oxbox for root, else $XDG_DATA_HOME/oxbox]
    #[arg(long, env = "OXBOX_ROOT", value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads the command line; help, versions and mistakes end the process here, mistakes with code 2.
pub(crate) fn parse() -> Arguments {
    Arguments::parse()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
