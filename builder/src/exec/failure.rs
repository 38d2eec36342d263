//! What can go wrong on the way to a running program, as the init reports it.
//!
//! The init is another process: its errors cross a socket as JSON. An io error keeps its number and
//! gets its words back on this side.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::rung::Rung;

/// Why the program of a step was not started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// A system call was refused while the sandbox was made.
    #[error("cannot {verb} {what}")]
    Io {
        /// What was attempted.
        verb: String,
        /// What it was attempted on.
        what: String,
        /// The kernel's answer.
        #[source]
        errno: Errno,
    },
    /// The layers of the root could not be stacked.
    #[error("cannot stack {layers} layers: {option}{}", .reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})")))]
    Overlay {
        /// How many lower directories there were.
        layers: usize,
        /// What overlayfs was told when it refused.
        option: String,
        /// What the kernel wrote into the mount's log, if anything.
        reason: Option<String>,
        /// The kernel's answer.
        #[source]
        errno: Errno,
    },
    /// `USER` does not read `user[:group]`.
    #[error("user {user:?} is not of the form name|uid[:group|gid]")]
    UserSyntax {
        /// What was asked for.
        user: String,
    },
    /// The user has no line in the image's `/etc/passwd`.
    #[error("user {user:?} is not in the image's /etc/passwd")]
    UnknownUser {
        /// What was asked for.
        user: String,
    },
    /// The group has no line in the image's `/etc/group`.
    #[error("group {group:?} is not in the image's /etc/group")]
    UnknownGroup {
        /// What was asked for.
        group: String,
    },
    /// A path in the image is not what the sandbox must mount there.
    #[error("cannot mount at {target:?}: the image has {found} there")]
    Target {
        /// Where in the image.
        target: String,
        /// What stands there.
        found: String,
    },
    /// No argument says what to run.
    #[error("there is no command to run")]
    NoCommand,
    /// The program is not in the image.
    #[error("cannot run {program}: no such file in the image")]
    NotFound {
        /// The first argument.
        program: String,
    },
    /// The program is there, what the kernel needs to start it is not.
    #[error("cannot run {program}: it is in the image, but its interpreter or loader is not")]
    NoInterpreter {
        /// The program that was found.
        program: String,
    },
    /// The program may not be executed.
    #[error("cannot run {program}: it is not an executable file")]
    NotExecutable {
        /// The program that was found.
        program: String,
        /// The kernel's answer.
        #[source]
        errno: Errno,
    },
    /// The program is for another machine, or no program at all.
    #[error("cannot run {program}: it is no program for {machine}")]
    WrongFormat {
        /// The program that was found.
        program: String,
        /// This machine's architecture.
        machine: String,
    },
    /// A limit is beyond what oxbox itself may have.
    #[error("cannot set --ulimit {limit}")]
    Ulimit {
        /// The limit, as `name=soft:hard`.
        limit: String,
        /// The kernel's answer.
        #[source]
        errno: Errno,
    },
    /// A device of the host that the sandbox was to have is none, or not there.
    #[error("cannot give the device {path:?}")]
    Device {
        /// Where on the host.
        path: String,
        /// The kernel's answer.
        #[source]
        errno: Errno,
    },
    /// The program that connects a private network did not.
    #[error("cannot connect the private network: {program} {said}")]
    Network {
        /// Which program.
        program: String,
        /// How it ended and what it said, cut.
        said: String,
    },
    /// An OCI runtime did not start the program.
    #[error("the runtime {runtime} {how}{}", if .said.is_empty() { String::new() } else { format!(": {said}") })]
    Runtime {
        /// Which.
        runtime: String,
        /// How it ended.
        how: String,
        /// What it said, cut.
        said: String,
    },
    /// It cannot be had on the rung that the builder stands on.
    #[error("isolation {rung} cannot {what}")]
    Unable {
        /// What was wanted.
        what: String,
        /// How programs are kept apart here.
        rung: Rung,
    },
    /// The process that watches the program ended without a word.
    #[error("the sandbox's first process ended by itself ({status})")]
    Vanished {
        /// How it ended.
        status: String,
    },
}

