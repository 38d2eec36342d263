//! The init: what the re-executed binary does instead of being oxbox.
//!
//! ```text
//! outer      the init itself: mount namespace, root, mount points, user; cleans up after all is over
//! first      process 1 of the sandbox: the other namespaces, /proc /sys /dev; reaps; passes signals on
//! leftovers  what is still running at the end, where the kernel does not end it
//! program    between fork and execve: capabilities, seccomp, user, working directory
//! root       where the root file system comes from      mountpoint   places to mount at, made and unmade
//! mounts     what is mounted there                       devices      /dev
//! limits     of each process                             seccomp      calls that are refused
//! runtime    the same by another's program               chroot       where nothing can be mounted
//! ```

mod capabilities;
mod chroot;
mod devices;
mod first;
mod leftovers;
mod limits;
mod listener;
mod mountpoint;
mod mounts;
mod outer;
mod owners;
mod program;
mod root;
mod runtime;
mod seccomp;
mod terminal;

use std::process::ExitCode;

use super::plan::INIT_NAME;

/// Acts as the sandbox's init if this process was started as one; `None` otherwise.
///
/// Must be the first call of `main`, before any thread exists.
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     if let Some(code) = oxbox_builder::exec::init_main() {
///         return code;
///     }
///     ExitCode::SUCCESS // what the program is otherwise for
/// }
/// ```
pub fn init_main() -> Option<ExitCode> {
    let name = std::env::args_os().next()?;
    (name == INIT_NAME).then(outer::main)
}
