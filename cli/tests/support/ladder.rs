//! The rungs of the executor's ladder, and how the binary is started on each.
//!
//! ```text
//! root        as it is
//! rootless    as a user that the machine does not know, with subordinate ids    user.rs
//! single-id   the same without
//! containers  Podman's, with parts of /proc hidden: as its root rootless, as a user without a name single-id
//! chroot      in a container of Podman's with its usual capabilities, which may make no namespace and mount nothing
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::bases::repository;
use super::user::{self, Ids};
use super::{Oxbox, Ran};

/// A secret that every build is given.
pub(crate) const SECRET: &str = "the-secret-word";

/// First process of a container whose builder is none: it stays until all have ended.
const SHELL: &str = "\"$@\" & wait $!; code=$?; \
    while :; do n=0; for p in /proc/[0-9]*; do n=$((n + 1)); done; test $n = 1 && exit $code; sleep 0.02; done";

/// A rung, by how the builder is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rung {
    /// As root.
    Root,
    /// As a user with subordinate ids.
    Rootless,
    /// As a user without.
    SingleId,
    /// As root of a container as Podman makes it, with parts of /proc hidden.
    Container,
    /// As a user of such a container, of whom nobody knows.
    ContainerUser,
    /// As a user of such a container whose kernel has no Landlock.
    ContainerBefore,
    /// As root of a container with Podman's capabilities, that may make no namespace.
    Chroot,
}

/// Which process is the first one of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// The builder: the container ends with it, and all in there.
    Builder,
    /// A shell, which waits until everybody has ended.
    Shell,
}

impl Rung {
    /// Each once, containers aside that are others besides.
    pub(crate) const ALL: [Self; 4] = [Self::Root, Self::Rootless, Self::SingleId, Self::Chroot];

    /// All that are compared with root's.
    pub(crate) const OTHERS: [Self; 6] = [
        Self::Rootless,
        Self::SingleId,
        Self::Container,
        Self::ContainerUser,
        Self::ContainerBefore,
        Self::Chroot,
    ];

    /// What the builder calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Rootless | Self::Container => "rootless",
            Self::SingleId | Self::ContainerUser | Self::ContainerBefore => "single-id",
            Self::Chroot => "chroot",
        }
    }

    /// The same outside of a container.
    pub(crate) fn without_container(self) -> Self {
        match self {
            Self::Container => Self::Rootless,
            Self::ContainerUser | Self::ContainerBefore => Self::SingleId,
            other => other,
        }
    }

    /// Whose processes its programs live among, if not among their own.
    fn processes(self) -> Option<&'static str> {
        match self {
            Self::Container | Self::ContainerUser => Some("shared"),
            Self::ContainerBefore => Some("renumbered"),
            _ => None,
        }
    }

    /// Calls that the container's filter refuses, besides those that Podman's does.
    fn refused(self) -> &'static [&'static str] {
        match self {
            // What Docker's filter refuses of ours, and Podman's does not.
            Self::Chroot => {
                &["unshare", "setns", "mount", "umount2", "pivot_root", "fsopen", "fsmount", "open_tree"]
            }
            Self::ContainerBefore => &["landlock_create_ruleset", "sethostname"],
            _ => &[],
        }
    }
}

/// A builder on a rung, with a folder of its own.
pub(crate) struct Place {
    pub(crate) oxbox: Oxbox,
    pub(crate) rung: Rung,
    pub(crate) first: First,
    /// More options of Podman's.
    pub(crate) podman: Vec<&'static str>,
    /// A container's own files, from where it sees nothing of the machine's /proc.
    container: TempDir,
}

impl Place {
    /// A place with what `furnish` puts there, whoever's it will be.
    pub(crate) fn new(rung: Rung, furnish: impl FnOnce(&Oxbox)) -> Self {
        let place = Self {
            oxbox: Oxbox::new(),
            rung,
            first: First::Builder,
            podman: Vec::new(),
            container: TempDir::new().unwrap(),
        };
        furnish(&place.oxbox);
        fs::write(place.oxbox.path("word"), SECRET).unwrap();
        place.settle();
        let info: serde_json::Value = serde_json::from_str(&place.ok(&["info", "--json"])).unwrap();
        let isolation = &info["machine"]["isolation"];
        assert_eq!(isolation["taken"], rung.name(), "{info:#}");
        let ways = isolation["rungs"].as_array().unwrap();
        let taken = ways.iter().find(|way| way["rung"] == rung.name()).unwrap();
        assert_eq!(taken["processes"].as_str(), rung.processes(), "{info:#}");
        place
    }

