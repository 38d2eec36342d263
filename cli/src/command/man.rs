//! `oxbox man`: the manual pages, made from the options themselves; for those who package oxbox.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use crate::args::Arguments;

/// Options of `oxbox man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Folder for the pages.
    folder: PathBuf,
}

/// Why the pages cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write manual pages into {folder}", folder = .folder.display())]
pub(crate) struct ManError {
    folder: PathBuf,
    #[source]
    source: io::Error,
}

/// Writes `oxbox.1` and a page for each command.
pub(super) fn run(options: &Man) -> anyhow::Result<()> {
    let failed = |source| ManError { folder: options.folder.clone(), source };
    fs::create_dir_all(&options.folder).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), &options.folder).map_err(failed)?;
    Ok(())
}
