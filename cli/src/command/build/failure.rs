//! `--on-error`: what happens where a RUN failed.

use std::env;
use std::io::{stderr, stdin};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use oxbox_builder::exec::{self, ExecError, Exit, Failure, Process, Seat, interact};
use oxbox_builder::op::run::{OnFailure, Place};

use super::OptionError;
use crate::{output, terminal};

/// Where there is always a shell, if there is one.
const USUAL_SHELL: &str = "/bin/sh";

/// What happens where a RUN failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnError {
    /// The build fails.
    Fail,
    /// A shell is opened there; then the build fails.
    Shell,
}

/// Opens a shell in the place of the first RUN that fails.
pub(super) struct Shell {
    // One person sits at the terminal; of several steps that fail at once the first is looked at.
    taken: AtomicBool,
    interrupt: exec::Interrupt,
    // Steps that fail meanwhile wait, so that the build does not end before the shell does.
    open: Mutex<()>,
}

impl Shell {
    /// Returns it, if somebody sits at a terminal.
    pub(super) fn new(interrupt: exec::Interrupt) -> Result<Self, OptionError> {
        let sits = rustix::termios::isatty(stdin()) && rustix::termios::isatty(stderr());
        match sits {
            true => Ok(Self { taken: AtomicBool::new(false), interrupt, open: Mutex::new(()) }),
            false => Err(OptionError::NoTerminal),
        }
    }
}

impl OnFailure for Shell {
    fn failed(&self, place: &Place<'_>) {
        let _open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.taken.swap(true, Ordering::Relaxed) {
            return;
        }
        let held = terminal::hold();
        held.say(&told(place));
        let process = Process { env: environment(place.process), ..place.process.clone() };
        let (keyboard, screen) = (stdin(), stderr());
        let seat = Seat { keyboard: keyboard.as_fd(), screen: screen.as_fd() };
        // Without what makes it read a line: of `/bin/bash -o pipefail -c` the first.
        let own: Vec<String> =
            place.shell.iter().take_while(|word| !word.starts_with('-')).cloned().collect();
        let usual = vec![USUAL_SHELL.to_owned()];
        let mut candidates = vec![own];
        candidates.retain(|own| !own.is_empty() && *own != usual);
        candidates.push(usual);
        let mut absent = None;
        for shell in candidates {
            let process = Process { args: shell, ..process.clone() };
            match interact(&process, &self.interrupt, seat) {
                Ok(_) => return held.say("the shell has ended, and the build fails"),
                Err(ExecError::Failed(
                    failure @ (Failure::NotFound { .. } | Failure::NoInterpreter { .. }),
                )) => {
                    absent = Some(failure);
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                    return held.say(&format!("no shell: {error}{}", cause.unwrap_or_default()));
                }
            }
        }
        if let Some(failure) = absent {
            held.say(&format!("no shell: {failure}"));
        }
    }
}

/// Says what failed, and where one is now.
fn told(place: &Place<'_>) -> String {
    let ended = match place.exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(signal) => format!("was killed by signal {signal}"),
    };
    let mut lines = vec![format!("{} {ended}", place.command)];
    lines
        .extend(place.last.iter().map(|line| format!("  {}", output::clean(&String::from_utf8_lossy(line)))));
    let Process { cwd, user, .. } = place.process;
    let user = if user.is_empty() { "root" } else { user };
    lines.push(format!("a shell where it failed, as {user} in {cwd}; the build fails when it ends"));
    lines.join("\n")
}

/// Adds what programs on a terminal want to know of it.
fn environment(process: &Process) -> Vec<String> {
    let mut variables = process.env.clone();
    let has_kind = variables.iter().any(|variable| variable.starts_with("TERM="));
    variables.extend(env::var("TERM").ok().filter(|_| !has_kind).map(|kind| format!("TERM={kind}")));
    variables
}
