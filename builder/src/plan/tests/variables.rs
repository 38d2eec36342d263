//! ARG and ENV: what a variable is where.

use oxbox_layers::oci::Platform;

use super::super::{MAX_WARNINGS, Options};
use super::{container, given, history, options, plan_with, planned, runs, variable};

#[test]
fn env_uses_the_environment_before_the_instruction() {
    let plan = planned("FROM alpine\nENV abc=hello\nENV abc=bye def=$abc\n");
    assert_eq!(container(&plan).env.as_ref().unwrap()[1..], ["abc=bye", "def=hello"]);
}

#[test]
fn arg_goes_name_by_name() {
    let plan = planned("FROM alpine\nARG a=1 b=${a}2\nRUN x\n");
    assert_eq!(variable(runs(&plan)[0], "b"), Some("12"));
}

#[test]
fn of_arg_and_env_the_later_wins_and_arg_never_reaches_the_image() {
    let plan = planned("FROM full\nARG A=arg\nRUN 1\nENV A=env\nRUN 2\nARG A=last\nRUN 3\n");
    let values: Vec<_> = runs(&plan).into_iter().map(|run| variable(run, "A").unwrap()).collect();
    assert_eq!(values, ["arg", "env", "last"]);
    assert_eq!(container(&plan).env.as_ref().unwrap()[0], "A=env");
}

#[test]
fn an_arg_with_a_default_does_not_take_the_global_value() {
    let source = "ARG G=global H=global\nFROM alpine\nARG G\nARG H=own\nRUN x\n";
    let plan = planned(source);
    assert_eq!((variable(runs(&plan)[0], "G"), variable(runs(&plan)[0], "H")), (Some("global"), Some("own")));
    let plan = plan_with(source, &given(&[("G", "g"), ("H", "h")]));
    assert_eq!((variable(runs(&plan)[0], "G"), variable(runs(&plan)[0], "H")), (Some("g"), Some("h")));
}

#[test]
fn an_arg_without_any_value_stays_unset() {
    let plan = planned("FROM alpine\nARG A\nRUN x\n");
    assert_eq!(variable(runs(&plan)[0], "A"), None);
    assert!(plan.warnings.is_empty());
}

#[test]
fn an_arg_that_is_not_declared_yet_is_unset() {
    let plan = planned("FROM alpine\nWORKDIR /a$A\nARG A=1\nWORKDIR /b$A\n");
    assert_eq!(history(&plan), ["WORKDIR /a", "ARG A=1", "WORKDIR /b1"]);
}

#[test]
fn arguments_of_a_stage_are_known_in_stages_on_top_of_it() {
    let plan = planned("FROM alpine AS a\nARG X=1\nFROM a\nRUN x\n");
    assert_eq!(variable(runs(&plan)[0], "X"), Some("1"));
    let plan = planned("FROM alpine AS a\nARG X=1\nFROM alpine\nCOPY --from=a x y\nRUN x\n");
    assert_eq!(variable(runs(&plan)[0], "X"), None);
}

#[test]
fn unused_arguments_reach_a_run_and_undeclared_ones_are_warned_of() {
    let plan = plan_with("FROM alpine\nARG A\nRUN x\n", &given(&[("A", "1"), ("B", "2")]));
    assert_eq!((variable(runs(&plan)[0], "A"), variable(runs(&plan)[0], "B")), (Some("1"), None));
    assert_eq!(plan.warnings[0].message, "build argument \"B\" is not used by any ARG");
}

#[test]
fn an_argument_of_an_unneeded_stage_is_not_warned_of() {
    let plan = plan_with("FROM alpine\nARG A\nFROM alpine\n", &given(&[("A", "1"), ("TARGETARCH", "x")]));
    assert!(plan.warnings.is_empty());
}

