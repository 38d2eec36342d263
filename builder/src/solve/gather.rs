//! What a step reads of a context: every path below what its patterns select, looked at once.
//!
//! ```text
//! pattern ─choose─▶ paths ─walk─▶ items ─┬─▶ definition key
//!                                        ├─▶ fingerprints, which the content key takes from here
//!                                        └─▶ facts, to tell what changed
//! ```
//!
//! Where the files land is of no interest here, and nothing below is looked at: that is what makes a
//! definition cheap. `--exclude` and `--parents` leave the same out as they do when files are placed.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;

use oxbox_layers::tar::{Entry, Kind};

use super::KeyHasher;
use crate::context::fingerprints::Fingerprints;
use crate::context::glob::Glob;
use crate::context::ignore::Matched;
use crate::context::tree::join;
use crate::context::{FileContents, FileTree, Ignore, Look, Node, Paths, TreeError};
use crate::exec::Interrupt;
use crate::op::copy::{self, CopyError, Parents, SelectError, Selected};
use crate::plan::graph::Placing;

/// 16 KiB: what is hashed in many small parts is hashed in such pieces.
const PIECE_BYTES: usize = 16 << 10;

/// Of what is hashed of an item, all but its path and fingerprint: two lengths, mode, size, kind and rest.
const RECORD_BYTES: usize = 8 + 8 + 4 + 8 + 1 + 32;

/// Everything below some paths of a tree. Texts stand one after another in `bytes`: three hundred
/// thousand files must not be as many small boxes.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    paths: Vec<u8>,
    items: Vec<Item>,
    /// Of each item; empty for what has no content.
    fingerprints: Fingerprints,
    /// What else counts of some items, hashed.
    rests: Vec<[u8; 32]>,
    /// Places of items by path.
    sorted: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Item {
    /// Where its path ends: it begins where that of the item before ends.
    path_end: usize,
    size: u64,
    mode: u32,
    /// Everything else that counts, by number from 1; 0 for a plain file or directory of root's.
    rest: u32,
    kind: u8,
}

/// One path, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gleaned<'a> {
    pub(super) path: &'a [u8],
    /// `-` for a file, `d`, `l`, … as in `ls -l`.
    pub(super) kind: char,
    pub(super) mode: u32,
    pub(super) size: u64,
    /// Of content and all else that counts.
    pub(super) mark: [u8; 8],
}

/// What is read of a tree.
#[derive(Debug, Clone)]
pub(super) enum Choice {
    /// What a pattern means.
    Paths(Vec<Selected>),
    /// What it means with `--parents`.
    Parents(Parents),
}

impl Choice {
    /// Finds out what a pattern means.
    pub(super) fn of(tree: &dyn FileTree, pattern: &str, placing: Placing) -> Result<Self, SelectError> {
        Ok(match placing {
            Placing::Name => Self::Paths(copy::select(tree, pattern)?),
            Placing::Path => Self::Parents(copy::select_parents(tree, pattern)?),
        })
    }
}

/// Who reads files, and which of a directory it leaves out.
pub(super) struct Reader<'a> {
    pub(super) exclude: &'a Ignore,
    pub(super) threads: NonZero<usize>,
    pub(super) interrupt: &'a Interrupt,
}

/// A place of the walk.
struct Here {
    path: Vec<u8>,
    /// From the directory that the walk began at; only if something is left out.
    relative: Vec<u8>,
    is_included: bool,
    matched: Matched,
}

/// What is left out of a directory.
struct Filter<'a> {
    include: Option<&'a Glob>,
    exclude: &'a Ignore,
}

