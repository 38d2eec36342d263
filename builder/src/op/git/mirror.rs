//! What was fetched of a repository, so that only what is new is fetched again.
//!
//! ```text
//! state/git/<blake3 of the address>/         a bare repository: shallow, refs/oxbox/<commit> for each that was asked for
//!           <blake3 of the address>.lock     locked (flock) by whoever works in it; its time is that of the last use
//! ```
//!
//! All of it can be fetched again: a mirror that git cannot use is made anew, and so is one with many
//! packs. Those that nobody used for a month go, and all but the [`MOST`] last used.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::program::{Call, Program, arguments, variable};
use super::reference::is_whole_commit;
use super::{GitError, Remote, Repositories};

/// Most mirrors that are kept.
const MOST: usize = 64;
/// How long a mirror is kept that nobody uses.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Packs from which a mirror is made anew: each fetch adds one, and git looks into all.
const MAX_PACKS: usize = 32;
/// How long until a lock is tried again.
const WAIT: Duration = Duration::from_millis(50);

/// A mirror that nobody else works in.
pub(super) struct Mirror {
    pub(super) path: PathBuf,
    address: String,
    // Holds the lock.
    lock: File,
}

impl Repositories {
    /// Opens the mirror of a repository; `like` is one of its commits, whose length tells its kind.
    pub(super) fn mirror(&self, remote: &Remote, like: Option<&str>) -> Result<Mirror, GitError> {
        fs::create_dir_all(&self.folder).map_err(GitError::io("make", &self.folder))?;
        let name = blake3::hash(remote.address.as_bytes()).to_hex();
        let path = self.folder.join(&name[..32]);
        let lock = self.lock(&path.with_extension("lock"))?;
        // An error costs this mirror some of its life.
        let _ = lock.set_modified(SystemTime::now());
        let mirror = Mirror { path, address: remote.address.clone(), lock };
        if mirror.packs() > MAX_PACKS {
            mirror.remove()?;
        }
        if !mirror.path.join("HEAD").exists() {
            self.sweep();
            mirror.make(&self.program(remote), like)?;
        }
        mirror.free()?;
        Ok(mirror)
    }

    fn lock(&self, path: &Path) -> Result<File, GitError> {
        loop {
            if let Some(file) = lock(path)? {
                return Ok(file);
            }
            if self.interrupt.is_sent() {
                return Err(GitError::Interrupted);
            }
            thread::sleep(WAIT);
        }
    }

    /// Removes mirrors that are old or too many. What cannot be removed is tried again next time.
    fn sweep(&self) {
        let mut mirrors = mirrors(&self.folder).unwrap_or_default();
        mirrors.sort_unstable_by_key(|(used, _)| std::cmp::Reverse(*used));
        let is_old = |used: &SystemTime| used.elapsed().is_ok_and(|age| age > KEPT);
        for (number, (used, path)) in mirrors.iter().enumerate() {
            if number >= MOST || is_old(used) {
                let _ = forget_one(path);
            }
        }
    }
}

/// Removes every mirror that nobody works in; returns how many.
pub(crate) fn forget(state: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for (_, path) in mirrors(&state.join("git"))? {
        removed += usize::from(forget_one(&path)?);
    }
    Ok(removed)
}

/// Returns how many mirrors there are.
pub(crate) fn count(state: &Path) -> io::Result<usize> {
    mirrors(&state.join("git")).map(|mirrors| mirrors.len())
}

/// Lists mirrors and when they were used.
fn mirrors(folder: &Path) -> io::Result<Vec<(SystemTime, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("lock"))
            && let Ok(used) = fs::metadata(&path).and_then(|metadata| metadata.modified())
        {
            found.push((used, path.with_extension("")));
        }
    }
    Ok(found)
}

