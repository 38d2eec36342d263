//! Cache mounts on their way from machine to machine, for who asks for them on both sides.
//!
//! ```text
//! give    ids of the graph's RUNs ─▶ mounts of this machine that nobody uses ─pack▶ layer, as they are now
//!                                    └ none here: what a cache has of them goes on
//! take    a RUN wants one that is not here ─▶ a cache's layer ─▶ unpacked aside, then published
//! ```
//!
//! What is in a mount decides about no key, so that nothing here can change an image but through what a
//! command makes of its files: a mount that cannot be had begins empty, and that is only told. A name that
//! begins with `.wh.` cannot be in a layer, and is left out.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, Read};
use std::path::Path;

use oxbox_layers::compress::Compression;
use oxbox_layers::layer::{Layer, LayerError, LayerWriter};
use oxbox_layers::tar::{Entry, Reader, whiteout};
use oxbox_layers::tree::apply::{Devices, Options, Ownership, Whiteouts};
use oxbox_layers::tree::{self, ChangeSink, Root, Xattrs, scan};

use super::Stocks;
use super::document::MountRecord;
use super::give::Gift;
use crate::export::ExportError;
use crate::mounts::{About, MountsError, Wanted};
use crate::plan::graph::{Graph, Mount, Op};
use crate::progress::Event;
use crate::solve::Workshop;

/// A guard against archives made to fill a disk: far beyond any cache of packages.
const MAX_BYTES: u64 = 1 << 40;

/// As many files as the largest of them have, and some.
const MAX_ENTRIES: u64 = 1 << 26;

/// Why a mount cannot be filled or packed.
type Failure = Box<dyn Error + Send + Sync>;

/// What stops filling a mount.
enum Filling {
    Mounts(MountsError),
    Failed(Failure),
}

impl From<MountsError> for Filling {
    fn from(error: MountsError) -> Self {
        Self::Mounts(error)
    }
}

impl Gift<'_> {
    /// Packs the mounts of the graph's RUNs.
    pub(super) fn mounts(&self, compression: Compression) -> Result<Vec<MountRecord>, ExportError> {
        let (workshop, ids) = (self.workshop, ids(self.graph));
        let mut packed: Vec<MountRecord> = Vec::new();
        for kept in workshop.mounts.list()?.into_iter().filter(|kept| ids.contains(kept.about.id.as_str())) {
            let name = kept.about.name();
            if packed.iter().any(|known| known.about.name() == name) {
                continue;
            }
            let Some((files, _lock)) = workshop.mounts.lock(&kept.name)? else { continue };
            let layer = pack(workshop, &files, compression).map_err(|source| {
                let id = kept.about.id.clone();
                ExportError::CacheMount { id, source }
            })?;
            packed.push(MountRecord { about: kept.about, layer });
        }
        for other in workshop.stocks.mounts() {
            let name = other.about.name();
            let is_wanted = ids.contains(other.about.id.as_str())
                && !packed.iter().any(|known| known.about.name() == name);
            if is_wanted && workshop.stocks.has(&other.layer.descriptor) {
                packed.push(other.clone());
            }
        }
        packed.sort_by_key(|mount| mount.about.name());
        Ok(packed)
    }
}

/// Returns the caches that RUNs of a graph mount.
fn ids(graph: &Graph) -> BTreeSet<&str> {
    let runs = graph.vertices.iter().filter_map(|vertex| match &vertex.op {
        Op::Run(run) => Some(run),
        _ => None,
    });
    let ids = runs.flat_map(|run| &run.mounts).filter_map(|mount| match mount {
        Mount::Cache { id, .. } => Some(id.as_str()),
        _ => None,
    });
    ids.collect()
}

fn pack(workshop: &Workshop<'_>, files: &Path, compression: Compression) -> Result<Layer, Failure> {
    let root = Root::open(files)?;
    let mut entries = scan::scan(&root, Xattrs::CapabilityAndUser)?;
    let is_plain = |entry: &Entry| !entry.path.split(|byte| *byte == b'/').any(whiteout::is_reserved);
    entries.retain(is_plain);
    let mut sink = Sink(LayerWriter::new(&*workshop.store, compression, workshop.threads.get())?);
    tree::emit(&root, &entries, &mut sink)?;
    Ok(sink.0.finish()?)
}

struct Sink(LayerWriter);

impl ChangeSink for Sink {
    type Error = LayerError;

    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), LayerError> {
        self.0.append(entry, content)
    }
}

impl Workshop<'_> {
    /// Fills those of the mounts that are not here with what a cache elsewhere has of them. One that cannot
    /// be had is only told of.
    pub(crate) fn restore_mounts<'w>(
        &self,
        wanted: impl Iterator<Item = &'w Wanted>,
    ) -> Result<(), MountsError> {
        for wanted in wanted {
            let Some(MountRecord { about, layer }) = self.stocks.mount(&wanted.name()) else { continue };
            let restored =
                self.mounts.restore(about, |files| self.fill(files, layer).map_err(Filling::Failed));
            match restored {
                Ok(_) => {}
                Err(Filling::Mounts(error)) => return Err(error),
                Err(Filling::Failed(error)) => {
                    let id = &about.id;
                    let message = format!("warning: cache mount {id} begins empty: {}", told(&*error));
                    self.progress.event(Event::Warning { message: &message });
                }
            }
        }
        Ok(())
    }

    fn fill(&self, files: &Path, layer: &Layer) -> Result<(), Failure> {
        let options = Options {
            ownership: if rustix::process::geteuid().is_root() {
                Ownership::Keep
            } else {
                Ownership::Current
            },
            devices: Devices::BestEffort,
            whiteouts: Whiteouts::Apply,
            xattrs: Xattrs::CapabilityAndUser,
            max_bytes: MAX_BYTES,
            max_entries: MAX_ENTRIES,
        };
        let root = Root::open(files)?;
        let mut archive = Reader::new(layer.open_tar(&*self.store)?);
        tree::apply(&root, &mut archive, &options)?;
        // Its digest is compared at its end.
        io::copy(&mut archive.into_inner().take(MAX_BYTES), &mut io::sink())?;
        Ok(())
    }
}

fn told(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(&format!(": {error}"));
        cause = error.source();
    }
    told
}

impl Stocks<'_> {
    /// Returns the mounts that caches have, of those that were asked for them.
    pub(super) fn mounts(&self) -> impl Iterator<Item = &MountRecord> {
        let asked = self.stocks().filter(|(from, _)| self.sources[*from].mounts == super::Mounts::Taken);
        asked.flat_map(|(_, stock)| stock.mounts())
    }

    /// Returns the first that is called so.
    fn mount(&self, name: &str) -> Option<&MountRecord> {
        let is_asked = self.sources.iter().any(|asking| asking.mounts == super::Mounts::Taken);
        // Nobody is asked for nothing.
        if !is_asked {
            return None;
        }
        self.mounts().find(|mount| mount.about.name() == name)
    }
}

impl About {
    /// Returns what the mount is called on disk, but for its number.
    fn name(&self) -> String {
        self.wanted().name()
    }
}
