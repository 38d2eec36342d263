//! A whole graph: every vertex is defined and looked up, and what is wanted and not found is made.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use oxbox_layers::layer::Layer;
use oxbox_layers::oci::ChainId;
use oxbox_layers::store::StoreError;

use super::cache::{Derivation, Seen};
use super::define::Defined;
use super::explain::ledger::{Input, Ledger, Outcome};
use super::explain::{Told, Verdict};
use super::found::Conclusion;
use super::job::Job;
use super::lock::Held;
use super::outline::Outline;
use super::schedule::{self, Cancel, Inputs, Step, Stopped, Work};
use super::settled;
use super::solver::{SolveError, Solved, Workshop};
use super::{Key, KeyHasher};
use crate::mounts::Wanted;
use crate::plan::graph::{Graph, Op, Vertex, VertexId};
use crate::progress::Event;

/// What is to be solved, and how.
pub struct Asked<'a> {
    /// All that may be made.
    pub graph: &'a Graph,
    /// What must come out.
    pub targets: Vec<VertexId>,
    /// Which vertices must be made again even if they are known.
    pub fresh: Vec<bool>,
    /// The place of each vertex: what it is called whatever is in it.
    pub places: Vec<Key>,
    /// How many are made at once.
    pub jobs: NonZero<usize>,
}

/// What came of a graph.
pub struct Answered {
    /// All vertices. Of what no target needed, nothing but an empty stack.
    pub solved: Vec<Arc<Solved>>,
    /// What became of each of them, and why.
    pub told: Vec<Told>,
    /// What each of them came to, by its keys, as far as that is known.
    pub conclusions: Vec<Option<Conclusion>>,
}

/// Makes or finds the targets.
pub fn solve(
    workshop: &Workshop<'_>,
    asked: &Asked<'_>,
    cancel: &Cancel<'_>,
) -> Result<Answered, Stopped<SolveError>> {
    let inputs: Vec<Inputs> = asked.graph.vertices.iter().map(inputs).collect();
    let targets: Vec<usize> = asked.targets.iter().map(|target| target.0).collect();
    let (mut trust, mut made_now) = (Trust::Notes, HashSet::new());
    loop {
        let known = made_now.len();
        let solver = Solver::new(workshop, asked, trust, made_now);
        let made = schedule::run(&inputs, &targets, asked.jobs, cancel, &solver).and_then(|made| {
            let failed = |error: StoreError| Stopped::Failed { vertex: targets[0], error: error.into() };
            workshop.stocks.secure(layers(&made, &targets)).map_err(failed).map(|()| made)
        });
        // What was taken over and is not there is made after all, and so is what stands on it.
        if workshop.stocks.is_shaken() && !workshop.interrupt.is_sent() {
            workshop.stocks.mind();
            cancel.renew();
            workshop.progress.event(Event::Planned { graph: asked.graph });
            made_now = solver.take_made();
            continue;
        }
        let made = made?;
        let made_since = solver.made_now.lock().unwrap_or_else(PoisonError::into_inner).len();
        // What was made now is found the next time, so that each attempt but the last makes something.
        if settled::is_settled(&solver, &made) || (trust == Trust::Nothing && made_since == known) {
            let failed = |error| Stopped::Failed { vertex: 0, error };
            return solver.finish(made).map_err(failed);
        }
        trust = Trust::Nothing;
        made_now = solver.take_made();
    }
}

/// Returns the layers of the targets.
fn layers<'m>(made: &'m [Option<Arc<Solved>>], targets: &'m [usize]) -> impl Iterator<Item = &'m Layer> {
    targets.iter().filter_map(|&target| made[target].as_ref()).flat_map(|solved| solved.layers().iter())
}

/// What is below is always wanted, and so are both halves of a merge.
fn inputs(vertex: &Vertex) -> Inputs {
    let all: Vec<usize> = vertex.op.inputs().iter().map(|input| input.0).collect();
    let always = if matches!(vertex.op, Op::Merge(_)) { all.len() } else { all.len().min(1) };
    Inputs { all, always }
}

/// How far an input that was not made is believed to be what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// As far as notes do not say otherwise.
    Notes,
    /// Not at all: its layers are here, or it is made.
    Nothing,
}

