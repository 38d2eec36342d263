//! The state that all projects share: an `OXBOX_ROOT` with the base images, and the containers' storage.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::containers::Containers;
use crate::image::Image;
use crate::support::Oxbox;
use crate::support::bases::{Bases, repository};

/// Variables that say how to reach the world: a build knows them without ARG.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

/// A test's place: its own folder, and what is shared.
pub(crate) struct Workshop {
    pub(crate) oxbox: Oxbox,
    pub(crate) containers: Containers,
    state: PathBuf,
}

impl Workshop {
    /// Opens the shared state.
    pub(crate) fn open() -> Self {
        let bases = Bases::open();
        let containers = Containers::at(&bases.shared.join("containers"));
        let workshop = Self { oxbox: Oxbox::new(), containers, state: bases.state.clone() };
        // What earlier runs built is of no use: projects are built anew.
        workshop.ok(["prune"]);
        workshop
    }

    /// Builds a project, twice: from nothing, and again with all that the first build left.
    pub(crate) fn build(&self, name: &str) -> Image<'_> {
        self.build_with(name, &projects().join(name), &[])
    }

    /// The same from another folder, with more arguments.
    #[track_caller]
    pub(crate) fn build_with(&self, name: &str, context: &Path, arguments: &[&str]) -> Image<'_> {
        let first = self.build_once(name, context, &[arguments, &["--no-cache"]].concat());
        let again = self.build_once(name, context, arguments);
        assert_eq!(first, again, "nothing changed, and yet the image is another");
        Image::new(self, name)
    }

    /// Builds again from nothing, and asks for the same image: for commands that do the same each time.
    #[track_caller]
    pub(crate) fn repeats(&self, name: &str, context: &Path, arguments: &[&str]) {
        let cached = self.build_once(name, context, arguments);
        let anew = self.build_once(name, context, &[arguments, &["--no-cache"]].concat());
        assert_eq!(cached, anew, "the same work, and yet the image is another");
    }

    /// Builds once, with what is there already.
    #[track_caller]
    pub(crate) fn build_on(&self, name: &str, context: &Path, arguments: &[&str]) -> Image<'_> {
        self.build_once(name, context, arguments);
        Image::new(self, name)
    }

    #[track_caller]
    fn build_once(&self, name: &str, context: &Path, arguments: &[&str]) -> String {
        let tag = tag(name);
        let proxies: Vec<String> = PROXIES.into_iter().filter_map(given).collect();
        let mut words = vec!["build", "--progress=plain", "--tag", &tag, context.to_str().unwrap()];
        words.extend(proxies.iter().flat_map(|given| ["--build-arg", given]));
        self.ok(words.iter().chain(arguments))
    }

    /// Gives the containers' storage the base images that the Dockerfiles of a folder name.
    pub(crate) fn share_bases(&self, context: &Path) {
        let dockerfile = fs::read_to_string(context.join("Dockerfile")).unwrap();
        let names = dockerfile.split_whitespace().filter(|word| word.starts_with("localhost/"));
        for name in names.map(|name| name.split_once(':').map_or(name, |(name, _)| name)) {
            let tag = format!("{name}:{}", if name.ends_with("/busybox") { "latest" } else { "bookworm" });
            let id = self.containers.podman(["pull", "--quiet", &format!("oci:{}:{tag}", self.store())]);
            self.containers.podman(["tag", id.trim_end(), &tag]);
        }
    }

    /// Runs the binary on the shared state.
    #[track_caller]
    pub(crate) fn ok<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let mut command = self.command(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The binary on the shared state.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.oxbox.command(arguments);
        command.env("OXBOX_ROOT", &self.state);
        command
    }

    /// A folder with a copy of a project, for what the repository does not hold.
    pub(crate) fn copy(&self, name: &str) -> TempDir {
        let copy = TempDir::new().unwrap();
        let mut command = Command::new("cp");
        command.arg("-r").arg(projects().join(name).join(".")).arg(copy.path());
        assert!(command.status().unwrap().success());
        copy
    }

    /// The local store, as another program names it.
    pub(crate) fn store(&self) -> String {
        self.state.join("store").to_str().unwrap().to_owned()
    }
}

/// What the image of a project is called.
pub(crate) fn tag(name: &str) -> String {
    format!("localhost/projects/{name}:1")
}

/// The folder of all projects.
pub(crate) fn projects() -> PathBuf {
    repository("testdata/projects")
}

fn given(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| format!("{name}={value}"))
}
