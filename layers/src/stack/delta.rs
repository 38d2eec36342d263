//! What has to be done to a directory that holds one layer, so that it holds another one: from their
//! indexes alone.
//!
//! ```text
//! old  src/  src/a  src/b  src/d/  src/d/x        new  src/  src/a'  src/c  src/d/  src/d/x
//!
//! write  src/  src/a'  src/c                      hide  src/b         nothing of lower layers may be at src/b
//! ```
//!
//! It is meant for overlayfs: the changes become a directory above the old one's, and the old one stays as
//! it is. A directory above can hide what the old layer has, but not let show again what lies below it:
//! what the lower layers must not have is part of the answer.
//!
//! Only layers whose directory does not depend on what lies below are compared: those in the order of a
//! walk, with an entry for each directory that they write into. All that COPY, ADD and RUN write is so.

use std::collections::{HashMap, HashSet};

use super::index::{Indexed, Iter, LayerIndex};
use super::tree::{Key, key, parent};
use crate::tar::Kind;
use crate::tar::whiteout::{self, Name};

/// What to do, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Entries of the new layer, as they stand there: parents come before children, and a file before its
    /// other names.
    pub write: Vec<Indexed>,
    /// Paths of the old layer that the new one lacks.
    pub hide: Vec<Vec<u8>>,
    /// Directories that were something else in the old layer: lower ones would not show in them.
    pub no_directory_below: Vec<Vec<u8>>,
    /// Bytes of content to be written.
    pub bytes: u64,
    /// Entries that the new layer has.
    pub new_entries: u64,
    /// Bytes of content that the new layer has.
    pub new_bytes: u64,
}

/// Tells whether a file's content, at a position of the old layer's tar, is that at one of the new layer's.
pub type SameContent<'a> = dyn Fn(u64, u64, u64) -> bool + 'a;

/// Tells whether a layer's directory is the same whatever lies below it.
pub fn is_self_contained(layer: &LayerIndex) -> bool {
    Walk::new(layer).all(|item| item.is_some())
}

/// Compares two layers; `same(old, new, size)` compares contents. `None` if either is not self-contained,
/// if what they hide of lower layers differs, or if what has to be written has no content in one piece.
pub fn between(old: &LayerIndex, new: &LayerIndex, same: &SameContent<'_>) -> Option<Delta> {
    let mut compared = Compared::new(Names::of(old), Names::of(new), same);
    let mut olds = Walk::new(old);
    let mut waiting = olds.next();
    for item in Walk::new(new) {
        let item = item?;
        while let Some(before) = take_if(&mut waiting, &mut olds, |before| before.key < item.key)? {
            compared.gone(&before)?;
        }
        match take_if(&mut waiting, &mut olds, |other| other.key == item.key)? {
            Some(other) => compared.both(&other, item)?,
            None => compared.came(item)?,
        }
    }
    while let Some(before) = take_if(&mut waiting, &mut olds, |_| true)? {
        compared.gone(&before)?;
    }
    Some(compared.delta)
}

/// Takes the item that waits if it is wanted. The outer `None`: the old layer cannot be compared.
fn take_if(
    waiting: &mut Option<Option<Item>>,
    rest: &mut Walk<'_>,
    wanted: impl Fn(&Item) -> bool,
) -> Option<Option<Item>> {
    match waiting.take() {
        Some(None) => None,
        Some(Some(item)) if wanted(&item) => {
            *waiting = rest.next();
            Some(Some(item))
        }
        other => {
            *waiting = other;
            Some(None)
        }
    }
}

/// What an entry does where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Plain,
    Hides,
    Opaque,
}

/// An entry in the order of a walk.
struct Item {
    /// Where it stands; a whiteout where the hidden name would, an opaque one first in its directory.
    key: Key,
    mark: Mark,
    indexed: Indexed,
}

impl Item {
    fn is_directory(&self) -> bool {
        self.mark == Mark::Plain && self.indexed.entry.kind == Kind::Directory
    }
}