/// One attempt at a graph.
pub(super) struct Solver<'a> {
    pub(super) workshop: &'a Workshop<'a>,
    graph: &'a Graph,
    fresh: &'a [bool],
    trust: Trust,
    looked: Vec<OnceLock<Looked>>,
    /// What steps read of contexts, as long as they are not made.
    defined: Mutex<HashMap<usize, Defined>>,
    /// What this process made: it counts even where nothing older does.
    made_now: Mutex<HashSet<Key>>,
    /// Vertices that somebody else is making, and under which key.
    waiting: Mutex<HashMap<usize, Key>>,
    /// RUNs whose cache mounts others had, and which those are.
    pub(super) put_off: Mutex<HashMap<usize, Vec<Wanted>>>,
    pub(super) ledger: Ledger<'a>,
    /// Inputs that were taken for something without being made.
    assumed: Mutex<Vec<(usize, Option<ChainId>)>>,
    conclusions: Mutex<Vec<Option<Conclusion>>>,
}

/// What is known of a vertex before it is made.
pub(super) struct Looked {
    pub(super) definition: Key,
    pub(super) derivation: Option<Derivation>,
    pub(super) outlook: Outlook,
    /// Who noted the derivation.
    whose: Whose,
}

/// Who noted something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// A build on this machine.
    Own,
    /// One on another.
    Elsewhere,
}

/// What a vertex will be, going by notes.
#[derive(Clone)]
pub(super) enum Outlook {
    /// These layers.
    Known(Arc<Outline>),
    /// There is no note, and nothing to say that it changed.
    Unknown,
    /// It must be waited for.
    Pending,
}

impl Looked {
    /// Whether this is noted here.
    pub(super) fn is_noted(&self, derivation: &Derivation) -> bool {
        self.whose == Whose::Own && self.derivation.as_ref() == Some(derivation)
    }

    /// Returns what the vertex will be or, if its layer was forgotten, what it was last; nothing if nobody
    /// noted that either.
    pub(super) fn last(&self) -> Option<Option<ChainId>> {
        match &self.outlook {
            Outlook::Known(outline) => Some(outline.chain_id),
            Outlook::Unknown | Outlook::Pending => self.derivation.as_ref().map(|noted| noted.made),
        }
    }
}

impl<'a> Solver<'a> {
    fn new(workshop: &'a Workshop<'a>, asked: &'a Asked<'a>, trust: Trust, made_now: HashSet<Key>) -> Self {
        Self {
            workshop,
            graph: asked.graph,
            fresh: &asked.fresh,
            trust,
            looked: asked.graph.vertices.iter().map(|_| OnceLock::new()).collect(),
            defined: Mutex::default(),
            made_now: Mutex::new(made_now),
            waiting: Mutex::default(),
            put_off: Mutex::default(),
            ledger: Ledger::new(&workshop.cache, asked.graph, &asked.places, workshop.now),
            assumed: Mutex::default(),
            conclusions: Mutex::new(vec![None; asked.graph.vertices.len()]),
        }
    }

