//! Control groups: what all processes of a RUN may use together.
//!
//! ```text
//! <hierarchy>/<where place.rs says>/oxbox-<pid>-<n>/    limits; process 1 and all below
//! <state>/groups/oxbox-<pid>-<n>      locked by the builder: the directories, to be removed after kill -9
//! ```
//!
//! Version 1 has a hierarchy for each controller, version 2 one for all; a machine may have both. A group is
//! made only for limits that were asked for, or to be in a group that was named: the end of its pid namespace ends
//! a RUN's processes in any case.

mod hierarchy;
mod limits;
mod place;
mod reached;
mod record;

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{WaitOptions, waitpid};

use super::failure::{Failure, OrFail};
use super::sandbox::Resources;
use super::sys;
use hierarchy::{Hierarchy, Version};
use limits::Limit;
use record::Record;

pub use reached::Reached;
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
        let name = name();
        let hierarchies = hierarchy::of_this_process();
        let limits = limits::of(resources);
        let mut record = Record::new(state, &name)?;
        let (mut directories, mut lacking) = (Vec::new(), Vec::new());
        // What belongs to one controller in one hierarchy is one directory.
        for controller in limits::CONTROLLERS {
            let wanted: Vec<_> = limits.iter().filter(|limit| limit.controller == controller).collect();
            let parent = resources.parent.as_deref();
            if wanted.is_empty() && parent.is_none() {
                continue;
            }
            let made = place::find(&hierarchies, controller, parent).and_then(|(version, base)| {
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
                Err(error) if wanted.is_empty() => {
                    lacking.push(Lacking { option: "cgroup-parent", reason: error.to_string() });
                }
                Err(error) => lacking.extend(wanted.iter().map(|limit| limit.lacking(error.to_string()))),
            }
        }
        lacking.dedup();
        Ok((Self { directories, _record: record }, lacking))
    }

    /// Notes the groups that a runtime will make for a container of this name, and returns what it is to be told of
    /// them: `linux.cgroupsPath`.
    ///
    /// # Errors
    ///
    /// If the record in `state` cannot be written.
    pub fn of_container(resources: &Resources, state: &Path) -> io::Result<(Self, String, Option<String>)> {
        let name = name();
        let mut record = Record::new(state, &name)?;
        let (directories, path) = made_by_runtime(&hierarchy::of_this_process(), resources, &name);
        directories.iter().try_for_each(|directory| record.note(directory))?;
        Ok((Self { directories, _record: record }, name, path))
    }

    /// Returns the files that a process writes itself into to be in the groups.
    pub fn entrances(&self) -> Vec<PathBuf> {
        self.directories.iter().map(|directory| directory.join("cgroup.procs")).collect()
    }

    /// Tries to enter, with a process that does nothing else.
    ///
    /// Whoever may make groups need not be able to move there: that takes rights over the group that is above
    /// both, and delegations end.
    ///
    /// # Errors
    ///
    /// The first entrance that lets nobody in.
    pub fn try_entering(&self) -> io::Result<()> {
        for path in self.entrances() {
            let file =
                File::options().write(true).open(&path).map_err(|error| named(error, "open", &path))?;
            let child = sys::fork(|| rustix::io::write(&file, b"0").map_or_else(Errno::raw_os_error, |_| 0))?;
            let status = loop {
                match waitpid(Some(child), WaitOptions::empty()) {
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                    Ok(status) => break status.and_then(|(_, status)| status.exit_status()),
                }
            };
            match status {
                Some(0) => {}
                // An errno fits into the byte that is left of a code.
                Some(errno) => return Err(named(io::Error::from_raw_os_error(errno), "enter", &path)),
                None => return Err(named(io::ErrorKind::Interrupted.into(), "enter", &path)),
            }
        }
        Ok(())
    }

    /// Returns which limits its processes came up against.
    pub fn reached(&self) -> Vec<Reached> {
        reached::in_groups(&self.directories)
    }
}

