//! Whether all that an attempt came to fits together.
//!
//! ```text
//! b: RUN date > /d ───────────────┬▶ COPY --from=b /e       new: b is made, and is something else
//! └▶ a: RUN cp /d /a  ─ not made ─┴▶ COPY --from=a /a       known, from a as it was upon the old b
//! ```
//!
//! A step that was answered by its note took its inputs for what they were then. That holds if those that
//! were made after all came out as that, if nobody took the same one for something else, and if nothing
//! that they were made of, through however many that were not needed, was made and came out otherwise.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use oxbox_layers::oci::ChainId;

use super::answer::{Outlook, Solver};
use super::cache::Seen;
use super::solver::Solved;

/// Whether everything is what it had been taken for.
pub(super) fn is_settled(solver: &Solver<'_>, made: &[Option<Arc<Solved>>]) -> bool {
    let mut taken = HashMap::new();
    for (input, chain_id) in solver.assumed() {
        if *taken.entry(input).or_insert(chain_id) != chain_id {
            return false;
        }
        if made[input].as_ref().is_some_and(|made| made.chain_id != chain_id) {
            return false;
        }
    }
    let mut todo: Vec<usize> = taken.into_keys().filter(|input| made[*input].is_none()).collect();
    let mut seen: HashSet<usize> = todo.iter().copied().collect();
    while let Some(vertex) = todo.pop() {
        for (at, input) in solver.op(vertex).inputs().iter().map(|input| input.0).enumerate() {
            match &made[input] {
                Some(made) if taken_for(solver, vertex, at) != Some(made.chain_id) => return false,
                Some(_) => {}
                None if seen.insert(input) => todo.push(input),
                None => {}
            }
        }
    }
    true
}

/// Returns what an input of a vertex that was not made had been when it was; nothing if nobody noted it.
fn taken_for(solver: &Solver<'_>, vertex: usize, at: usize) -> Option<Option<ChainId>> {
    let looked = solver.looked(vertex);
    if let Some(derivation) = &looked.derivation {
        return match at.checked_sub(1) {
            None => Some(derivation.below),
            Some(other) => match derivation.others.get(other)? {
                Seen::Stack(chain_id) => Some(*chain_id),
                Seen::Unknown => None,
            },
        };
    }
    // Halves of a merge have no note, nor has a source, which cannot be otherwise.
    match &solver.input(crate::plan::graph::VertexId(vertex), at).outlook {
        Outlook::Known(outline) => Some(outline.chain_id),
        Outlook::Unknown | Outlook::Pending => None,
    }
}
