//! Two other parsers as oracles: where they accept a file, the instructions must be the same, one by one.

use std::fmt::Debug;
use std::fs;

use proptest::prelude::*;
use proptest::sample::select;

use super::super::parse;
use super::golden::cases;

fn ours(source: &str) -> Option<Vec<String>> {
    let file = parse(source).ok()?;
    Some(file.statements.iter().map(|statement| statement.instruction.keyword().to_owned()).collect())
}

/// Knows heredocs at the end of a line only, and directives.
fn parse_dockerfile_crate(source: &str) -> Option<Vec<String>> {
    let file = parse_dockerfile::parse(source).ok()?;
    Some(file.instructions.iter().map(variant).collect())
}

/// Knows neither heredocs nor directives, and takes any word for an instruction.
fn dockerfile_parser_crate(source: &str) -> Option<Vec<String>> {
    if source.contains("<<") || source.contains("escape") {
        return None;
    }
    let file = dockerfile_parser::Dockerfile::parse(source).ok()?;
    let names = file.instructions.iter().map(|instruction| match instruction {
        dockerfile_parser::Instruction::Misc(misc) => misc.instruction.content.to_uppercase(),
        typed => variant(typed),
    });
    Some(names.collect())
}

/// The name of an enum's variant, in capitals.
fn variant(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_uppercase()
}

/// Compares with both; returns how many oracles accepted the file.
fn compare(source: &str) -> usize {
    // Both take a doubled escape at a line's end for a continuation; BuildKit does not.
    if source.contains("\\\\\n") {
        return 0;
    }
    let Some(ours) = ours(source) else { return 0 };
    let theirs = [parse_dockerfile_crate(source), dockerfile_parser_crate(source)];
    theirs.into_iter().flatten().inspect(|theirs| assert_eq!(*theirs, ours, "{source}")).count()
}

#[test]
fn golden_cases_have_the_same_instructions() {
    let compared: usize =
        cases().iter().map(|case| compare(&fs::read_to_string(case.join("Dockerfile")).unwrap())).sum();
    assert!(compared >= 40, "{compared}");
}

fn line() -> impl Strategy<Value = &'static str> {
    select(vec![
        "RUN a && b",
        "RUN a \\\n  && b",
        "RUN a \\\n# note\n  b",
        "RUN [\"a\", \"b\"]",
        "COPY a b /c/",
        "COPY --from=x a b",
        "ADD a b",
        "ENV a=b c=\"d e\"",
        "ENV a b c",
        "LABEL a=b",
        "LABEL a.b=\"c d\" \\\n e=f",
        "EXPOSE 80 443/udp",
        "USER a:b",
        "WORKDIR /a",
        "VOLUME /a",
        "VOLUME [\"/a\"]",
        "CMD a b",
        "CMD [\"a\"]",
        "ENTRYPOINT [\"a\", \"b\"]",
        "SHELL [\"a\"]",
        "STOPSIGNAL 9",
        "HEALTHCHECK NONE",
        "HEALTHCHECK CMD a",
        "ONBUILD RUN a",
        "ARG a",
        "ARG a=b",
        "# note",
        "",
        "MAINTAINER a",
        "FROM b AS c",
        "FROM d:e",
        "run a",
        "  RUN a",
        "RUN <<EOF\na\nEOF",
        "COPY <<E /a\nUSER x\nE",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn usual_lines_have_the_same_instructions(lines in prop::collection::vec(line(), 1..12)) {
        let source = format!("FROM a\n{}\n", lines.join("\n"));
        prop_assert!(ours(&source).is_some(), "{:?}", parse(&source));
        compare(&source);
    }
}
