//! The lower directories of an overlay mount, read as the mount would show them, without mounting.
//!
//! ```text
//! top     etc/motd (device 0:0)      etc/motd is gone, whatever lies below
//!         usr/     (opaque)          of usr/ only this layer's part shows
//! bottom  etc/motd  etc/fstab  usr/bin
//! ```

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::error::TreeError;
use super::overlay;
use super::root::{Directories, Directory, Root, split};
use super::scan::{self, Found};
use super::xattr::Xattrs;
use crate::tar::{Entry, Kind};

/// Directory trees of which the upper ones hide what the lower ones hold.
pub struct Stack {
    /// From the top down.
    layers: Vec<Root>,
    xattrs: Xattrs,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    shown: HashMap<Vec<u8>, Arc<Shown>>,
    open: Vec<Directories>,
}

/// Who shows in a directory.
struct Shown {
    /// From the top down.
    layers: Vec<usize>,
    /// Whether nothing of what may lie below the stack would.
    is_closed: bool,
}

impl Stack {
    /// Stacks trees, the topmost first. One tree alone is a stack too, and so is none.
    pub fn new(layers: Vec<Root>, xattrs: Xattrs) -> Self {
        let open = layers.iter().map(|_| Directories::default()).collect();
        let all = Shown { layers: (0..layers.len()).collect(), is_closed: false };
        let shown = HashMap::from([(Vec::new(), Arc::new(all))]);
        Self { layers, xattrs, known: Mutex::new(Known { shown, open }) }
    }

    /// Returns what stands at a path whose directories are no links; links at its end are not
    /// followed. A second name of a file is a file of its own here.
    pub fn find(&self, path: &[u8]) -> Result<Option<Entry>, TreeError> {
        Ok(self.locate(path)?.map(|(_, found)| found.entry))
    }

    /// Returns what the stack shows in a directory, sorted; nothing if there is none.
    pub fn names(&self, directory: &[u8]) -> Result<Vec<Vec<u8>>, TreeError> {
        let mut shown = Vec::new();
        for name in self.all_names(directory)? {
            if self.locate(&join(directory, &name))?.is_some() {
                shown.push(name);
            }
        }
        Ok(shown)
    }

    /// Returns the names in a directory, those that are marked as gone among them.
    pub(super) fn all_names(&self, directory: &[u8]) -> Result<BTreeSet<Vec<u8>>, TreeError> {
        let mut names = BTreeSet::new();
        let mut buffer = [MaybeUninit::uninit(); 4 << 10];
        for &layer in &self.shown(directory)?.layers {
            let root = &self.layers[layer];
            let fd = root
                .resolve(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
                .map_err(|error| root.error("open", directory, error))?;
            let listed =
                scan::names(&fd, &mut buffer).map_err(|error| root.error("list", directory, error))?;
            names.extend(listed.into_iter().map(|(name, _)| name));
        }
        Ok(names)
    }

    /// Opens the file that the stack shows at a path.
    pub fn open(&self, path: &[u8]) -> Result<Option<File>, TreeError> {
        match self.locate(path)? {
            Some((layer, _)) => self.layers[layer].open_file(path).map(Some),
            None => Ok(None),
        }
    }

    /// Finds the topmost layer that has something at the path, unless a whiteout comes first.
    pub(super) fn locate(&self, path: &[u8]) -> Result<Option<(usize, Found)>, TreeError> {
        Ok(self.topmost(path)?.filter(|(_, found)| !overlay::is_whiteout(found)))
    }

    /// Finds the topmost layer that has something at the path, a whiteout also.
    pub(super) fn topmost(&self, path: &[u8]) -> Result<Option<(usize, Found)>, TreeError> {
        let (parent, name) = split(path);
        for &layer in &self.shown(parent)?.layers {
            if let Some(found) = self.look(layer, parent, name)? {
                return Ok(Some((layer, found)));
            }
        }
        Ok(None)
    }

    /// Tells whether nothing of what may lie below the stack would show in a directory.
    pub(super) fn is_closed(&self, directory: &[u8]) -> Result<bool, TreeError> {
        Ok(self.shown(directory)?.is_closed)
    }

    pub(super) fn layers(&self) -> &[Root] {
        &self.layers
    }

    /// What is known stays true if a thread panicked while it looked something up.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the layers whose part of a directory shows.
    fn shown(&self, directory: &[u8]) -> Result<Arc<Shown>, TreeError> {
        if let Some(shown) = self.known().shown.get(directory) {
            return Ok(Arc::clone(shown));
        }
        let (parent, name) = split(directory);
        let above = self.shown(parent)?;
        let mut shown = Shown { layers: Vec::new(), is_closed: above.is_closed };
        for &layer in &above.layers {
            let Some(found) = self.look(layer, parent, name)? else { continue };
            let is_directory = found.entry.kind == Kind::Directory;
            if is_directory {
                shown.layers.push(layer);
            }
            // Of a whiteout, or a file, too: what lies below is hidden.
            if !is_directory || found.marks.opaque {
                shown.is_closed = true;
                break;
            }
        }
        let shown = Arc::new(shown);
        self.known().shown.insert(directory.to_vec(), Arc::clone(&shown));
        Ok(shown)
    }

    fn look(&self, layer: usize, parent: &[u8], name: &[u8]) -> Result<Option<Found>, TreeError> {
        let root = &self.layers[layer];
        let directory: Arc<Directory> = match self.known().open[layer].get(root, parent) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(root.error("open", parent, error)),
        };
        scan::find(directory.fd.as_fd(), name, join(parent, name), self.xattrs)
            .map_err(|(verb, path, error)| root.error(verb, &path, error))
    }
}

