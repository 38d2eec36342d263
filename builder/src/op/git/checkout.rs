//! A commit's files in a folder, with those of its submodules and with `.git` if it is kept.
//!
//! What is kept of `.git` is what a clone of that one commit has: HEAD at the commit, the name by which it
//! was found, one pack, where it came from. It is the same for the same version of git; another one may
//! pack otherwise.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

use super::mirror::Mirror;
use super::program::{Call, Program, arguments, variable};
use super::submodule::{self, Submodule};
use super::{GitError, Remote, Repositories, Resolved};
use crate::context::tree::{Last, resolve};
use crate::context::{Directory, FileTree, Ignore};
use crate::plan::graph::Git;

/// Submodules within submodules; nobody nests more than a few.
const MAX_DEPTH: usize = 16;
/// What a `.git` holds that says nothing of the commit.
const SUPERFLUOUS: [&str; 6] = ["FETCH_HEAD", "branches", "description", "hooks", "info", "logs"];

/// A commit's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedOut {
    /// The folder that was meant: the repository's root, or one below.
    pub folder: PathBuf,
    /// When the commit was made, in seconds since 1970.
    pub time: i64,
}

/// What one repository is checked out as.
struct Wanted<'a> {
    remote: &'a Remote,
    commit: &'a str,
    into: &'a Path,
    depth: usize,
    submodules: bool,
}

impl Repositories {
    /// Puts a commit's files into an empty folder. After an error it holds anything.
    pub fn check_out(&self, git: &Git, resolved: &Resolved, into: &Path) -> Result<CheckedOut, GitError> {
        let remote = self.remote(&git.remote)?;
        let commit = resolved.commit.as_str();
        let wanted = Wanted { remote: &remote, commit, into, depth: 0, submodules: !git.without_submodules };
        let (mirror, submodules) = self.place(&wanted)?;
        let program = self.program(&remote);
        let time = time_of(&mirror, &program, commit)?;
        // As in BuildKit: of a part of a repository there is no clone.
        if git.keep_git_dir && git.folder.is_none() {
            let kept = Kept { mirror: &mirror, program: &program, resolved, place: into.join(".git") };
            kept.make(&remote.address, into)?;
        }
        // One mirror at a time: a repository may take in another state of itself.
        drop(mirror);
        self.submodules(&wanted, &submodules)?;
        settle(into, time).map_err(GitError::io("set modes in", into))?;
        Ok(CheckedOut { folder: folder(git, commit, into)?, time })
    }

    /// Puts one repository's own files into place; returns its mirror, locked, and its submodules.
    fn place(&self, wanted: &Wanted<'_>) -> Result<(Mirror, Vec<Submodule>), GitError> {
        let program = self.program(wanted.remote);
        let mirror = self.mirror(wanted.remote, Some(wanted.commit))?;
        mirror.fetch(&program, wanted.commit)?;
        match place(&mirror, &program, wanted) {
            // Damaged by a crash, perhaps: all of it can be fetched again.
            Err(GitError::Failed { said, .. }) => {
                tracing::debug!(said, "a mirror is made anew");
                mirror.remake(&program, wanted.commit)?;
                mirror.fetch(&program, wanted.commit)?;
                place(&mirror, &program, wanted)?;
            }
            placed => placed?,
        }
        let submodules = match wanted.submodules {
            true => submodule::list(&mirror, &program, &wanted.remote.address, wanted.commit)?,
            false => Vec::new(),
        };
        Ok((mirror, submodules))
    }

