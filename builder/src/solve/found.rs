//! What keys led to before: here, or on other machines.
//!
//! ```text
//! definition ─▶ derivation ─ upon what there is now? ─▶ content key ─▶ record here, its layer there?
//!                 here, then of each cache elsewhere                   └ else of a cache elsewhere
//! ```
//!
//! What was made here comes first. A record whose layer is gone is as good as none; then what a cache
//! elsewhere says is as if the step had been made again, and come out as that. It is noted here once
//! its layer is here, and holds what was said of it: [`Workshop::adopt`].

use std::sync::Arc;

use oxbox_layers::compress::Compression;
use oxbox_layers::layer::Layer;

use super::Key;
use super::cache::{Derivation, Seen};
use super::job::Job;
use super::solver::{SolveError, Solved, Workshop};
use crate::depot::Stocked;
use crate::plan::graph::Vertex;

/// What a vertex came to, by its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// How it is defined; a source is defined by what it brings.
    pub definition: Option<Key>,
    /// What its definition led to.
    pub derivation: Option<Derivation>,
    /// Of what went in; none if there was nothing to do.
    pub content: Option<Key>,
    /// Its own layer.
    pub layer: Option<Layer>,
    /// The place of the cache elsewhere that had the layer, if one did.
    pub from: Option<usize>,
}

impl Workshop<'_> {
    /// Returns the layer that a content key led to, as this vertex would take it. It may be gone.
    pub(super) fn noted(&self, content: &Key, vertex: &Vertex) -> Result<Option<Layer>, SolveError> {
        let wanted = self.compression_of(vertex);
        let noted = match self.cache.get(&content.compressed(wanted), self.now)? {
            Some(layer) if self.is_last(content, &layer)? => Some(layer),
            _ => self.cache.get(content, self.now)?,
        };
        if let Some(layer) = &noted
            && (self.stocks.is_empty() || self.is_there(layer)?)
        {
            return Ok(noted);
        }
        Ok(self.stocks.record(content)?.map(|stocked| stocked.layer).or(noted))
    }

    /// Whether a layer can be opened: it is here, or a cache elsewhere has it.
    pub(crate) fn is_there(&self, layer: &Layer) -> Result<bool, SolveError> {
        let size = self.store.stat(&layer.descriptor.digest)?;
        Ok(size == Some(layer.descriptor.size) || (size.is_none() && self.stocks.offers(layer)))
    }

    /// Whether a layer is what a content key led to last, however that was compressed: a step that was
    /// made again may have come out otherwise.
    fn is_last(&self, content: &Key, layer: &Layer) -> Result<bool, SolveError> {
        let last = self.cache.get(content, self.now)?;
        Ok(last.is_none_or(|last| last.diff_id == layer.diff_id))
    }

    /// Layers of stages that are never exported are not worth compressing.
    pub(super) fn compression_of(&self, vertex: &Vertex) -> Compression {
        match vertex.exported {
            true => self.compression,
            false => Compression::None,
        }
    }

    /// Notes what came of a vertex here too, if another machine said so and its layer is here by now.
    pub(crate) fn adopt(&self, conclusion: &Conclusion, vertex: &Vertex) -> Result<(), SolveError> {
        let Conclusion { definition, derivation, content, layer, from } = conclusion;
        if let (Some(content), Some(layer), Some(_)) = (content, layer, from) {
            if self.store.stat(&layer.descriptor.digest)?.is_none() {
                return Ok(());
            }
            self.cache.put(content, layer, self.now)?;
            // Another compression would not have been taken as it is.
            let known = vertex.exported.then_some(self.compression);
            let known = known.or(self.stocks.record(content)?.and_then(|stocked| stocked.compression));
            if let Some(compression) = known {
                self.cache.put(&content.compressed(compression), layer, self.now)?;
            }
            self.cache.describe(layer, &vertex.title, self.now)?;
        }
        if let (Some(definition), Some(derivation)) = (definition, derivation)
            && (from.is_some() || content.is_none())
        {
            self.cache.put_derivation(definition, derivation, self.now)?;
        }
        Ok(())
    }
}

