//! An OCI runtime in the place of our own sandbox: `--runtime crun`, `runc`, `youki`.
//!
//! ```text
//! builder ─▶ oxbox-init                     overlay, mount points, the files of the run: as always
//!               └▶ attendant                process 1 of a pid namespace: whatever dies, all below it dies too
//!                     └▶ runtime run --detach ─▶ program     process 1 of another, the runtime's own
//! ```
//!
//! The bundle (config.json, which has secret variables, and all that is mounted from it) and the runtime's own state
//! lie in memory, in the init's mount namespace: nobody else sees them, and they end with it, by kill -9 too. What
//! a runtime makes outside are control groups; they are noted and swept like our own (`cgroup/`).
//!
//! The init makes every mount point before the runtime could, and takes it away again, so that layers are the same as
//! without a runtime. What differs: the program is process 1, as in Docker; its devices are kept from it by a control
//! group, which the runtime makes; a personality that is refused is ENOSYS.
//!
//! Here: which runtime, and config.json. Not here: how it is started and watched (`init/runtime/`).
//! [Runtime spec](https://github.com/opencontainers/runtime-spec/blob/v1.2.0/spec.md)

pub(super) mod config;
mod words;

use std::env;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::programs;
use super::rung::{self, Rung};
pub(super) use words::Words;

/// Those that are looked for when nobody names one.
pub const KNOWN: [&str; 3] = ["crun", "runc", "youki"];

/// A runtime, and what it is told besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Options that stand before its command, as `--debug`.
    pub flags: Vec<String>,
    /// The container's name, and its control group's; unique on this machine.
    pub name: String,
    /// Where the group is, as `linux.cgroupsPath`; the runtime decides without.
    pub group: Option<String>,
}

/// Why a runtime cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// It is nowhere.
    #[error("there is no runtime {name:?}")]
    Missing {
        /// As it was asked for, cut.
        name: String,
    },
    /// Programs are kept apart in a way that leaves nothing to a runtime.
    #[error("a runtime cannot be used with isolation {rung}, {}", lacks(*rung))]
    Rung {
        /// Which.
        rung: Rung,
    },
    /// Root entered a user namespace that maps every id to itself: runtimes tell such a one from none by that alone.
    #[error("a runtime takes root in isolation rootless, where all ids are mapped, for root of the machine")]
    AllIds,
}

impl RuntimeError {
    /// Returns what a reader may do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { name } if name.contains('/') => "name a program that can be executed".to_owned(),
            Self::Missing { .. } => match Runtime::installed().as_slice() {
                [] => "install crun or runc, or leave --runtime away: RUN needs none".to_owned(),
                found => {
                    let found: Vec<_> = found.iter().map(|path| path.display().to_string()).collect();
                    format!("there is {}; without --runtime RUN needs none", found.join(", "))
                }
            },
            Self::AllIds => "use --isolation root, or be another user than root".to_owned(),
            Self::Rung { .. } => {
                "leave --runtime away, or see `oxbox info` for what root or rootless would take".to_owned()
            }
        }
    }
}

fn lacks(rung: Rung) -> &'static str {
    match rung {
        Rung::Root | Rung::Rootless => "which it can",
        Rung::SingleId => "where oxbox itself must answer programs that ask for owners",
        Rung::Chroot => "where no container can be made",
        Rung::None => "where nothing is run",
    }
}

impl Runtime {
    /// Finds a runtime by its name, in `PATH` and where programs of the system are, or by a path with a slash in it.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Missing`].
    pub fn find(name: &str, flags: &[String]) -> Result<Self, RuntimeError> {
        let found = match name.contains('/') {
            true => Some(PathBuf::from(name)).filter(|path| programs::is_program(path)),
            false => programs::find(name),
        };
        let absolute = found.and_then(|path| env::current_dir().ok().map(|at| at.join(path)));
        let program =
            absolute.ok_or_else(|| RuntimeError::Missing { name: name.chars().take(160).collect() })?;
        let name = format!("oxbox-{}", std::process::id());
        Ok(Self { program, flags: flags.iter().map(|flag| dashed(flag)).collect(), name, group: None })
    }

    /// Returns those of the known ones that this machine has.
    pub fn installed() -> Vec<PathBuf> {
        KNOWN.iter().filter_map(|name| programs::find(name)).collect()
    }

    /// Returns what people call it.
    pub(super) fn title(&self) -> String {
        let name = self.program.file_name().map(Path::new).unwrap_or(&self.program);
        name.display().to_string()
    }
}

/// Says whether a runtime can be used where this process stands.
///
/// # Errors
///
/// [`RuntimeError::Rung`], [`RuntimeError::AllIds`].
pub fn check_here() -> Result<(), RuntimeError> {
    let rung = rung::standing().rung;
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    match rung.is_in_user_namespace() && maps_all(&map) {
        true => Err(RuntimeError::AllIds),
        false => check(rung),
    }
}

/// Whether a map is that of the machine itself.
fn maps_all(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Says whether a runtime can be used where programs are kept apart like this.
///
/// # Errors
///
/// [`RuntimeError::Rung`].
pub(super) fn check(rung: Rung) -> Result<(), RuntimeError> {
    match rung {
        Rung::Root | Rung::Rootless => Ok(()),
        Rung::SingleId | Rung::Chroot | Rung::None => Err(RuntimeError::Rung { rung }),
    }
}

/// Buildah's `--runtime-flag` is written without its dashes.
fn dashed(flag: &str) -> String {
    if flag.starts_with('-') { flag.to_owned() } else { format!("--{flag}") }
}

#[cfg(test)]
mod tests {
    use super::{Rung, Runtime, RuntimeError, check, maps_all};

    #[test]
    fn a_name_is_looked_up_and_a_path_is_not() {
        let found = Runtime::find("sh", &["log-level=debug".to_owned(), "--debug".to_owned()]).unwrap();
        assert!(found.program.is_absolute() && found.program.ends_with("sh"));
        assert_eq!(found.flags, ["--log-level=debug", "--debug"]);
        assert_eq!(found.title(), "sh");
        assert_eq!(Runtime::find("/bin/sh", &[]).unwrap().program.to_str(), Some("/bin/sh"));
        for name in ["/etc/passwd", "/nowhere/at/all", "./sh", "no-such-runtime", ""] {
            assert!(matches!(Runtime::find(name, &[]), Err(RuntimeError::Missing { .. })), "{name}");
        }
    }

    #[test]
    fn a_map_of_all_ids_is_the_machines_own() {
        assert!(maps_all("         0          0 4294967295\n"));
        assert!(!maps_all("0 1000 1\n1 100000 65536\n") && !maps_all("0 0 65536\n") && !maps_all(""));
    }

    #[test]
    fn only_two_ways_leave_something_to_a_runtime() {
        let able: Vec<_> = Rung::ALL.into_iter().filter(|&rung| check(rung).is_ok()).collect();
        assert_eq!(able, [Rung::Root, Rung::Rootless]);
        let text = check(Rung::Chroot).unwrap_err().to_string();
        assert_eq!(text, "a runtime cannot be used with isolation chroot, where no container can be made");
    }
}
