//! Which way of running programs this process may take: the rungs of a ladder, the best one first.
//!
//! ```text
//! root        own namespaces over overlayfs                          CAP_SYS_ADMIN of the machine
//! rootless    the same inside a user namespace, many ids             newuidmap, newgidmap, /etc/subuid
//! single-id   the same with one id; other owners are written down    a user namespace
//!                                                                    (both: `processes.rs` has what /proc is there)
//! chroot      a changed root over a plain directory, no mount        CAP_SYS_CHROOT, CAP_CHOWN, …
//! none        RUN is refused; everything else builds
//! ```
//!
//! Each rung is tried for real, in a child process that does what a RUN would do (`trial.rs`), for no switch
//! of the kernel tells the whole truth: seccomp, AppArmor, masked mounts and filesystems have their say too.
//!
//! A process stands on one rung from its start to its end. Two of them are a user namespace that the whole
//! process enters ([`stand`]), since snapshots of mapped owners can only be made and removed from inside.
//! The others need nothing before there is a RUN, and so are tried only then ([`standing`]).

mod obstacle;
mod processes;
mod subordinate;
mod trial;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

pub use obstacle::Obstacle;
pub use processes::{Hold, Processes};
pub(super) use subordinate::{Ids, Mapping};

use super::userns;

/// A way of running programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// As root, in namespaces, over overlayfs.
    Root,
    /// In a user namespace with subordinate ids, over overlayfs.
    Rootless,
    /// In a user namespace with a single id, over overlayfs.
    SingleId,
    /// In a changed root, over a plain directory.
    Chroot,
    /// Not at all.
    None,
}

impl Rung {
    /// All of them, the best one first.
    pub const ALL: [Self; 5] = [Self::Root, Self::Rootless, Self::SingleId, Self::Chroot, Self::None];

    /// Whether the process is in a user namespace that it made for itself.
    pub fn is_in_user_namespace(self) -> bool {
        matches!(self, Self::Rootless | Self::SingleId)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Rootless => "rootless",
            Self::SingleId => "single-id",
            Self::Chroot => "chroot",
            Self::None => "none",
        })
    }
}

/// What is asked for: `--isolation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// The best rung that works.
    #[default]
    Auto,
    /// This one and no other.
    Only(Rung),
}

/// A word that names no rung.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no isolation (auto, root, rootless, single-id, chroot and none are)")]
pub struct IsolationWordError {
    /// As it was written, cut.
    pub text: String,
}

impl FromStr for Isolation {
    type Err = IsolationWordError;

    /// Reads our words, and Buildah's: `oci` is a sandbox of its own namespaces, `default` the best there is.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" | "default" | "" => return Ok(Self::Auto),
            "oci" => return Ok(Self::Only(Rung::Root)),
            _ => {}
        }
        let named = Rung::ALL.into_iter().find(|rung| rung.to_string() == text);
        let unknown = || IsolationWordError { text: text.chars().take(160).collect() };
        named.map(Self::Only).ok_or_else(unknown)
    }
}

/// A rung was asked for that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("isolation {rung} does not work here")]
pub struct IsolationError {
    /// Which.
    pub rung: Rung,
    /// Why.
    #[source]
    pub obstacle: Obstacle,
}

/// What was found of one rung.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub rung: Rung,
    /// How it holds, or why not.
    pub verdict: Result<Hold, Obstacle>,
}

/// Where this process stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// On which rung.
    pub rung: Rung,
    /// Whose processes programs live among.
    pub processes: Processes,
    /// The better ones, and why not there; none if this one was asked for.
    pub not_taken: Vec<Obstacle>,
}

/// What [`stand`] decided, or left to be decided when a RUN comes.
#[derive(Debug)]
struct Decided {
    state: Option<PathBuf>,
    standing: Option<Standing>,
}

static DECIDED: OnceLock<Decided> = OnceLock::new();
static STANDING: OnceLock<Standing> = OnceLock::new();

