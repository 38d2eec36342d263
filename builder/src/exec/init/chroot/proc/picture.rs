//! Pictures of the directories of /proc: what is in them by name and kind, and none of it what it says.
//!
//! ```text
//! fs/proc            self/root -> /           the one thing that is the same for everybody
//! fs/proc/26/fd      0 -> pipe:[7] …          drawn anew whenever somebody opens the directory
//! ```
//!
//! Whoever lists a picture and opens what they found asks the clerk again. A picture lies in the changed root, so
//! from it no `..` leads out, as it does from a directory of the real /proc. The program may be root and change
//! what is here: no link is followed.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, mknodat, openat, symlinkat, unlinkat};
use rustix::io::Errno;

/// Deeper than anything here.
const MAX_DEPTH: usize = 8;

/// What kind of thing is pictured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    /// And where it leads, if that is known.
    Link(CString),
}

/// Makes what is the same for everybody.
pub(super) fn prepare(folder: &OwnedFd) -> rustix::io::Result<()> {
    let own = descend(folder, "self")?;
    symlinkat("/", &own, "root")
}

/// Lists a directory.
pub(super) fn entries(real: &OwnedFd) -> rustix::io::Result<Vec<(String, Kind)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(real)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        let kind = match entry.file_type() {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link(CString::from(c"?")),
            _ => Kind::File,
        };
        if !matches!(name, "." | "..") {
            entries.push((name.to_owned(), kind));
        }
    }
    Ok(entries)
}

/// Draws a directory, and returns it.
pub(super) fn draw(
    folder: &OwnedFd,
    names: &[String],
    entries: &[(String, Kind)],
) -> rustix::io::Result<OwnedFd> {
    let mut directory = rustix::io::dup(folder)?;
    for name in names {
        directory = descend(&directory, name)?;
    }
    let picture =
        openat(&directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut missing: HashMap<&str, &Kind> =
        entries.iter().map(|(name, kind)| (name.as_str(), kind)).collect();
    for (name, _) in self::entries(&picture)? {
        // A link may lead elsewhere by now.
        let stays = missing.get(name.as_str()).is_some_and(|kind| !matches!(kind, Kind::Link(_)));
        match stays || (names.is_empty() && name == "self") {
            true => drop(missing.remove(name.as_str())),
            false => remove(&picture, &name, 0)?,
        }
    }
    for (name, kind) in missing {
        match kind {
            Kind::Directory => drop(descend(&picture, name)?),
            Kind::File => mknodat(&picture, name, FileType::RegularFile, Mode::from_raw_mode(0o444), 0)?,
            Kind::Link(target) => symlinkat(target.as_c_str(), &picture, name)?,
        }
    }
    Ok(picture)
}

/// Opens a directory of a picture, made if it lacks.
fn descend(directory: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    match mkdirat(directory, name, Mode::from_raw_mode(0o555)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

fn remove(directory: &OwnedFd, name: &str, depth: usize) -> rustix::io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR) if depth < MAX_DEPTH => {
            let inner = descend(directory, name)?;
            for (name, _) in entries(&inner)? {
                remove(&inner, &name, depth + 1)?;
            }
            unlinkat(directory, name, AtFlags::REMOVEDIR)
        }
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs;

    use super::{Kind, draw, entries, prepare};

    fn names(directory: &std::path::Path) -> Vec<String> {
        let names =
            fs::read_dir(directory).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_picture_is_drawn_and_drawn_anew() {
        let room = tempfile::tempdir().unwrap();
        let folder = fs::File::open(room.path()).unwrap().into();
        prepare(&folder).unwrap();
        let link = Kind::Link(CString::from(c"/bin/sh"));
        let first =
            [("26".to_owned(), Kind::Directory), ("stat".to_owned(), Kind::File), ("self".to_owned(), link)];
        let drawn = draw(&folder, &[], &first).unwrap();
        assert_eq!(entries(&drawn).unwrap().len(), 3);
        let of_one =
            [("fd".to_owned(), Kind::Directory), ("exe".to_owned(), Kind::Link(CString::from(c"/a")))];
        draw(&folder, &["26".to_owned()], &of_one).unwrap();
        assert_eq!(names(&room.path().join("26")), ["exe", "fd"]);
        assert_eq!(fs::read_link(room.path().join("26/exe")).unwrap().to_str(), Some("/a"));
        draw(&folder, &[], &first[1..]).unwrap();
        assert_eq!(names(room.path()), ["self", "stat"]);
        assert_eq!(fs::read_link(room.path().join("self/root")).unwrap().to_str(), Some("/"));
    }

    #[test]
    fn no_link_is_followed() {
        let (room, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = fs::File::open(room.path()).unwrap().into();
        std::os::unix::fs::symlink(outside.path(), room.path().join("26")).unwrap();
        let entries = [("stat".to_owned(), Kind::File)];
        assert!(draw(&folder, &["26".to_owned()], &entries).is_err());
        draw(&folder, &[], &[]).unwrap();
        assert_eq!((names(room.path()), names(outside.path())), (vec![], vec![]));
    }
}
