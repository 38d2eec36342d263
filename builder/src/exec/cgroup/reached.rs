//! Which limits a RUN came up against, as the kernel counted.
//!
//! ```text
//! memory.events         oom_kill 1    version 2
//! memory.oom_control    oom_kill 1    version 1, since Linux 4.13
//! pids.events           max 17        both
//! ```

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What a RUN did not get more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Memory: the kernel killed one of its processes, at its own limit or at that of a group above.
    Memory,
    /// Processes: the kernel refused one.
    Processes,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "it ran out of memory (--memory)",
            Self::Processes => "it was refused more processes (--pids-limit)",
        })
    }
}

/// Files that count, what counts in them, and what it means.
const COUNTERS: [(&str, &str, Reached); 3] = [
    ("memory.events", "oom_kill", Reached::Memory),
    ("memory.oom_control", "oom_kill", Reached::Memory),
    ("pids.events", "max", Reached::Processes),
];

pub(super) fn in_groups(directories: &[PathBuf]) -> Vec<Reached> {
    let mut reached = Vec::new();
    for (file, counter, what) in COUNTERS {
        let has = |directory: &PathBuf| count(&directory.join(file), counter) > 0;
        if !reached.contains(&what) && directories.iter().any(has) {
            reached.push(what);
        }
    }
    reached
}

/// Zero where there is no such file or line.
fn count(path: &Path, counter: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == counter).and_then(|(_, count)| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Reached, in_groups};

    #[test]
    fn counters_of_both_versions_tell() {
        let room = tempfile::tempdir().unwrap();
        let groups = ["one", "two"].map(|name| room.path().join(name));
        for group in &groups {
            fs::create_dir(group).unwrap();
        }
        assert_eq!(in_groups(&groups), []);
        fs::write(groups[0].join("memory.events"), "low 0\nmax 9\noom 3\noom_kill 0\n").unwrap();
        fs::write(groups[1].join("pids.events"), "max 0\n").unwrap();
        assert_eq!(in_groups(&groups), []);
        fs::write(groups[1].join("pids.events"), "max 2\n").unwrap();
        assert_eq!(in_groups(&groups), [Reached::Processes]);
        fs::write(groups[0].join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
            .unwrap();
        assert_eq!(in_groups(&groups), [Reached::Memory, Reached::Processes]);
    }
}