impl Filter<'_> {
    fn takes_all(&self) -> bool {
        self.include.is_none() && self.exclude.is_empty()
    }

    /// Returns a child of a directory and whether it is taken; `None` if nothing below it can be.
    fn child(&self, parent: &Here, name: &[u8]) -> Option<(Here, bool)> {
        let path = join(&parent.path, name);
        if self.takes_all() {
            let (relative, matched) = (Vec::new(), Matched::default());
            return Some((Here { path, relative, is_included: true, matched }, true));
        }
        let relative = join(&parent.relative, name);
        let is_included = parent.is_included || self.include.is_none_or(|glob| glob.matches(&relative));
        let (is_excluded, matched) = self.exclude.judge(&parent.matched, &relative);
        let may_include = is_included || self.include.is_none_or(|glob| glob.may_match_below(&relative));
        if !may_include || (is_excluded && !self.exclude.may_take_back_below(&relative)) {
            return None;
        }
        Some((Here { path, relative, is_included, matched }, is_included && !is_excluded))
    }
}

impl Gathered {
    /// Walks a tree below what was chosen of it, and reads every file or what is known of it.
    pub(super) fn of(tree: &dyn FileTree, choice: &Choice, reader: &Reader<'_>) -> Result<Self, CopyError> {
        let mut gathered = Self::default();
        let mut names = HashMap::new();
        let exclude = reader.exclude;
        match choice {
            Choice::Paths(selected) => {
                let filter = Filter { include: None, exclude };
                for one in selected {
                    gathered.walk(tree, (&one.path, &one.name), &filter, &mut names, reader.interrupt)?;
                }
            }
            Choice::Parents(parents) => {
                let filter = Filter { include: parents.glob.as_ref(), exclude };
                for root in &parents.roots {
                    gathered.walk(tree, (root, b""), &filter, &mut names, reader.interrupt)?;
                }
            }
        }
        gathered.paths.shrink_to_fit();
        gathered.items.shrink_to_fit();
        gathered.fingerprints = Fingerprints::read(gathered.items.len(), reader.threads, |at| {
            super::check(reader.interrupt)?;
            match gathered.items[at].kind {
                b'-' => Ok(tree.fingerprint(gathered.path(at))?),
                _ => Ok::<_, CopyError>(Vec::new()),
            }
        })?;
        let mut sorted: Vec<u32> = (0..u32::try_from(gathered.items.len()).unwrap_or(u32::MAX)).collect();
        sorted
            .sort_unstable_by(|&one, &other| gathered.path(one as usize).cmp(gathered.path(other as usize)));
        gathered.sorted = sorted;
        Ok(gathered)
    }

    /// Adds everything but times to a key.
    pub(super) fn hash(&self, hasher: &mut KeyHasher) {
        // Records of one form behind each other, framed by hand: a field each would be twenty thousand
        // times six.
        let fingerprints: usize = (0..self.items.len()).map(|at| self.fingerprints.get(at).len()).sum();
        let length = self.items.len() * RECORD_BYTES + self.paths.len() + fingerprints;
        let mut piece = Vec::with_capacity(2 * PIECE_BYTES);
        let mut field = hasher.long_field("items", length);
        for (at, item) in self.items.iter().enumerate() {
            for text in [self.path(at), self.fingerprints.get(at)] {
                piece.extend((text.len() as u64).to_le_bytes());
                piece.extend(text);
            }
            piece.extend(item.mode.to_le_bytes());
            piece.extend(item.size.to_le_bytes());
            piece.push(item.kind);
            piece.extend(self.rest(item));
            if piece.len() >= PIECE_BYTES {
                field(&piece);
                piece.clear();
            }
        }
        field(&piece);
    }

    /// Returns the fingerprint of a file that was read.
    pub(super) fn fingerprint(&self, path: &[u8]) -> Option<&[u8]> {
        let place = self.sorted.binary_search_by(|&item| self.path(item as usize).cmp(path)).ok()?;
        let fingerprint = self.fingerprints.get(self.sorted[place] as usize);
        (!fingerprint.is_empty()).then_some(fingerprint)
    }

