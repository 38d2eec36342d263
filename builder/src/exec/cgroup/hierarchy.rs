//! The hierarchies of this machine, and where this process is in them.
//!
//! ```text
//! /proc/self/cgroup      4:memory:/user/1        version 1: number, controllers, group
//!                        0::/user.slice/s.scope  version 2
//! /proc/self/mountinfo   35 31 0:32 / /sys/fs/cgroup/memory rw … - cgroup cgroup rw,memory
//!                                   └ what of the hierarchy is mounted there
//! ```

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Which interface a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A hierarchy that is mounted here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    /// Where it is mounted.
    pub(super) top: PathBuf,
    /// This process's own group.
    pub(super) own: PathBuf,
    pub(super) controllers: Vec<String>,
}

impl Hierarchy {
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }

    /// Returns where a group named from the top is; what leads out of the top stays in it.
    pub(super) fn under_top(&self, group: &Path) -> PathBuf {
        let names = group.components().filter(|part| matches!(part, Component::Normal(_)));
        self.top.join(names.collect::<PathBuf>())
    }
}

/// Returns the hierarchies that this process is in and that are mounted in its sight.
pub(super) fn of_this_process() -> Vec<Hierarchy> {
    let read = |path: &str| {
        fs::read_to_string(path)
            .inspect_err(|error| tracing::debug!(%error, path, "cannot read"))
            .unwrap_or_default()
    };
    let mut found = parse(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
    for hierarchy in &mut found {
        if hierarchy.version == Version::Two {
            // Those that the top has may be less than what the machine knows: version 1 takes some away. What the
            // top has can come down to anywhere.
            let names = fs::read_to_string(hierarchy.top.join("cgroup.controllers")).unwrap_or_default();
            hierarchy.controllers = names.split_whitespace().map(str::to_owned).collect();
        }
    }
    found
}

fn parse(groups: &str, mounts: &str) -> Vec<Hierarchy> {
    let mounts: Vec<Mounted> = mounts.lines().filter_map(mounted).collect();
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let controllers: Vec<String> =
            controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let version = if controllers.is_empty() { Version::Two } else { Version::One };
        let mount = mounts.iter().find(|mount| match version {
            Version::Two => mount.kind == "cgroup2",
            Version::One => {
                mount.kind == "cgroup"
                    && controllers.iter().all(|name| mount.options.split(',').any(|o| o == name))
            }
        });
        let Some(mount) = mount else { continue };
        // A container may see only its own part of the hierarchy, though its group is named from the top.
        let inside = Path::new(group).strip_prefix(mount.root).unwrap_or(Path::new(""));
        let inside: PathBuf =
            inside.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let top = PathBuf::from(mount.at);
        let own = if inside.as_os_str().is_empty() { top.clone() } else { top.join(inside) };
        found.push(Hierarchy { version, own, top, controllers });
    }
    found
}

struct Mounted<'a> {
    root: &'a str,
    at: &'a str,
    kind: &'a str,
    options: &'a str,
}

fn mounted(line: &str) -> Option<Mounted<'_>> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, at) = (before.next()?, before.next()?);
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    Some(Mounted { root, at, kind, options })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Version, parse};

    const MOUNTS: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn both_versions_are_found_on_one_machine() {
        let found = parse("4:memory:/a/b\n9:name=systemd:/\n2:cpu,cpuacct:/\n0::/user.slice/x\n", MOUNTS);
        let seen: Vec<_> = found.iter().map(|one| (one.version, one.own.to_str().unwrap())).collect();
        assert_eq!(
            seen,
            [
                (Version::One, "/sys/fs/cgroup/memory/a/b"),
                (Version::One, "/sys/fs/cgroup/systemd"),
                (Version::One, "/sys/fs/cgroup/cpu"),
                (Version::Two, "/sys/fs/cgroup/unified/user.slice/x"),
            ]
        );
        assert!(found[0].has("memory") && found[2].has("cpu") && !found[0].has("cpu"));
    }

    #[test]
    fn a_container_that_sees_its_own_part_only_is_at_its_top() {
        let mounts = "1 2 0:3 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(parse("0::/docker/abc\n", mounts)[0].own, Path::new("/sys/fs/cgroup"));
        // In a namespace of its own, entered from outside.
        assert_eq!(parse("0::/../x\n", mounts)[0].own, Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn a_parent_stays_below_the_top() {
        let found = parse("4:memory:/\n", MOUNTS);
        assert_eq!(found[0].under_top(Path::new("/../a/./b")), Path::new("/sys/fs/cgroup/memory/a/b"));
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        assert!(parse("nonsense\n1:memory\n7:pids:/x\n", MOUNTS).is_empty());
        assert!(parse("4:memory:/a\n", "nonsense\n1 2 - \n").is_empty());
    }
}