    fn submodules(&self, wanted: &Wanted<'_>, submodules: &[Submodule]) -> Result<(), GitError> {
        for one in submodules {
            self.submodule(wanted, one).map_err(|source| GitError::Submodule {
                path: one.path.clone(),
                remote: wanted.remote.shown.clone(),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }

    fn submodule(&self, wanted: &Wanted<'_>, one: &Submodule) -> Result<(), GitError> {
        let depth = wanted.depth + 1;
        if depth > MAX_DEPTH {
            return Err(GitError::TooDeep { remote: wanted.remote.shown.clone(), limit: MAX_DEPTH });
        }
        let mut remote = Remote::read(one.url.as_deref().ok_or(GitError::NoUrl)?)?;
        // A token for a repository is one for its neighbours, and for nobody else.
        if remote.authorization.is_none()
            && let Some((origin, _)) = &wanted.remote.authorization
            && remote.address.starts_with(origin.as_str())
        {
            remote.authorization.clone_from(&wanted.remote.authorization);
        }
        let into = wanted.into.join(&one.path);
        fs::create_dir_all(&into).map_err(GitError::io("make", &into))?;
        let inner = Wanted { remote: &remote, commit: &one.commit, into: &into, depth, submodules: true };
        let (mirror, submodules) = self.place(&inner)?;
        drop(mirror);
        self.submodules(&inner, &submodules)
    }
}

/// Puts the files of a commit of the mirror into place.
fn place(mirror: &Mirror, program: &Program<'_>, wanted: &Wanted<'_>) -> Result<(), GitError> {
    let index = tempfile::Builder::new().prefix("index-").tempdir_in(&mirror.path);
    let index = index.map_err(GitError::io("make a folder in", &mirror.path))?;
    let index_file = index.path().join("index");
    let environment = [variable("GIT_WORK_TREE", wanted.into), variable("GIT_INDEX_FILE", &index_file)];
    let read = arguments(["read-tree", "--reset", "-u", "--no-recurse-submodules", wanted.commit]);
    mirror.call(program, "check out", &read, &environment).map(drop)
}

fn time_of(mirror: &Mirror, program: &Program<'_>, commit: &str) -> Result<i64, GitError> {
    let show = arguments(["show", "--no-patch", "--format=%ct", commit]);
    let told = mirror.call(program, "look into", &show, &[])?;
    Ok(String::from_utf8_lossy(&told).trim().parse().unwrap_or(0).max(0))
}

/// Returns the folder that is meant, wherever links within the repository lead.
fn folder(git: &Git, commit: &str, into: &Path) -> Result<PathBuf, GitError> {
    let Some(folder) = &git.folder else { return Ok(into.to_owned()) };
    let missing = || GitError::NoFolder {
        remote: crate::fetch::shown(&git.remote),
        folder: folder.chars().take(160).collect(),
        commit: commit.to_owned(),
    };
    let tree = Directory::open(into, Ignore::default()).map_err(|_| missing())?;
    let tree = Arc::new(tree).look();
    let path = resolve(&tree, folder.as_bytes(), Last::Follow).map_err(|_| missing())?;
    let is_folder =
        matches!(tree.node(&path), Ok(Some(node)) if node.entry.kind == oxbox_layers::tar::Kind::Directory);
    match is_folder {
        true => Ok(into.join(OsStr::from_bytes(&path))),
        false => Err(missing()),
    }
}

/// A `.git` to be made.
struct Kept<'a> {
    mirror: &'a Mirror,
    program: &'a Program<'a>,
    resolved: &'a Resolved,
    place: PathBuf,
}

impl Kept<'_> {
    fn make(&self, address: &str, tree: &Path) -> Result<(), GitError> {
        let commit = self.resolved.commit.as_str();
        let format = if commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        let options = arguments(["init", "--quiet", "--template=", format, "--"]);
        let path = tree.as_os_str();
        let options: Vec<&OsStr> = options.into_iter().chain([path]).collect();
        self.program.run(&Call { verb: "keep .git of", arguments: &options, environment: &[] })?;
        let mirror = self.mirror.path.as_os_str();
        let fetch = arguments(["fetch", "--quiet", "--no-tags", "--depth=1", "--"]);
        let fetch: Vec<&OsStr> = fetch.into_iter().chain([mirror, OsStr::new(commit)]).collect();
        // From our own mirror, and for this one command.
        self.run(&fetch, &[("GIT_ALLOW_PROTOCOL", OsStr::new("file"))])?;
        if let Some(name) = &self.resolved.name
            && name.starts_with("refs/")
        {
            self.run(&arguments(["update-ref", name, commit]), &[])?;
        }
        self.run(&arguments(["update-ref", "--no-deref", "HEAD", commit]), &[])?;
        fs::write(self.place.join("HEAD"), format!("{commit}\n"))
            .map_err(GitError::io("write", self.place.join("HEAD")))?;
        self.run(&arguments(["config", "remote.origin.url", address]), &[])?;
        self.run(&arguments(["config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"]), &[])?;
        // However the mirror came by its objects, this is what becomes of them.
        self.run(&arguments(["repack", "-a", "-d", "-f", "-F", "-q"]), &[])?;
        // Without the states of files, which differ each time; git looks at them when it needs to.
        self.run(&arguments(["read-tree", commit]), &[])?;
        for name in SUPERFLUOUS {
            let path = self.place.join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(error) = removed
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(GitError::io("remove", path)(error));
            }
        }
        Ok(())
    }

    fn run(&self, arguments: &[&OsStr], environment: &[(&str, &OsStr)]) -> Result<(), GitError> {
        let environment: Vec<(&str, &OsStr)> =
            environment.iter().copied().chain([variable("GIT_DIR", &self.place)]).collect();
        let call = Call { verb: "keep .git of", arguments, environment: &environment };
        self.program.run(&call).map(drop)
    }
}

/// Gives all files the modes that git has for them and one time, whatever the umask and the day.
fn settle(folder: &Path, time: i64) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            settle(&path, time)?;
        } else if kind.is_file() {
            let is_program = entry.metadata()?.permissions().mode() & 0o100 != 0;
            fs::set_permissions(&path, Permissions::from_mode(if is_program { 0o755 } else { 0o644 }))?;
            set_time(&path, time)?;
        } else {
            set_time(&path, time)?;
        }
    }
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    set_time(folder, time)
}

/// Sets the time of what stands at a path, of a link its own.
fn set_time(path: &Path, seconds: i64) -> io::Result<()> {
    let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times =
        Timestamps { last_access: omitted, last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 } };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