/// Returns everything that is wanted as lacking for one reason.
pub fn all_lacking(resources: &Resources, reason: &str) -> Vec<Lacking> {
    let parent =
        resources.parent.iter().map(|_| Lacking { option: "cgroup-parent", reason: reason.to_owned() });
    parent.chain(limits::of(resources).iter().map(|limit| limit.lacking(reason.to_owned()))).collect()
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

/// Returns a name that no other process's group has.
fn name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // In a container everybody is process 1, and two of them may have one place for groups.
    let chance = RandomState::new().hash_one(number);
    format!("oxbox-{}-{number}-{chance:016x}", std::process::id())
}

/// Returns where a runtime makes groups, and what it is told.
///
/// A relative path means below its own group, of each hierarchy, to runc, and from the top to crun. With version 2
/// alone it is told the one place: beside this process's own group, which has processes and so passes nothing on.
fn made_by_runtime(
    hierarchies: &[Hierarchy],
    resources: &Resources,
    name: &str,
) -> (Vec<PathBuf>, Option<String>) {
    let text = |path: &Path| path.to_str().map(|path| format!("/{}", path.trim_start_matches('/')));
    if let Some(parent) = &resources.parent {
        let places = hierarchies.iter().map(|hierarchy| hierarchy.under_top(parent).join(name));
        return (places.collect(), text(&parent.join(name)));
    }
    if let [hierarchy] = hierarchies
        && hierarchy.version == Version::Two
    {
        let beside = hierarchy.own.parent().filter(|parent| parent.starts_with(&hierarchy.top));
        let place = beside.unwrap_or(&hierarchy.own).join(name);
        let path = place.strip_prefix(&hierarchy.top).ok().and_then(text);
        return (vec![place], path);
    }
    let places =
        hierarchies.iter().flat_map(|hierarchy| [hierarchy.own.join(name), hierarchy.top.join(name)]);
    let mut places: Vec<_> = places.collect();
    places.dedup();
    (places, (!hierarchies.is_empty()).then(|| name.to_owned()))
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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::hierarchy::{Hierarchy, Version};
    use super::{Resources, made_by_runtime};

    fn hierarchy(version: Version, top: &str, own: &str) -> Hierarchy {
        Hierarchy { version, top: top.into(), own: own.into(), controllers: Vec::new() }
    }

    fn made(hierarchies: &[Hierarchy], parent: Option<&str>) -> (Vec<PathBuf>, Option<String>) {
        let resources = Resources { parent: parent.map(PathBuf::from), ..Resources::default() };
        made_by_runtime(hierarchies, &resources, "n")
    }

    #[test]
    fn with_version_two_alone_a_runtime_is_told_the_place_beside_our_own_group() {
        let own = hierarchy(Version::Two, "/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/x.scope");
        let (places, path) = made(&[own], None);
        assert_eq!(
            (&places[..], path.as_deref()),
            (&["/sys/fs/cgroup/user.slice/n".into()][..], Some("/user.slice/n"))
        );
        // At the top there is nothing beside.
        let (places, path) = made(&[hierarchy(Version::Two, "/c", "/c")], None);
        assert_eq!((&places[..], path.as_deref()), (&["/c/n".into()][..], Some("/n")));
    }

    #[test]
    fn with_version_one_both_meanings_of_a_relative_path_are_noted() {
        let both = [hierarchy(Version::One, "/m", "/m/a"), hierarchy(Version::Two, "/u", "/u")];
        let (places, path) = made(&both, None);
        assert_eq!(path.as_deref(), Some("n"));
        let expected: Vec<PathBuf> = ["/m/a/n", "/m/n", "/u/n"].map(PathBuf::from).to_vec();
        assert_eq!(places, expected);
    }

    #[test]
    fn a_parent_is_where_it_says_and_without_hierarchies_nothing_is_told() {
        let (places, path) = made(&[hierarchy(Version::One, "/m", "/m/a")], Some("p/q"));
        assert_eq!((places[0].as_path(), path.as_deref()), (Path::new("/m/p/q/n"), Some("/p/q/n")));
        assert_eq!(made(&[], None), (Vec::new(), None));
    }
}
