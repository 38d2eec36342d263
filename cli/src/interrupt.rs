//! Ctrl-C and SIGTERM: the first asks the work to stop in order, the second ends the process at once.
//!
//! ```text
//! signal ─▶ thread "signals" ─▶ Interrupt::happened ─▶ the work is dropped, its runtime waits for its
//!                     └ again ─▶ exit 130              threads to discard what is half done
//! ```

use std::io;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Exit code of an interrupted command: 128 and SIGINT, as shells count.
pub(crate) const INTERRUPTED: u8 = 130;

/// The work was stopped by a signal.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// Signals cannot be caught.
#[derive(Debug, thiserror::Error)]
#[error("cannot catch signals")]
pub(crate) struct InterruptError(#[source] io::Error);

/// Tells whether a signal came; clones tell the same.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Catches signals from now on, until the process ends.
    pub(crate) fn watch() -> Result<Self, InterruptError> {
        let runtime = Builder::new_current_thread().enable_io().build().map_err(InterruptError)?;
        let signals = {
            let _entered = runtime.enter();
            (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?)
        };
        let (sender, receiver) = watch::channel(false);
        let listen = move || runtime.block_on(listen(signals, sender));
        thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(InterruptError)?;
        Ok(Self(receiver))
    }

    /// Returns whether a signal has come.
    pub(crate) fn has_happened(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once a signal has come.
    pub(crate) async fn happened(mut self) {
        // The sender lives in a thread that never ends.
        let _ = self.0.wait_for(|&happened| happened).await;
    }
}

fn catch(kind: SignalKind) -> Result<Signal, InterruptError> {
    signal(kind).map_err(InterruptError)
}

async fn listen((mut interrupt, mut terminate): (Signal, Signal), sender: watch::Sender<bool>) {
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    next().await;
    sender.send_replace(true);
    next().await;
    std::process::exit(i32::from(INTERRUPTED));
}
