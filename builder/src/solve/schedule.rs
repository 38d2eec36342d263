//! Order and parallelism: what must be made for the targets is made, as soon as all that it needs is.
//!
//! ```text
//! look    every vertex, as soon as all that it names was looked at: what is it, is it known?
//! make    what is wanted: the targets, and of what is wanted that
//!           it stands on                      always: its layers are below
//!           it reads otherwise                only if it cannot be had without
//! ```
//!
//! What nobody wants is never made: a stage whose only reader is known needs no files. A pool of plain
//! threads; looking comes before making, lower vertices before higher ones. The first failure stops new
//! work, and the threads that are in the middle of something see it through [`Cancel`]. A vertex that
//! another process is making is set aside for a moment and occupies no thread. Which vertex runs first
//! never shows in a result.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often somebody looks whether what another process makes is made: short beside any RUN, long
/// beside the two system calls that a look costs.
const LATER: Duration = Duration::from_millis(25);

/// Says whether the work has become pointless.
#[derive(Default)]
pub struct Cancel<'a> {
    cancelled: AtomicBool,
    then: Option<Box<dyn Fn() + Sync + 'a>>,
}

impl<'a> Cancel<'a> {
    /// Has `then` called when the work is given up, so that what is under way ends soon.
    pub fn and_then(then: impl Fn() + Sync + 'a) -> Self {
        Self { cancelled: AtomicBool::new(false), then: Some(Box::new(then)) }
    }

    /// Whether to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Takes it back: there is work to do after all.
    pub(super) fn renew(&self) {
        self.cancelled.store(false, Ordering::Relaxed);
    }

    /// Asks all work to stop.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        if let Some(then) = &self.then {
            then();
        }
    }
}

/// Why not everything was made.
#[derive(Debug, PartialEq, Eq)]
pub enum Stopped<E> {
    /// This vertex failed first.
    Failed {
        /// Its place.
        vertex: usize,
        /// How.
        error: E,
    },
    /// Somebody else asked to stop.
    Cancelled,
}

/// What was made, by place.
pub type Made<T> = Vec<Option<Arc<T>>>;

/// What a vertex names, all of it earlier in the list. One that names nothing is a source: it is always
/// made, and nobody looks at it before.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// What it stands on first.
    pub all: Vec<usize>,
    /// How many of them are wanted as soon as it is.
    pub always: usize,
}

/// What came of trying to make a vertex.
#[derive(Debug)]
pub enum Step<T> {
    /// Here it is.
    Made(T),
    /// All that it names must be made first.
    Wanting,
    /// Somebody else is making it.
    Later,
}

/// Those who do the work. Called from many threads, never for one vertex from two at once.
pub trait Work: Sync {
    /// What a vertex is once it is made.
    type Made: Send + Sync;
    /// Why it cannot be.
    type Error: Send;

    /// Finds out about a vertex, once that was done for all that it names; sources were made instead.
    /// Returns what of the latter is wanted at once if the vertex is, beyond what always is.
    fn look(&self, vertex: usize) -> Result<Vec<usize>, Self::Error>;

    /// Tries to make a vertex. `inputs` are all that it names; those that are always wanted are made, and
    /// after [`Step::Wanting`] all are.
    fn make(
        &self,
        vertex: usize,
        inputs: &[Option<Arc<Self::Made>>],
    ) -> Result<Step<Self::Made>, Self::Error>;
}

/// Makes the targets, and whatever that takes; the rest stays `None`.
///
/// Blocks until that is done or, after a failure, until what was under way has ended.
pub fn run<W: Work>(
    inputs: &[Inputs],
    targets: &[usize],
    jobs: NonZero<usize>,
    cancel: &Cancel<'_>,
    work: &W,
) -> Result<Made<W::Made>, Stopped<W::Error>> {
    let pool = Pool { state: Mutex::new(State::new(inputs, targets)), changed: Condvar::new(), cancel, work };
    let workers = jobs.get().min(inputs.len().max(1));
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(|| pool.work());
        }
        pool.work();
    });
    let state = pool.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.failed {
        Some((vertex, error)) => Err(Stopped::Failed { vertex, error }),
        None if state.is_finished() => Ok(state.made),
        None => Err(Stopped::Cancelled),
    }
}

/// What can be done with a vertex; looking comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Look,
    Make,
}

struct State<'i, T, E> {
    inputs: &'i [Inputs],
    /// Who names a vertex.
    users: Vec<Vec<usize>>,
    targets: &'i [usize],
    stand: Vec<Stand>,
    made: Made<T>,
    /// Lowest first, so that one job makes them in the order of the Dockerfile.
    ready: BTreeSet<(Task, usize)>,
    /// When to try again.
    later: BTreeSet<(Instant, usize)>,
    failed: Option<(usize, E)>,
}

/// How far a vertex is.
#[derive(Debug, Clone, Default)]
struct Stand {
    looked: bool,
    wanted: bool,
    /// Whether it cannot be had without all that it names.
    wants_all: bool,
    /// What is wanted along with it.
    wants: Vec<usize>,
    /// Whether somebody is at it, or it is put off.
    taken: bool,
}

impl<'i, T, E> State<'i, T, E> {
    fn new(inputs: &'i [Inputs], targets: &'i [usize]) -> Self {
        let mut users = vec![Vec::new(); inputs.len()];
        for (user, names) in inputs.iter().enumerate() {
            for &name in &names.all {
                users[name].push(user);
            }
        }
        let made = inputs.iter().map(|_| None).collect();
        let stand = vec![Stand::default(); inputs.len()];
        let (ready, later) = (BTreeSet::new(), BTreeSet::new());
        let mut state = Self { inputs, users, targets, stand, made, ready, later, failed: None };
        for &target in targets {
            state.want(target);
        }
        (0..inputs.len()).for_each(|vertex| state.consider(vertex));
        state
    }