impl Failure {
    /// Returns what a reader may do about it, if there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { program } if program.starts_with("/bin/") => {
                Some("is the base `scratch`, or one without a shell? use the JSON form: RUN [\"/program\"]")
            }
            Self::NotFound { .. } => Some("check the PATH of the image and the spelling"),
            Self::NoInterpreter { .. } => {
                Some("a dynamic program needs its ld.so in the image, a script the program after its #!")
            }
            Self::NotExecutable { .. } => Some("chmod +x it, or COPY --chmod=755"),
            Self::WrongFormat { .. } => Some(
                "a foreign architecture needs binfmt_misc and qemu-user on this host; a script needs a #! line",
            ),
            Self::UnknownUser { .. } | Self::UnknownGroup { .. } => {
                Some("create it in an earlier RUN (useradd, adduser), or give numbers")
            }
            Self::Io { verb, errno: Errno(libc::EPERM), .. } if verb == "unshare" => {
                Some("RUN needs to be root, with the right to make namespaces (CAP_SYS_ADMIN)")
            }
            Self::Io { verb, errno: Errno(libc::EINVAL), .. } if verb == "make private" => Some(
                "the root directory here is no mount point, as in a chroot: bind-mount it onto itself first",
            ),
            Self::Ulimit { .. } => Some(
                "a hard limit above oxbox's own (`ulimit -H`) needs CAP_SYS_RESOURCE: lower it, or raise that",
            ),
            Self::Device { .. } => {
                Some("--device takes character and block devices of this host, and folders of them")
            }
            Self::Network { .. } => Some("--network=host and --network=none do without it"),
            Self::Runtime { .. } => Some("without --runtime oxbox makes the container itself"),
            Self::Unable { .. } => Some("`oxbox info` shows what other isolation would take"),
            Self::Io { verb, errno: Errno(libc::EROFS), .. } if verb == "make the mount point" => Some(
                "it lies in a read-only mount, where nothing can be made: write rw there, or have it in the source",
            ),
            Self::Vanished { .. } => Some("a lack of memory is the usual cause; see the kernel's log"),
            _ => None,
        }
    }
}

/// An error number of the kernel, which survives the way through JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errno(
    /// The number, `ENOENT` and its kin.
    pub i32,
);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl std::error::Error for Errno {}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(error: rustix::io::Errno) -> Self {
        Self(error.raw_os_error())
    }
}

/// Says what was attempted when a call fails.
pub(super) trait OrFail<T> {
    /// Turns an error into [`Failure::Io`].
    fn or_fail(self, verb: &str, what: impl AsRef<Path>) -> Result<T, Failure>;
}

impl<T, E: Into<Errno>> OrFail<T> for Result<T, E> {
    fn or_fail(self, verb: &str, what: impl AsRef<Path>) -> Result<T, Failure> {
        self.map_err(|error| Failure::Io {
            verb: verb.to_owned(),
            what: what.as_ref().display().to_string(),
            errno: error.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Errno, Failure};

    #[test]
    fn a_failure_survives_the_way_through_json() {
        let failure =
            Failure::Io { verb: "mount".to_owned(), what: "/proc".to_owned(), errno: Errno(libc::EPERM) };
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(serde_json::from_str::<Failure>(&text).unwrap(), failure);
    }

    #[test]
    fn a_chroot_that_is_no_mount_point_is_told_what_to_do() {
        let failure =
            Failure::Io { verb: "make private".to_owned(), what: "/".to_owned(), errno: Errno(libc::EINVAL) };
        assert!(failure.hint().unwrap().contains("bind-mount it onto itself"));
    }

    #[test]
    fn a_missing_shell_points_at_scratch() {
        let failure = Failure::NotFound { program: "/bin/sh".to_owned() };
        assert_eq!(failure.to_string(), "cannot run /bin/sh: no such file in the image");
        assert!(failure.hint().unwrap().contains("scratch"));
    }
}