/// The entries of a layer, each checked: `None`, and then no more, where the layer is not self-contained.
struct Walk<'a> {
    entries: Iter<'a>,
    last: Option<Key>,
    /// The directories on the way to the last entry.
    open: Vec<Key>,
    failed: bool,
}

impl<'a> Walk<'a> {
    fn new(index: &'a LayerIndex) -> Self {
        Self { entries: index.iter(), last: None, open: Vec::new(), failed: false }
    }

    fn check(&mut self, indexed: Indexed) -> Option<Item> {
        let path = key(&indexed.entry.path);
        let above = parent(&path).to_vec();
        let (mark, key) = match whiteout::read(indexed.entry.name()).ok()? {
            Name::Plain(_) => (Mark::Plain, path),
            Name::Hides(hidden) => (Mark::Hides, super::tree::join(&above, hidden)),
            // Of the root, lower layers' names would have to be looked up.
            Name::Opaque if above.is_empty() => return None,
            Name::Opaque => (Mark::Opaque, [&above[..], b"\0"].concat()),
        };
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return None;
        }
        while self.open.last().is_some_and(|open| *open != above) {
            self.open.pop();
        }
        if !above.is_empty() && self.open.is_empty() {
            return None;
        }
        let item = Item { key, mark, indexed };
        if item.is_directory() && !item.key.is_empty() {
            self.open.push(item.key.clone());
        }
        self.last = Some(item.key.clone());
        Some(item)
    }
}

impl Iterator for Walk<'_> {
    type Item = Option<Item>;

    fn next(&mut self) -> Option<Option<Item>> {
        if self.failed {
            return None;
        }
        let indexed = self.entries.next()?;
        let item = self.check(indexed);
        self.failed = item.is_none();
        Some(item)
    }
}

/// The other names of files that have some, by the name that holds the content.
#[derive(Default)]
struct Names(HashMap<Vec<u8>, Vec<Vec<u8>>>);

impl Names {
    fn of(layer: &LayerIndex) -> Self {
        let mut first: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        let mut names = Self::default();
        for Indexed { entry, .. } in layer.iter() {
            if let Kind::Hardlink { target } = entry.kind {
                let target = first.get(&target).cloned().unwrap_or(target);
                first.insert(entry.path.clone(), target.clone());
                names.0.entry(target).or_default().push(entry.path);
            }
        }
        names
    }

    fn get(&self, path: &[u8]) -> &[Vec<u8>] {
        self.0.get(path).map_or(&[], Vec::as_slice)
    }
}

/// Two layers while they are compared.
struct Compared<'a> {
    same: &'a SameContent<'a>,
    old_names: Names,
    new_names: Names,
    /// Other names of files of the new layer that are written.
    written: HashSet<Vec<u8>>,
    /// The new layer's directories on the way to what is looked at; `None` once they are to be written.
    open: Vec<(Key, Option<Indexed>)>,
    /// What hides all that the old layer has beneath it.
    covered: Option<Key>,
    delta: Delta,
}

impl<'a> Compared<'a> {
    fn new(old_names: Names, new_names: Names, same: &'a SameContent<'a>) -> Self {
        Self {
            same,
            old_names,
            new_names,
            written: HashSet::new(),
            open: Vec::new(),
            covered: None,
            delta: Delta::default(),
        }
    }

    /// Only the old layer has it.
    fn gone(&mut self, item: &Item) -> Option<()> {
        if item.mark != Mark::Plain {
            return None;
        }
        if self.is_covered(&item.key) {
            return Some(());
        }
        if item.key.is_empty() {
            // The root is there whether a layer speaks of it or not.
            return Some(());
        }
        self.enter(&item.key);
        self.write_parents();
        self.covered = Some(item.key.clone());
        self.delta.hide.push(item.indexed.entry.path.clone());
        Some(())
    }

    /// Only the new layer has it.
    fn came(&mut self, item: Item) -> Option<()> {
        if item.mark != Mark::Plain {
            return None;
        }
        self.count(&item);
        self.enter(&item.key);
        self.write(item)
    }

