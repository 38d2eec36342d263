//! All caches elsewhere, as a solver asks them: after this machine's own, and only if that knows nothing.
//!
//! ```text
//! record(key) ─ first cache that has it ─▶ is the layer here? ─ tar as promised? ─▶ taken
//!                                          └ can be had        ─────────────────▶ taken, and not moved
//! ```
//!
//! Nothing is asked of a registry before something is not known here. What cannot be had or is not what it
//! was called is *refused*: nobody takes it from then on, and what was made of it is made again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use oxbox_layers::compress::Compression;
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::Digest;
use oxbox_layers::store::{BlobStore as _, StoreError};

use super::stock::{Stock, StockError};
use super::{Asking, Caches, Depot, Source, Unopened};
use crate::fetch::Fetch;
use crate::lazy::Lazy;
use crate::progress::{Event, Progress};
use crate::solve::Key;
use crate::solve::cache::Derivation;
use crate::solve::downloads::Download;

/// The caches that a build asks.
pub struct Stocks<'a> {
    pub(super) sources: Vec<Asking>,
    pub(super) unopened: Unopened,
    pub(super) depot: Option<&'a dyn Depot>,
    pub(super) lazy: Arc<Lazy>,
    pub(super) progress: &'a dyn Progress,
    read: OnceLock<Vec<Option<Stock>>>,
    /// Layers that were here already, and hold what they are said to.
    verified: Mutex<HashSet<Digest>>,
    /// How many refusals somebody has drawn conclusions from.
    minded: AtomicUsize,
}

/// A layer that a cache has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stocked {
    pub(crate) layer: Layer,
    /// How it was compressed, if that is known exactly.
    pub(crate) compression: Option<Compression>,
    /// Which cache.
    pub(crate) from: usize,
}

impl<'a> Stocks<'a> {
    /// Prepares to ask; nothing is asked yet.
    pub fn new(caches: &Caches, fetch: &'a dyn Fetch, lazy: Arc<Lazy>, progress: &'a dyn Progress) -> Self {
        let depot = fetch.depot();
        Self {
            sources: if depot.is_some() { caches.from.clone() } else { Vec::new() },
            unopened: caches.unopened,
            depot,
            lazy,
            progress,
            read: OnceLock::new(),
            verified: Mutex::default(),
            minded: AtomicUsize::new(0),
        }
    }

    /// Whether there is nobody to ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Returns what a cache is called.
    pub(crate) fn name(&self, from: usize) -> String {
        self.sources[from].source.to_string()
    }

    /// Returns what definitions led to, in the order of the caches.
    pub(crate) fn derivations(&self, definition: &Key) -> impl Iterator<Item = &Derivation> {
        self.stocks().filter_map(|(_, stock)| stock.derivation(definition))
    }

    /// Returns what came from a source of files last, of the first cache that knows.
    pub(crate) fn download(&self, source: &Key) -> Option<&Download> {
        self.stocks().find_map(|(_, stock)| stock.download(source))
    }

    /// Returns the first layer that a key led to and that can be had.
    pub(crate) fn record(&self, key: &Key) -> Result<Option<Stocked>, StoreError> {
        for (from, stock) in self.stocks() {
            if let Some(record) = stock.record(key)
                && self.can_be_had(&record.layer)?
            {
                let (layer, compression) = (record.layer.clone(), record.compression);
                return Ok(Some(Stocked { layer, compression, from }));
            }
        }
        Ok(None)
    }

    /// Whether a layer that is not here is offered by somebody.
    pub(crate) fn offers(&self, layer: &Layer) -> bool {
        !self.is_empty() && self.stocks().count() > 0 && self.lazy.offers(layer)
    }

    fn can_be_had(&self, layer: &Layer) -> Result<bool, StoreError> {
        let digest = layer.descriptor.digest;
        match self.lazy.stat(&digest)? {
            None => Ok(self.lazy.offers(layer)),
            // Others stand on what lies here under a name: nobody else may say what is in it.
            Some(size) if size == layer.descriptor.size => {
                if !self.lazy.offers(layer) {
                    return Ok(false);
                }
                let is_verified =
                    || self.verified.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest);
                if is_verified() {
                    return Ok(true);
                }
                let is_true = self.lazy.verify(layer);
                if is_true {
                    self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
                }
                Ok(is_true)
            }
            Some(_) => Ok(false),
        }
    }

    /// Whether something that was taken over turned out not to be there, and nobody minded yet.
    pub fn is_shaken(&self) -> bool {
        self.lazy.count_refused() > self.minded.load(Ordering::SeqCst)
    }

    /// Tells what was refused since the last time; whether that was anything.
    pub(crate) fn mind(&self) -> bool {
        let refused = self.lazy.refused();
        let minded = self.minded.swap(refused.len(), Ordering::SeqCst);
        for (digest, why) in refused.iter().skip(minded) {
            let message = format!("warning: cached layer {digest} cannot be used, and is made again: {why}");
            self.progress.event(Event::Warning { message: &message });
        }
        refused.len() > minded
    }

    /// Returns what there is, with the places of the caches; reads them if nobody did yet.
    pub(super) fn stocks(&self) -> impl Iterator<Item = (usize, &Stock)> {
        let read = self.read.get_or_init(|| self.read());
        read.iter().enumerate().filter_map(|(at, stock)| Some((at, stock.as_ref()?)))
    }

    /// Reads all caches at once: one that cannot be reached takes its time.
    fn read(&self) -> Vec<Option<Stock>> {
        let Some(depot) = self.depot else { return Vec::new() };
        let stocks: Vec<Result<Stock, StockError>> = std::thread::scope(|scope| {
            let begin = |asking: &'_ Asking| {
                let source = asking.source.clone();
                scope.spawn(move || Stock::read(depot, &source))
            };
            let reading: Vec<_> = self.sources.iter().map(begin).collect();
            let end = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            reading.into_iter().map(end).collect()
        });
        let stocks = stocks.into_iter().zip(&self.sources);
        stocks.map(|(stock, asking)| self.take(depot, &asking.source, stock)).collect()
    }

    fn take(&self, depot: &dyn Depot, source: &Source, stock: Result<Stock, StockError>) -> Option<Stock> {
        match stock {
            Ok(stock) => {
                self.lazy.offer(stock.layers().cloned());
                let of_mounts = || stock.mounts().map(|mount| &mount.layer);
                // No step depends on these: one that is gone is no reason to begin anew.
                self.lazy.expect(of_mounts().map(|layer| layer.descriptor.clone()));
                let layers = stock.layers().chain(of_mounts()).map(|layer| &layer.descriptor);
                let blobs: Vec<_> = layers.chain(stock.listing_blobs()).cloned().collect();
                depot.offer(source, &blobs);
                Some(stock)
            }
            Err(error) => {
                let mut message = format!("warning: cache {source} is not used: {error}");
                let mut cause = std::error::Error::source(&error);
                while let Some(error) = cause {
                    message.push_str(&format!(": {error}"));
                    cause = error.source();
                }
                self.progress.event(Event::Warning { message: &message });
                None
            }
        }
    }
}
