//! What was taken over and never opened, at the end of a build: is it still there?
//!
//! A layer that nobody opened may have gone from its registry since its cache was written. That must show
//! before the image is written, while the step can still be made.

use std::sync::Mutex;

use oxbox_layers::layer::Layer;
use oxbox_layers::store::{BlobStore as _, StoreError};

use super::{Stocks, Unopened};

/// Layers that are brought in, or asked for, at the same time.
const AT_ONCE: usize = 6;

impl Stocks<'_> {
    /// Brings in those of the layers that only a cache has, or makes sure that they can be had. Those that
    /// cannot are refused: see [`Stocks::is_shaken`].
    pub(crate) fn secure<'l>(&self, layers: impl Iterator<Item = &'l Layer>) -> Result<(), StoreError> {
        let mut missing: Vec<&Layer> = Vec::new();
        if !self.is_empty() {
            for layer in layers {
                let is_here = self.lazy.stat(&layer.descriptor.digest)?.is_some();
                if !is_here && !missing.contains(&layer) && self.lazy.offers(layer) {
                    missing.push(layer);
                }
            }
        }
        let todo = Mutex::new(missing.iter());
        let work = || {
            while let Some(layer) = todo.lock().map_or(None, |mut todo| todo.next()) {
                self.secure_one(layer);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(missing.len()) {
                scope.spawn(work);
            }
        });
        Ok(())
    }

    fn secure_one(&self, layer: &Layer) {
        match (self.unopened, self.depot) {
            (Unopened::Leave, Some(depot)) => match depot.has(&layer.descriptor) {
                Ok(true) => {}
                Ok(false) => self.lazy.refuse(layer.descriptor.digest, "it is gone".to_owned()),
                Err(error) => self.lazy.refuse(layer.descriptor.digest, error.to_string()),
            },
            // Whatever goes wrong, it is refused on the way.
            _ => drop(self.lazy.open(&layer.descriptor.digest)),
        }
    }
}
