//! Files that ask for too much.

use super::super::PlanErrorKind;
use super::{container, planned, refused};

#[test]
fn a_file_that_asks_for_gigabytes_is_refused_soon() {
    let large = "x".repeat(500_000);
    let files = [
        format!("FROM alpine\nENV a={large}\n{}", "RUN x\n".repeat(80_000)),
        format!("FROM alpine\nENV a={large}\n{}", "LABEL b=$a\n".repeat(40_000)),
        format!("FROM alpine AS a\nENV a={large}\n{}", "FROM a AS a\n".repeat(40_000)),
        format!("FROM alpine\nARG A={large}\n{}", "COPY <<A b\n$A\nA\n".repeat(20_000)),
        format!("ARG a={large}\n{}FROM alpine\n", "ARG b=$a\n".repeat(40_000)),
    ];
    for source in files {
        let error = refused(&source);
        assert!(matches!(error.kind, PlanErrorKind::TooLarge { .. }), "{:.40}", source);
    }
}

#[test]
fn a_file_of_very_many_names_is_planned_all_the_same() {
    let names: String = (0..60_000).map(|n| format!(" a{n}=")).collect();
    let plan = planned(&format!("FROM alpine\nENV{names}\nENV{names}\n"));
    assert_eq!(container(&plan).env.as_ref().unwrap().len(), 60_001);
    let stages: String = (0..30_000).map(|n| format!("FROM scratch AS s{n}\n")).collect();
    assert_eq!(planned(&stages).graph.vertices.len(), 1);
}