    fn take_made(&self) -> HashSet<Key> {
        std::mem::take(&mut *self.made_now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn try_looked(&self, vertex: usize) -> Option<&Looked> {
        self.looked[vertex].get()
    }

    pub(super) fn looked(&self, vertex: usize) -> &Looked {
        self.try_looked(vertex).expect("because inputs are looked at first")
    }

    pub(super) fn input(&self, of: VertexId, at: usize) -> &Looked {
        self.looked(self.graph.vertices[of.0].op.inputs()[at].0)
    }

    pub(super) fn is_fresh(&self, vertex: VertexId) -> bool {
        self.fresh[vertex.0]
    }

    pub(super) fn was_made_now(&self, key: &Key) -> bool {
        self.made_now.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    pub(super) fn note_made(&self, key: Key) {
        self.made_now.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Returns how a vertex is defined by what is there now. Contexts are read again if that was long ago.
    pub(super) fn defined(&self, vertex: VertexId) -> Result<Defined, SolveError> {
        let known = self.defined.lock().unwrap_or_else(PoisonError::into_inner).get(&vertex.0).cloned();
        match known {
            Some(defined) if defined.holds() => Ok(defined),
            _ => {
                let defined = self.define(vertex.0)?;
                self.ledger.look(vertex.0, defined.key, &defined.gathered())?;
                self.remember(vertex.0, defined.clone());
                Ok(defined)
            }
        }
    }

    fn define(&self, at: usize) -> Result<Defined, SolveError> {
        let op = &self.graph.vertices[at].op;
        let inputs: Vec<Key> = op.inputs().iter().map(|input| self.looked(input.0).definition).collect();
        self.workshop.define(op, &inputs)
    }

    fn remember(&self, at: usize, defined: Defined) {
        self.defined.lock().unwrap_or_else(PoisonError::into_inner).insert(at, defined);
    }

    /// Takes the lock of a key. `None` if somebody else has it: the vertex has its turn again soon.
    pub(super) fn take(&self, vertex: VertexId, key: &Key) -> Result<Option<Held>, SolveError> {
        let lock = match self.is_fresh(vertex) {
            // What another process makes is not what was asked for here.
            true => KeyHasher::new("own").field("key", key.as_bytes()).field("process", self.own()).finish(),
            false => *key,
        };
        let held = self.workshop.locks.try_take(&lock)?;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = match &held {
            Some(_) => {
                waiting.remove(&vertex.0);
                false
            }
            None => waiting.insert(vertex.0, *key).is_none(),
        };
        drop(waiting);
        if is_news {
            let title = self.graph.vertices[vertex.0].title.as_str();
            self.workshop.progress.event(Event::Started { vertex, title, why: None });
            let line = b"waiting for another build, which makes the same";
            self.workshop.progress.event(Event::Output { vertex, line });
        }
        Ok(held)
    }

    /// What tells this solver from that of any other process and thread that lives.
    fn own(&self) -> String {
        format!("{} {:p}", std::process::id(), std::ptr::from_ref(self.workshop))
    }

    /// Returns an input that was not made, as layers that may not be here, if it is known.
    pub(super) fn outlined(&self, of: VertexId, at: usize) -> Option<Arc<Solved>> {
        match &self.input(of, at).outlook {
            Outlook::Known(outline) => Some(Arc::new(Solved::outlined(outline))),
            Outlook::Unknown | Outlook::Pending => None,
        }
    }

    /// Whether an input may be taken for what notes say although it was not made.
    pub(super) fn may_assume(&self, of: VertexId, at: usize) -> Result<bool, SolveError> {
        match (&self.input(of, at).outlook, self.trust) {
            (Outlook::Pending, _) => Ok(false),
            (_, Trust::Notes) => Ok(true),
            (Outlook::Unknown, Trust::Nothing) => Ok(false),
            (Outlook::Known(outline), Trust::Nothing) => {
                for layer in outline.layers() {
                    if !self.workshop.is_there(&layer)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// Notes what an input was taken for.
    pub(super) fn assume(&self, of: VertexId, at: usize, chain_id: Option<ChainId>) {
        let input = self.graph.vertices[of.0].op.inputs()[at].0;
        self.assumed.lock().unwrap_or_else(PoisonError::into_inner).push((input, chain_id));
    }

    /// Returns which inputs were taken for what without being made.
    pub(super) fn assumed(&self) -> Vec<(usize, Option<ChainId>)> {
        self.assumed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what a vertex does.
    pub(super) fn op(&self, vertex: usize) -> &Op {
        &self.graph.vertices[vertex].op
    }

    /// Tells of what was not needed that it was not.
    fn finish(&self, made: Vec<Option<Arc<Solved>>>) -> Result<Answered, SolveError> {
        let vertices = self.graph.vertices.iter().enumerate();
        for (at, vertex) in vertices.filter(|(at, _)| made[*at].is_none()) {
            let inputs = vec![None; vertex.op.inputs().len()];
            let verdict = Verdict::NotNeeded;
            let outcome = Outcome { verdict, elapsed: Duration::ZERO, layer: None, from: None };
            self.ledger.conclude(at, &self.inputs_now(at, &inputs), outcome)?;
            let (vertex, title) = (VertexId(at), vertex.title.as_str());
            self.workshop.progress.event(Event::Cached { vertex, title, layer: None });
        }
        let nothing = Arc::new(Solved::of(Vec::new()));
        let solved = made.into_iter().map(|made| made.unwrap_or_else(|| Arc::clone(&nothing)));
        let mut conclusions =
            std::mem::take(&mut *self.conclusions.lock().unwrap_or_else(PoisonError::into_inner));
        for (at, conclusion) in conclusions.iter_mut().enumerate().filter(|(_, known)| known.is_none()) {
            *conclusion = self.expected(at);
        }
        Ok(Answered { solved: solved.collect(), told: self.ledger.told(), conclusions })
    }

    /// Returns what a vertex that was not needed would have come to, if notes say so.
    fn expected(&self, at: usize) -> Option<Conclusion> {
        let Looked { definition, derivation, outlook, .. } = self.try_looked(at)?;
        let (Some(derivation), Outlook::Known(outline)) = (derivation, outlook) else { return None };
        let layer = derivation.content.and_then(|_| outline.last().cloned());
        Some(Conclusion {
            definition: Some(*definition),
            content: derivation.content,
            derivation: Some(derivation.clone()),
            layer,
            from: None,
        })
    }

    /// Returns what the inputs of a vertex are, as far as that is known.
    pub(super) fn inputs_now(&self, of: usize, inputs: &[Option<Arc<Solved>>]) -> Vec<Input> {
        let named = self.graph.vertices[of].op.inputs();
        let now = named.iter().zip(inputs).map(|(named, input)| {
            let chain_id = match (input, &self.looked(named.0).outlook) {
                (Some(input), _) => Some(input.chain_id),
                (None, Outlook::Known(outline)) => Some(outline.chain_id),
                (None, _) => None,
            };
            Input { vertex: named.0, chain_id }
        });
        now.collect()
    }

    /// Notes what became of a vertex.
    fn conclude(
        &self,
        at: usize,
        inputs: &[Option<Arc<Solved>>],
        verdict: Verdict,
        (made, from): (&Solved, Option<usize>),
        began: Instant,
    ) -> Result<(), SolveError> {
        let layer = made.own_layer().map(|layer| layer.diff_id.to_string());
        let from = from.map(|from| self.workshop.stocks.name(from));
        let outcome = Outcome { verdict, elapsed: began.elapsed(), layer, from };
        Ok(self.ledger.conclude(at, &self.inputs_now(at, inputs), outcome)?)
    }

    /// Says what a vertex will be, going by notes.
    fn outlook(&self, vertex: usize, derivation: Option<&Derivation>) -> Result<Outlook, SolveError> {
        let op = &self.graph.vertices[vertex].op;
        let looked: Vec<&Looked> = op.inputs().iter().map(|input| self.looked(input.0)).collect();
        let inputs: Vec<&Outlook> = looked.iter().map(|input| &input.outlook).collect();
        if self.fresh[vertex] || inputs.iter().any(|outlook| matches!(outlook, Outlook::Pending)) {
            return Ok(Outlook::Pending);
        }
        let Outlook::Known(below) = inputs[0] else { return Ok(Outlook::Unknown) };
        if matches!(op, Op::Merge(_)) {
            return Ok(match inputs[1] {
                Outlook::Known(above) => Outlook::Known(Outline::with(Some(below), above.layers())),
                _ => Outlook::Unknown,
            });
        }
        let Some(derivation) = derivation else { return Ok(Outlook::Unknown) };
        let differs = |(seen, input): (&Seen, &&Looked)| match (seen, input.last()) {
            (Seen::Stack(then), Some(now)) => *then != now,
            _ => false,
        };
        if derivation.below != below.chain_id || derivation.others.iter().zip(&looked[1..]).any(differs) {
            return Ok(Outlook::Pending);
        }
        let Some(content) = &derivation.content else { return Ok(Outlook::Known(Arc::clone(below))) };
        let vertex = &self.graph.vertices[vertex];
        let layer = self.workshop.noted(content, vertex)?;
        Ok(layer.map_or(Outlook::Unknown, |layer| Outlook::Known(Outline::with(Some(below), vec![layer]))))
    }

    fn try_look(&self, at: usize) -> Result<Vec<usize>, SolveError> {
        let inputs = self.graph.vertices[at].op.inputs();
        let defined = self.define(at)?;
        self.ledger.look(at, defined.key, &defined.gathered())?;
        let mut derivation = self.workshop.cache.derivation(&defined.key, self.workshop.now)?;
        let mut outlook = self.outlook(at, derivation.as_ref())?;
        let mut whose = Whose::Own;
        if !matches!(outlook, Outlook::Known(_)) && !self.fresh[at] && !self.workshop.stocks.is_empty() {
            for other in self.workshop.stocks.derivations(&defined.key) {
                let others = self.outlook(at, Some(other))?;
                let is_known = matches!(others, Outlook::Known(_));
                if is_known || derivation.is_none() {
                    (derivation, outlook, whose) = (Some(other.clone()), others, Whose::Elsewhere);
                }
                if is_known {
                    break;
                }
            }
        }
        let wants = match outlook {
            Outlook::Known(_) => Vec::new(),
            _ => {
                self.remember(at, defined.clone());
                // What can be found without them will be looked for first.
                let is_known = |input: &usize| matches!(self.looked(*input).outlook, Outlook::Known(_));
                inputs.iter().map(|input| input.0).filter(|input| !is_known(input)).collect()
            }
        };
        let looked = Looked { definition: defined.key, derivation, outlook, whose };
        let _ = self.looked[at].set(looked);
        Ok(wants)
    }

    /// Notes what a source brought: that is what defines it.
    fn brought(&self, at: usize, solved: &Solved) -> Result<(), SolveError> {
        let chain_id = solved.chain_id.map(|chain_id| chain_id.to_string());
        let definition = KeyHasher::new("source").field("chain", chain_id.unwrap_or_default()).finish();
        self.ledger.look(at, definition, &[])?;
        let outlook = Outlook::Known(Arc::clone(solved.outline()));
        let _ = self.looked[at].set(Looked { definition, derivation: None, outlook, whose: Whose::Own });
        Ok(())
    }

    /// Whatever it failed with, a signal that came before is why.
    fn cause(&self, error: SolveError) -> SolveError {
        if self.workshop.interrupt.is_sent() { SolveError::Interrupted } else { error }
    }

    /// Tells how it went with a vertex.
    fn tell(&self, at: usize, began: Instant, result: Result<(bool, &Solved), &SolveError>) {
        let (vertex, title) = (VertexId(at), self.graph.vertices[at].title.as_str());
        let elapsed = began.elapsed();
        self.workshop.progress.event(match result {
            Ok((true, made)) => Event::Cached { vertex, title, layer: made.own_layer() },
            Ok((false, made)) => Event::Done { vertex, title, elapsed, layer: made.own_layer() },
            Err(_) if self.workshop.interrupt.is_sent() || self.workshop.stocks.is_shaken() => {
                Event::Cancelled { vertex, title }
            }
            Err(error) => Event::Failed { vertex, title, elapsed, error },
        });
    }
}

impl Work for Solver<'_> {
    type Made = Solved;
    type Error = SolveError;

    fn look(&self, at: usize) -> Result<Vec<usize>, SolveError> {
        if self.workshop.interrupt.is_sent() {
            return Err(SolveError::Interrupted);
        }
        let began = Instant::now();
        self.try_look(at)
            .inspect_err(|error| self.tell(at, began, Err(error)))
            .map_err(|error| self.cause(error))
    }

    fn make(&self, at: usize, inputs: &[Option<Arc<Solved>>]) -> Result<Step<Solved>, SolveError> {
        if self.workshop.interrupt.is_sent() {
            return Err(SolveError::Interrupted);
        }
        if self.is_put_off(at)? {
            return Ok(Step::Later);
        }
        let began = Instant::now();
        let (id, vertex) = (VertexId(at), &self.graph.vertices[at]);
        let waited_for = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).get(&at).copied();
        let held = match waited_for {
            Some(key) => match self.take(id, &key)? {
                Some(held) => Some((key, held)),
                None => return Ok(Step::Later),
            },
            None => None,
        };
        // Otherwise it is only asked whether it is known.
        if inputs.iter().all(Option::is_some) {
            self.workshop.progress.event(Event::Looking { vertex: id, title: &vertex.title });
        }
        // What a stage stands on is neither made nor remembered here.
        let mut from = None;
        let (made, verdict) = match (&vertex.op, inputs) {
            (Op::Merge(_), [Some(below), Some(above)]) => {
                (Ok(Step::Made(below.on_top(above))), Verdict::Base)
            }
            (op, _) => {
                let mut job = Job::new(self, id, vertex, held);
                let made = if inputs.is_empty() { job.bring() } else { job.attempt(inputs) };
                from = job.from;
                if let Ok(Step::Made(made)) = &made {
                    let conclusion = Some(job.conclusion(made));
                    self.conclusions.lock().unwrap_or_else(PoisonError::into_inner)[at] = conclusion;
                }
                let verdict = match op {
                    Op::Image(_) | Op::Scratch => Verdict::Base,
                    _ if job.cached => Verdict::Cached,
                    _ => Verdict::Made,
                };
                (made, verdict)
            }
        };
        let made = made.and_then(|step| {
            if let Step::Made(made) = &step {
                if inputs.is_empty() {
                    self.brought(at, made)?;
                }
                self.conclude(at, inputs, verdict, (made, from), began)?;
            }
            Ok(step)
        });
        match &made {
            Ok(Step::Made(solved)) => {
                self.defined.lock().unwrap_or_else(PoisonError::into_inner).remove(&at);
                self.tell(at, began, Ok((verdict == Verdict::Cached, solved)));
            }
            Ok(Step::Wanting | Step::Later) => {}
            Err(error) => self.tell(at, began, Err(error)),
        }
        made.map_err(|error| self.cause(error))
    }
}
