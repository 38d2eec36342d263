//! What the allocator does with memory that nobody needs any more.
//!
//! ```text
//! mimalloc 3     keeps it for a second, in case it is wanted again     a build of 20 000 files: 98 MiB at most
//! here           gives it back to the system at once                                            78 MiB
//! ```
//!
//! A build is over in seconds, so that in the end the system lent all that each of its steps needed by
//! itself. Giving back costs some ten thousand page faults more, of 1 % of the CPU time.
//!
//! The option has no safe interface, and none at compile time; users have `MIMALLOC_PURGE_DELAY`.

use libmimalloc_sys as mimalloc;

/// `mi_option_purge_delay` of mimalloc 3, which the binding does not name: milliseconds.
const PURGE_DELAY: mimalloc::mi_option_t = 15;

/// Has freed memory given back to the system at once, unless the environment says otherwise.
///
/// For the start of a process. Of no effect unless mimalloc is its allocator.
#[allow(unsafe_code)]
pub fn give_back_at_once() {
    // SAFETY: the call writes one number of a table that lives as long as the process, for an index that
    // is below the table's length. Other threads, of which there are none yet, would read the number only.
    unsafe { mimalloc::mi_option_set_default(PURGE_DELAY, 0) }
}
