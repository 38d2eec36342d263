//! The rungs, and how the binary is started on each.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use super::support::bases::{Bases, repository};
use super::support::{Oxbox, Ran};

/// What the cases stand on.
const BASES: [&str; 2] = ["localhost/busybox:latest", "localhost/debian-slim:bookworm"];

/// A user that no machine has, and the ids besides that this user has in the test.
const USER: u32 = 61_234;
const SUBORDINATE: &str = "rungs:700000:65536\n";

/// Starts a program as that user, in a mount namespace where the machine's files know them.
const AS_USER: &str = "mount --bind \"$1/passwd\" /etc/passwd && mount --bind \"$1/subordinate\" /etc/subuid && \
    mount --bind \"$1/subordinate\" /etc/subgid && shift && \
    exec setpriv --reuid 61234 --regid 61234 --clear-groups --inh-caps=-all -- \"$@\"";

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
}

impl Rung {
    /// All that are compared with root's.
    pub(crate) const OTHERS: [Self; 2] = [Self::Rootless, Self::SingleId];

    /// What the builder calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Rootless => "rootless",
            Self::SingleId => "single-id",
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

    /// Makes the folder one that the builder can use, and the files that know who it is.
    fn settle(&self) {
        let folder = self.oxbox.folder();
        let known = fs::read_to_string("/etc/passwd").unwrap();
        let line = format!("rungs:x:{USER}:{USER}::{}:/bin/sh\n", self.oxbox.path("home").display());
        fs::write(self.oxbox.path("passwd"), known + &line).unwrap();
        let ids = if self.rung == Rung::Rootless { SUBORDINATE } else { "" };
        fs::write(self.oxbox.path("subordinate"), ids).unwrap();
        if self.rung != Rung::Root {
            fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
            chown(folder, Some(USER), Some(USER)).unwrap();
        }
    }

    /// Builds a case; returns the image's digest.
    pub(crate) fn build(&self, case: &str, options: &[&str]) -> String {
        let context = repository("testdata/rungs").join(case);
        let secret = ["--secret", "id=word,src=word"];
        let words = [&["build"], options, &secret, &[context.to_str().unwrap()]].concat();
        self.ok(&words)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let builder = self.oxbox.command(arguments);
        match self.rung {
            Rung::Root => builder,
            Rung::Rootless | Rung::SingleId => self.as_user(&builder),
        }
    }

    fn as_user(&self, builder: &Command) -> Command {
        let mut command = self.oxbox.isolated(Command::new("unshare"));
        command.args(["--mount", "sh", "-c", AS_USER, "sh"]).arg(self.oxbox.folder());
        command.arg(builder.get_program()).args(builder.get_args());
        command.envs(builder.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let ran = Ran::from(self.command(arguments).output().unwrap());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
        ran.stdout
    }
}
