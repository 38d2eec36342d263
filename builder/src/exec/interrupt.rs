//! Passes a signal on to every program that runs in a sandbox.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::plan;

/// A handle for whoever catches Ctrl-C; clones are the same handle.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    running: BTreeMap<u64, UnixStream>,
    next: u64,
    sent: bool,
}

/// A running sandbox's place in the handle; given back when dropped.
#[derive(Debug)]
pub(super) struct Registration {
    interrupt: Interrupt,
    key: u64,
}

impl Interrupt {
    /// Returns a handle that nothing was sent through.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `signal` to the process group of every running program; none is started from now on.
    ///
    /// May be repeated, with SIGKILL for programs that do not listen. Does not wait for them to end.
    pub fn send(&self, signal: u8) {
        let mut state = self.lock();
        state.sent = true;
        for socket in state.running.values() {
            // An error means that this sandbox ended just now, which is what the signal was for.
            let _ = plan::write(socket, &[signal]);
        }
    }

    /// Returns whether something was sent.
    pub fn is_sent(&self) -> bool {
        self.lock().sent
    }

    /// Adds a sandbox by its control socket; `None` if a signal was sent before.
    pub(super) fn register(&self, socket: UnixStream) -> Option<Registration> {
        let mut state = self.lock();
        if state.sent {
            return None;
        }
        let key = state.next;
        state.next += 1;
        state.running.insert(key, socket);
        Some(Registration { interrupt: self.clone(), key })
    }

    // Nothing can panic while it is held, and the map stays whole if something did.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.interrupt.lock().running.remove(&self.key);
    }
}