/// Appends a component to a path.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};

    use super::{Root, Stack, Xattrs};

    fn layer(paths: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for path in paths {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        directory
    }

    fn whiteout(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    fn stack(layers: &[&tempfile::TempDir]) -> Stack {
        let roots = layers.iter().map(|layer| Root::open(layer.path()).unwrap()).collect();
        Stack::new(roots, Xattrs::Capability)
    }

    fn has(stack: &Stack, path: &str) -> bool {
        stack.find(path.as_bytes()).unwrap().is_some()
    }

    #[test]
    fn a_whiteout_hides_what_lies_below_it() {
        let (top, bottom) = (layer(&["etc/new"]), layer(&["etc/motd", "etc/fstab", "var/log/x"]));
        whiteout(&top.path().join("etc/motd"));
        whiteout(&top.path().join("var"));
        let stack = stack(&[&top, &bottom]);
        assert!(has(&stack, "etc/new") && has(&stack, "etc/fstab"));
        assert!(!has(&stack, "etc/motd") && !has(&stack, "var") && !has(&stack, "var/log/x"));
        assert_eq!(stack.names(b"etc").unwrap(), [&b"fstab"[..], b"new"]);
        assert_eq!(stack.names(b"").unwrap(), [b"etc"]);
    }

    #[test]
    fn an_opaque_directory_shows_its_own_part_alone() {
        let (top, bottom) = (layer(&["usr/own"]), layer(&["usr/other", "usr/lib/x"]));
        let opaque = XattrFlags::empty();
        rustix::fs::setxattr(top.path().join("usr"), "user.overlay.opaque", b"y", opaque).unwrap();
        let stack = stack(&[&top, &bottom]);
        assert!(has(&stack, "usr/own") && !has(&stack, "usr/other") && !has(&stack, "usr/lib/x"));
    }

    #[test]
    fn a_file_hides_the_directory_below_it() {
        let (top, middle, bottom) = (layer(&["a/x"]), layer(&["a"]), layer(&["a/y"]));
        let stack = stack(&[&top, &middle, &bottom]);
        assert!(has(&stack, "a/x") && !has(&stack, "a/y"));
        assert_eq!(stack.names(b"a").unwrap(), [b"x"]);
    }

    #[test]
    fn nothing_lies_in_an_empty_stack() {
        assert!(!has(&stack(&[]), "etc/motd"));
    }
}