#[test]
fn proxies_reach_runs_but_neither_key_nor_history_unless_declared() {
    let plan =
        plan_with("FROM alpine\nRUN 1\nARG HTTPS_PROXY\nRUN 2\n", &given(&[("HTTPS_PROXY", "http://p")]));
    let runs = runs(&plan);
    assert_eq!(variable(runs[0], "https_proxy"), Some("http://p"));
    assert_eq!(runs[0].env_outside_key, ["HTTPS_PROXY", "https_proxy"]);
    assert_eq!(runs[1].env_outside_key, ["https_proxy"]);
    assert_eq!(history(&plan)[0], "RUN /bin/sh -c 1 # buildkit");
    assert_eq!(history(&plan)[2], "RUN |1 HTTPS_PROXY=http://p /bin/sh -c 2 # buildkit");
}

#[test]
fn platforms_are_known_to_from_and_elsewhere_only_when_declared() {
    let asked = Options { platforms: vec![Platform::new("linux", "arm64", None)], ..options() };
    let source = "FROM --platform=$BUILDPLATFORM alpine AS b\nRUN 1\nARG TARGETARCH\nRUN 2\n";
    let plan = plan_with(source, &asked);
    let values: Vec<_> = runs(&plan).into_iter().map(|run| variable(run, "TARGETARCH")).collect();
    assert_eq!(values, [None, Some("arm64")]);
}

#[test]
fn the_target_stage_has_a_name_even_when_it_is_not_asked_for() {
    let stage = |source: &str, target: Option<&str>| {
        let options = Options { target: target.map(str::to_owned), ..options() };
        let plan = plan_with(source, &options);
        variable(runs(&plan)[0], "TARGETSTAGE").unwrap().to_owned()
    };
    let source = "FROM alpine AS a\nARG TARGETSTAGE\nRUN x\nFROM a AS b\n";
    assert_eq!(stage(source, Some("a")), "a");
    assert_eq!(stage(source, None), "b");
    assert_eq!(stage("FROM alpine\nARG TARGETSTAGE\nRUN x\n", None), "default");
}

#[test]
fn an_unset_variable_is_empty() {
    let plan = planned("FROM alpine\nLABEL a=$x$x b=${y:-z} c=$1\n");
    assert_eq!(history(&plan), ["LABEL a= b=z c="]);
}

#[test]
fn warnings_end_somewhere() {
    let build_args = (0..1000).map(|n| (format!("A{n}"), String::new())).collect();
    let options = Options { build_args, ..options() };
    assert_eq!(plan_with("FROM alpine\n", &options).warnings.len(), MAX_WARNINGS);
}

#[test]
fn a_base_without_path_gets_one_and_one_with_it_keeps_it() {
    let path = |source: &str| container(&planned(source)).env.as_ref().unwrap()[0].clone();
    let default = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(path("FROM scratch\n"), default);
    assert_eq!(path("FROM localhost:5000/bare:v1\n"), default);
    assert_eq!(path("FROM alpine\n"), "PATH=/bin");
}

#[test]
fn variables_are_expanded_where_docker_expands_them_and_nowhere_else() {
    let plan = planned(
        "FROM alpine\nENV v=1\nCMD $v\nENTRYPOINT [\"$v\"]\nHEALTHCHECK CMD $v\nSHELL [\"$v\"]\n\
         ONBUILD RUN $v\nMAINTAINER $v\nUSER $v\nEXPOSE $v\nVOLUME $v\nLABEL $v=$v\nSTOPSIGNAL $v\n",
    );
    let found = container(&plan);
    assert_eq!(found.cmd.as_ref().unwrap()[2], "$v");
    assert_eq!(found.entrypoint.as_ref().unwrap()[0], "$v");
    assert_eq!(found.healthcheck.as_ref().unwrap().test.as_ref().unwrap()[1], "$v");
    assert_eq!(found.shell.as_ref().unwrap()[0], "$v");
    assert_eq!(found.on_build.as_ref().unwrap()[0], "RUN $v");
    assert_eq!(plan.results[0].config.author.as_deref(), Some("$v"));
    let rest = ["USER 1", "EXPOSE [1/tcp]", "VOLUME [1]", "LABEL 1=1", "STOPSIGNAL 1"];
    assert_eq!(history(&plan)[6..], rest);
}
