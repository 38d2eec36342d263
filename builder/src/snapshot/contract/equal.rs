//! The same done in a root of either kind makes the same layer, byte for byte.
//!
//! But for names of one file that a layer below has: overlayfs parts them when one is written to. So these are
//! only ever removed here. And of a file that is written as it was, overlayfs and the tree agree; of one that is
//! only opened for writing, there is nothing to tell.

use std::collections::BTreeMap;
use std::fs::{self, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use oxbox_layers::oci::DiffId;
use oxbox_layers::tar::{Entry, Kind};
use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

use super::{Case, EPOCH, Overlay, Plain, directory, file, folded, link, may_mount};

#[derive(Debug, Clone)]
enum Deed {
    Write { at: String, content: u8 },
    Append { at: String },
    Directory { at: String },
    Remove { at: String },
    Move { from: String, to: String },
    Mode { at: String, mode: u32 },
    Owner { at: String, owner: u32 },
    Time { at: String, seconds: u64 },
    Symlink { at: String, to: u8 },
    Link { from: String, to: String },
    Node { at: String },
    Pipe { at: String },
    Capability { at: String },
    Anew { at: String },
}

fn path() -> impl Strategy<Value = String> {
    "[abc](/[abc]){0,2}"
}

fn deed() -> impl Strategy<Value = Deed> {
    let modes = prop::sample::select(&[0o644, 0o755, 0o4755, 0o700][..]);
    let times = prop::sample::select(vec![0, 5000, EPOCH.unsigned_abs(), 2_000_000]);
    prop_oneof![
        6 => (path(), 0_u8..3).prop_map(|(at, content)| Deed::Write { at, content }),
        1 => path().prop_map(|at| Deed::Append { at }),
        4 => path().prop_map(|at| Deed::Directory { at }),
        3 => path().prop_map(|at| Deed::Remove { at }),
        3 => (path(), path()).prop_map(|(from, to)| Deed::Move { from, to }),
        2 => (path(), modes).prop_map(|(at, mode)| Deed::Mode { at, mode }),
        2 => (path(), 0_u32..2).prop_map(|(at, owner)| Deed::Owner { at, owner }),
        2 => (path(), times).prop_map(|(at, seconds)| Deed::Time { at, seconds }),
        1 => (path(), 0_u8..2).prop_map(|(at, to)| Deed::Symlink { at, to }),
        2 => (path(), path()).prop_map(|(from, to)| Deed::Link { from, to }),
        1 => path().prop_map(|at| Deed::Node { at }),
        1 => path().prop_map(|at| Deed::Pipe { at }),
        1 => path().prop_map(|at| Deed::Capability { at }),
        1 => path().prop_map(|at| Deed::Anew { at }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Vec<Deed>>> {
    prop::collection::vec(prop::collection::vec(deed(), 0..24), 1..6)
}

/// What does deeds beneath a root; names of one file are left alone from when they are made.
#[derive(Default)]
struct Doer {
    linked: Vec<String>,
}

impl Doer {
    /// Does what can be done; in both roots that is the same.
    fn try_do(&mut self, root: &Path, deed: &Deed) -> Option<()> {
        let at = |path: &str| root.join(path);
        let (named, other) = match deed {
            Deed::Link { from, to } | Deed::Move { from, to } => (from, Some(to)),
            Deed::Write { at, .. }
            | Deed::Append { at }
            | Deed::Directory { at }
            | Deed::Remove { at }
            | Deed::Mode { at, .. }
            | Deed::Owner { at, .. }
            | Deed::Time { at, .. }
            | Deed::Symlink { at, .. }
            | Deed::Node { at }
            | Deed::Pipe { at }
            | Deed::Capability { at }
            | Deed::Anew { at } => (at, None),
        };
        let removes = matches!(deed, Deed::Remove { .. });
        if !removes && [Some(named), other].into_iter().flatten().any(|path| self.is_linked(path)) {
            return None;
        }
        // Links would lead a deed elsewhere, perhaps to a file with two names.
        if [Some(named), other].into_iter().flatten().any(|path| leads_through_a_link(root, path)) {
            return None;
        }
        let kind = at(named).symlink_metadata().ok();
        let is_file = kind.as_ref().is_some_and(fs::Metadata::is_file);
        match deed {
            Deed::Write { at: path, content } if kind.is_none() || is_file => {
                let size = usize::from(*content) * 300;
                fs::write(at(path), vec![*content; size]).ok()
            }
            Deed::Append { at: path } if is_file => {
                let mut content = fs::read(at(path)).ok()?;
                content.push(9);
                fs::write(at(path), content).ok()
            }
            Deed::Directory { at: path } => fs::create_dir(at(path)).ok(),
            Deed::Remove { at: path } => {
                let is_directory = kind?.is_dir();
                self.linked.retain(|linked| !is_beneath(linked, path));
                if is_directory { fs::remove_dir_all(at(path)).ok() } else { fs::remove_file(at(path)).ok() }
            }
            Deed::Move { from, to } => {
                let can =
                    !at(to).symlink_metadata().is_ok_and(|found| found.is_dir()) && !is_beneath(to, from);
                let into_directory = at(to).parent()?.is_dir();
                (can && into_directory).then(|| mv(&at(from), &at(to)))?
            }
            Deed::Mode { at: path, mode } if !kind.as_ref()?.is_symlink() => {
                fs::set_permissions(at(path), Permissions::from_mode(*mode)).ok()
            }
            Deed::Owner { at: path, owner } => lchown(at(path), Some(*owner), Some(*owner)).ok(),
            Deed::Time { at: path, seconds } if is_file => set_time(&at(path), *seconds),
            Deed::Symlink { at: path, to } => symlink(format!("to{to}"), at(path)).ok(),
            Deed::Link { from, to } if is_file => {
                fs::hard_link(at(from), at(to)).ok()?;
                self.linked.extend([from.clone(), to.clone()]);
                Some(())
            }
            Deed::Node { at: path } => {
                let device = rustix::fs::makedev(1, 3);
                mknodat(CWD, at(path), FileType::CharacterDevice, Mode::from_raw_mode(0o666), device).ok()
            }
            Deed::Pipe { at: path } => {
                mknodat(CWD, at(path), FileType::Fifo, Mode::from_raw_mode(0o600), 0).ok()
            }
            Deed::Capability { at: path } if is_file => {
                let value = [&[1, 0, 0, 2, 0, 32][..], &[0; 14]].concat();
                setxattr(at(path), "security.capability", &value, XattrFlags::empty()).ok()
            }
            Deed::Anew { at: path } if kind.as_ref()?.is_dir() => {
                self.linked.retain(|linked| !is_beneath(linked, path));
                fs::remove_dir_all(at(path)).ok()?;
                fs::create_dir(at(path)).ok()
            }
            _ => None,
        }
    }

    fn is_linked(&self, path: &str) -> bool {
        self.linked.iter().any(|linked| is_beneath(linked, path))
    }
}

fn is_beneath(path: &str, directory: &str) -> bool {
    path == directory || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

fn leads_through_a_link(root: &Path, path: &str) -> bool {
    let above = Path::new(path).ancestors().skip(1);
    above.into_iter().any(|above| root.join(above).symlink_metadata().is_ok_and(|found| found.is_symlink()))
}

fn set_time(path: &Path, seconds: u64) -> Option<()> {
    let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(seconds));
    fs::File::open(path).ok()?.set_times(times).ok()
}

/// Moves as mv does: by copies where it cannot be renamed, which overlayfs wants of directories.
fn mv(from: &Path, to: &Path) -> Option<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {}
        result => return result.ok(),
    }
    if to.symlink_metadata().is_ok() {
        fs::remove_file(to).ok()?;
    }
    copy(from, to);
    fs::remove_dir_all(from).ok()
}

fn copy(from: &Path, to: &Path) {
    let meta = from.symlink_metadata().unwrap();
    let mode = Permissions::from_mode(meta.mode() & 0o7777);
    if meta.is_dir() {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else if meta.is_symlink() {
        symlink(fs::read_link(from).unwrap(), to).unwrap();
        lchown(to, Some(meta.uid()), Some(meta.gid())).unwrap();
    } else if meta.is_file() {
        fs::write(to, fs::read(from).unwrap()).unwrap();
    } else {
        let kind = FileType::from_raw_mode(meta.mode());
        mknodat(CWD, to, kind, Mode::empty(), meta.rdev()).unwrap();
    }
    let name = "security.capability";
    if !meta.is_symlink() {
        chown(to, Some(meta.uid()), Some(meta.gid())).unwrap();
        fs::set_permissions(to, mode).unwrap();
        let mut value = [0; 64];
        if let Ok(length) = rustix::fs::lgetxattr(from, name, &mut value[..]) {
            setxattr(to, name, &value[..length], XattrFlags::empty()).unwrap();
        }
    }
    let time = |seconds, nanoseconds| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = rustix::fs::Timestamps {
        last_access: time(0, rustix::fs::UTIME_OMIT),
        last_modification: time(meta.mtime(), meta.mtime_nsec()),
    };
    rustix::fs::utimensat(CWD, to, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Enough for most deeds to find something.
fn base(case: &mut Case) -> DiffId {
    let mut old = file("c/b", "old");
    (old.0.mtime, old.0.uid) = (5000, 1);
    case.store(&[
        directory("a", 0o755),
        directory("a/a", 0o700),
        file("a/a/a", "1"),
        file("a/a/c", ""),
        file("a/b", "2"),
        link("a/c", "to0"),
        directory("b", 0o755),
        file("b/a", "3"),
        directory("b/b", 0o755),
        file("b/b/a", "4"),
        file("b/b/b", "5"),
        file("b/c", "two names"),
        directory("c", 0o1777),
        directory("c/a", 0o755),
        file("c/a/c", "6"),
        old,
        (Entry::new("c/c", Kind::Hardlink { target: b"b/c".to_vec() }, 0o644), b""),
    ])
}

/// Makes the layers of all steps.
fn layers(case: &mut Case, steps: &[Vec<Deed>]) -> (Vec<DiffId>, Vec<Vec<u8>>) {
    let mut chain = vec![base(case)];
    let (mut tars, mut doer) = (Vec::new(), Doer { linked: vec!["b/c".to_owned(), "c/c".to_owned()] });
    for deeds in steps {
        let tar = case.step(&mut chain, |root| {
            for deed in deeds {
                doer.try_do(root, deed);
            }
        });
        tars.push(tar);
    }
    (chain, tars)
}

/// All that can be told of a tree but whichever names belong to one file where overlayfs has parted them.
fn seen(root: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    for name in super::paths(root) {
        let path = root.join(&name);
        let meta = path.symlink_metadata().unwrap();
        let held = match meta.file_type() {
            kind if kind.is_file() => format!("{:?}", fs::read(&path).unwrap()),
            kind if kind.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
            _ => String::new(),
        };
        let (mode, owner, time) = (meta.mode(), meta.uid(), meta.mtime());
        seen.insert(name, format!("{mode:o} {owner} {} {time} {held}", meta.rdev()));
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_same_deeds_make_the_same_layers(steps in steps()) {
        if !may_mount() {
            return Ok(());
        }
        let mut plain = Case::new(Plain::new);
        let (chain, expected_layers) = layers(&mut plain, &steps);
        // What the layers say is what stands there, and what anybody makes of them.
        let expected = plain.see(&chain, seen);
        for mut overlay in [Case::new(Overlay::open), Case::new(folded)] {
            let (other_chain, made) = layers(&mut overlay, &steps);
            for (at, (made, other)) in made.iter().zip(&expected_layers).enumerate() {
                prop_assert!(made == other, "layer {at}:\n{}\n{}", listed(made), listed(other));
            }
            prop_assert_eq!(&chain, &other_chain);
            prop_assert_eq!(&overlay.see(&chain, seen), &expected);
        }
        for mut fresh in [Case::new(Overlay::open), Case::new(folded), Case::new(Plain::new)] {
            fresh.tars = plain.tars.clone();
            prop_assert_eq!(&fresh.see(&chain, seen), &expected);
        }
    }
}

fn listed(tar: &[u8]) -> String {
    let mut reader = oxbox_layers::tar::Reader::new(tar);
    let mut lines = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        lines.push(format!("{entry:?}"));
    }
    lines.join("\n")
}
