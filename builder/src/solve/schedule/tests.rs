//! Made-up work: each vertex is its number and what it was made of.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};

use super::{Cancel, Inputs, Step, Stopped, Work, run};

type Given<'a> = &'a [Option<Arc<String>>];

/// Work as two functions.
struct Trial<L, M> {
    look: L,
    make: M,
}

impl<L, M> Work for Trial<L, M>
where
    L: Fn(usize) -> Vec<usize> + Sync,
    M: Fn(usize, Given<'_>) -> Result<Step<String>, &'static str> + Sync,
{
    type Made = String;
    type Error = &'static str;

    fn look(&self, vertex: usize) -> Result<Vec<usize>, &'static str> {
        Ok((self.look)(vertex))
    }

    fn make(&self, vertex: usize, inputs: Given<'_>) -> Result<Step<String>, &'static str> {
        (self.make)(vertex, inputs)
    }
}

fn jobs(number: usize) -> NonZero<usize> {
    NonZero::new(number).unwrap()
}

/// What each vertex stands on, and what it reads besides.
fn inputs(lists: &[&[usize]]) -> Vec<Inputs> {
    lists.iter().map(|all| Inputs { all: all.to_vec(), always: all.len().min(1) }).collect()
}

/// Whether a vertex needs what it reads besides.
fn wanting(inputs: Given<'_>) -> bool {
    inputs.iter().any(Option::is_none)
}

fn name(vertex: usize, inputs: Given<'_>) -> String {
    let below: Vec<&str> = inputs.iter().map(|input| input.as_ref().map_or("-", |text| text)).collect();
    format!("{vertex}({})", below.join(","))
}

#[test]
fn every_vertex_gets_its_inputs_in_their_order() {
    let inputs = inputs(&[&[], &[], &[1, 0], &[2, 2]]);
    for number in [1, 4] {
        let make = |vertex, inputs: Given<'_>| match wanting(inputs) {
            true => Ok(Step::Wanting),
            false => Ok(Step::Made(name(vertex, inputs))),
        };
        let work = Trial { look: |_| Vec::new(), make };
        let made = run(&inputs, &[3], jobs(number), &Cancel::default(), &work).unwrap();
        assert_eq!(**made[3].as_ref().unwrap(), "3(2(1(),0()),2(1(),0()))");
    }
}

#[test]
fn what_no_wanted_vertex_needs_is_looked_at_and_not_made() {
    let looked = Mutex::new(Vec::new());
    let look = |vertex| {
        looked.lock().unwrap().push(vertex);
        Vec::new()
    };
    let make = |vertex, inputs: Given<'_>| Ok(Step::Made(name(vertex, inputs)));
    let made =
        run(&inputs(&[&[], &[0], &[1], &[0, 2]]), &[3], jobs(1), &Cancel::default(), &Trial { look, make });
    let made: Vec<Option<String>> =
        made.unwrap().into_iter().map(|made| made.map(|made| (*made).clone())).collect();
    assert_eq!(made, [Some("0()".to_owned()), None, None, Some("3(0(),-)".to_owned())]);
    assert_eq!(*looked.lock().unwrap(), [1, 2, 3]);
}

#[test]
fn what_is_surely_needed_is_made_before_its_reader_has_its_turn() {
    let order = Mutex::new(Vec::new());
    let look = |vertex| if vertex == 3 { vec![1] } else { Vec::new() };
    let make = |vertex, inputs: Given<'_>| {
        order.lock().unwrap().push(vertex);
        Ok(if wanting(inputs) { Step::Wanting } else { Step::Made(name(vertex, inputs)) })
    };
    run(&inputs(&[&[], &[0], &[0], &[2, 1]]), &[3], jobs(1), &Cancel::default(), &Trial { look, make })
        .unwrap();
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
}

#[test]
fn vertices_that_do_not_need_each_other_are_made_at_once() {
    // Two threads must meet at the barrier, or this never ends.
    let barrier = Barrier::new(2);
    let make = |vertex, inputs: Given<'_>| {
        barrier.wait();
        Ok(Step::Made(name(vertex, inputs)))
    };
    let work = Trial { look: |_| Vec::new(), make };
    assert_eq!(run(&inputs(&[&[], &[]]), &[0, 1], jobs(2), &Cancel::default(), &work).unwrap().len(), 2);
}

#[test]
fn what_another_process_makes_does_not_hold_up_the_rest() {
    let (tries, order) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let make = |vertex, inputs: Given<'_>| {
        if vertex == 1 && tries.fetch_add(1, Ordering::SeqCst) < 3 {
            return Ok(Step::Later);
        }
        order.lock().unwrap().push(vertex);
        Ok(Step::Made(name(vertex, inputs)))
    };
    let work = Trial { look: |_| Vec::new(), make };
    run(&inputs(&[&[], &[0], &[0], &[2]]), &[1, 3], jobs(1), &Cancel::default(), &work).unwrap();
    assert_eq!(*order.lock().unwrap(), [0, 2, 3, 1]);
    assert_eq!(tries.into_inner(), 4);
}

#[test]
fn after_a_failure_nothing_new_is_started() {
    let started = Mutex::new(Vec::new());
    let make = |vertex, inputs: Given<'_>| {
        started.lock().unwrap().push(vertex);
        if vertex == 0 { Err("broken") } else { Ok(Step::Made(name(vertex, inputs))) }
    };
    let work = Trial { look: |_| Vec::new(), make };
    let result = run(&inputs(&[&[], &[0], &[]]), &[1, 2], jobs(1), &Cancel::default(), &work);
    assert_eq!(result.unwrap_err(), Stopped::Failed { vertex: 0, error: "broken" });
    assert_eq!(*started.lock().unwrap(), [0]);
}

#[test]
fn the_first_failure_is_reported_and_not_its_echo() {
    let (told, given_up) = (Condvar::new(), Mutex::new(false));
    let cancel = Cancel::and_then(|| {
        *given_up.lock().unwrap() = true;
        told.notify_all();
    });
    let make = |vertex, _: Given<'_>| {
        if vertex == 1 {
            return Err("cause");
        }
        drop(told.wait_while(given_up.lock().unwrap(), |given_up| !*given_up));
        Err("echo")
    };
    let work = Trial { look: |_| Vec::new(), make };
    let result = run(&inputs(&[&[], &[]]), &[0, 1], jobs(2), &cancel, &work);
    assert_eq!(result.unwrap_err(), Stopped::Failed { vertex: 1, error: "cause" });
}

#[test]
fn a_cancelled_run_says_so() {
    let cancel = Cancel::default();
    cancel.cancel();
    let make = |vertex, inputs: Given<'_>| Ok(Step::Made(name(vertex, inputs)));
    let result = run(&inputs(&[&[]]), &[0], jobs(1), &cancel, &Trial { look: |_| Vec::new(), make });
    assert_eq!(result.unwrap_err(), Stopped::Cancelled);
}

#[test]
#[should_panic(expected = "on purpose")]
fn a_panic_ends_the_run_instead_of_hanging_it() {
    let make = |vertex, inputs: Given<'_>| {
        assert_ne!(vertex, 0, "on purpose");
        Ok(Step::Made(name(vertex, inputs)))
    };
    let work = Trial { look: |_| Vec::new(), make };
    let _ = run(&inputs(&[&[], &[0]]), &[1], jobs(1), &Cancel::default(), &work);
}

#[test]
fn nothing_to_make_is_made_at_once() {
    let work = Trial { look: |_| Vec::new(), make: |_, _: Given<'_>| Ok(Step::Later) };
    assert!(run(&[], &[], jobs(3), &Cancel::default(), &work).unwrap().is_empty());
}
