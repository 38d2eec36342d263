//! What holds for every snapshotter, tested on each.
//!
//! A step is done by this process, beneath the root as a program of RUN would see it. Roots of layers are mounted
//! for that, which needs root; without it these tests say so and check nothing.

mod equal;
mod facts;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use oxbox_layers::oci::{DiffId, Digest};
use oxbox_layers::tar::{Entry, Kind, Writer, whiteout};
use oxbox_layers::tree::{self, ChangeSink, Root};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use super::overlay::units::Folding;
use super::{Active, Known, Layers, Overlay, Plain, SnapshotError, Snapshotter};
use crate::exec;

/// No file of a layer is later, as in a build.
const EPOCH: i64 = 1_000_000;

/// A snapshotter, and layers for it.
struct Case {
    _state: TempDir,
    snapshots: Box<dyn Snapshotter>,
    tars: BTreeMap<DiffId, Vec<u8>>,
}

impl Case {
    fn new<S: Snapshotter + 'static>(open: impl FnOnce(&Path) -> Result<S, SnapshotError>) -> Self {
        let state = tempfile::tempdir().unwrap();
        let snapshots = Box::new(open(state.path()).unwrap());
        Self { _state: state, snapshots, tars: BTreeMap::new() }
    }

    /// Adds a layer that is in a store.
    fn store(&mut self, members: &[(Entry, &[u8])]) -> DiffId {
        let mut tar = Writer::new(Vec::new());
        for (entry, content) in members {
            tar.append(entry, &mut &content[..]).unwrap();
        }
        self.add(tar.finish().unwrap())
    }

    fn add(&mut self, tar: Vec<u8>) -> DiffId {
        let layer = DiffId(Digest::sha256(&tar));
        self.tars.insert(layer, tar);
        layer
    }

    fn prepare(&self, chain: &[DiffId]) -> Result<Active, SnapshotError> {
        self.snapshots.prepare_from(chain, &Tars { tars: &self.tars, chain })
    }

    /// Does something as a step on a chain; returns the layer's tar.
    fn step(&mut self, chain: &mut Vec<DiffId>, work: impl FnOnce(&Path)) -> Vec<u8> {
        let active = self.prepare(chain).unwrap();
        within(&active, work);
        let tar = self.written(&active);
        let layer = self.add(tar.clone());
        self.snapshots.commit(active, &layer).unwrap();
        chain.push(layer);
        tar
    }

    /// What was written, as the tar of a layer; times are cut in it and in place, as RUN does.
    fn written(&self, active: &Active) -> Vec<u8> {
        let entries = self.snapshots.changes(active).unwrap();
        let root = Root::open(active.upper()).unwrap();
        let mut tar = Dated(Writer::new(Vec::new()));
        tree::emit(&root, &entries, &mut tar).unwrap_or_else(|_| panic!("cannot write"));
        for entry in entries {
            if entry.mtime > EPOCH && !whiteout::is_reserved(entry.name()) {
                root.set_mtime(&entry.path, EPOCH).unwrap();
            }
        }
        tar.0.finish().unwrap()
    }

    /// The paths that a step changes, which is then dropped.
    fn changed(&self, chain: &[DiffId], work: impl FnOnce(&Path)) -> Vec<String> {
        let active = self.prepare(chain).unwrap();
        within(&active, work);
        let entries = self.snapshots.changes(&active).unwrap();
        entries.iter().map(|entry| entry.path.escape_ascii().to_string()).collect()
    }

    fn see<T>(&self, chain: &[DiffId], look: impl FnOnce(&Path) -> T) -> T {
        within(&self.prepare(chain).unwrap(), look)
    }
}

struct Tars<'a> {
    tars: &'a BTreeMap<DiffId, Vec<u8>>,
    chain: &'a [DiffId],
}

impl Layers for Tars<'_> {
    fn open(&self, at: usize) -> io::Result<Option<Box<dyn Read>>> {
        let tar = self.tars.get(&self.chain[at]);
        Ok(tar.map(|tar| Box::new(Cursor::new(tar.clone())) as Box<dyn Read>))
    }

    fn known(&self, _at: usize) -> Option<Known<'_>> {
        None
    }
}

struct Dated(Writer<Vec<u8>>);

impl ChangeSink for Dated {
    type Error = oxbox_layers::tar::TarError;

    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), Self::Error> {
        self.0.append(&Entry { mtime: entry.mtime.min(EPOCH), ..entry.clone() }, content)
    }
}

