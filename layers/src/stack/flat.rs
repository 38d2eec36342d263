//! What one stack has and a lower part of it has not, as the entries of a single layer.
//!
//! ```text
//! bottom  a  b/x  c          top = bottom and more  a' b/x b/y        flat  a'  b/  b/y  .wh.c
//! ```
//!
//! Above nothing at all this is the whole filesystem: what `-o type=tar` holds. Directories on the way
//! to an entry come along, once, as they are at the top.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;

use super::{Content, ContentError, Contents, Found, Stack, tree};
use crate::layer::Layer;
use crate::store::BlobStore;
use crate::tar::{Entry, Kind, whiteout};
use crate::tree::ChangeSink;

/// The entries of one layer that leads from one stack to another.
pub struct Flat {
    entries: Vec<(Entry, Option<Content>)>,
}

/// Why the entries could not be handed on.
#[derive(Debug, thiserror::Error)]
pub enum FlatError<E> {
    /// A file's content cannot be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The sink did not take an entry.
    #[error(transparent)]
    Sink(E),
}

impl Flat {
    /// Compares a stack with the layers that it begins with.
    ///
    /// `bottom` must be of the first layers of `top`: contents are compared by where they are.
    pub fn between(bottom: &Stack, top: &Stack) -> Self {
        let mut entries = BTreeMap::new();
        let mut parents = BTreeSet::new();
        for found in top.walk(b"") {
            let path = found.entry.path.clone();
            if !path.is_empty() && bottom.get(&path).as_ref() != Some(&found) {
                with_parents(&path, &mut parents);
                entries.insert(tree::key(&path), (found.entry, found.content));
            }
        }
        for hidden in gone(bottom, top) {
            let entry = whiteout::hiding(&hidden);
            with_parents(&hidden, &mut parents);
            entries.insert(tree::key(&entry.path), (entry, None));
        }
        for path in parents {
            if let Some(Found { entry, content }) = top.get(&path) {
                entries.entry(tree::key(&path)).or_insert((entry, content));
            }
        }
        let mut entries: Vec<_> = entries.into_values().collect();
        link(&mut entries);
        Self { entries }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Hands the entries to a sink, parents before children. `layers` are those of the top stack;
    /// `spool` is a directory for contents that do not fit into memory.
    pub fn emit<S: ChangeSink>(
        &self,
        store: &dyn BlobStore,
        layers: &[Layer],
        spool: &Path,
        sink: &mut S,
    ) -> Result<(), FlatError<S::Error>> {
        let wanted = self.entries.iter().filter_map(|(_, content)| *content);
        let mut contents = Contents::gather(store, layers, wanted, spool)?;
        for (entry, content) in &self.entries {
            let taken = match content {
                Some(content) => sink.entry(entry, &mut contents.open(content)?),
                None => sink.entry(entry, &mut io::empty()),
            };
            taken.map_err(FlatError::Sink)?;
        }
        Ok(())
    }
}

/// Notes the directories above a path, but for the root.
fn with_parents(path: &[u8], parents: &mut BTreeSet<Vec<u8>>) {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    parents.extend(slashes.map(|(slash, _)| path[..slash].to_vec()));
}

/// Returns what the bottom has and the top has not, but for what goes with its directory, or with a
/// directory that something else has taken the place of.
fn gone(bottom: &Stack, top: &Stack) -> Vec<Vec<u8>> {
    let is_directory = |path: &[u8]| top.get(path).is_some_and(|found| found.entry.kind == Kind::Directory);
    let hidden = bottom.walk(b"").map(|found| found.entry).filter(|entry| {
        !entry.path.is_empty() && top.get(&entry.path).is_none() && is_directory(entry.parent())
    });
    hidden.map(|entry| entry.path).collect()
}

/// Several names of one file are one file and links to it, as far as they agree on everything else.
fn link(entries: &mut [(Entry, Option<Content>)]) {
    let mut first: HashMap<(u32, u32), Entry> = HashMap::new();
    for (entry, content) in entries {
        let Some(place) = content.filter(|content| content.size > 0) else { continue };
        let known = first.entry((place.layer, place.ordinal)).or_insert_with(|| entry.clone());
        let same = Entry { path: entry.path.clone(), ..known.clone() } == *entry;
        if known.path != entry.path && same {
            entry.kind = Kind::Hardlink { target: known.path.clone() };
            *content = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::Flat;
    use crate::compress::Compression;
    use crate::layer::{Layer, LayerError, LayerWriter};
    use crate::stack::{LayerIndex, Stack};
    use crate::store::Memory;
    use crate::tar::{Entry, Kind, whiteout};
    use crate::tree::ChangeSink;

    /// A layer of these paths: `dir/`, `file=content`, `link->target` (hard), `-path` (gone).
    fn layer(store: &Memory, lines: &[String]) -> Layer {
        let mut writer = LayerWriter::new(store, Compression::None, 1).unwrap();
        for line in lines {
            let (entry, content) = if let Some(path) = line.strip_prefix('-') {
                (whiteout::hiding(path.as_bytes()), "")
            } else if let Some((path, target)) = line.split_once("->") {
                (Entry::new(path, Kind::Hardlink { target: target.into() }, 0o644), "")
            } else if let Some((path, content)) = line.split_once('=') {
                (Entry::new(path, Kind::File { size: content.len() as u64 }, 0o644), content)
            } else {
                (Entry::new(line.trim_end_matches('/'), Kind::Directory, 0o755), "")
            };
            writer.append(&entry, &mut content.as_bytes()).unwrap();
        }
        writer.finish().unwrap()
    }

    fn stack(store: &Memory, layers: &[Layer]) -> Stack {
        let index = |layer: &Layer| Arc::new(LayerIndex::of_layer(layer, store).unwrap());
        Stack::of(layers.iter().map(index).collect()).unwrap()
    }

    struct Sink(LayerWriter, Vec<String>);

    impl ChangeSink for Sink {
        type Error = LayerError;

        fn entry(&mut self, entry: &Entry, content: &mut dyn std::io::Read) -> Result<(), LayerError> {
            self.1.push(match &entry.kind {
                Kind::Hardlink { target } => format!("{}->{}", text(&entry.path), text(target)),
                _ => text(&entry.path),
            });
            self.0.append(entry, content)
        }
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Every path with its content, as a reader of the stack sees it.
    fn told(store: &Memory, layers: &[Layer]) -> Vec<String> {
        let stack = stack(store, layers);
        let tell = |found: crate::stack::Found| {
            let path = found.entry.path.clone();
            let bytes = crate::stack::read_file(&stack, store, layers, &path, 100).unwrap_or_default();
            format!("{} {:o} {:?}", text(&path), found.entry.mode, bytes.map(|bytes| text(&bytes)))
        };
        stack.walk(b"").map(tell).collect()
    }

    /// Flattens what stands above the first layer; returns the names, and the flat layer.
    fn flatten(store: &Memory, layers: &[Layer], keep: usize) -> (Vec<String>, Layer) {
        let flat = Flat::between(&stack(store, &layers[..keep]), &stack(store, layers));
        let mut sink = Sink(LayerWriter::new(store, Compression::None, 1).unwrap(), Vec::new());
        flat.emit(store, layers, &std::env::temp_dir(), &mut sink).unwrap();
        (sink.1, sink.0.finish().unwrap())
    }

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_file_that_came_and_went_leaves_nothing() {
        let store = Memory::new();
        let layers = [
            layer(&store, &lines(&["etc/", "etc/keep=k"])),
            layer(&store, &lines(&["etc/", "etc/secret=s"])),
            layer(&store, &lines(&["etc/", "-etc/secret", "etc/new=n"])),
        ];
        assert_eq!(flatten(&store, &layers, 1).0, ["etc", "etc/new"]);
    }

    #[test]
    fn what_the_bottom_had_is_hidden_once() {
        let store = Memory::new();
        let layers = [
            layer(&store, &lines(&["a/", "a/b/", "a/b/c=c", "d/", "d/e=e", "f/", "f/g=g"])),
            layer(&store, &lines(&["-a", "d/", "-d/e"])),
            layer(&store, &lines(&["f=file"])),
        ];
        assert_eq!(flatten(&store, &layers, 1).0, [".wh.a", "d", "d/.wh.e", "f"]);
    }

    #[test]
    fn links_stay_links_above_nothing() {
        let store = Memory::new();
        let layers = [layer(&store, &lines(&["x=1", "y->x"])), layer(&store, &lines(&["x=2"]))];
        assert_eq!(flatten(&store, &layers[..1], 0).0, ["x", "y->x"]);
        assert_eq!(flatten(&store, &layers, 0).0, ["x", "y"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_flat_layer_on_the_bottom_is_the_top(
            steps in proptest::collection::vec(
                proptest::collection::vec((0..4_u8, 0..12_usize, "[a-c]{0,2}"), 0..8), 1..5),
            keep in 0..4_usize,
        ) {
            let paths = ["a", "b", "c", "a/a", "a/b", "b/a", "b/b", "c/c", "a/a/a", "a/b/b", "b/a/c", "c/c/c"];
            let store = Memory::new();
            let mut layers: Vec<Layer> = Vec::new();
            for step in steps {
                let mut below = layers.clone();
                for (what, path, content) in step {
                    let line = match what {
                        0 => format!("{}/", paths[path]),
                        1 => format!("-{}", paths[path]),
                        2 => format!("{}->{}", paths[path], paths[content.len()]),
                        _ => format!("{}={content}", paths[path]),
                    };
                    below.push(layer(&store, &[line]));
                    let index = |layer: &Layer| Arc::new(LayerIndex::of_layer(layer, &store).unwrap());
                    // A step that makes no sense there is left out.
                    if Stack::of(below.iter().map(index).collect()).is_err() {
                        below.pop();
                    }
                }
                layers = below;
            }
            let keep = keep.min(layers.len());
            let (_, flat) = flatten(&store, &layers, keep);
            let mut short = layers[..keep].to_vec();
            short.push(flat);
            prop_assert_eq!(told(&store, &short), told(&store, &layers));
        }
    }
}
