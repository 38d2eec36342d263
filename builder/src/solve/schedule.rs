//! Order and parallelism: a vertex is made as soon as all that it names is made.
//!
//! A pool of plain threads; the first failure stops new work, and the threads that are in the middle of
//! something see it through [`Cancel`]. Which vertex runs first never shows in a result.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

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

/// Makes every vertex: `inputs[v]` lists what `v` needs, all of it earlier in the list.
///
/// Blocks until all is made or, after a failure, until what was under way has ended.
pub fn run<T, E, M>(
    inputs: &[Vec<usize>],
    jobs: NonZero<usize>,
    cancel: &Cancel<'_>,
    make: M,
) -> Result<Vec<Arc<T>>, Stopped<E>>
where
    T: Send + Sync,
    E: Send,
    M: Fn(usize, &[Arc<T>]) -> Result<T, E> + Sync,
{
    let state = Mutex::new(State::new(inputs));
    let changed = Condvar::new();
    let workers = jobs.get().min(inputs.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| work(inputs, &state, &changed, cancel, &make));
        }
    });
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.failed {
        Some((vertex, error)) => Err(Stopped::Failed { vertex, error }),
        None => state.made.into_iter().collect::<Option<_>>().ok_or(Stopped::Cancelled),
    }
}

struct State<T, E> {
    made: Vec<Option<Arc<T>>>,
    /// How many inputs of each vertex are not made yet.
    missing: Vec<usize>,
    /// Lowest first, so that one job makes them in the order of the Dockerfile.
    ready: BTreeSet<usize>,
    unfinished: usize,
    failed: Option<(usize, E)>,
}

impl<T, E> State<T, E> {
    fn new(inputs: &[Vec<usize>]) -> Self {
        let missing: Vec<usize> = inputs.iter().map(Vec::len).collect();
        let ready = (0..inputs.len()).filter(|&vertex| missing[vertex] == 0).collect();
        let made = inputs.iter().map(|_| None).collect();
        Self { made, missing, ready, unfinished: inputs.len(), failed: None }
    }

    fn finish(&mut self, vertex: usize, result: T, inputs: &[Vec<usize>]) {
        self.made[vertex] = Some(Arc::new(result));
        self.unfinished -= 1;
        for (user, needs) in inputs.iter().enumerate().skip(vertex + 1) {
            let times = needs.iter().filter(|&&need| need == vertex).count();
            self.missing[user] -= times;
            if times > 0 && self.missing[user] == 0 {
                self.ready.insert(user);
            }
        }
    }
}

fn work<T, E, M>(
    inputs: &[Vec<usize>],
    state: &Mutex<State<T, E>>,
    changed: &Condvar,
    cancel: &Cancel<'_>,
    make: &M,
) where
    M: Fn(usize, &[Arc<T>]) -> Result<T, E>,
{
    // A panic in `make` unwinds through the scope; the state itself is never left half-changed.
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some((vertex, needed)) = next(inputs, lock(), changed, cancel) {
        let guard = Waker { cancel, changed, state };
        let result = make(vertex, &needed);
        std::mem::forget(guard);
        let mut state = lock();
        match result {
            Ok(result) => state.finish(vertex, result, inputs),
            Err(error) => {
                // Noted before the others are told: what they fail with is only the echo.
                state.failed.get_or_insert((vertex, error));
                cancel.cancel();
            }
        }
        changed.notify_all();
    }
    changed.notify_all();
}

/// Wakes the others if a vertex panics, so that the panic ends the build instead of hanging it.
struct Waker<'a, S> {
    cancel: &'a Cancel<'a>,
    changed: &'a Condvar,
    state: &'a Mutex<S>,
}

impl<S> Drop for Waker<'_, S> {
    fn drop(&mut self) {
        // Under the lock, or another thread could look just before and wait just after.
        let _state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.cancel.cancel();
        self.changed.notify_all();
    }
}