    fn both(&mut self, old: &Item, new: Item) -> Option<()> {
        if old.mark != new.mark {
            return None;
        }
        self.count(&new);
        self.enter(&new.key);
        if new.mark != Mark::Plain {
            return Some(());
        }
        if new.key.is_empty() {
            return self.write(new);
        }
        match (old.is_directory(), new.is_directory()) {
            (true, false) => self.covered = Some(new.key.clone()),
            (false, true) => self.delta.no_directory_below.push(new.indexed.entry.path.clone()),
            _ => {}
        }
        if !self.is_same(&old.indexed, &new.indexed) {
            return self.write(new);
        }
        if new.is_directory() {
            self.open.push((new.key, Some(new.indexed)));
        }
        Some(())
    }

    fn is_same(&self, old: &Indexed, new: &Indexed) -> bool {
        let path = &new.entry.path;
        // All names of a file are written or none. Another name says nothing of its own.
        if let (Kind::Hardlink { .. }, Kind::Hardlink { .. }) = (&old.entry.kind, &new.entry.kind) {
            return !self.written.contains(path);
        }
        if old.entry != new.entry || self.old_names.get(path) != self.new_names.get(path) {
            return false;
        }
        match (&new.entry.kind, old.body.offset, new.body.offset) {
            (Kind::File { size }, Some(old), Some(new)) => *size == 0 || (self.same)(old, new, *size),
            (Kind::File { size }, ..) => *size == 0,
            _ => true,
        }
    }

    fn write(&mut self, item: Item) -> Option<()> {
        let Indexed { entry, body, .. } = &item.indexed;
        if entry.size() > 0 && body.offset.is_none() {
            return None;
        }
        self.write_parents();
        self.delta.bytes += entry.size();
        self.written.extend(self.new_names.get(&entry.path).iter().cloned());
        if item.is_directory() && !item.key.is_empty() {
            self.open.push((item.key, None));
        }
        self.delta.write.push(item.indexed);
        Some(())
    }

    fn write_parents(&mut self) {
        self.delta.write.extend(self.open.iter_mut().filter_map(|(_, directory)| directory.take()));
    }

    /// Leaves the directories that a path is not in.
    fn enter(&mut self, key: &[u8]) {
        while self.open.last().is_some_and(|(open, _)| !is_beneath(key, open)) {
            self.open.pop();
        }
    }

    fn is_covered(&self, key: &[u8]) -> bool {
        self.covered.as_ref().is_some_and(|covered| is_beneath(key, covered))
    }

    fn count(&mut self, item: &Item) {
        self.delta.new_entries += 1;
        self.delta.new_bytes += item.indexed.entry.size();
    }
}

fn is_beneath(key: &[u8], directory: &[u8]) -> bool {
    key.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&0))
}

#[cfg(test)]
mod tests {
    use super::{Delta, between, is_self_contained};
    use crate::stack::{Body, IndexBuilder, LayerIndex};
    use crate::tar::{Entry, Kind};

    /// `d/` is a directory, `f=7` a file whose content is told by a number, `l>f` another name of a file.
    fn layer(entries: &[&str]) -> LayerIndex {
        let mut builder = IndexBuilder::default();
        for text in entries {
            let (entry, offset) = match (text.split_once('='), text.split_once('>')) {
                (Some((path, content)), _) => {
                    (Entry::new(path, Kind::File { size: 1 }, 0o644), Some(content.parse().unwrap()))
                }
                (_, Some((path, target))) => {
                    (Entry::new(path, Kind::Hardlink { target: target.into() }, 0o644), None)
                }
                _ if *text == "/" || text.ends_with('/') => {
                    (Entry::new(text.trim_end_matches('/'), Kind::Directory, 0o755), None)
                }
                _ => (Entry::new(*text, Kind::File { size: 0 }, 0o644), Some(0)),
            };
            builder.push(&entry, &Body { offset, ..Body::default() }).unwrap();
        }
        builder.finish()
    }

    fn delta(old: &[&str], new: &[&str]) -> Option<Delta> {
        between(&layer(old), &layer(new), &|old, new, _| old == new)
    }

