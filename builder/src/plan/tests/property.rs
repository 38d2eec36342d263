//! Properties: no parsed file makes the planner panic, and every graph keeps its promises.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;

use super::{bases, options, try_plan_with};
use crate::dockerfile::parse;
use crate::dockerfile::tests::exercise;

/// A line that parses; most can be planned wherever they stand.
fn line() -> impl Strategy<Value = &'static str> {
    select(vec![
        "FROM alpine AS one",
        "FROM one AS two",
        "FROM two",
        "FROM scratch AS one",
        "FROM onbuild",
        "FROM full AS two",
        "ARG A",
        "ARG A=1 B=$A",
        "ENV A=2 C=$A",
        "ENV D ${A:-x} ${B}y",
        "WORKDIR /w/$A",
        "WORKDIR w",
        "RUN make $A",
        "RUN [\"make\"]",
        "RUN <<EOF\n#!/x\nEOF",
        "COPY a $A /d/",
        "COPY --from=one a b",
        "COPY --from=two a b",
        "COPY --from=0 a b",
        "COPY --from=busybox:1.36 a b",
        "COPY <<EOF b /d/\n$A\nEOF",
        "ADD a.tar .",
        "ADD --link https://h/x /d/",
        "ADD --checksum=12 https://h/x.git#$A /d/",
        "COPY --link --chown=app a /d/",
        "COPY --link --from=one --parents --exclude=*.o a b",
        "RUN --mount=from=one,target=/x --mount=type=cache,target=c make",
        "RUN --mount=from=two --mount=type=secret,id=$A --mount=type=ssh make",
        "RUN --mount=from=c,target=/$A --security=insecure make",
        "FROM c AS layout",
        "FROM layout",
        "FROM t",
        "CMD a",
        "CMD [\"a\"]",
        "ENTRYPOINT a",
        "ENTRYPOINT []",
        "SHELL [\"/s\"]",
        "USER $A",
        "EXPOSE 80-90 443/udp",
        "VOLUME /v",
        "LABEL a=$A",
        "STOPSIGNAL 9",
        "HEALTHCHECK NONE",
        "ONBUILD COPY --from=one x y",
        "ONBUILD RUN x",
        "ONBUILD ENV A=3",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_graph_keeps_its_promises(lines in prop::collection::vec(line(), 0..24)) {
        exercise::run(format!("ARG A=0\nFROM alpine\n{}\n", lines.join("\n")).as_bytes());
    }

    #[test]
    fn the_same_file_has_the_same_plan(lines in prop::collection::vec(line(), 0..24)) {
        let source = format!("FROM alpine\n{}\n", lines.join("\n"));
        let plan = || try_plan_with(&source, &options(), &mut bases()).map_err(|error| error.to_string());
        prop_assert_eq!(plan(), plan());
    }
}

#[test]
fn every_case_of_the_parser_is_planned_or_refused() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/dockerfile");
    let mut planned = 0;
    for case in fs::read_dir(root).unwrap() {
        let Ok(source) = fs::read_to_string(case.unwrap().path().join("Dockerfile")) else { continue };
        if parse(&source).is_ok() {
            exercise::run(source.as_bytes());
            planned += 1;
        }
    }
    assert!(planned > 40, "{planned}");
}
