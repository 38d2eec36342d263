//! Where the binary's blocking world calls the asynchronous one: one call for each command.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::interrupt::{Interrupt, Interrupted};

/// The runtime cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot start threads")]
pub(crate) struct RuntimeError(#[source] io::Error);

/// Runs a command's work until it is done, or until a signal comes.
///
/// Dropped work discards what it has half done; this returns when that has happened.
pub(crate) fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let interrupt = Interrupt::watch()?;
    start()?.block_on(async {
        tokio::select! {
            result = work => result,
            () = interrupt.happened() => Err(Interrupted.into()),
        }
    })
}

/// Starts a runtime with a thread for each processor.
pub(crate) fn start() -> Result<Runtime, RuntimeError> {
    Builder::new_multi_thread().enable_all().build().map_err(RuntimeError)
}