    /// Returns all paths in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Gleaned<'_>> {
        self.sorted.iter().map(|&place| {
            let place = place as usize;
            let (item, fingerprint) = (&self.items[place], self.fingerprints.get(place));
            let mark = match fingerprint.first_chunk() {
                Some(mark) if item.rest == 0 => *mark,
                _ => {
                    let mut hasher = blake3::Hasher::new();
                    hasher.update(self.rest(item)).update(fingerprint);
                    *hasher.finalize().as_bytes().first_chunk().expect("because a hash has 32 bytes")
                }
            };
            Gleaned { path: self.path(place), kind: item.kind.into(), mode: item.mode, size: item.size, mark }
        })
    }

    fn path(&self, place: usize) -> &[u8] {
        let start = place.checked_sub(1).map_or(0, |before| self.items[before].path_end);
        &self.paths[start..self.items[place].path_end]
    }

    fn rest(&self, item: &Item) -> &[u8; 32] {
        item.rest.checked_sub(1).map_or(&[0; 32], |at| &self.rests[at as usize])
    }

    fn walk(
        &mut self,
        tree: &dyn FileTree,
        (root, name): (&[u8], &[u8]),
        filter: &Filter<'_>,
        names: &mut HashMap<(u64, u64), usize>,
        interrupt: &Interrupt,
    ) -> Result<(), CopyError> {
        let (path, relative, matched) = (root.to_vec(), Vec::new(), Matched::default());
        // What is named itself is never left out. It has another name where links led to it.
        let is_included = filter.takes_all();
        let mut todo = vec![(Here { path, relative, is_included, matched }, true)];
        let mut name = Some(name);
        // A stack rather than recursion: folders nest as deep as somebody likes.
        while let Some((here, is_taken)) = todo.pop() {
            super::check(interrupt)?;
            let name = name.take().unwrap_or_default();
            // What is gone since it was listed will be missing when it is placed.
            let Some(node) = tree.node(&here.path)? else { continue };
            let is_directory = node.entry.kind == Kind::Directory;
            // A directory that is not taken is made all the same for something below it.
            if is_taken || is_directory {
                self.push(&here.path, name, &node, names);
            }
            if is_directory {
                let children = tree.children(&here.path)?;
                todo.extend(children.iter().rev().filter_map(|child| filter.child(&here, child)));
            }
        }
        Ok(())
    }

    fn push(&mut self, path: &[u8], name: &[u8], node: &Node, names: &mut HashMap<(u64, u64), usize>) {
        let Entry { path: _, kind, mode, uid, gid, mtime: _, xattrs } = &node.entry;
        let place = self.items.len();
        // Which of the files of a selection are one file shows in the layer, and nothing else of it.
        let same = node.identity.map(|identity| *names.entry(identity).or_insert(place));
        let is_plain = matches!(kind, Kind::File { .. } | Kind::Directory) && xattrs.is_empty();
        let rest = if is_plain && same.is_none() && name.is_empty() && (*uid, *gid) == (0, 0) {
            0
        } else {
            let mut hasher = KeyHasher::new("item");
            hasher.field("name", name).field("uid", uid.to_le_bytes()).field("gid", gid.to_le_bytes());
            hasher.field("kind", format!("{kind:?}")).field("same", format!("{same:?}"));
            let xattrs: Vec<_> = xattrs.iter().flat_map(|(name, value)| [name, value]).collect();
            hasher.list("xattrs", xattrs.into_iter());
            self.rests.push(*hasher.finish().as_bytes());
            u32::try_from(self.rests.len()).unwrap_or(u32::MAX)
        };
        self.paths.extend(path);
        let (path_end, size) = (self.paths.len(), node.entry.size());
        self.items.push(Item { path_end, size, mode: *mode, rest, kind: letter(kind) });
    }
}

fn letter(kind: &Kind) -> u8 {
    match kind {
        Kind::File { .. } | Kind::Hardlink { .. } => b'-',
        Kind::Directory => b'd',
        Kind::Symlink { .. } => b'l',
        Kind::Fifo => b'p',
        Kind::CharacterDevice { .. } => b'c',
        Kind::BlockDevice { .. } => b'b',
    }
}

/// A tree whose files were read already for the definition. What is written later must still be that.
pub(super) struct Remembered {
    pub(super) tree: Arc<Look>,
    pub(super) gathered: Arc<Gathered>,
}

