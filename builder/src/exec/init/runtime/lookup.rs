//! Where the program is in the image: for images that say nothing of PATH, and for telling why nothing was started.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

use crate::exec::Process;
use crate::exec::failure::Failure;

use super::super::mounts::{Planned, What};
use super::super::program::DEFAULT_PATH;

/// What was found.
pub(super) enum Program {
    /// There, by this path.
    At(String),
    /// Nowhere in the image.
    Nowhere,
    /// Nobody knows before all is mounted.
    Covered,
}

/// Looks for the program in a root before anything is mounted there.
pub(super) fn program(root: &OwnedFd, process: &Process, planned: &Planned) -> Program {
    let Some(name) = process.args.first() else { return Program::Covered };
    let mounted = |path: &str| {
        planned.items.iter().any(|item| match item.what {
            What::Detached(..) | What::Tmpfs { .. } => Path::new(path).starts_with(&item.target),
            _ => false,
        })
    };
    let candidates: Vec<String> = if name.contains('/') {
        vec![Path::new("/").join(&process.cwd).join(name).display().to_string()]
    } else {
        let path = process.env.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
        path.unwrap_or(DEFAULT_PATH).split(':').map(|folder| format!("{folder}/{name}")).collect()
    };
    if candidates.iter().any(|path| mounted(path)) {
        return Program::Covered;
    }
    candidates.into_iter().find(|path| is_file(root, path)).map_or(Program::Nowhere, Program::At)
}

impl Program {
    /// Returns the arguments, with the program's path if the image has no PATH to find it by.
    pub(super) fn args(&self, process: &Process) -> Vec<String> {
        let has_path = process.env.iter().any(|variable| variable.starts_with("PATH="));
        let mut args = process.args.clone();
        if let (Self::At(path), Some(first), false) = (self, args.first_mut(), has_path) {
            path.clone_into(first);
        }
        args
    }

    /// Says that there is no such program, if that is why a runtime did not start it.
    pub(super) fn explain(&self, failure: Failure, process: &Process) -> Failure {
        match (self, failure, process.args.first()) {
            (_, _, None) => Failure::NoCommand,
            (Self::Nowhere, Failure::Runtime { .. }, Some(program)) => {
                Failure::NotFound { program: program.clone() }
            }
            (_, failure, _) => failure,
        }
    }
}

fn is_file(root: &OwnedFd, path: &str) -> bool {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
    let kind = |found: &OwnedFd| fstat(found).map(|stat| FileType::from_raw_mode(stat.st_mode));
    found.is_ok_and(|found| kind(&found).is_ok_and(|kind| kind != FileType::Directory))
}
