//! What this machine allows.

use std::fs;
use std::path::{Path, PathBuf};

use oxbox_builder::exec::Runtime;
use oxbox_builder::exec::rung::{self, Found, Processes, Rung};
use oxbox_copy::config::Environment;
use oxbox_layers::oci::Platform;
use serde::Serialize;

/// What was seen.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    pub(super) platform: String,
    pub(super) kernel: String,
    pub(super) is_root: bool,
    pub(super) overlayfs: bool,
    pub(super) user_namespaces: bool,
    /// How programs of RUN are kept apart.
    pub(super) isolation: Isolation,
    /// OCI runtimes that `--runtime` would find by name.
    pub(super) runtimes: Vec<PathBuf>,
    /// Files that credentials are read from. What is in them is nobody's business.
    pub(super) credential_files: Vec<PathBuf>,
    /// Folders that certificates of registries are read from.
    pub(super) certificate_folders: Vec<PathBuf>,
}

/// What works of the ways of running programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Isolation {
    /// The way that a build takes by itself.
    pub(super) taken: Rung,
    /// All of them, the best one first.
    pub(super) rungs: Vec<Way>,
}

/// One way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Way {
    pub(super) rung: Rung,
    pub(super) works: bool,
    /// Whose processes a program lives among, if not among its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) processes: Option<Processes>,
    /// Why it does not work, or not with processes of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) obstacle: Option<String>,
    /// How to mend that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

/// Looks around; what a RUN would do is tried.
pub(super) fn look(state: &Path) -> Machine {
    let environment = Environment::of_process();
    let is_root = rustix::process::geteuid().is_root();
    let overlayfs = read("/proc/filesystems").lines().any(|line| line.ends_with("\toverlay"));
    Machine {
        platform: Platform::host().to_string(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        is_root,
        overlayfs,
        user_namespaces: user_namespaces(),
        isolation: isolation(state),
        runtimes: Runtime::installed(),
        credential_files: credential_files(&environment),
        certificate_folders: certificate_folders(&environment),
    }
}

fn isolation(state: &Path) -> Isolation {
    let way = |found: Found| {
        let (works, processes, obstacle) = match found.verdict {
            Ok(hold) => (true, hold.because.is_some().then_some(hold.processes), hold.because),
            Err(obstacle) => (false, None, Some(obstacle)),
        };
        let hint = obstacle.as_ref().and_then(|obstacle| obstacle.hint.clone());
        Way { rung: found.rung, works, processes, obstacle: obstacle.map(|obstacle| obstacle.reason), hint }
    };
    let all = rung::survey(state).into_iter();
    let rungs: Vec<_> = all.filter(|found| found.rung != Rung::None).map(way).collect();
    let taken = rungs.iter().find(|way| way.works).map_or(Rung::None, |way| way.rung);
    Isolation { taken, rungs }
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
