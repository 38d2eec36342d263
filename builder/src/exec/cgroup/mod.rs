//! Control groups: what all processes of a RUN may use together.
//!
//! ```text
//! <hierarchy>/<the builder's own group, or --cgroup-parent>/oxbox-<pid>-<n>/    limits; process 1 and all below
//! <state>/groups/oxbox-<pid>-<n>      locked by the builder: the directories, to be removed after kill -9
//! ```
//!
//! Version 1 has a hierarchy for each controller, version 2 one for all; a machine may have both. A group is
//! made only for limits that were asked for: the end of its pid namespace ends a RUN's processes in any case.
//!
//! In version 2 a group with processes of its own passes no controllers on, and the builder's own group has
//! the builder: groups are made beside it then, where its controllers come from.

mod hierarchy;
mod limits;
mod record;

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::failure::{Failure, OrFail};
use super::sandbox::Resources;
use hierarchy::{Hierarchy, Version};
use limits::Limit;
use record::Record;

pub use record::sweep;

/// How long processes that were killed may take to be gone from a group.
const PATIENCE: Duration = Duration::from_secs(2);

/// The control groups of one RUN, in each hierarchy that limits need; removed when dropped.
#[derive(Debug)]
pub struct Group {
    directories: Vec<PathBuf>,
    // After the directories: without it nobody would know of them.
    _record: Record,
}

/// A limit that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The option that asks for it.
    pub option: &'static str,
    /// Why not.
    pub reason: String,
}

impl Group {
    /// Makes groups with these limits; also returns which limits they do not have, and why.
    ///
    /// # Errors
    ///
    /// If the record in `state` cannot be written.
    pub fn make(resources: &Resources, state: &Path) -> io::Result<(Self, Vec<Lacking>)> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // In a container everybody is process 1: of two of them with one cgroup each must have a name of its own.
        let chance = RandomState::new().hash_one(number);
        let name = format!("oxbox-{}-{number}-{chance:016x}", std::process::id());
        let hierarchies = hierarchy::of_this_process();
        let limits = limits::of(resources);
        let mut record = Record::new(state, &name)?;
        let (mut directories, mut lacking) = (Vec::new(), Vec::new());
        // What belongs to one controller in one hierarchy is one directory.
        for controller in limits::CONTROLLERS {
            let wanted: Vec<_> = limits.iter().filter(|limit| limit.controller == controller).collect();
            if wanted.is_empty() {
                continue;
            }
            let made =
                place(&hierarchies, controller, resources.parent.as_deref()).and_then(|(version, base)| {
                    let directory = base.join(&name);
                    record.note(&directory)?;
                    make_group(&directory, version, controller)?;
                    Ok((version, directory))
                });
            match made {
                Ok((version, directory)) => {
                    lacking.extend(wanted.iter().filter_map(|limit| set(limit, version, &directory)));
                    if !directories.contains(&directory) {
                        directories.push(directory);
                    }
                }
                Err(error) => lacking.extend(wanted.iter().map(|limit| limit.lacking(error.to_string()))),
            }
        }
        lacking.dedup();
        Ok((Self { directories, _record: record }, lacking))
    }

    /// Returns the files that a process writes itself into to be in the groups.
    pub fn entrances(&self) -> Vec<PathBuf> {
        self.directories.iter().map(|directory| directory.join("cgroup.procs")).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in &self.directories {
            if let Err(error) = remove(directory) {
                tracing::warn!(path = %directory.display(), %error, "cannot remove the control group");
            }
        }
    }
}

/// Opens the groups that a process will be in, while the host is in sight.
pub(super) fn open(entrances: &[PathBuf]) -> Result<Vec<File>, Failure> {
    let open = |path: &PathBuf| File::options().write(true).open(path).or_fail("open", path);
    entrances.iter().map(open).collect()
}

/// Moves this process into groups, and all that it will start.
pub(super) fn enter(groups: Vec<File>) -> Result<(), Failure> {
    // Zero is whoever writes it, whatever its number is in this pid namespace.
    groups.into_iter().try_for_each(|mut group| group.write_all(b"0").or_fail("enter", "the control group"))
}

/// Returns where a group for a controller is to be made.
fn place(
    hierarchies: &[Hierarchy],
    controller: &str,
    parent: Option<&Path>,
) -> io::Result<(Version, PathBuf)> {
    let found = hierarchies.iter().find(|hierarchy| hierarchy.has(controller));
    let hierarchy =
        found.ok_or_else(|| io::Error::other(format!("there is no control group of {controller}")))?;
    if let Some(parent) = parent {
        let base = hierarchy.under_top(parent);
        fs::create_dir_all(&base)?;
        if hierarchy.version == Version::Two {
            hierarchy.pass_on_down_to(&base, controller)?;
        }
        return Ok((hierarchy.version, base));
    }
    if hierarchy.version == Version::One {
        return Ok((Version::One, hierarchy.own.clone()));
    }
    let beside = hierarchy.own.parent().filter(|parent| parent.starts_with(&hierarchy.top));
    let candidates = std::iter::once(hierarchy.own.as_path()).chain(beside);
    let mut refused = None;
    for base in candidates {
        match hierarchy::pass_on(base, controller) {
            Ok(()) => return Ok((Version::Two, base.to_owned())),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::from_raw_os_error(libc::ENOENT)))
}

fn make_group(directory: &Path, version: Version, controller: &str) -> io::Result<()> {
    match fs::create_dir(directory) {
        Ok(()) => {}
        // Of version 2, made for another controller.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(named(error, "make", directory)),
    }
    if (version, controller) == (Version::One, "cpuset") {
        // A new one has neither processors nor memory, and so takes no process.
        for name in ["cpuset.cpus", "cpuset.mems"] {
            let above = fs::read_to_string(directory.join("..").join(name))?;
            write(&directory.join(name), above.trim())?;
        }
    }
    Ok(())
}

/// Sets a limit; returns it if it cannot be had.
fn set(limit: &Limit, version: Version, directory: &Path) -> Option<Lacking> {
    let (name, value) = match version {
        Version::One => limit.one.as_ref(),
        Version::Two => limit.two.as_ref(),
    }?;
    let error = write(&directory.join(name), value).err()?;
    match error.kind() {
        // A kernel without accounting of swap: nothing of it can be limited, and few miss it.
        io::ErrorKind::NotFound if limit.matters == limits::Matters::IfThere => None,
        _ => Some(limit.lacking(error.to_string())),
    }
}

/// Ends what is in a group and removes it.
fn remove(directory: &Path) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Where nothing can be removed the kernel says so before it looks for it: it was noted and never made.
            Err(_) if !directory.exists() => return Ok(()),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            Err(_) => {}
        }
        end_all(directory);
        thread::sleep(Duration::from_millis(1));
    }
}

fn end_all(directory: &Path) {
    // Since Linux 5.14, all at once. Version 1 has a list, and what forks meanwhile is in the next one.
    if write(&directory.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let pids = listed.lines().filter_map(|line| line.parse().ok().and_then(rustix::process::Pid::from_raw));
    for pid in pids {
        // It may have ended just now.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Writes a file of a control group: in one call, and never made anew.
fn write(path: &Path, value: &str) -> io::Result<()> {
    let written =
        File::options().write(true).open(path).and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|error| named(error, "write", path))
}

/// Says what was attempted, and keeps the kind.
fn named(error: io::Error, verb: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {verb} {}: {error}", path.display()))
}
