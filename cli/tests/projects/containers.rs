//! podman and buildah, with storage that is theirs alone.

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where both keep images.
pub(crate) struct Containers {
    root: PathBuf,
    run_root: PathBuf,
}

impl Containers {
    pub(crate) fn at(root: &Path) -> Self {
        let mut hasher = DefaultHasher::new();
        root.hash(&mut hasher);
        // podman remembers this folder, and does not take a name of more than 50 bytes.
        let run_root = std::env::temp_dir().join(format!("oxbox-projects-{:08x}", hasher.finish() as u32));
        Self { root: root.to_owned(), run_root }
    }

    /// Runs podman; returns what it printed.
    #[track_caller]
    pub(crate) fn podman<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let mut command = self.command("podman");
        // Debian's crun wants a cgroup hierarchy of one kind.
        command.args(["--runtime", "runc", "--cgroup-manager", "cgroupfs"]).args(arguments);
        succeeded(&mut command)
    }

    /// Runs buildah; returns what it printed, or what it complained of.
    pub(crate) fn buildah<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String, String> {
        let mut command = self.command("buildah");
        let output = run(command.args(arguments));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Returns where the root filesystem of an image is to be seen.
    pub(crate) fn mount(&self, image: &str) -> PathBuf {
        PathBuf::from(self.podman(["image", "mount", image]).trim_end())
    }

    /// Either, with what it is always told.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["--storage-driver", "overlay", "--root"]).arg(&self.root);
        command.arg("--runroot").arg(&self.run_root);
        command
    }
}

/// Runs what must succeed; returns what it printed.
#[track_caller]
pub(crate) fn succeeded(command: &mut Command) -> String {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_owned();
    command.output().unwrap_or_else(|error| panic!("{} must be installed: {error}", program.display()))
}