impl Job<'_> {
    /// Returns what the definition led to before, if that was upon what there is now.
    pub(super) fn by_definition(
        &mut self,
        below: &Arc<Solved>,
        inputs: &[Option<Arc<Solved>>],
    ) -> Result<Option<Solved>, SolveError> {
        let looked = self.solver.looked(self.id.0);
        if let Some(derivation) = &looked.derivation
            && let Some(solved) = self.by_derivation(derivation, below, inputs)?
        {
            return Ok(Some(solved));
        }
        if self.workshop.stocks.is_empty() || self.solver.is_fresh(self.id) {
            return Ok(None);
        }
        let elsewhere: Vec<Derivation> =
            self.workshop.stocks.derivations(&looked.definition).cloned().collect();
        for derivation in &elsewhere {
            if let Some(solved) = self.by_derivation(derivation, below, inputs)? {
                return Ok(Some(solved));
            }
        }
        Ok(None)
    }

    /// Whether what a derivation was made upon is what there is now.
    fn fits(
        &self,
        derivation: &Derivation,
        below: &Arc<Solved>,
        inputs: &[Option<Arc<Solved>>],
    ) -> Result<bool, SolveError> {
        if derivation.below != below.chain_id || derivation.others.len() + 1 != inputs.len() {
            return Ok(false);
        }
        for (at, (seen, input)) in derivation.others.iter().zip(&inputs[1..]).enumerate() {
            let Seen::Stack(then) = seen else {
                // What it was made of is not known either: another note answered for it.
                match input {
                    Some(_) => return Ok(false),
                    None => continue,
                }
            };
            let now = match input {
                Some(input) => Some(input.chain_id),
                None => self.solver.input(self.id, at + 1).last(),
            };
            if now.is_some_and(|now| now != *then) {
                return Ok(false);
            }
            if input.is_none() && !self.solver.may_assume(self.id, at + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn by_derivation(
        &mut self,
        derivation: &Derivation,
        below: &Arc<Solved>,
        inputs: &[Option<Arc<Solved>>],
    ) -> Result<Option<Solved>, SolveError> {
        if !self.fits(derivation, below, inputs)? {
            return Ok(None);
        }
        let solved = match &derivation.content {
            None if self.solver.is_fresh(self.id) => None,
            None => Some(below.unchanged()),
            Some(content) => self.cached(content)?.map(|layer| below.with(layer)),
        };
        if let Some(solved) = &solved {
            let now = Derivation { made: solved.chain_id, ..derivation.clone() };
            if solved.chain_id != derivation.made
                && let Some(definition) = &self.definition
            {
                self.workshop.cache.put_derivation(definition, &now, self.workshop.now)?;
            }
            self.derivation = Some(now);
            let others = derivation.others.iter().zip(&inputs[1..]).enumerate();
            for (at, (seen, _)) in others.filter(|(_, (_, input))| input.is_none()) {
                if let Seen::Stack(then) = seen {
                    self.solver.assume(self.id, at + 1, *then);
                }
            }
        }
        Ok(solved)
    }

    /// Returns a layer that the key led to before, compressed as it is wanted.
    pub(super) fn cached(&mut self, key: &Key) -> Result<Option<Layer>, SolveError> {
        let workshop = self.workshop;
        let wanted = workshop.compression_of(self.vertex);
        if let Some(layer) = self.recorded(&key.compressed(wanted))?
            && workshop.is_last(key, &layer)?
        {
            self.workshop.indexes.note_place(&layer, self.place());
            return Ok(Some(layer));
        }
        let layer = match self.recorded(key)? {
            Some(layer) => layer,
            None => match self.stocked(key)? {
                Some(stocked) if stocked.compression == Some(wanted) => return Ok(Some(stocked.layer)),
                Some(stocked) => stocked.layer,
                None => return Ok(None),
            },
        };
        if !self.vertex.exported {
            self.workshop.indexes.note_place(&layer, self.place());
            return Ok(Some(layer));
        }
        (self.cached, self.from) = (false, None);
        let layer = layer.recompress(&*workshop.store, wanted, workshop.threads.get())?;
        self.remember(key, &layer)?;
        Ok(Some(layer))
    }

    /// Returns the layer of a record whose blob is still there.
    pub(super) fn recorded(&self, key: &Key) -> Result<Option<Layer>, SolveError> {
        let workshop = self.workshop;
        if self.solver.is_fresh(self.id) && !self.solver.was_made_now(key) {
            return Ok(None);
        }
        let Some(layer) = workshop.cache.get(key, workshop.now)? else { return Ok(None) };
        Ok(workshop.is_there(&layer)?.then_some(layer))
    }

    /// Returns what a cache elsewhere has of a key that is not known here.
    fn stocked(&mut self, key: &Key) -> Result<Option<Stocked>, SolveError> {
        if self.workshop.stocks.is_empty() || self.solver.is_fresh(self.id) {
            return Ok(None);
        }
        let stocked = self.workshop.stocks.record(key)?;
        self.from = stocked.as_ref().map(|stocked| stocked.from);
        Ok(stocked)
    }

    /// Notes a layer twice: as itself, for whoever takes any compression, and in the one that it has. The
    /// level counts too, or the digest of an image would depend on what was built before.
    pub(super) fn remember(&self, key: &Key, layer: &Layer) -> Result<(), SolveError> {
        let workshop = self.workshop;
        for key in [*key, key.compressed(workshop.compression_of(self.vertex))] {
            workshop.cache.put(&key, layer, workshop.now)?;
            self.solver.note_made(key);
        }
        Ok(())
    }

    /// Returns what the vertex came to, for caches elsewhere.
    pub(super) fn conclusion(&self, made: &Solved) -> Conclusion {
        Conclusion {
            definition: self.definition.filter(|_| self.derivation.is_some()),
            content: self.derivation.as_ref().map_or(self.content, |derivation| derivation.content),
            derivation: self.derivation.clone(),
            layer: made.own_layer().cloned(),
            from: self.from,
        }
    }
}
