//! Limits of each process, set just before it becomes the program.

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::sandbox::Ulimit;
use crate::exec::{descriptors, sys};

/// Sets the limits, and the one of open descriptors that oxbox was started with if none of them is it.
pub(super) fn set(limits: &[Ulimit], descriptors: Option<u64>) -> Result<(), Failure> {
    // RLIMIT_NOFILE.
    const DESCRIPTORS: u32 = 7;
    if let Some(soft) = descriptors.filter(|_| limits.iter().all(|limit| limit.resource != DESCRIPTORS)) {
        descriptors::restore(soft)?;
    }
    for limit in limits {
        match sys::limit(limit.resource, limit.soft, limit.hard).map_err(Errno::from) {
            Ok(()) => {}
            // Raising a hard limit needs CAP_SYS_RESOURCE, which containers rarely have.
            Err(errno @ Errno(libc::EPERM)) => {
                return Err(Failure::Ulimit { limit: limit.to_string(), errno });
            }
            Err(errno) => return Err(errno).or_fail("set the limit", limit.to_string()),
        }
    }
    Ok(())
}
