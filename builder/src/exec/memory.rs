//! Pages of this process, and those of the programs of RUN.
//!
//! ```text
//! huge pages     a page of 2 MiB wherever one byte of it is touched     a build of 20 000 files: 84 MiB at most
//! small ones     4 KiB                                                                           57 MiB
//! ```
//!
//! What a build holds is in many small pieces, most of them for a moment. Programs get what they would
//! have in a shell: the setting outlives execve, and so is taken back before.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};

/// Whether this process did without huge pages only because it said so itself.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// Has the kernel give this process small pages only, from here on.
///
/// For the start of a process. The programs of [`run`](super::run) get what there was before.
pub fn refuse_huge_pages() {
    // Under an older kernel or a filter it takes more memory.
    if transparent_huge_pages_are_disabled() == Ok(false) && disable_transparent_huge_pages(true).is_ok() {
        REFUSED.store(true, Ordering::Relaxed);
    }
}

/// Whether programs are to have huge pages although this process has not.
pub(super) fn for_programs() -> bool {
    REFUSED.load(Ordering::Relaxed)
}

/// Lets this process, and what it starts, have huge pages.
pub(super) fn allow_huge_pages() {
    // A program without them runs as well, if perhaps not as fast.
    let _ = disable_transparent_huge_pages(false);
}