/// Takes the rung that is asked for; for two of them this process enters a user namespace.
///
/// `state` is the folder that snapshots will be in, whose filesystem has a say. For the start of a process
/// with a single thread; a second call does nothing.
///
/// # Errors
///
/// [`IsolationError`] if a rung is asked for by name and does not hold.
pub fn stand(isolation: Isolation, state: &Path) -> Result<(), IsolationError> {
    if DECIDED.get().is_some() {
        return Ok(());
    }
    let standing = match isolation {
        Isolation::Auto if trial::is_root_of_the_machine() => None,
        Isolation::Auto => Some(climb(state)),
        Isolation::Only(rung) => {
            let taken = take(rung, state).map_err(|obstacle| IsolationError { rung, obstacle });
            taken.map(|hold| Some(Standing { rung, processes: hold.processes, not_taken: Vec::new() }))?
        }
    };
    let state = Some(state.to_owned());
    DECIDED.set(Decided { state, standing }).expect("because nobody else decides before there are threads");
    Ok(())
}

/// Takes the rung from which the snapshots of a state folder can be read and removed, if any are of other ids than
/// this process's own. As [`stand`], for the start of a process.
pub fn stand_among_snapshots(state: &Path) {
    let entries = std::fs::read_dir(state.join("snapshots")).into_iter().flatten().filter_map(Result::ok);
    let is_of_others = |name: std::ffi::OsString| name.to_string_lossy().starts_with(userns::MARK);
    if !trial::is_root_of_the_machine() && entries.map(|entry| entry.file_name()).any(is_of_others) {
        // Where it cannot be had, what needs it says so.
        let _ = stand(Isolation::Auto, state);
    }
}

/// Returns where this process stands; tries what was not tried yet.
pub fn standing() -> &'static Standing {
    STANDING.get_or_init(|| {
        let decided = DECIDED.get();
        if let Some(standing) = decided.and_then(|decided| decided.standing.clone()) {
            return standing;
        }
        let state = decided.and_then(|decided| decided.state.clone()).unwrap_or_else(std::env::temp_dir);
        first_of(&[Rung::Root, Rung::Chroot], &state, &mut |rung, state| trial::attempt(rung, state))
    })
}

/// Whether RUN is refused. Root of the machine is only asked when it comes to it: something always works there.
pub fn is_refused() -> bool {
    let is_open = DECIDED.get().is_none_or(|decided| decided.standing.is_none());
    !(is_open && trial::is_root_of_the_machine()) && standing().rung == Rung::None
}

/// Tries every rung and returns what was found, without taking any.
pub fn survey(state: &Path) -> Vec<Found> {
    let found = |rung| Found { rung, verdict: trial::attempt(rung, state) };
    Rung::ALL.into_iter().map(found).collect()
}

/// Takes the first rung that holds.
fn climb(state: &Path) -> Standing {
    first_of(&Rung::ALL, state, &mut take)
}

fn first_of(
    rungs: &[Rung],
    state: &Path,
    take: &mut dyn FnMut(Rung, &Path) -> Result<Hold, Obstacle>,
) -> Standing {
    let mut not_taken = Vec::new();
    for &rung in rungs {
        match take(rung, state) {
            Ok(hold) => return Standing { rung, processes: hold.processes, not_taken },
            Err(obstacle) => not_taken.push(obstacle),
        }
    }
    Standing { rung: Rung::None, processes: Processes::Own, not_taken }
}

/// Tries a rung and steps on it.
fn take(rung: Rung, state: &Path) -> Result<Hold, Obstacle> {
    let hold = trial::attempt(rung, state)?;
    match rung {
        Rung::Rootless => userns::enter(&Mapping::find()?)?,
        Rung::SingleId => userns::enter(&Mapping::single())?,
        Rung::Root | Rung::Chroot | Rung::None => {}
    }
    Ok(hold)
}

#[cfg(test)]
mod tests {
    use super::{Isolation, Rung};

    #[test]
    fn words_of_isolation_are_ours_and_buildahs() {
        let read = |text: &str| text.parse::<Isolation>().unwrap();
        assert_eq!((read("auto"), read("default")), (Isolation::Auto, Isolation::Auto));
        assert_eq!(
            (read("oci"), read("rootless")),
            (Isolation::Only(Rung::Root), Isolation::Only(Rung::Rootless))
        );
        for rung in Rung::ALL {
            assert_eq!(read(&rung.to_string()), Isolation::Only(rung));
        }
        assert!("docker".parse::<Isolation>().is_err());
    }
}
