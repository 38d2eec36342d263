//! Whose processes a program lives among, and which /proc shows them.
//!
//! ```text
//!             pid namespace    /proc            what keeps signals in   what ends a run
//! own         new              new              the namespace           the kernel, with process 1
//! shared      the container's  the container's  Landlock                we find and kill each process
//! renumbered  new              the container's  the namespace           the kernel, with process 1
//! ```
//!
//! A container hides parts of its /proc (masked and read-only paths), and the kernel lets nobody in a user namespace
//! mount another one where these would be in sight; `subset=pid` and `hidepid` change nothing about that. But its
//! own can be seen in a second place, masks and all. There a process has the number that the container gives it.
//! So the program either lives among the container's processes, as long as it can be kept from signalling them;
//! or /proc knows it by another number than it knows itself by: what leads through /proc/self is right, and
//! `/proc/$$` is not.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Obstacle;

/// Whose processes a program lives among.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Processes {
    /// Its run's, as its own /proc shows them.
    Own,
    /// The container's, of which it can signal only its run's.
    Shared,
    /// Its run's, which the container's /proc shows among all others and under other numbers.
    Renumbered,
}

impl Processes {
    /// All, the best one first.
    pub(super) const ALL: [Self; 3] = [Self::Own, Self::Shared, Self::Renumbered];

    /// Whether a run has a pid namespace of its own, so that the kernel ends what it leaves running.
    pub(in crate::exec) fn are_separate(self) -> bool {
        self != Self::Shared
    }

    /// Whether /proc is the container's.
    pub(in crate::exec) fn are_shown_by_the_container(self) -> bool {
        self != Self::Own
    }
}

impl fmt::Display for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "a /proc of its own",
            Self::Shared => "the container's /proc and process numbers",
            Self::Renumbered => "the container's /proc, whose process numbers are not the program's",
        })
    }
}

/// How a rung holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Whose processes a program lives among there.
    pub processes: Processes,
    /// Why not among its own, if that could not be had.
    pub because: Option<Obstacle>,
}

impl Hold {
    /// With all that a rung can have.
    pub(super) fn full() -> Self {
        Self { processes: Processes::Own, because: None }
    }
}