/// Waits for something to make; `None` when there is nothing left or no reason to go on.
fn next<T, E>(
    inputs: &[Vec<usize>],
    mut state: MutexGuard<'_, State<T, E>>,
    changed: &Condvar,
    cancel: &Cancel<'_>,
) -> Option<(usize, Vec<Arc<T>>)> {
    loop {
        if cancel.is_cancelled() || state.unfinished == 0 {
            return None;
        }
        if let Some(vertex) = state.ready.pop_first() {
            let needed = inputs[vertex].iter().filter_map(|&need| state.made[need].clone()).collect();
            return Some((vertex, needed));
        }
        state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;
    use std::sync::{Barrier, Mutex};

    use super::{Cancel, Stopped, run};

    fn jobs(number: usize) -> NonZero<usize> {
        NonZero::new(number).unwrap()
    }

    #[test]
    fn every_vertex_gets_its_inputs_in_their_order() {
        let inputs = vec![vec![], vec![], vec![1, 0], vec![2, 2]];
        for number in [1, 4] {
            let made = run(&inputs, jobs(number), &Cancel::default(), |vertex, needed| {
                let below: Vec<String> =
                    needed.iter().map(|text: &std::sync::Arc<String>| text.to_string()).collect();
                Ok::<_, ()>(format!("{vertex}({})", below.join(",")))
            });
            assert_eq!(*made.unwrap()[3], "3(2(1(),0()),2(1(),0()))");
        }
    }

    #[test]
    fn vertices_that_do_not_need_each_other_are_made_at_once() {
        // Two threads must meet at the barrier, or this never ends.
        let barrier = Barrier::new(2);
        let made =
            run(&[vec![], vec![]], jobs(2), &Cancel::default(), |vertex, _: &[std::sync::Arc<usize>]| {
                barrier.wait();
                Ok::<_, ()>(vertex)
            });
        assert_eq!(made.unwrap().len(), 2);
    }

    #[test]
    fn one_job_makes_them_in_the_order_of_the_list() {
        let order = Mutex::new(Vec::new());
        run(
            &[vec![], vec![], vec![0], vec![]],
            jobs(1),
            &Cancel::default(),
            |vertex, _: &[std::sync::Arc<()>]| {
                order.lock().unwrap().push(vertex);
                Ok::<_, ()>(())
            },
        )
        .unwrap();
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn after_a_failure_nothing_new_is_started() {
        let started = Mutex::new(Vec::new());
        let result = run(
            &[vec![], vec![0], vec![]],
            jobs(1),
            &Cancel::default(),
            |vertex, _: &[std::sync::Arc<()>]| {
                started.lock().unwrap().push(vertex);
                if vertex == 0 { Err("broken") } else { Ok(()) }
            },
        );
        assert_eq!(result.unwrap_err(), Stopped::Failed { vertex: 0, error: "broken" });
        assert_eq!(*started.lock().unwrap(), [0]);
    }

    #[test]
    fn the_first_failure_is_reported_and_not_its_echo() {
        let told = std::sync::Condvar::new();
        let given_up = Mutex::new(false);
        let cancel = Cancel::and_then(|| {
            *given_up.lock().unwrap() = true;
            told.notify_all();
        });
        let result = run(&[vec![], vec![]], jobs(2), &cancel, |vertex, _: &[std::sync::Arc<()>]| {
            if vertex == 1 {
                return Err("cause");
            }
            let guard = told.wait_while(given_up.lock().unwrap(), |given_up| !*given_up);
            drop(guard);
            Err::<(), _>("echo")
        });
        assert_eq!(result.unwrap_err(), Stopped::Failed { vertex: 1, error: "cause" });
    }

    #[test]
    fn a_cancelled_run_says_so() {
        let cancel = Cancel::default();
        cancel.cancel();
        let result = run(&[vec![]], jobs(1), &cancel, |_, _: &[std::sync::Arc<()>]| Ok::<_, ()>(()));
        assert_eq!(result.unwrap_err(), Stopped::Cancelled);
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_ends_the_run_instead_of_hanging_it() {
        let _ = run(&[vec![], vec![0]], jobs(2), &Cancel::default(), |vertex, _: &[std::sync::Arc<()>]| {
            assert_ne!(vertex, 0, "on purpose");
            Ok::<_, ()>(())
        });
    }

    #[test]
    fn nothing_to_make_is_made_at_once() {
        let made = run(&[], jobs(3), &Cancel::default(), |_, _: &[std::sync::Arc<()>]| Ok::<_, ()>(()));
        assert!(made.unwrap().is_empty());
    }
}
