//! COPY, ADD, WORKDIR and RUN as vertices.

use super::super::graph::{CopyInstruction, Network, Security, Source};
use super::super::{Context, Entitlement, Op, Options, PlanErrorKind};
use super::{container, copies, history, options, plan_with, planned, refused, runs, with_context};

#[test]
fn a_destination_is_joined_with_the_directory_and_keeps_its_slash() {
    let plan = planned("FROM alpine\nWORKDIR /w\nCOPY a b/\nCOPY a b\nCOPY a /c/\nCOPY a .\nCOPY a $none\n");
    let found: Vec<_> = copies(&plan).into_iter().map(|copy| copy.destination.as_str()).collect();
    assert_eq!(found, ["/w/b/", "/w/b", "/c/", "/w/", "/w/"]);
}

#[test]
fn sources_of_a_stage_ignore_its_directory() {
    let plan = planned("FROM alpine AS a\nWORKDIR /w\nFROM scratch\nWORKDIR /v\nCOPY --from=a x y\n");
    assert!(
        matches!(&copies(&plan)[0].sources[0], Source::Vertex { pattern, .. } if pattern == "x"),
        "as written, from the root"
    );
}

#[test]
fn a_heredoc_is_expanded_with_its_quotes_left_alone() {
    let plan = planned("FROM alpine\nENV a=1\nCOPY <<x <<'y' /d/\n\"$a\" '$a' \\$a\nx\n$a\ny\n");
    let content = |place: usize| match &copies(&plan)[0].sources[place] {
        Source::Inline { name, content } => (name.clone(), content.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(content(0), ("x".to_owned(), "\"1\" '1' $a\n".to_owned()));
    assert_eq!(content(1), ("y".to_owned(), "$a\n".to_owned()));
}

#[test]
fn add_and_copy_are_told_apart() {
    let plan = planned("FROM alpine\nADD a b\nCOPY a b\n");
    let found: Vec<_> = copies(&plan).into_iter().map(|copy| copy.instruction).collect();
    assert_eq!(found, [CopyInstruction::Add, CopyInstruction::Copy]);
}

#[test]
fn a_named_context_goes_before_an_image_of_that_name() {
    let plan = plan_with("FROM scratch\nCOPY --from=alpine a b\n", &with_context("alpine", Context::Folder));
    assert!(
        matches!(&copies(&plan)[0].sources[0], Source::Context { name: Some(name), .. } if name == "alpine")
    );
}

#[test]
fn what_is_not_supported_is_refused_by_name_at_its_place() {
    let source = "FROM alpine\nRUN --device=d x\n";
    let error = refused(source);
    assert!(matches!(&error.kind, PlanErrorKind::NotSupported { what } if what == "RUN --device"));
    assert_eq!(&source[error.span.unwrap().range()], "d");
}

#[test]
fn more_than_a_sandbox_is_refused_unless_it_is_allowed() {
    let source = "FROM alpine\nRUN --security=insecure x\n";
    let error = refused(source);
    assert!(matches!(error.kind, PlanErrorKind::InsecureRefused));
    assert_eq!(&source[error.span.unwrap().range()], "--security");
    let allow = [Entitlement::SecurityInsecure].into();
    let plan = plan_with(source, &Options { allow, ..options() });
    assert_eq!(runs(&plan)[0].security, Security::Insecure);
}

#[test]
fn flags_that_say_no_are_no_reason_to_refuse() {
    assert_eq!(copies(&planned("FROM alpine\nCOPY --link=false --parents=false a b\n")).len(), 1);
    assert_eq!(runs(&planned("FROM alpine\nRUN --security=sandbox x\n")).len(), 1);
}

#[test]
fn a_workdir_is_made_for_the_user_of_its_line() {
    let plan = planned("FROM alpine\nWORKDIR /a\nUSER u:g\nWORKDIR b\n");
    let made: Vec<_> = plan
        .graph
        .vertices
        .iter()
        .filter_map(|vertex| match &vertex.op {
            Op::Workdir(workdir) => Some((workdir.path.as_str(), workdir.user.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(made, [("/a", ""), ("/a/b", "u:g")]);
    assert_eq!(container(&plan).working_dir.as_deref(), Some("/a/b"));
}

#[test]
fn the_root_as_workdir_makes_no_layer() {
    let plan = planned("FROM alpine\nWORKDIR ../..\n");
    assert_eq!((history(&plan), plan.results[0].history[0].vertex), (vec!["WORKDIR /"], None));
}

#[test]
fn a_run_has_directory_user_network_and_shell_of_its_line() {
    let plan = planned("FROM full\nWORKDIR x\nUSER u\nSHELL [\"/s\", \"-x\"]\nRUN --network=none a b\n");
    let run = runs(&plan)[0];
    assert_eq!(run.args, ["/s", "-x", "a b"]);
    assert_eq!((run.cwd.as_str(), run.user.as_str(), run.network), ("/srv/app/x", "u", Network::None));
}

#[test]
fn a_script_with_an_interpreter_is_a_file_beside_the_run() {
    let plan = planned("FROM alpine\nSHELL [\"/s\"]\nRUN <<EOF\n#!/bin/awk\n$x\nEOF\n");
    let run = runs(&plan)[0];
    assert_eq!(run.args, ["/s", "/dev/pipes/EOF"]);
    assert_eq!((run.files[0].name.as_str(), run.files[0].content.as_str()), ("EOF", "#!/bin/awk\n$x\n"));
}

#[test]
fn a_run_of_a_base_for_another_platform_is_refused_and_a_copy_is_not() {
    let error = refused("FROM arm\nRUN x\n");
    assert!(matches!(error.kind, PlanErrorKind::ForeignRun { .. }));
    let plan = planned("FROM arm\nCOPY a b\n");
    assert_eq!(plan.results[0].config.architecture, "arm64");
}