impl FileTree for Remembered {
    fn node(&self, path: &[u8]) -> Result<Option<Node>, TreeError> {
        self.tree.node(path)
    }

    fn children(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, TreeError> {
        self.tree.children(path)
    }

    fn fingerprint(&self, path: &[u8]) -> Result<Vec<u8>, TreeError> {
        match self.gathered.fingerprint(path) {
            Some(fingerprint) => Ok(fingerprint.to_vec()),
            None => self.tree.fingerprint(path),
        }
    }

    fn contents(&self, paths: &mut Paths<'_>) -> Result<Box<dyn FileContents + '_>, TreeError> {
        self.tree.contents(paths)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::{Choice, Gathered, Reader};
    use crate::context::Ignore;
    use crate::context::tree::tests::Trial;
    use crate::exec::Interrupt;
    use crate::plan::graph::Placing;
    use crate::solve::{Key, KeyHasher};

    fn gathered(tree: &Trial, path: &str) -> Gathered {
        chosen(tree, path, Placing::Name, &[])
    }

    fn chosen(tree: &Trial, pattern: &str, placing: Placing, exclude: &[&str]) -> Gathered {
        let exclude: Vec<String> = exclude.iter().map(|pattern| (*pattern).to_owned()).collect();
        let (exclude, interrupt) = (Ignore::of_patterns(&exclude).unwrap(), Interrupt::new());
        let reader = Reader { exclude: &exclude, threads: NonZero::new(2).unwrap(), interrupt: &interrupt };
        Gathered::of(tree, &Choice::of(tree, pattern, placing).unwrap(), &reader).unwrap()
    }

    #[test]
    fn what_is_left_out_does_not_count() {
        let tree = |left: &str, taken: &str| {
            let tree = Trial::default().directory("d").directory("d/in").directory("d/out");
            tree.file("d/in/a.c", taken).file("d/in/a.o", left).file("d/out/b.o", left)
        };
        for (placing, exclude) in
            [(Placing::Name, &["**/*.o"][..]), (Placing::Path, &["**/*.o"]), (Placing::Path, &[])]
        {
            let pattern = if exclude.is_empty() { "d/**/*.c" } else { "d" };
            let first = key(&chosen(&tree("1", "1"), pattern, placing, exclude));
            assert_eq!(key(&chosen(&tree("2", "1"), pattern, placing, exclude)), first, "{pattern}");
            assert_ne!(key(&chosen(&tree("1", "2"), pattern, placing, exclude)), first, "{pattern}");
        }
    }

    fn key(gathered: &Gathered) -> Key {
        let mut hasher = KeyHasher::new("test");
        gathered.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn names_modes_and_contents_below_count_and_nothing_beside() {
        let tree = || Trial::default().directory("d").file("d/a", "1").file("d/b", "2").file("e", "3");
        let first = key(&gathered(&tree(), "d"));
        assert_eq!(key(&gathered(&tree().file("e", "4"), "d")), first);
        assert_ne!(key(&gathered(&tree().file("d/a", "4"), "d")), first);
        assert_ne!(key(&gathered(&tree().file("d/c", ""), "d")), first);
        assert_ne!(key(&gathered(&tree().directory("d/b"), "d")), first);
        assert_ne!(key(&gathered(&tree().link("d/b", "a"), "d")), first);
    }

    #[test]
    fn many_files_keep_their_own_fingerprints() {
        let tree = (0..1000).fold(Trial::default().directory("d"), |tree, number| {
            tree.file(&format!("d/{number}"), &format!("content {number}"))
        });
        let gathered = gathered(&tree, "d");
        for number in 0..1000 {
            let content = format!("content {number}");
            assert_eq!(gathered.fingerprint(format!("d/{number}").as_bytes()), Some(content.as_bytes()));
        }
        assert_eq!(gathered.fingerprint(b"d"), None);
        let paths: Vec<&[u8]> = gathered.iter().map(|item| item.path).collect();
        assert!(paths.is_sorted());
    }
}
