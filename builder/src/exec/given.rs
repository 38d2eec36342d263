//! Whose the files are that a RUN of another user than root made, where there is only one id.
//!
//! With a single id every program is root, whatever USER says, and so is what it makes. The image shall have it
//! otherwise: what is new in the upper directory and was given to nobody becomes the user's, in writing
//! (`layers::tree::recorded`).

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use oxbox_layers::tar::Kind;
use oxbox_layers::tree::{Root, Stack, TreeError, Xattrs, recorded, scan};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, XattrFlags, fsetxattr, openat, openat2};

use super::{Failure, user};

/// passwd and group of an image; a directory service's dump may have some megabytes.
const MAX_ACCOUNTS_BYTES: u64 = 16 << 20;

/// Why new files cannot be given away.
#[derive(Debug, thiserror::Error)]
pub enum GiveError {
    /// A file cannot be written to.
    #[error("cannot give {} to the user of the step", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What was made cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// There is no such user.
    #[error(transparent)]
    User(#[from] Failure),
}

/// Gives what is new in `upper`, over the directories in `lowers`, the topmost first, to whom `USER` names.
pub fn give_new_files(user: &str, upper: &Path, lowers: &[PathBuf]) -> Result<(), GiveError> {
    let root = Root::open(upper)?;
    let below = lowers.iter().map(|lower| Root::open(lower)).collect::<Result<Vec<_>, _>>()?;
    let stack = Stack::new(below, Xattrs::None);
    let accounts = |path: &str| accounts(upper, &stack, path);
    let identity = user::find(user, &accounts("etc/passwd")?, &accounts("etc/group")?)?;
    let owner = (u64::from(identity.uid), u64::from(identity.gid));
    if owner == (0, 0) {
        return Ok(());
    }
    for entry in scan::scan(&root, Xattrs::None)? {
        let takes_a_record = matches!(entry.kind, Kind::File { .. } | Kind::Directory);
        if takes_a_record && (entry.uid, entry.gid) == (0, 0) && stack.find(&entry.path)?.is_none() {
            give(upper, &entry.path, owner)?;
        }
    }
    Ok(())
}

fn give(upper: &Path, path: &[u8], (uid, gid): (u64, u64)) -> Result<(), GiveError> {
    let text = recorded::owner_text(uid, gid);
    let write = || {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let root = openat(CWD, upper, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = openat2(root, path, flags, Mode::empty(), resolve)?;
        fsetxattr(file, recorded::OWNER, text.as_bytes(), XattrFlags::empty())
    };
    write().map_err(|error| GiveError::Io {
        path: upper.join(String::from_utf8_lossy(path).as_ref()),
        source: error.into(),
    })
}

/// Reads a file of accounts as the step saw it; one that is not there has none.
fn accounts(upper: &Path, stack: &Stack, path: &str) -> Result<Vec<u8>, GiveError> {
    let failed = |source| GiveError::Io { path: upper.join(path), source };
    let file = match std::fs::File::open(upper.join(path)) {
        Ok(file) => Some(file),
        Err(_) => stack.open(path.as_bytes())?,
    };
    let mut text = Vec::new();
    if let Some(file) = file {
        file.take(MAX_ACCOUNTS_BYTES).read_to_end(&mut text).map_err(failed)?;
    }
    Ok(text)
}
