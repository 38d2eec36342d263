//! What a test started and what that left: processes, mounts, control groups.
//!
//! This process adopts whoever loses its parent below it, so that nobody is lost from sight, whatever session he hides
//! in: what lives below is found by the parents' ids in /proc.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

/// What the slowest machine may take to do what takes milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const LOOK: Duration = Duration::from_millis(1);

/// A process below this one.
#[derive(Debug, Clone)]
pub(crate) struct Below {
    pub(crate) pid: i32,
    parent: i32,
    /// Its words, between blanks.
    pub(crate) words: String,
    is_dead: bool,
}

/// Has whoever loses its parent from now on become this process's child.
pub(crate) fn adopt_orphans() {
    set_child_subreaper(Some(getpid())).unwrap();
}

/// Returns all that live below this process, and buries those adopted who do not.
pub(crate) fn living() -> Vec<Below> {
    let all: HashMap<i32, Below> = pids().filter_map(Below::read).map(|one| (one.pid, one)).collect();
    let own = getpid().as_raw_nonzero().get();
    let is_below = |one: &&Below| {
        let mut at = one.parent;
        for _ in 0..all.len() {
            match all.get(&at) {
                _ if at == own => return true,
                Some(next) => at = next.parent,
                None => return false,
            }
        }
        false
    };
    all.values().filter(is_below).filter(|one| !one.is_dead).cloned().collect()
}

/// Waits until nobody lives below this process but those that `may`.
#[track_caller]
pub(crate) fn until_gone(what: &str, may: impl Fn(&Below) -> bool) {
    let begun = Instant::now();
    loop {
        bury(&may);
        let left: Vec<Below> = living().into_iter().filter(|one| !may(one)).collect();
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: still running: {left:#?}");
        thread::sleep(LOOK);
    }
}

/// Starts a builder, and returns it once it is there: the child itself, or deep down in a container.
///
/// It is not below its child then: who stands by a container is nobody's child.
#[track_caller]
pub(crate) fn start_builder(command: &mut Command, said: &Path) -> (Child, Pid) {
    let before: Vec<i32> = builders().collect();
    let child = command.spawn().unwrap();
    // It may have forked already.
    let new = || builders().filter(|pid| !before.contains(pid)).min().and_then(Pid::from_raw);
    (child, there_is(new, said))
}

/// Waits until there is what is looked for.
#[track_caller]
fn there_is<T>(look: impl Fn() -> Option<T>, said: &Path) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        let told = || fs::read_to_string(said).unwrap_or_default();
        assert!(begun.elapsed() < PATIENCE, "no builder was started: {}", told());
        thread::sleep(LOOK);
    }
}

fn builders() -> impl Iterator<Item = i32> {
    let is_builder = |one: &Below| {
        let mut words = one.words.split(' ');
        words.next() == Some(env!("CARGO_BIN_EXE_oxbox")) && words.next() == Some("build")
    };
    let all: Vec<i32> = living().into_iter().filter(is_builder).map(|one| one.pid).collect();
    // What a builder has just forked looks like it until it is executed.
    let known = all.clone();
    all.into_iter().filter(move |&pid| parent(pid).is_none_or(|parent| !known.contains(&parent)))
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Asserts that nothing of a folder is mounted anywhere.
#[track_caller]
pub(crate) fn assert_unmounted(folder: &Path) {
    let folder = folder.to_str().unwrap();
    let begun = Instant::now();
    for pid in pids() {
        while let Ok(mounts) = fs::read_to_string(format!("/proc/{pid}/mountinfo")) {
            let left: Vec<&str> = mounts.lines().filter(|line| line.contains(folder)).collect();
            if left.is_empty() {
                break;
            }
            // A container's own are taken away by who tidies up after it.
            assert!(begun.elapsed() < PATIENCE, "still mounted for {pid}: {left:#?}");
            thread::sleep(LOOK);
        }
    }
}

/// Returns the control groups that builders of this name made.
pub(crate) fn groups_of(builders: &[i32]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let builder = name.strip_prefix("oxbox-").and_then(|rest| rest.split('-').next());
            if builder.and_then(|pid| pid.parse().ok()).is_some_and(|pid: i32| builders.contains(&pid)) {
                found.push(entry.path().display().to_string());
            }
            folders.push(entry.path());
        }
    }
    found
}

impl Below {
    /// `None` if it is gone.
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may hold anything.
        let rest = String::from_utf8_lossy(stat.rsplit(|&byte| byte == b')').next()?).into_owned();
        let mut fields = rest.split_ascii_whitespace();
        let is_dead = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
        Some(Self { pid, parent, words, is_dead })
    }
}

/// Waits for children that ended and were not started here.
fn bury(may: &impl Fn(&Below) -> bool) {
    let own = getpid().as_raw_nonzero().get();
    let dead = pids().filter_map(Below::read).filter(|one| one.is_dead && one.parent == own && !may(one));
    for one in dead {
        let _ = waitpid(Pid::from_raw(one.pid), WaitOptions::NOHANG);
    }
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
