//! How many descriptors this process may have open, and how many the programs of RUN.
//!
//! ```text
//! started with    soft 1024 │ hard 1048576     what most systems give
//! raise_limit()   soft 65536                   this process alone
//! program         soft 1024                    as it would have in a shell
//! ```
//!
//! Programs are not given the raised limit: some use `select`, which breaks beyond 1024, and some close
//! every descriptor up to the limit, one by one. That is why the soft limit is what it is.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::failure::{Failure, OrFail};

/// Enough for a registry's connections and a build's layers, and far from costing the kernel memory.
const MAX_OPEN: u64 = 65_536;

/// The soft limit that this process was started with, once it was raised.
static STARTED_WITH: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit of open descriptors as far as the hard one allows, to at most 65536.
///
/// For the start of a process. The programs of [`run`](super::run) get the limit that there was before.
/// What cannot be raised stays as it is: a build or two will do with it.
pub fn raise_limit() {
    let given = getrlimit(Resource::Nofile);
    let wanted = given.maximum.unwrap_or(MAX_OPEN).min(MAX_OPEN);
    // Without a soft limit there is nothing to raise.
    let Some(soft) = given.current.filter(|&soft| soft < wanted) else { return };
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: given.maximum }) {
        Ok(()) => drop(STARTED_WITH.set(soft)),
        Err(error) => tracing::debug!(%error, "cannot raise the limit of open descriptors"),
    }
}

/// Returns the soft limit for programs, if it is another than this process's own.
pub(super) fn for_programs() -> Option<u64> {
    STARTED_WITH.get().copied()
}

/// Sets the soft limit of this process, which is about to become a program.
pub(super) fn restore(soft: u64) -> Result<(), Failure> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum })
        .or_fail("restore", "the limit of open descriptors")
}
