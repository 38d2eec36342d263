//! A layer's snapshot as what it says otherwise than another one: made of a few files, not of all.
//!
//! ```text
//! base    src/a  src/b  src/c            unpacked once, never changed, itself above no other
//! above   src/b' src/c(gone)             overlayfs shows src/a and the new src/b
//! ```
//!
//! Everything is made from the first snapshot of its kind, not from the last: there are never more than two
//! directories for a layer, and nothing to flatten. When too much has changed since then, the layer is
//! unpacked whole, and what comes next is made from that.
//!
//! Whatever stands in the way (a base that is gone, a chunk that is damaged, something below that would show)
//! means unpacking the whole layer, which is always right.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use oxbox_layers::compress::{ChunkIndex, Pieces, Positions};
use oxbox_layers::oci::{ChainId, DiffId};
use oxbox_layers::stack::{Delta, LayerIndex, delta};
use oxbox_layers::tar::{Entry, Kind, whiteout};
use oxbox_layers::tree::{Stack, apply};

use super::contents::{self, Contents};
use super::marker::{Form, Marker};
use super::unpack::Unpacked;
use super::{Known, SnapshotError, unpack};

/// Snapshots that are looked at closely: the comparison of two layers of 20 000 entries takes 10 ms.
const MAX_TRIED: usize = 3;

/// A layer whose note would be shorter is unpacked as fast as it is compared: some hundreds of entries.
const WORTH_INDEX_BYTES: usize = 16 << 10;

/// The same for its tar.
const WORTH_TAR_BYTES: u64 = 4 << 20;

/// Of ten parts, so many may be written again. Beyond that unpacking the whole costs little more, once, and
/// spares every program that runs on it the search in two directories.
const MOST_TENTHS: u64 = 3;

/// A snapshot that another one may be made above.
pub(super) struct Candidate {
    pub(super) name: ChainId,
    pub(super) place: PathBuf,
    rank: (Likeness, Reverse<SystemTime>),
}

/// How likely it is that little has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// The same layer, on others.
    Same,
    /// Another layer on the same ones: most likely what the instruction made before.
    Sibling,
    /// Neither.
    Other,
}

/// Tells whether a layer is large enough for all this.
pub(super) fn is_worth_it(index: &LayerIndex, chunks: &ChunkIndex) -> bool {
    index.as_bytes().len() >= WORTH_INDEX_BYTES || chunks.size() >= WORTH_TAR_BYTES
}

/// Notes what is in a layer that was just unpacked, if other snapshots can be made above it.
pub(super) fn note(
    directory: &Path,
    layer: DiffId,
    below: Option<ChainId>,
    known: Option<(&LayerIndex, &ChunkIndex)>,
) -> Result<Form, SnapshotError> {
    match known {
        Some((index, chunks)) if is_worth_it(index, chunks) && delta::is_self_contained(index) => {
            contents::write(directory, index, chunks)?;
            Ok(Form::Noted { layer, below })
        }
        _ => Ok(Form::Whole),
    }
}

/// Judges a snapshot by its marker; `None` if nothing can be made above it.
pub(super) fn candidate(
    place: &Path,
    name: ChainId,
    marker: &Marker,
    layer: &DiffId,
    below: Option<&ChainId>,
) -> Option<Candidate> {
    let Form::Noted { layer: noted, below: on } = &marker.form else { return None };
    let likeness = match () {
        () if noted == layer => Likeness::Same,
        () if on.as_ref() == below => Likeness::Sibling,
        () => Likeness::Other,
    };
    let modified = place.metadata().and_then(|metadata| metadata.modified());
    let rank = (likeness, Reverse(modified.unwrap_or(SystemTime::UNIX_EPOCH)));
    Some(Candidate { name, place: place.to_owned(), rank })
}

/// Returns those of the same layer: they hold what any other would hold, whatever lies below.
pub(super) fn same(candidates: Vec<Candidate>) -> impl Iterator<Item = Candidate> {
    candidates.into_iter().filter(|candidate| candidate.rank.0 == Likeness::Same)
}

/// Returns the most promising first, and no more than are worth a look.
pub(super) fn most_likely(mut candidates: Vec<Candidate>, known: &Known<'_>) -> Vec<Candidate> {
    let wanted = known.index.as_bytes().len() as u64;
    // One with half as many entries, or twice, has too little in common.
    candidates.retain(|candidate| {
        contents::length(&candidate.place).is_some_and(|length| length / 2 <= wanted && wanted / 2 <= length)
    });
    candidates.sort_by_key(|candidate| candidate.rank);
    candidates.truncate(MAX_TRIED);
    candidates
}

/// Returns what makes the base's layer the wanted one; `None` if it cannot be done above it, or would be
/// too much.
pub(super) fn compare(base: &Path, known: &Known<'_>, below: &Stack) -> Result<Option<Delta>, SnapshotError> {
    let Some(base) = contents::read(base)? else { return Ok(None) };
    let delta = match differ(&base, known) {
        Some(delta) if is_small(&delta) => delta,
        _ => return Ok(None),
    };
    Ok(is_possible(&delta, below)?.then_some(delta))
}

pub(super) fn differ(base: &Contents, known: &Known<'_>) -> Option<Delta> {
    let positions = |chunks: &Arc<ChunkIndex>| Positions::of(Arc::clone(chunks));
    let (old, new) = (positions(&base.chunks), positions(&known.chunks));
    let same = |old_at, new_at, size| new.same(new_at, size, &old, old_at);
    delta::between(&base.index, &known.index, &same)
}

fn is_small(delta: &Delta) -> bool {
    let entries = (delta.write.len() + delta.hide.len()) as u64;
    10 * delta.bytes <= MOST_TENTHS * delta.new_bytes && 10 * entries <= MOST_TENTHS * delta.new_entries
}

/// Tells whether nothing of the lower layers would have to show where the base has something.
pub(super) fn is_possible(delta: &Delta, below: &Stack) -> Result<bool, SnapshotError> {
    for path in &delta.hide {
        if below.find(path)?.is_some() {
            return Ok(false);
        }
    }
    for path in &delta.no_directory_below {
        if below.find(path)?.is_some_and(|found| found.kind == Kind::Directory) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes the changes in an empty directory; `None` if the layer's content cannot be had by parts.
pub(super) fn make(
    directory: &Path,
    delta: &Delta,
    known: &Known<'_>,
) -> Result<Option<Unpacked>, SnapshotError> {
    let pieces = Pieces::open(Arc::clone(&known.chunks), known.store);
    let Ok(Some(mut pieces)) = pieces else { return Ok(None) };
    let unpacked = unpack::fill(directory, None, |entries: &mut apply::Entries<'_>| {
        for indexed in &delta.write {
            let at = indexed.body.offset.unwrap_or(0);
            entries.apply(&indexed.entry, &mut pieces.range(at, indexed.entry.size()))?;
        }
        for path in &delta.hide {
            let hiding: Entry = whiteout::hiding(path);
            entries.apply(&hiding, &mut std::io::empty())?;
        }
        Ok(())
    })?;
    Ok(Some(unpacked))
}

#[cfg(test)]
mod tests;
