//! Programs of this machine, by name.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where programs of the system are, though the PATH of a service may not say so.
pub(super) const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// Returns where a program is, by the `PATH` of this process and by the usual one.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(USUAL_PATH.split(':')).filter(|at| at.starts_with('/'));
    let mut places = folders.map(|at| Path::new(at).join(name));
    places.find(|place| is_program(place))
}

/// Whether it can be executed.
pub(super) fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