    fn text(paths: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
        paths.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    /// What is written, and what is hidden.
    fn told(old: &[&str], new: &[&str]) -> (Vec<String>, Vec<String>) {
        let delta = delta(old, new).unwrap();
        (text(delta.write.into_iter().map(|one| one.entry.path)), text(delta.hide))
    }

    #[test]
    fn only_a_layer_in_order_with_its_directories_is_self_contained() {
        assert!(is_self_contained(&layer(&["a/", "a/b", "a/c/", "a/c/d", "a-b", ".wh.z"])));
        assert!(is_self_contained(&layer(&[])));
        for entries in [&["b", "a"][..], &["a", "a"], &["a/b"], &["a/", "b", "a/c"], &[".wh..wh..opq"]] {
            assert!(!is_self_contained(&layer(entries)), "{entries:?}");
        }
        assert!(!is_self_contained(&layer(&[".wh.a", "a"])), "it depends on what is hidden");
    }

    #[test]
    fn what_differs_is_written_with_the_directories_above_it() {
        let old = ["a/", "a/b/", "a/b/f=1", "a/g=2", "c/", "c/h=3"];
        assert_eq!(told(&old, &old), (vec![], vec![]));
        let new = ["a/", "a/b/", "a/b/f=9", "a/g=2", "c/", "c/h=3"];
        assert_eq!(told(&old, &new).0, ["a", "a/b", "a/b/f"]);
        let new = ["a/", "a/b/", "a/b/f=1", "a/g=2", "c/", "c/h=3", "c/new/", "c/new/x"];
        assert_eq!(told(&old, &new).0, ["c", "c/new", "c/new/x"]);
    }

    #[test]
    fn what_went_is_hidden_once() {
        let old = ["a/", "a/b/", "a/b/f=1", "a/g=2"];
        assert_eq!(told(&old, &["a/", "a/g=2"]), (vec!["a".to_owned()], vec!["a/b".to_owned()]));
        assert_eq!(told(&old, &[]), (vec![], vec!["a".to_owned()]));
        // A file hides by itself, whatever was in its place.
        assert_eq!(told(&old, &["a/", "a/b=5", "a/g=2"]).1, [""; 0]);
    }

    #[test]
    fn a_directory_in_place_of_a_file_needs_none_below() {
        let delta = delta(&["a=1"], &["a/", "a/b=2"]).unwrap();
        assert_eq!(text(delta.no_directory_below), ["a"]);
    }

    #[test]
    fn all_names_of_a_file_are_written_or_none() {
        let old = ["a=1", "b>a", "c>b", "d=4"];
        assert_eq!(told(&old, &["a=1", "b>a", "c>a", "d=4"]).0, [""; 0]);
        assert_eq!(told(&old, &["a=2", "b>a", "c>a", "d=4"]).0, ["a", "b", "c"]);
        assert_eq!(told(&old, &["a=1", "b>a", "c=1", "d=4"]).0, ["a", "b", "c"]);
        assert_eq!(told(&old, &["a=1", "b>a", "c>a", "d>a"]).0, ["a", "b", "c", "d"]);
    }

    #[test]
    fn layers_that_hide_other_things_are_not_compared() {
        assert!(delta(&["a/", "a/.wh.x"], &["a/", "a/.wh.x", "b"]).is_some());
        assert!(delta(&["a/", "a/.wh.x"], &["a/"]).is_none());
        assert!(delta(&["a/"], &["a/", "a/.wh.x"]).is_none());
        assert!(delta(&["a/", "a/.wh..wh..opq"], &["a/"]).is_none());
        assert!(delta(&["a/", "a/x"], &["a/", "a/.wh.x"]).is_none());
    }

    #[test]
    fn what_a_layer_says_of_the_root_is_written_again() {
        assert_eq!(told(&["/", "a"], &["/", "a"]).0, [""]);
        assert_eq!(told(&["/", "a"], &["a"]), (vec![], vec![]));
    }
}
