//! Section 2: what a variable is where, and what is expanded.

use oxbox_builder::dockerfile::ParseErrorKind;
use oxbox_builder::dockerfile::ast::Escape;
use oxbox_builder::dockerfile::word::{WordErrorKind, expand};
use oxbox_builder::plan::PlanErrorKind;

use crate::given::{
    container, environment, given, history, planned, planned_with, runs, unparsed, unplanned, variable,
};

#[test]
fn s11_env_uses_the_environment_before_the_instruction_and_arg_goes_name_by_name() {
    let plan =
        planned("FROM base\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\nARG x=1 y=${x}2\nRUN x\n");
    assert_eq!(environment(&plan)[1..], ["abc=bye", "def=hello", "ghi=bye"]);
    assert_eq!(variable(runs(&plan)[0], "y"), Some("12"));
}

#[test]
fn s12_of_arg_and_env_the_later_wins_even_over_the_base_and_arg_never_reaches_the_image() {
    let source = "FROM full\nARG A=arg\nRUN 1\nENV A=env\nRUN 2\nARG A=last\nRUN 3\n";
    let plan = planned_with(source, &given(&[("B", "given")]));
    let values: Vec<_> = runs(&plan).into_iter().map(|run| variable(run, "A").unwrap()).collect();
    assert_eq!(values, ["arg", "env", "last"]);
    assert_eq!(environment(&plan)[..2], ["A=env", "B=base"]);
}

#[test]
fn s13_an_arg_of_a_stage_takes_the_build_arg_then_its_default_or_else_the_global_value() {
    let source = "ARG G=global H=global\nFROM base\nRUN 0\nARG G\nARG H=own\nARG N\nARG TARGETARCH\nRUN 1\n";
    let value = |plan: &_, run: usize, name| variable(runs(plan)[run], name).map(str::to_owned);
    let plan = planned(source);
    assert_eq!(value(&plan, 0, "G"), None, "global ones are for FROM lines only");
    let found = ["G", "H", "N", "TARGETARCH"].map(|name| value(&plan, 1, name));
    assert_eq!(found, [Some("global".into()), Some("own".into()), None, Some("amd64".into())]);
    let plan = planned_with(source, &given(&[("G", "g"), ("H", "h"), ("N", "n")]));
    let found = ["G", "H", "N"].map(|name| value(&plan, 1, name).unwrap());
    assert_eq!(found, ["g", "h", "n"]);
    let plan = planned_with("ARG I=none\nFROM $I\n", &given(&[("I", "full")]));
    assert_eq!(container(&plan).user.as_deref(), Some("u"));
}

#[test]
fn s14_declared_args_reach_every_run_used_or_not_and_proxies_without_being_part_of_it() {
    let args = given(&[("A", "1"), ("B", "2"), ("HTTPS_PROXY", "p")]);
    let plan = planned_with("FROM base\nARG A\nRUN 1\nARG HTTPS_PROXY\nRUN 2\n", &args);
    let run = runs(&plan)[0];
    assert_eq!((variable(run, "A"), variable(run, "B")), (Some("1"), None));
    assert_eq!(plan.warnings.len(), 1, "B is given in vain");
    assert_eq!((variable(run, "HTTPS_PROXY"), variable(run, "https_proxy")), (Some("p"), Some("p")));
    assert_eq!(run.env_outside_key, ["HTTPS_PROXY", "https_proxy"]);
    assert_eq!(history(&plan)[1], "RUN |1 A=1 /bin/sh -c 1 # buildkit");
    assert_eq!(runs(&plan)[1].env_outside_key, ["https_proxy"], "declared, it is part of it");
    assert_eq!(history(&plan)[3], "RUN |2 A=1 HTTPS_PROXY=p /bin/sh -c 2 # buildkit");
}

#[test]
fn s15_a_from_that_expands_to_nothing_is_an_error_and_an_unset_variable_elsewhere_is_empty() {
    assert!(matches!(unplanned("FROM $X\n"), PlanErrorKind::BlankImage { .. }));
    assert!(matches!(unplanned("FROM ${X?needed}\n"), PlanErrorKind::Parse(ParseErrorKind::Word(_))));
    assert!(matches!(unplanned("FROM --platform=$X base\n"), PlanErrorKind::BlankPlatform { .. }));
    assert_eq!(history(&planned("FROM base\nLABEL a=x${X}y\n")), ["LABEL a=xy"]);
}

#[test]
fn s16_words_expand_as_buildkits_lexer_has_it() {
    let lookup = |name: &str| match name {
        "x" => Some("foo/bar.tar.gz"),
        "empty" => Some(""),
        _ => None,
    };
    let table = [
        ("$1$@$$$?$#${*}", ""),
        ("$.", "$."),
        ("a$", "a$"),
        ("\"\\a \\\" \\$x \\\\\"", "\\a \" $x \\"),
        ("'\\$x\"'", "\\$x\""),
        ("\\$x \\a", "$x a"),
        ("${x:-y}${empty:-y}${empty-y}${none-y}", "foo/bar.tar.gzyy"),
        ("${x:+y}${empty:+y}${empty+y}${none+y}", "yy"),
        ("${none:-${x}z}", "foo/bar.tar.gzz"),
        ("${x#*/}|${x##*.}|${x%.*}|${x%%.*}", "bar.tar.gz|gz|foo/bar.tar|foo/bar"),
        ("${x/o/0}|${x//o/0}|${x/tar/}", "f0o/bar.tar.gz|f00/bar.tar.gz|foo/bar..gz"),
    ];
    for (word, wanted) in table {
        assert_eq!(expand(word, Escape::Backslash, &lookup).unwrap().text, wanted, "{word}");
    }
    for word in ["${}", "${:x}", "${{a}", "${x", "${x:#a}", "${x:%a}", "${none?m}", "${empty:?m}"] {
        assert!(expand(word, Escape::Backslash, &lookup).is_err(), "{word}");
    }
    let message = expand("${none:?why $x}", Escape::Backslash, &lookup).unwrap_err().kind;
    assert!(matches!(message, WordErrorKind::Required { message, .. } if message == "why foo/bar.tar.gz"));
}

#[test]
fn s17_an_image_without_path_gets_one() {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(environment(&planned("FROM scratch\n")), [path]);
    assert_eq!(environment(&planned("FROM bare\n")), [path]);
    assert_eq!(environment(&planned("FROM base\n")), ["PATH=/bin"]);
    let plan = planned_with("FROM --platform=windows/amd64 scratch\n", &{
        let mut options = given(&[]);
        options.platforms = vec!["windows/amd64".parse().unwrap()];
        options
    });
    assert!(environment(&plan).is_empty());
}

#[test]
fn s18_from_flags_cannot_be_variables() {
    let kind = unparsed("FROM base AS a\nCOPY --from=$A x /\n");
    assert!(matches!(kind, ParseErrorKind::VariableInFrom), "{kind:?}");
    assert!(kind.hint().unwrap().contains("name a stage"));
    let kind = unparsed("FROM base AS a\nRUN --mount=from=${A},target=/x y\n");
    assert!(matches!(kind, ParseErrorKind::VariableInFrom), "{kind:?}");
}