fn forget_one(path: &Path) -> io::Result<bool> {
    let lock_path = path.with_extension("lock");
    let Ok(Some(_lock)) = lock(&lock_path) else { return Ok(false) };
    remove_all(path)?;
    // Who waits for this very file notices that it is no longer there.
    fs::remove_file(&lock_path)?;
    Ok(true)
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Locks a file if nobody has; `None` if somebody has, or if it is no longer at its path.
fn lock(path: &Path) -> Result<Option<File>, GitError> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(GitError::io("open", path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(errno) => return Err(GitError::io("lock", path)(errno.into())),
    }
    let ours = file.metadata().map_err(GitError::io("look at", path))?;
    let is_same =
        fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
    Ok(is_same.then_some(file))
}

impl Mirror {
    /// Has a commit in the mirror, with all its files.
    pub(super) fn fetch(&self, program: &Program<'_>, commit: &str) -> Result<(), GitError> {
        let kept = format!("refs/oxbox/{commit}");
        if self.ask(program, &arguments(["rev-parse", "--verify", "--quiet", &kept]))?.is_some() {
            return Ok(());
        }
        let wanted = format!("+{commit}:{kept}");
        let alone = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--depth=1", "--"];
        match self.run(program, "fetch", &alone, &[&wanted]) {
            Ok(_) => return Ok(()),
            // A server of old gives only what has a name, or knows nothing of depth.
            Err(GitError::Failed { said, .. }) if is_about_depth(&said) => {}
            Err(error) => return Err(error),
        }
        self.fetch_all(program)?;
        let update = ["update-ref", &kept, commit];
        match self.run(program, "find the commit in", &update, &[]) {
            Ok(_) => Ok(()),
            Err(GitError::Failed { .. }) => {
                Err(GitError::NoReference { remote: program.remote.to_owned(), reference: commit.to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the one commit whose id starts so.
    pub(super) fn commit_that_starts(
        &self,
        program: &Program<'_>,
        start: &str,
    ) -> Result<Option<String>, GitError> {
        self.fetch_all(program)?;
        let commit = format!("{start}^{{commit}}");
        let found = self.ask(program, &arguments(["rev-parse", "--verify", "--quiet", &commit]))?;
        let found = found.map(|line| String::from_utf8_lossy(&line).trim().to_owned());
        // Not a branch or tag of that name: there is none.
        Ok(found.filter(|id| is_whole_commit(id) && id.starts_with(start)))
    }

    /// Fetches all that has a name, with its history.
    fn fetch_all(&self, program: &Program<'_>) -> Result<(), GitError> {
        let is_shallow = self.path.join("shallow").exists();
        let depth = if is_shallow { "--unshallow" } else { "--no-auto-maintenance" };
        let all = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", depth, "--"];
        let names = ["+refs/heads/*:refs/there/heads/*", "+refs/tags/*:refs/there/tags/*"];
        self.run(program, "fetch", &all, &names).map(drop)
    }

    /// Runs a command in the mirror, the address between `before` and `after` if it is to fetch.
    fn run(
        &self,
        program: &Program<'_>,
        verb: &'static str,
        before: &[&str],
        after: &[&str],
    ) -> Result<Vec<u8>, GitError> {
        let address = before.contains(&"--").then_some(self.address.as_str());
        let texts = before.iter().copied().chain(address).chain(after.iter().copied());
        let arguments: Vec<&OsStr> = texts.map(OsStr::new).collect();
        self.call(program, verb, &arguments, &[])
    }

    /// Runs a command in the mirror.
    pub(super) fn call(
        &self,
        program: &Program<'_>,
        verb: &'static str,
        arguments: &[&OsStr],
        environment: &[(&str, &OsStr)],
    ) -> Result<Vec<u8>, GitError> {
        let environment: Vec<(&str, &OsStr)> =
            environment.iter().copied().chain([variable("GIT_DIR", &self.path)]).collect();
        program.run(&Call { verb, arguments, environment: &environment })
    }

    /// Runs a command whose failure only means no.
    pub(super) fn ask(
        &self,
        program: &Program<'_>,
        arguments: &[&OsStr],
    ) -> Result<Option<Vec<u8>>, GitError> {
        match self.call(program, "look into", arguments, &[]) {
            Ok(output) => Ok(Some(output)),
            Err(GitError::Failed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes it anew, whatever was there.
    pub(super) fn remake(&self, program: &Program<'_>, like: &str) -> Result<(), GitError> {
        self.remove()?;
        self.make(program, Some(like))
    }

    fn make(&self, program: &Program<'_>, like: Option<&str>) -> Result<(), GitError> {
        let format = if like.is_some_and(|id| id.len() == 64) { "sha256" } else { "sha1" };
        let format = format!("--object-format={format}");
        let path = self.path.as_os_str();
        let options = arguments(["init", "--quiet", "--bare", "--template=", &format, "--"]);
        let arguments: Vec<&OsStr> = options.into_iter().chain([path]).collect();
        // Without GIT_DIR: with it, `init` would take no path.
        program.run(&Call { verb: "make a mirror of", arguments: &arguments, environment: &[] }).map(drop)
    }

    fn remove(&self) -> Result<(), GitError> {
        remove_all(&self.path).map_err(GitError::io("remove", &self.path))
    }

    /// Removes locks that a killed git left: whoever holds ours is alone here.
    fn free(&self) -> Result<(), GitError> {
        debug_assert!(self.lock.metadata().is_ok(), "because it is locked");
        for folder in [self.path.clone(), self.path.join("refs/oxbox")] {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                if path.extension() == Some(OsStr::new("lock")) {
                    fs::remove_file(&path).map_err(GitError::io("remove", &path))?;
                }
            }
        }
        Ok(())
    }

    fn packs(&self) -> usize {
        let Ok(entries) = fs::read_dir(self.path.join("objects/pack")) else { return 0 };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.filter(|path| path.extension() == Some(OsStr::new("pack"))).count()
    }
}

fn is_about_depth(said: &str) -> bool {
    [
        "not our ref",
        "unadvertised object",
        "does not support shallow",
        "does not support --depth",
        "does not allow request",
    ]
    .iter()
    .any(|words| said.contains(words))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{count, forget, lock};

    #[test]
    fn mirrors_are_forgotten_unless_somebody_works_in_them() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!((count(state.path()).unwrap(), forget(state.path()).unwrap()), (0, 0));
        let folder = state.path().join("git");
        for name in ["busy", "idle"] {
            fs::create_dir_all(folder.join(name).join("objects")).unwrap();
            fs::write(folder.join(name).with_extension("lock"), "").unwrap();
        }
        let held = lock(&folder.join("busy.lock")).unwrap().unwrap();
        assert!(lock(&folder.join("busy.lock")).unwrap().is_none());
        assert_eq!((count(state.path()).unwrap(), forget(state.path()).unwrap()), (2, 1));
        assert!(folder.join("busy").exists() && !folder.join("idle").exists());
        drop(held);
        assert_eq!(forget(state.path()).unwrap(), 1);
    }
}
