//! Base images from Debian's packages, made once and kept in `target/*/tmp/projects` for all tests that need them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The state that holds the base images, locked as long as nobody may prune it.
pub(crate) struct Bases {
    /// The folder that all share.
    pub(crate) shared: PathBuf,
    /// The `OXBOX_ROOT` in it.
    pub(crate) state: PathBuf,
    _lock: File,
}

impl Bases {
    /// Opens the shared state. Whoever comes first makes the base images, and the others wait.
    pub(crate) fn open() -> Self {
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
        fs::create_dir_all(&shared).unwrap();
        let lock = File::create(shared.join("lock")).unwrap();
        lock.lock().unwrap();
        let bases = Self { state: shared.join("state"), shared, _lock: lock };
        bases.make();
        bases
    }

    /// Makes the base images, unless they are of the same recipe.
    fn make(&self) {
        let recipe = [repository("scripts/bases"), repository("testdata/projects/bases/Dockerfile")]
            .map(|file| fs::read_to_string(file).unwrap())
            .concat();
        let made = self.shared.join("made-by");
        if fs::read_to_string(&made).is_ok_and(|made| made == recipe) {
            return;
        }
        let folder = std::env::var_os("OXBOX_DEMO_BASES").map_or(self.shared.join("bases"), PathBuf::from);
        let busybox = tempfile::tempdir().unwrap();
        for which in ["busybox", "debian", "languages"] {
            let mut command = Command::new(repository("scripts/bases"));
            command.arg(env!("CARGO_BIN_EXE_oxbox")).arg(which).env("OXBOX_ROOT", &self.state);
            command.arg(if which == "debian" { &folder } else { busybox.path() });
            let output = command.output().unwrap();
            assert!(output.status.success(), "{which}: {}", String::from_utf8_lossy(&output.stderr));
        }
        fs::write(&made, recipe).unwrap();
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
