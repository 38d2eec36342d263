//! The rungs of the executor's ladder, and how the binary is started on each.
//!
//! ```text
//! root        as it is
//! rootless    as a user that the machine does not know, with subordinate ids    user.rs
//! single-id   the same without
//! chroot      in a container of Podman's with its usual capabilities, which may make no namespace and mount nothing
//! ```

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

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
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Root, Self::Rootless, Self::SingleId, Self::Chroot];

    /// All that are compared with root's.
    pub(crate) const OTHERS: [Self; 3] = [Self::Rootless, Self::SingleId, Self::Chroot];

    /// What the builder calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Rootless => "rootless",
            Self::SingleId => "single-id",
            Self::Chroot => "chroot",
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
}

impl Place {
    /// A place with what `furnish` puts there, whoever's it will be.
    pub(crate) fn new(rung: Rung, furnish: impl FnOnce(&Oxbox)) -> Self {
        let place = Self { oxbox: Oxbox::new(), rung, first: First::Builder, podman: Vec::new() };
        furnish(&place.oxbox);
        fs::write(place.oxbox.path("word"), SECRET).unwrap();
        place.settle();
        let info: serde_json::Value = serde_json::from_str(&place.ok(&["info", "--json"])).unwrap();
        assert_eq!(info["machine"]["isolation"]["taken"], rung.name(), "{info:#}");
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
            Rung::Chroot => return self.make_container(),
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
            Rung::Chroot => self.in_container(&builder),
        }
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

    /// The container's own files, and its seccomp filter: what Docker's refuses of ours, and Podman's does not.
    fn make_container(&self) {
        let root = self.oxbox.path("container");
        for name in ["bin", "etc", "tmp", "proc", "sys", "dev", "run"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static must be installed");
        let refused =
            ["unshare", "setns", "mount", "umount2", "pivot_root", "fsopen", "fsmount", "open_tree"];
        let filter = serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": refused, "action": "SCMP_ACT_ERRNO" }],
        });
        fs::write(self.oxbox.path("seccomp.json"), filter.to_string()).unwrap();
    }

    fn in_container(&self, builder: &Command) -> Command {
        let path = |name: &str| self.oxbox.path(name).to_str().unwrap().to_owned();
        let folder = self.oxbox.folder().to_str().unwrap();
        let (program, cases) = (builder.get_program().to_str().unwrap(), cases());
        let cases = cases.to_str().unwrap();
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
        command.args(["--security-opt", &format!("seccomp={}", path("seccomp.json")), "--workdir", folder]);
        for (from, options) in [(folder, ""), (program, ":ro"), (cases, ":ro")] {
            command.args(["--volume", &format!("{from}:{from}{options}")]);
        }
        for (name, value) in
            builder.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)))
        {
            command.args(["--env", &format!("{name}={value}")]);
        }
        command.args(["--rootfs", &path("container")]);
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
