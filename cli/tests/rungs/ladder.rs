//! The rungs, and how the binary is started on each.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tempfile::TempDir;

use super::support::bases::{Bases, repository};
use super::support::user::{self, Ids};
use super::support::{Oxbox, Ran};

/// What the cases stand on.
const BASES: [&str; 2] = ["localhost/busybox:latest", "localhost/debian-slim:bookworm"];

/// A secret that every build is given.
pub(crate) const SECRET: &str = "the-secret-word";

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

impl Rung {
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
    fn name(self) -> &'static str {
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

/// A builder on a rung, with state of its own that has the base images.
pub(crate) struct Place {
    oxbox: Oxbox,
    rung: Rung,
    /// The container's own files, where it sees nothing of the machine's /proc.
    container: TempDir,
}

impl Place {
    pub(crate) fn of(rung: Rung) -> Self {
        let place = Self { oxbox: Oxbox::new(), rung, container: TempDir::new().unwrap() };
        place.settle();
        let bases = Bases::open();
        for name in BASES {
            let layout = format!("oci:bases:{}", name.rsplit_once(':').unwrap().1);
            let mut command = place.oxbox.command(["copy", name, &layout]);
            let ran = Ran::from(command.env("OXBOX_ROOT", &bases.state).output().unwrap());
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            place.ok(&["copy", &layout, name]);
        }
        let info: serde_json::Value = serde_json::from_str(&place.ok(&["info", "--json"])).unwrap();
        let isolation = &info["machine"]["isolation"];
        assert_eq!(isolation["taken"], rung.name(), "{info:#}");
        let ways = isolation["rungs"].as_array().unwrap();
        let taken = ways.iter().find(|way| way["rung"] == rung.name()).unwrap();
        assert_eq!(taken["processes"].as_str(), rung.processes(), "{info:#}");
        fs::write(place.oxbox.path("word"), SECRET).unwrap();
        place
    }

    /// Makes the folder one that the builder can use.
    fn settle(&self) {
        match self.rung {
            Rung::Root => {}
            Rung::Rootless => user::settle(&self.oxbox, Ids::Many),
            Rung::SingleId => user::settle(&self.oxbox, Ids::One),
            Rung::Container | Rung::ContainerUser | Rung::ContainerBefore | Rung::Chroot => {
                self.make_container();
            }
        }
    }

    /// Builds a case; returns the image's digest.
    pub(crate) fn build(&self, case: &str, options: &[&str]) -> String {
        done(self.building(case, options))
    }

    /// Returns the command that builds a case.
    pub(crate) fn building(&self, case: &str, options: &[&str]) -> Command {
        let context = cases().join(case);
        let secret = ["--secret", "id=word,src=word"];
        self.command(&[&["build"], options, &secret, &[context.to_str().unwrap()]].concat())
    }

    /// Has busybox's shell run a script in the container, in a folder with a Dockerfile.
    pub(crate) fn script(&self, dockerfile: &str, script: &str) -> Ran {
        self.oxbox.dockerfile(dockerfile);
        let oxbox = self.oxbox.command([""; 0]);
        let mut shell = Command::new("/bin/busybox");
        shell.args(["sh", "-c", script]).env("OXBOX", oxbox.get_program());
        shell.envs(oxbox.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.in_container(&shell).output().unwrap().into()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let builder = self.oxbox.command(arguments);
        match self.rung {
            Rung::Root => builder,
            Rung::Rootless | Rung::SingleId => user::start(&self.oxbox, &builder),
            Rung::Container | Rung::ContainerUser | Rung::ContainerBefore | Rung::Chroot => {
                self.in_container(&builder)
            }
        }
    }

    /// The container's own files, and its seccomp filter.
    fn make_container(&self) {
        let root = self.container.path().join("root");
        for name in ["etc", "tmp", "proc", "sys", "dev", "run"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        fs::set_permissions(self.oxbox.folder(), fs::Permissions::from_mode(0o777)).unwrap();
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
        command.args(["--root", &path("podman"), "--runroot", &path("podman-run")]);
        command.args(["--storage-driver", "vfs", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]);
        command.args(["run", "--rm", "--network", "host", "--workdir", folder]);
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]);
        if !self.rung.refused().is_empty() {
            command.args(["--security-opt", &format!("seccomp={}", path("seccomp.json"))]);
        }
        if matches!(self.rung, Rung::ContainerUser | Rung::ContainerBefore) {
            // As OpenShift has it: a number without a name, in root's group.
            command.args(["--user", "1000:0"]);
        }
        for (from, options) in [(folder, ""), (oxbox, ":ro"), ("/bin/busybox", ":ro"), (cases, ":ro")] {
            command.args(["--volume", &format!("{from}:{from}{options}")]);
        }
        for (name, value) in
            builder.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)))
        {
            command.args(["--env", &format!("{name}={value}")]);
        }
        command.args(["--rootfs", &path("root")]).arg(program).args(builder.get_args());
        command
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        done(self.command(arguments))
    }
}

/// Runs what must succeed; returns what it printed.
#[track_caller]
pub(crate) fn done(mut command: Command) -> String {
    let ran = Ran::from(command.output().unwrap());
    assert_eq!(ran.code, Some(0), "{command:?}: {}", ran.stderr);
    ran.stdout
}

/// Where the cases are, as a container sees it too.
fn cases() -> std::path::PathBuf {
    repository("testdata/rungs").canonicalize().unwrap()
}
