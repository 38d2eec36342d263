//! Facts that a golden file would not make plain.

use super::super::PlanErrorKind;
use super::{planned, refused};

#[test]
fn a_plan_names_only_earlier_vertices() {
    let plan = planned("FROM alpine AS a\nRUN x\nFROM scratch\nCOPY --from=a /x /y\n");
    for (place, vertex) in plan.graph.vertices.iter().enumerate() {
        assert!(vertex.op.inputs().iter().all(|input| input.0 < place));
    }
}

#[test]
fn a_broken_from_is_an_error_even_where_it_is_not_needed() {
    let error = refused("FROM $NOTHING AS a\nFROM scratch\n");
    assert!(matches!(error.kind, PlanErrorKind::BlankImage { .. }));
}
