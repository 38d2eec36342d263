//! What is known of every vertex's place during a build, and what it came to.
//!
//! ```text
//! look       the place's head is read; defined as before? then nothing more is needed
//! make       why? the facts of last time are read and compared, before they are replaced
//! conclude   facts are written if they changed
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oxbox_layers::oci::ChainId;

use super::facts::Facts;
use super::reason::Reason;
use super::{Told, Verdict};
use crate::plan::graph::{Graph, VertexId};
use crate::solve::cache::FactsHead;
use crate::solve::gather::Gathered;
use crate::solve::{Cache, CacheError, Key, Reuse};

/// All vertices of a build.
pub(in crate::solve) struct Ledger<'a> {
    cache: &'a Cache,
    graph: &'a Graph,
    places: &'a [Key],
    now: i64,
    entries: Vec<Mutex<Entry>>,
}

/// One vertex.
#[derive(Default)]
struct Entry {
    definition: Option<Key>,
    /// What is known of its place.
    last: Option<FactsHead>,
    /// What it reads of contexts, if that is not what it was.
    gathered: Vec<Arc<Gathered>>,
    /// Why it is not what it was, once somebody asked.
    cause: Option<Option<Reason>>,
    verdict: Option<Verdict>,
    reason: Option<Reason>,
    elapsed: Duration,
    layer: Option<String>,
    from: Option<String>,
}

/// An input as it is now.
pub(in crate::solve) struct Input {
    pub(in crate::solve) vertex: usize,
    /// What it came to; `None` if that is not known.
    pub(in crate::solve) chain_id: Option<Option<ChainId>>,
}

/// What is asked about a vertex that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::solve) enum Circumstance {
    /// Somebody wants it made again.
    Fresh,
    /// Its definition led to something before.
    Known,
    /// It did not.
    Unknown,
}

impl<'a> Ledger<'a> {
    pub(in crate::solve) fn new(cache: &'a Cache, graph: &'a Graph, places: &'a [Key], now: i64) -> Self {
        let entries = graph.vertices.iter().map(|_| Mutex::default()).collect();
        Self { cache, graph, places, now, entries }
    }

    fn entry(&self, vertex: usize) -> MutexGuard<'_, Entry> {
        self.entries[vertex].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a vertex is defined, and looks up how it was.
    pub(in crate::solve) fn look(
        &self,
        vertex: usize,
        definition: Key,
        gathered: &[Arc<Gathered>],
    ) -> Result<(), CacheError> {
        let last = self.cache.facts_head(&self.places[vertex], self.now)?;
        let is_same = last.as_ref().is_some_and(|last| last.definition == definition.as_bytes());
        let mut entry = self.entry(vertex);
        entry.definition = Some(definition);
        entry.last = last;
        entry.gathered = if is_same { Vec::new() } else { gathered.to_vec() };
        Ok(())
    }

    /// Returns why a vertex is about to be made, and notes it.
    pub(in crate::solve) fn why(
        &self,
        vertex: usize,
        inputs: &[Input],
        circumstance: Circumstance,
        reuse: &Reuse,
    ) -> Result<Reason, CacheError> {
        let cause = self.cause(vertex, inputs)?;
        let reason = match (circumstance, cause) {
            (Circumstance::Fresh, _) if *reuse == Reuse::Forbidden => Reason::NoCache,
            (Circumstance::Fresh, _) => Reason::NoCacheFilter,
            (_, Some(cause)) => cause,
            (Circumstance::Known, None) => Reason::Gone,
            (Circumstance::Unknown, None) => Reason::Forgotten,
        };
        self.entry(vertex).reason = Some(reason.clone());
        Ok(reason)
    }

    /// Returns why a vertex is not what it was in its place last time, if it is not.
    fn cause(&self, vertex: usize, inputs: &[Input]) -> Result<Option<Reason>, CacheError> {
        let (last, gathered, definition) = {
            let entry = self.entry(vertex);
            if let Some(cause) = &entry.cause {
                return Ok(cause.clone());
            }
            (entry.last.clone(), entry.gathered.clone(), entry.definition)
        };
        let cause = match last {
            None => Some(Reason::New),
            Some(last) => {
                let is_same = definition.is_some_and(|now| last.definition == now.as_bytes());
                let own = if is_same { None } else { self.difference(vertex, &gathered)? };
                match own {
                    Some(reason) => Some(reason),
                    None => self.input_that_differs(&last.inputs, inputs),
                }
            }
        };
        self.entry(vertex).cause = Some(cause.clone());
        Ok(cause)
    }

