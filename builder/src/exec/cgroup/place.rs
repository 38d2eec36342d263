//! Where a group is made, and how the controllers of version 2 come down to it.
//!
//! ```text
//! version 1    in the builder's own group
//! version 2    the first group     processes ▶ in it
//!              └─ session          ▶ here       no processes, so it may pass controllers on
//!                 └─ own           processes: the builder's, and perhaps a shell's
//! ```
//!
//! A group of version 2 with processes of its own, other than the first one of all, passes nothing on that groups
//! in it could use. For memory the kernel refuses; for cpu, cpuset and pids it does what it is told, makes the group
//! one for threads, and refuses only whoever wants to enter a group in it ([Threads]). So it is not even tried.
//!
//! [Threads]: https://docs.kernel.org/admin-guide/cgroup-v2.html#threads

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::hierarchy::{Hierarchy, Version};
use super::{make_group, named, write};

/// Returns where a group for a controller is to be made, below `parent` if one is named; groups on the way there
/// pass the controller on then.
pub(super) fn find(
    hierarchies: &[Hierarchy],
    controller: &str,
    parent: Option<&Path>,
) -> io::Result<(Version, PathBuf)> {
    let found = hierarchies.iter().find(|hierarchy| hierarchy.has(controller));
    let hierarchy =
        found.ok_or_else(|| io::Error::other(format!("there is no control group of {controller}")))?;
    let version = hierarchy.version;
    let base = match (parent, version) {
        (Some(parent), _) => {
            let base = hierarchy.under_top(parent);
            let ways: Vec<_> = way(hierarchy, &base).into_iter().skip(1).collect();
            ways.into_iter().try_for_each(|group| make_group(group, version, controller))?;
            base
        }
        (None, Version::One) => hierarchy.own.clone(),
        (None, Version::Two) => without_processes(hierarchy)?,
    };
    if version == Version::Two {
        way(hierarchy, &base).into_iter().try_for_each(|group| pass_on(group, controller))?;
    }
    Ok((version, base))
}

/// The groups from the top to `base`, both among them.
fn way<'a>(hierarchy: &Hierarchy, base: &'a Path) -> Vec<&'a Path> {
    let mut groups: Vec<_> = base.ancestors().take_while(|group| group.starts_with(&hierarchy.top)).collect();
    groups.reverse();
    groups
}

fn without_processes(hierarchy: &Hierarchy) -> io::Result<PathBuf> {
    if is_first(&hierarchy.own) {
        return Ok(hierarchy.own.clone());
    }
    let beside = hierarchy.own.parent().filter(|parent| parent.starts_with(&hierarchy.top));
    let unseen = || {
        let own = hierarchy.own.display();
        io::Error::other(format!("{own} has processes of its own, and no group above it is in sight"))
    };
    beside.map(Path::to_owned).ok_or_else(unseen)
}

/// Whether this is the first group of the machine, which may have both processes and groups with limits.
fn is_first(group: &Path) -> bool {
    !group.join("cgroup.type").exists()
}

/// Has a group of version 2 pass a controller on to those in it.
fn pass_on(group: &Path, controller: &str) -> io::Result<()> {
    let read = |name: &str| {
        let path = group.join(name);
        fs::read_to_string(&path).map_err(|error| named(error, "read", &path))
    };
    if !is_first(group) && !read("cgroup.procs")?.trim().is_empty() {
        let group = group.display();
        return Err(io::Error::other(format!(
            "{group} has processes of its own, and so no groups with limits"
        )));
    }
    if read("cgroup.subtree_control")?.split_whitespace().any(|passed| passed == controller) {
        return Ok(());
    }
    write(&group.join("cgroup.subtree_control"), &format!("+{controller}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use super::super::hierarchy::{Hierarchy, Version};
    use super::find;

    /// A hierarchy of version 2: the first group, `slice` in it and `slice/own` in that.
    struct Fake(TempDir);

    impl Fake {
        fn new() -> Self {
            let fake = Self(tempfile::tempdir().unwrap());
            fs::write(fake.path("cgroup.subtree_control"), "").unwrap();
            fake.group("slice", "").group("slice/own", "1\n2\n");
            fake
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn group(&self, name: &str, processes: &str) -> &Self {
            fs::create_dir_all(self.path(name)).unwrap();
            for (file, text) in
                [("cgroup.type", "domain\n"), ("cgroup.procs", processes), ("cgroup.subtree_control", "")]
            {
                fs::write(self.path(name).join(file), text).unwrap();
            }
            self
        }

        fn seen(&self, top: &str, own: &str) -> [Hierarchy; 1] {
            let controllers = ["memory", "pids"].map(str::to_owned).to_vec();
            [Hierarchy { version: Version::Two, top: self.path(top), own: self.path(own), controllers }]
        }

        fn passed(&self, name: &str) -> String {
            fs::read_to_string(self.path(name).join("cgroup.subtree_control")).unwrap()
        }
    }

    #[test]
    fn a_group_with_processes_gets_one_beside_it_and_is_left_alone() {
        let fake = Fake::new();
        for controller in ["pids", "memory"] {
            let (_, base) = find(&fake.seen("", "slice/own"), controller, None).unwrap();
            assert_eq!(base, fake.path("slice"));
        }
        assert_eq!(fake.passed("slice/own"), "");
        assert!(fake.passed("slice").contains("+memory"), "{}", fake.passed("slice"));
    }

    #[test]
    fn what_nobody_passed_on_is_passed_on_from_the_top() {
        let fake = Fake::new();
        find(&fake.seen("", "slice/own"), "pids", None).unwrap();
        assert_eq!((fake.passed(""), fake.passed("slice")), ("+pids".to_owned(), "+pids".to_owned()));
    }

    #[test]
    fn what_was_passed_on_is_not_written_again() {
        let fake = Fake::new();
        for name in ["", "slice"] {
            fs::write(fake.path(name).join("cgroup.subtree_control"), "cpu pids\n").unwrap();
        }
        find(&fake.seen("", "slice/own"), "pids", None).unwrap();
        assert_eq!(
            (fake.passed(""), fake.passed("slice")),
            ("cpu pids\n".to_owned(), "cpu pids\n".to_owned())
        );
    }

    #[test]
    fn the_first_group_may_have_processes_too() {
        let fake = Fake::new();
        fs::write(fake.path("cgroup.procs"), "1\n").unwrap();
        let (_, base) = find(&fake.seen("", ""), "pids", None).unwrap();
        assert_eq!(base, fake.path(""));
    }

    #[test]
    fn a_container_at_its_top_has_nowhere_to_make_one() {
        let fake = Fake::new();
        let refused = find(&fake.seen("slice/own", "slice/own"), "pids", None).unwrap_err().to_string();
        assert!(
            refused.ends_with("has processes of its own, and no group above it is in sight"),
            "{refused}"
        );
        assert_eq!(fake.passed("slice/own"), "");
    }

    #[test]
    fn a_parent_with_processes_is_refused_and_left_alone() {
        let fake = Fake::new();
        let refused = find(&fake.seen("", "slice/own"), "pids", Some(Path::new("slice/own"))).unwrap_err();
        assert!(refused.to_string().contains("own has processes of its own"), "{refused}");
        assert_eq!(fake.passed("slice/own"), "");
    }

    #[test]
    fn a_controller_that_is_nowhere_is_told() {
        let refused = find(&Fake::new().seen("", "slice"), "cpu", None).unwrap_err();
        assert_eq!(refused.to_string(), "there is no control group of cpu");
    }
}
