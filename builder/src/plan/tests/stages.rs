//! Stages: names, order, what is needed; ONBUILD.

use super::super::graph::Source;
use super::super::{Op, PlanErrorKind};
use super::{bases, container, copies, options, planned, refused, runs, try_plan_with, with_trigger};

#[test]
fn names_of_stages_are_found_in_any_case() {
    let plan = planned("FROM alpine AS Base\nFROM bASE AS b\nFROM scratch\nCOPY --from=BASE x y\n");
    let Source::Vertex { vertex, .. } = copies(&plan)[0].sources[0] else { panic!() };
    assert_eq!(plan.graph.vertices[vertex.0].title, "[base 1/1] FROM docker.io/library/alpine:latest");
}

#[test]
fn a_stage_hides_the_image_of_its_name_from_later_stages_only() {
    let plan = planned("FROM busybox:1.36 AS alpine\nRUN x\nFROM alpine\nRUN y\n");
    assert_eq!((plan.graph.vertices.len(), runs(&plan).len()), (3, 2));
    let plan = planned("FROM alpine AS alpine\n");
    assert!(matches!(plan.graph.vertices[0].op, Op::Image(_)));
}

#[test]
fn a_stage_used_before_it_is_defined_is_an_error_at_its_use() {
    let source = "FROM alpine AS a\nCOPY --from=b x y\nFROM alpine AS b\nFROM a\n";
    let error = refused(source);
    assert!(matches!(&error.kind, PlanErrorKind::LaterStage { name } if name == "b"));
    assert_eq!(&source[error.span.unwrap().range()], "b");
}

#[test]
fn what_the_target_does_not_need_is_neither_planned_nor_fetched() {
    let mut bases = bases();
    let source = "FROM missing AS m\nFROM busybox:1.36 AS b\nFROM alpine\nFROM b\nCOPY --from=1 x y\n";
    let plan = try_plan_with(source, &options(), &mut bases).unwrap();
    let asked: Vec<_> = bases.asked.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(asked, ["docker.io/library/busybox:1.36"]);
    assert_eq!(plan.graph.vertices.len(), 2);
}

#[test]
fn an_image_is_fetched_once_however_often_it_is_named() {
    let mut bases = bases();
    let source =
        "FROM alpine AS a\nFROM alpine:latest\nCOPY --from=a x y\nCOPY --from=docker.io/library/alpine x y\n";
    try_plan_with(source, &options(), &mut bases).unwrap();
    assert_eq!(bases.asked.len(), 1);
}

#[test]
fn an_image_for_two_platforms_is_fetched_twice() {
    let mut bases = bases();
    let source = "FROM --platform=linux/arm64 alpine AS a\nFROM alpine\nCOPY --from=a x y\n";
    try_plan_with(source, &options(), &mut bases).unwrap();
    let platforms: Vec<_> = bases.asked.iter().map(|(_, platform)| platform.to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
}

#[test]
fn a_broken_from_is_an_error_even_where_it_is_not_needed() {
    let error = refused("FROM $NOTHING AS a\nFROM scratch\n");
    assert!(matches!(error.kind, PlanErrorKind::BlankImage { .. }));
}

#[test]
fn a_plan_names_only_earlier_vertices() {
    let plan = planned("FROM alpine AS a\nRUN x\nFROM scratch\nCOPY --from=a /x /y\n");
    for (place, vertex) in plan.graph.vertices.iter().enumerate() {
        assert!(vertex.op.inputs().iter().all(|input| input.0 < place));
    }
}

#[test]
fn only_the_chain_of_the_target_is_exported() {
    let plan = planned("FROM alpine AS a\nRUN x\nFROM alpine AS b\nRUN y\nFROM b\nCOPY --from=a x y\n");
    let exported: Vec<_> =
        plan.graph.vertices.iter().filter(|v| v.exported).map(|v| v.title.as_str()).collect();
    let base = "[a 1/2] FROM docker.io/library/alpine:latest";
    assert_eq!(exported, [base, "[b 2/2] RUN y", "[stage-2 1/1] COPY --from=a x y"]);
}

#[test]
fn triggers_of_a_base_run_first_once_and_are_gone() {
    let plan = planned("FROM onbuild AS a\nRUN x\nFROM a\nRUN y\n");
    let lines: Vec<_> = runs(&plan).into_iter().map(|run| run.args[2].as_str()).collect();
    assert_eq!(lines, ["make $BUILT", "x", "y"]);
    assert_eq!(container(&plan).on_build, None);
}

#[test]
fn triggers_of_a_stage_run_in_the_stages_on_top_of_it() {
    let plan = planned("FROM alpine AS a\nONBUILD RUN t\nRUN x\nFROM a AS b\nFROM b\nRUN y\n");
    let lines: Vec<_> = runs(&plan).into_iter().map(|run| run.args[2].as_str()).collect();
    assert_eq!(lines, ["x", "t", "y"]);
}

#[test]
fn a_trigger_may_need_a_stage_that_nothing_else_needs() {
    let mut bases = with_trigger("COPY --from=extra x y");
    let plan = try_plan_with("FROM alpine AS extra\nRUN e\nFROM onbuild\n", &options(), &mut bases).unwrap();
    assert_eq!(plan.graph.vertices.last().unwrap().title, "[stage-1 2/2] ONBUILD COPY --from=extra x y");
    assert_eq!(runs(&plan).len(), 1);
}

#[test]
fn what_a_bases_trigger_does_wrong_is_shown_at_from() {
    for trigger in ["RUNN x", "WORKDIR ${", "COPY --from=9 x y", "ADD --checksum=x y z"] {
        let mut bases = with_trigger(trigger);
        let source = "FROM onbuild\nRUN x\n";
        let error = try_plan_with(source, &options(), &mut bases).unwrap_err().errors.remove(0);
        assert_eq!(&source[error.span.unwrap().range()], "onbuild", "{trigger}");
        assert!(error.to_string().ends_with(&format!(", in {trigger:?} of the base image's ONBUILD")));
    }
}
