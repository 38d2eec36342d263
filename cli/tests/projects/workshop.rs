//! The state that all projects share: an `OXBOX_ROOT` with the base images, and the containers' storage.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::containers::Containers;
use crate::image::Image;
use crate::support::Oxbox;

/// Variables that say how to reach the world: a build knows them without ARG.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

/// A test's place: its own folder, and what is shared.
pub(crate) struct Workshop {
    pub(crate) oxbox: Oxbox,
    pub(crate) containers: Containers,
    state: PathBuf,
}

impl Workshop {
    /// Opens the shared state. Whoever comes first makes the base images, and the others wait.
    pub(crate) fn open() -> Self {
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
        fs::create_dir_all(&shared).unwrap();
        let oxbox = Oxbox::new();
        let (containers, state) = (Containers::at(&shared.join("containers")), shared.join("state"));
        let workshop = Self { oxbox, containers, state };
        let lock = File::create(shared.join("lock")).unwrap();
        lock.lock().unwrap();
        workshop.make_bases(&shared);
        // What earlier runs built is of no use: projects are built anew.
        workshop.ok(["prune"]);
        workshop
    }

    /// Makes the base images, unless they are of the same recipe.
    fn make_bases(&self, shared: &Path) {
        let recipe = [repository("scripts/bases"), projects().join("bases/Dockerfile")]
            .map(|file| fs::read_to_string(file).unwrap())
            .concat();
        let made = shared.join("made-by");
        if fs::read_to_string(&made).is_ok_and(|made| made == recipe) {
            return;
        }
        let folder = std::env::var_os("OXBOX_DEMO_BASES").map_or(shared.join("bases"), PathBuf::from);
        for which in ["busybox", "debian", "languages"] {
            let mut command = Command::new(repository("scripts/bases"));
            command.arg(env!("CARGO_BIN_EXE_oxbox")).arg(which).env("OXBOX_ROOT", &self.state);
            match which {
                "debian" => command.arg(&folder),
                _ => command.arg(self.oxbox.path("bases")),
            };
            let output = command.output().unwrap();
            assert!(output.status.success(), "{which}: {}", String::from_utf8_lossy(&output.stderr));
        }
        fs::write(&made, recipe).unwrap();
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

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn given(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| format!("{name}={value}"))
}