/// Calls `work` with the root as a program would see it.
fn within<T>(active: &Active, work: impl FnOnce(&Path) -> T) -> T {
    let overlay = match active.root() {
        exec::Root::Directory(path) => return work(path),
        exec::Root::Overlay(overlay) => overlay,
    };
    let whole = |path: &PathBuf| overlay.directory.join(path).to_str().unwrap().to_owned();
    let lowers: Vec<_> = overlay.lowers.iter().map(whole).collect();
    let options = format!(
        "redirect_dir=off,metacopy=off,index=off,lowerdir={},upperdir={},workdir={}",
        lowers.join(":"),
        whole(&overlay.upper),
        whole(&overlay.work),
    );
    let (at, options) = (whole(&overlay.mountpoint), CString::new(options).unwrap());
    mount("overlay", &at, "overlay", MountFlags::empty(), Some(&*options)).unwrap();
    let result = work(Path::new(&at));
    unmount(&at, UnmountFlags::DETACH).unwrap();
    result
}

fn may_mount() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        eprintln!("SKIPPED: mounting needs root");
    }
    may
}

/// An overlay that folds whatever it can.
fn folded(state: &Path) -> Result<Overlay, SnapshotError> {
    Ok(Overlay::open(state)?.folding(Folding { comfortable: 1, together: 2 }))
}

/// Each fact for each snapshotter.
macro_rules! facts {
    ($($fact:ident)*) => {
        mod overlay {
            $(#[test] fn $fact() {
                if super::may_mount() {
                    super::facts::$fact(super::Case::new(super::Overlay::open));
                }
            })*
        }
        mod overlay_folded {
            $(#[test] fn $fact() {
                if super::may_mount() {
                    super::facts::$fact(super::Case::new(super::folded));
                }
            })*
        }
        mod plain {
            $(#[test] fn $fact() {
                if super::may_mount() {
                    super::facts::$fact(super::Case::new(super::Plain::new));
                }
            })*
        }
    };
}

facts! {
    a_root_of_no_layers_is_empty
    layers_hide_and_replace_what_is_below
    what_a_layer_does_not_mention_is_as_it_is_below
    what_was_written_is_there_for_the_next_step
    the_changes_of_a_step_are_what_it_did
    every_kind_of_file_comes_out_as_it_was_made
    a_step_that_left_all_as_it_was_changed_nothing
    what_a_step_touched_and_did_not_change_is_as_the_layer_has_it
    what_a_step_changed_keeps_its_time_beside_what_it_did_not
    a_dropped_step_leaves_no_trace
    a_missing_layer_is_named_and_nothing_is_lost
    a_damaged_layer_is_an_error_and_leaves_nothing
    steps_at_the_same_time_do_not_see_each_other
    threads_get_the_same_root_at_once
    what_a_step_does_to_the_root_itself_ends_with_it
    a_prune_spares_what_is_wanted_and_what_is_in_use
    a_sweep_takes_nothing_that_is_whole
    a_chain_that_branches_goes_on_from_both
}

fn file(path: &str, content: &'static str) -> (Entry, &'static [u8]) {
    (Entry::new(path, Kind::File { size: content.len() as u64 }, 0o644), content.as_bytes())
}

fn directory(path: &str, mode: u32) -> (Entry, &'static [u8]) {
    (Entry::new(path, Kind::Directory, mode), b"")
}

fn link(path: &str, target: &str) -> (Entry, &'static [u8]) {
    (Entry::new(path, Kind::Symlink { target: target.into() }, 0o777), b"")
}

fn hide(path: &str) -> (Entry, &'static [u8]) {
    (whiteout::hiding(path.as_bytes()), b"")
}

fn base(case: &mut Case) -> DiffId {
    case.store(&[
        directory("etc", 0o755),
        file("etc/motd", "hello"),
        file("etc/passwd", "root"),
        directory("tmp", 0o1777),
        directory("usr", 0o755),
        directory("usr/lib", 0o755),
        file("usr/lib/a", "1"),
        file("usr/lib/b", "2"),
    ])
}

fn paths(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            paths.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            if path.symlink_metadata().unwrap().is_dir() {
                waiting.push(path);
            }
        }
    }
    paths.sort();
    paths
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap()
}