    /// A place whose image is busybox alone, with a Dockerfile on it.
    pub(crate) fn of_lines(rung: Rung, lines: &str) -> Self {
        Self::new(rung, |oxbox| {
            oxbox.busybox();
            oxbox.dockerfile(&format!("FROM localhost/busybox\n{lines}"));
        })
    }

    /// Makes the folder one that the builder can use.
    fn settle(&self) {
        match self.rung {
            Rung::Root => return,
            Rung::Rootless => user::settle(&self.oxbox, Ids::Many),
            Rung::SingleId => user::settle(&self.oxbox, Ids::One),
            Rung::Container | Rung::ContainerUser | Rung::ContainerBefore | Rung::Chroot => {
                return self.make_container();
            }
        }
        let owner = user::USER.to_string();
        let mut give = Command::new("chown");
        give.args(["-hR", &format!("{owner}:{owner}")]).arg(self.oxbox.folder());
        assert!(give.status().unwrap().success());
    }

    /// The binary as it is started here.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.started(self.oxbox.command(arguments))
    }

    fn started(&self, builder: Command) -> Command {
        match self.rung {
            Rung::Root => builder,
            Rung::Rootless | Rung::SingleId => user::start(&self.oxbox, &builder),
            Rung::Container | Rung::ContainerUser | Rung::ContainerBefore | Rung::Chroot => {
                self.in_container(&builder)
            }
        }
    }

    /// Has busybox's shell run a script in the container.
    pub(crate) fn script(&self, script: &str) -> Ran {
        let oxbox = self.oxbox.command([""; 0]);
        let mut shell = Command::new("/bin/busybox");
        shell.args(["sh", "-c", script]).env("OXBOX", oxbox.get_program());
        shell.envs(oxbox.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.in_container(&shell).output().unwrap().into()
    }

    /// Runs it here.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).stdin(Stdio::null()).output().unwrap().into()
    }

    /// Runs what must succeed; returns what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{:?} {arguments:?}: {}", self.rung, ran.stderr);
        ran.stdout
    }

    /// The container's own files, and its seccomp filter.
    fn make_container(&self) {
        let root = self.container.path().join("root");
        for name in ["bin", "etc", "tmp", "proc", "sys", "dev", "run"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static must be installed");
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        if matches!(self.rung, Rung::ContainerUser | Rung::ContainerBefore) {
            let mut give = Command::new("chmod");
            give.args(["-R", "a+rwX"]).arg(self.oxbox.folder());
            assert!(give.status().unwrap().success());
        }
        let filter = serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": self.rung.refused(), "action": "SCMP_ACT_ERRNO" }],
        });
        fs::write(self.container.path().join("seccomp.json"), filter.to_string()).unwrap();
    }

    fn in_container(&self, builder: &Command) -> Command {
        let path = |name: &str| self.container.path().join(name).to_str().unwrap().to_owned();
        let folder = self.oxbox.folder().to_str().unwrap();
        let (program, cases) = (builder.get_program().to_str().unwrap(), cases());
        let (cases, oxbox) = (cases.to_str().unwrap(), env!("CARGO_BIN_EXE_oxbox"));
        let mut command = self.oxbox.isolated(Command::new("podman"));
        command.args([
            "--root",
            &path("podman"),
            "--runroot",
            &path("podman-run"),
            "--storage-driver",
            "vfs",
        ]);
        command.args(["--runtime", "runc", "--cgroup-manager", "cgroupfs"]);
        command.args(["run", "--rm", "--network", "host"]).args(&self.podman);
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]);
        command.args(["--workdir", folder]);
        if !self.rung.refused().is_empty() {
            command.args(["--security-opt", &format!("seccomp={}", path("seccomp.json"))]);
        }
        if matches!(self.rung, Rung::ContainerUser | Rung::ContainerBefore) {
            // As OpenShift has it: a number without a name, in root's group.
            command.args(["--user", "1000:0"]);
        }
        for (from, options) in [(folder, ""), (oxbox, ":ro"), (cases, ":ro")] {
            command.args(["--volume", &format!("{from}:{from}{options}")]);
        }
        for (name, value) in
            builder.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)))
        {
            command.args(["--env", &format!("{name}={value}")]);
        }
        command.args(["--rootfs", &path("root")]);
        if self.first == First::Shell {
            command.args(["/bin/busybox", "sh", "-c", SHELL, "sh"]);
        }
        command.arg(program).args(builder.get_args());
        command
    }
}

/// Where the cases of the ladder's suite are, as a container sees it too.
pub(crate) fn cases() -> std::path::PathBuf {
    let folder: &Path = &repository("testdata/rungs");
    folder.canonicalize().unwrap()
}
