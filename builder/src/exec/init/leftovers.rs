//! Ends all that a program left running, where no pid namespace does so.
//!
//! This process is a subreaper: whoever loses its parent becomes its child, so all that a program started is found
//! below it, whatever session or group it moved to. They are stopped first, or a program that starts others
//! faster than they are found would never be at its end.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};

use crate::exec::failure::{Failure, OrFail};

/// More rounds than a program can have us go: each stops all that were started before it.
const MAX_ROUNDS: usize = 1000;

/// Kills every descendant that `proc` shows, and waits for its end.
pub(super) fn end_all(proc: &OwnedFd) -> Result<(), Failure> {
    for _ in 0..MAX_ROUNDS {
        let mut stopped = HashSet::new();
        for _ in 0..MAX_ROUNDS {
            let new: Vec<i32> = descendants(proc).into_iter().filter(|pid| stopped.insert(*pid)).collect();
            if new.is_empty() {
                break;
            }
            signal(&new, Signal::STOP);
        }
        signal(&stopped.into_iter().collect::<Vec<_>>(), Signal::KILL);
        if reap_all(proc)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Reaps until there is no child, or none that was killed.
fn reap_all(proc: &OwnedFd) -> Result<bool, Failure> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CHILD) => return Ok(true),
            Err(error) => return Err(error).or_fail("wait for", "what the program left running"),
        }
        // Orphans of the dead arrive alive.
        if !descendants(proc).is_empty() {
            return Ok(false);
        }
    }
}

fn signal(pids: &[i32], signal: Signal) {
    for &pid in pids {
        // They are not reaped before we do it, so an id is still whose it was; some are dead already.
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Returns the ids of all living processes below this one.
fn descendants(proc: &OwnedFd) -> Vec<i32> {
    let parents = parents(proc);
    let own = getpid().as_raw_nonzero().get();
    let is_below = |pid: i32| {
        let mut at = pid;
        // As long as a chain can be, and no longer: processes come and go while they are listed.
        for _ in 0..parents.len() {
            match parents.get(&at) {
                Some(&parent) if parent == own => return true,
                Some(&parent) => at = parent,
                None => return false,
            }
        }
        false
    };
    parents.keys().copied().filter(|&pid| is_below(pid)).collect()
}

/// Returns the parent of each living process.
fn parents(proc: &OwnedFd) -> HashMap<i32, i32> {
    let entries = Dir::read_from(proc).into_iter().flatten().filter_map(Result::ok);
    let parent = |name: &CStr| {
        let pid: i32 = name.to_str().ok()?.parse().ok()?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mut stat = Vec::new();
        File::from(openat(proc, format!("{pid}/stat"), flags, Mode::empty()).ok()?)
            .read_to_end(&mut stat)
            .ok()?;
        // The name, in brackets, may hold anything.
        let rest = stat.rsplit(|&byte| byte == b')').next()?;
        let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some((pid, parent))
    };
    entries.filter_map(|entry| parent(entry.file_name())).collect()
}