    fn difference(&self, vertex: usize, gathered: &[Arc<Gathered>]) -> Result<Option<Reason>, CacheError> {
        let packed = self.cache.facts(&self.places[vertex])?;
        let last = packed.and_then(|packed| Facts::unpack(&packed));
        Ok(last.and_then(|last| Facts::of(&self.graph.vertices[vertex], gathered).difference(&last)))
    }

    /// Finds the first input that is not what it was, and what that comes from.
    fn input_that_differs(&self, last: &str, inputs: &[Input]) -> Option<Reason> {
        let mut words = last.split(' ').filter(|word| !word.is_empty());
        inputs.iter().find_map(|input| {
            let Some((definition, chain)) = words.next().and_then(|word| word.split_once(':')) else {
                return Some(Reason::New);
            };
            let entry = self.entry(input.vertex);
            let now = entry.definition.map(|key| key.to_string()).unwrap_or_default();
            let came_out = chain_word(input.chain_id);
            let differs = chain != "?" && came_out != "?" && chain != came_out;
            if now == definition && !differs {
                return None;
            }
            let step = self.graph.vertices[input.vertex].title.clone();
            let because = entry.cause.clone().flatten().or_else(|| entry.reason.clone());
            Some(match because {
                Some(cause @ Reason::Input { .. }) => cause,
                Some(cause) => Reason::Input { step, because: Some(Box::new(cause)) },
                None => Reason::Input { step, because: None },
            })
        })
    }

    /// Notes what became of a vertex, and what went into it if that changed.
    pub(in crate::solve) fn conclude(
        &self,
        vertex: usize,
        inputs: &[Input],
        outcome: Outcome,
    ) -> Result<(), CacheError> {
        self.cause(vertex, inputs)?;
        let words = inputs.iter().map(|input| {
            let definition = self.entry(input.vertex).definition.map(|key| key.to_string());
            format!("{}:{}", definition.unwrap_or_default(), chain_word(input.chain_id))
        });
        let now = words.collect::<Vec<_>>().join(" ");
        let (definition, last, gathered) = {
            let mut entry = self.entry(vertex);
            entry.verdict = Some(outcome.verdict);
            entry.elapsed = outcome.elapsed;
            entry.layer = outcome.layer;
            entry.from = outcome.from;
            (entry.definition, entry.last.clone(), std::mem::take(&mut entry.gathered))
        };
        let Some(definition) = definition else { return Ok(()) };
        let place = &self.places[vertex];
        match last {
            Some(last) if last.definition == definition.as_bytes() => match last.inputs == now {
                true => Ok(()),
                false => self.cache.put_facts_inputs(place, &now),
            },
            _ => {
                let facts = Facts::of(&self.graph.vertices[vertex], &gathered);
                let head = FactsHead { definition: definition.as_bytes().to_vec(), inputs: now };
                self.cache.put_facts(place, &head, &facts.pack(), self.now)
            }
        }
    }

    /// Returns what is to be told of all vertices.
    pub(in crate::solve) fn told(&self) -> Vec<Told> {
        let told = self.graph.vertices.iter().enumerate().map(|(at, vertex)| {
            let entry = self.entry(at);
            let verdict = entry.verdict.unwrap_or(Verdict::NotNeeded);
            let reason = entry.reason.clone().filter(|_| verdict == Verdict::Made);
            Told {
                number: VertexId(at).0 + 1,
                title: vertex.title.clone(),
                line: vertex.line,
                verdict,
                why: reason.as_ref().map(Reason::to_string),
                reason,
                seconds: (verdict == Verdict::Made).then(|| entry.elapsed.as_secs_f64()),
                layer: entry.layer.clone(),
                from: entry.from.clone().filter(|_| verdict == Verdict::Cached),
            }
        });
        told.collect()
    }
}

/// What became of a vertex.
pub(in crate::solve) struct Outcome {
    pub(in crate::solve) verdict: Verdict,
    pub(in crate::solve) elapsed: Duration,
    pub(in crate::solve) layer: Option<String>,
    pub(in crate::solve) from: Option<String>,
}

/// A chain_id as derivations write it.
fn chain_word(chain_id: Option<Option<ChainId>>) -> String {
    match chain_id {
        None => "?".to_owned(),
        Some(None) => ".".to_owned(),
        Some(Some(chain_id)) => chain_id.to_string(),
    }
}
