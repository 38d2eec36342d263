//! The rungs, and how the binary is started on each.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs;
use std::process::Command;

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
    /// As root of a container with Podman's capabilities, that may make no namespace.
    Chroot,
}

impl Rung {
    /// All that are compared with root's.
    pub(crate) const OTHERS: [Self; 3] = [Self::Rootless, Self::SingleId, Self::Chroot];

    /// What the builder calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Rootless => "rootless",
            Self::SingleId => "single-id",
            Self::Chroot => "chroot",
        }
    }
}

/// A builder on a rung, with state of its own that has the base images.
pub(crate) struct Place {
    oxbox: Oxbox,
    rung: Rung,
}

impl Place {
    pub(crate) fn of(rung: Rung) -> Self {
        let place = Self { oxbox: Oxbox::new(), rung };
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
        assert_eq!(info["machine"]["isolation"]["taken"], rung.name(), "{info:#}");
        fs::write(place.oxbox.path("word"), SECRET).unwrap();
        place
    }

    /// Makes the folder one that the builder can use.
    fn settle(&self) {
        match self.rung {
            Rung::Root => {}
            Rung::Rootless => user::settle(&self.oxbox, Ids::Many),
            Rung::SingleId => user::settle(&self.oxbox, Ids::One),
            Rung::Chroot => self.make_container(),
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

    fn command(&self, arguments: &[&str]) -> Command {
        let builder = self.oxbox.command(arguments);
        match self.rung {
            Rung::Root => builder,
            Rung::Rootless | Rung::SingleId => user::start(&self.oxbox, &builder),
            Rung::Chroot => self.in_container(&builder),
        }
    }

    /// The container's own files, and its seccomp filter: what Docker's refuses of ours, and Podman's does not.
    fn make_container(&self) {
        let root = self.oxbox.path("container");
        for name in ["etc", "tmp", "proc", "sys", "dev", "run"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
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
        command.args([
            "--runtime",
            "runc",
            "--cgroup-manager",
            "cgroupfs",
            "run",
            "--rm",
            "--network",
            "host",
        ]);
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
        command.args(["--rootfs", &path("container")]).arg(program).args(builder.get_args());
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
