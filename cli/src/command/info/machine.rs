//! What this machine allows, as far as it can be seen without trying.

use std::fs;
use std::path::{Path, PathBuf};

use oxbox_copy::config::Environment;
use oxbox_layers::oci::Platform;
use serde::{Serialize, Serializer};

/// What was seen.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    pub(super) platform: String,
    pub(super) kernel: String,
    pub(super) is_root: bool,
    pub(super) overlayfs: bool,
    pub(super) user_namespaces: bool,
    /// Whether a build's RUN can work, or why not.
    #[serde(serialize_with = "verdict")]
    pub(super) run: Result<(), &'static str>,
    /// Files that credentials are read from. What is in them is nobody's business.
    pub(super) credential_files: Vec<PathBuf>,
    /// Folders that certificates of registries are read from.
    pub(super) certificate_folders: Vec<PathBuf>,
}

/// Looks around.
pub(super) fn look() -> Machine {
    let environment = Environment::of_process();
    let is_root = rustix::process::geteuid().is_root();
    let overlayfs = read("/proc/filesystems").lines().any(|line| line.ends_with("\toverlay"));
    Machine {
        platform: Platform::host().to_string(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        is_root,
        overlayfs,
        user_namespaces: user_namespaces(),
        run: match (is_root, overlayfs) {
            (false, _) => Err("RUN needs root in this version"),
            (true, false) => Err("the kernel has no overlayfs (modprobe overlay)"),
            (true, true) => Ok(()),
        },
        credential_files: credential_files(&environment),
        certificate_folders: certificate_folders(&environment),
    }
}

fn user_namespaces() -> bool {
    let most: u64 = read("/proc/sys/user/max_user_namespaces").trim().parse().unwrap_or(0);
    // Debian's own switch, which other kernels do not have.
    let switched_off = read("/proc/sys/kernel/unprivileged_userns_clone").trim() == "0";
    most > 0 && !switched_off
}

fn credential_files(environment: &Environment) -> Vec<PathBuf> {
    let user = environment.config.as_ref().map(|folder| folder.join("containers/auth.json"));
    let docker = environment.docker.as_ref().map(|folder| folder.join("config.json"));
    let usual = [environment.session_auth_file.clone(), user, docker];
    match &environment.auth_file {
        Some(only) => vec![only.clone()],
        None => usual.into_iter().flatten().filter(|path| path.is_file()).collect(),
    }
}

fn certificate_folders(environment: &Environment) -> Vec<PathBuf> {
    let user = environment.config.as_ref().map(|folder| folder.join("containers/certs.d"));
    let system = ["containers/certs.d", "docker/certs.d"].map(|name| environment.etc.join(name));
    user.into_iter().chain(system).filter(|path| path.is_dir()).collect()
}

/// What cannot be read says nothing.
fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn verdict<S: Serializer>(run: &Result<(), &'static str>, serializer: S) -> Result<S::Ok, S::Error> {
    match run {
        Ok(()) => serializer.serialize_str("works"),
        Err(reason) => serializer.serialize_str(reason),
    }
}