    fn is_finished(&self) -> bool {
        self.targets.iter().all(|&target| self.made[target].is_some())
    }

    fn is_source(&self, vertex: usize) -> bool {
        self.inputs[vertex].all.is_empty()
    }

    /// Notes that a vertex must be made. On a list: chains are as long as Dockerfiles.
    fn want(&mut self, vertex: usize) {
        let mut todo = vec![vertex];
        while let Some(vertex) = todo.pop() {
            if std::mem::replace(&mut self.stand[vertex].wanted, true) {
                continue;
            }
            let Inputs { all, always } = &self.inputs[vertex];
            todo.extend(&all[..*always]);
            todo.extend(&self.stand[vertex].wants);
            self.consider(vertex);
        }
    }

    /// Lists a vertex if there is something to be done with it now.
    fn consider(&mut self, vertex: usize) {
        let (stand, Inputs { all, always }) = (&self.stand[vertex], &self.inputs[vertex]);
        if stand.taken || self.made[vertex].is_some() {
            return;
        }
        let task = if self.is_source(vertex) {
            Task::Make
        } else if !stand.looked {
            if !all.iter().all(|&input| self.stand[input].looked) {
                return;
            }
            Task::Look
        } else {
            let needed = if stand.wants_all { &all[..] } else { &all[..*always] };
            if !stand.wanted || !needed.iter().all(|&input| self.made[input].is_some()) {
                return;
            }
            Task::Make
        };
        self.ready.insert((task, vertex));
    }

    fn looked(&mut self, vertex: usize, wants: Vec<usize>) {
        let stand = &mut self.stand[vertex];
        (stand.looked, stand.taken) = (true, false);
        if stand.wanted {
            wants.iter().for_each(|&input| self.want(input));
        }
        self.stand[vertex].wants = wants;
        self.consider(vertex);
        self.consider_users(vertex);
    }

    fn made(&mut self, vertex: usize, step: Step<T>) {
        let stand = &mut self.stand[vertex];
        match step {
            Step::Made(made) => {
                // For a source, which nobody looks at.
                (stand.looked, stand.taken) = (true, false);
                self.made[vertex] = Some(Arc::new(made));
                self.consider_users(vertex);
            }
            Step::Wanting => {
                (stand.wants_all, stand.taken) = (true, false);
                let inputs = self.inputs;
                inputs[vertex].all.iter().for_each(|&input| self.want(input));
                self.consider(vertex);
            }
            Step::Later => _ = self.later.insert((Instant::now() + LATER, vertex)),
        }
    }

    fn consider_users(&mut self, vertex: usize) {
        for at in 0..self.users[vertex].len() {
            self.consider(self.users[vertex][at]);
        }
    }

    fn take(&mut self) -> Option<(Task, usize)> {
        while let Some((_, vertex)) = self.later.first().copied().filter(|(time, _)| *time <= Instant::now())
        {
            self.later.pop_first();
            self.ready.insert((Task::Make, vertex));
        }
        let (task, vertex) = self.ready.pop_first()?;
        self.stand[vertex].taken = true;
        Some((task, vertex))
    }
}

struct Pool<'p, 'i, W: Work> {
    state: Mutex<State<'i, W::Made, W::Error>>,
    changed: Condvar,
    cancel: &'p Cancel<'p>,
    work: &'p W,
}

impl<'i, W: Work> Pool<'_, 'i, W> {
    // A panic in the work unwinds through the scope; the state itself is never left half-changed.
    fn lock(&self) -> MutexGuard<'_, State<'i, W::Made, W::Error>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((task, vertex, inputs)) = self.next() {
            let guard = Waker { pool: self };
            let result = match task {
                Task::Look => self.work.look(vertex).map(|wants| (Some(wants), None)),
                Task::Make => self.work.make(vertex, &inputs).map(|step| (None, Some(step))),
            };
            std::mem::forget(guard);
            let mut state = self.lock();
            match result {
                Ok((wants, step)) => {
                    wants.into_iter().for_each(|wants| state.looked(vertex, wants));
                    step.into_iter().for_each(|step| state.made(vertex, step));
                }
                Err(error) => {
                    // Noted before the others are told: what they fail with is only the echo.
                    state.failed.get_or_insert((vertex, error));
                    self.cancel.cancel();
                }
            }
            self.changed.notify_all();
        }
        self.changed.notify_all();
    }

    /// Waits for something to do; `None` when there is nothing left or no reason to go on.
    fn next(&self) -> Option<(Task, usize, Made<W::Made>)> {
        let mut state = self.lock();
        loop {
            if self.cancel.is_cancelled() || state.is_finished() {
                return None;
            }
            if let Some((task, vertex)) = state.take() {
                let inputs =
                    state.inputs[vertex].all.iter().map(|&input| state.made[input].clone()).collect();
                return Some((task, vertex, inputs));
            }
            state = match state.later.first() {
                Some((time, _)) => {
                    let left = time.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Wakes the others if a vertex panics, so that the panic ends the build instead of hanging it.
struct Waker<'a, 'p, 'i, W: Work> {
    pool: &'a Pool<'p, 'i, W>,
}

impl<W: Work> Drop for Waker<'_, '_, '_, W> {
    fn drop(&mut self) {
        // Under the lock, or another thread could look just before and wait just after.
        let _state = self.pool.lock();
        self.pool.cancel.cancel();
        self.pool.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
