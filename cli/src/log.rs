//! Logs: what the parts say while they work, on standard error.
//!
//! `-v` and `-vv` say more; `OXBOX_LOG` takes a filter as `tracing` writes them and decides alone.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::terminal::Lines;

/// What a command says without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Default {
    /// What is wrong, though not wrong enough to fail.
    Warnings,
    /// What happens.
    Events,
}

/// Lets logs go to standard error.
pub(crate) fn start(verbose: u8, default: Default) {
    let level = match (default, verbose) {
        (Default::Warnings, 0) => LevelFilter::WARN,
        (Default::Warnings, 1) | (Default::Events, 0) => LevelFilter::INFO,
        (Default::Warnings, 2) | (Default::Events, 1) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let builder = EnvFilter::builder().with_default_directive(level.into());
    let filter = builder.with_env_var("OXBOX_LOG").from_env_lossy();
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Lines).with_ansi(ansi).init();
}
