//! Tests of the whole plan; those of one room are in that room.

mod bounds;
mod config;
mod dump;
mod golden;
mod property;
mod stages;
mod variables;
mod vertices;

use oxbox_layers::oci::{Config, ContainerConfig, Platform};
use serde_json::{Value, json};

use super::graph::{Copy, Run};
use super::{Context, MemoryBases, Op, Options, Plan, PlanError, PlanErrors, StageResult, plan};
use crate::dockerfile::parse;

/// Options that do not depend on the machine.
fn options() -> Options {
    Options { build_platform: Platform::new("linux", "amd64", None), ..Options::default() }
}

/// Bases that cases may use: an ordinary one, one that sets everything, one of another platform.
fn bases() -> MemoryBases {
    let config = |value: Value| -> Config { serde_json::from_value(value).unwrap() };
    let layers = |count: usize| json!({ "type": "layers", "diff_ids": vec![format!("sha256:{}", "0".repeat(64)); count] });
    let full = json!({
        "architecture": "amd64", "os": "linux", "author": "somebody", "created": "2020-01-01T00:00:00Z",
        "config": {
            "User": "app", "WorkingDir": "/srv//app/", "Env": ["A=base", "B=base"], "Cmd": ["base"],
            "Entrypoint": ["/entry"], "Labels": {"from": "base"}, "Shell": ["/bin/ash", "-ec"],
            "ExposedPorts": {"1/tcp": {}}, "Hostname": "kept"
        },
        "rootfs": layers(2), "history": [{"created_by": "one"}, {"created_by": "two", "empty_layer": true}],
        "docker_version": "kept"
    });
    let onbuild = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"OnBuild": ["COPY . /src", "ENV BUILT=yes", "RUN make $BUILT"]}, "rootfs": layers(1)
    });
    let arm = json!({ "architecture": "arm64", "os": "linux", "rootfs": layers(1) });
    let plain = json!({ "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]}, "rootfs": layers(1), "history": [{"created_by": "base"}] });
    let mut bases = MemoryBases::default();
    for (name, value) in [
        ("docker.io/library/alpine:latest", plain.clone()),
        ("docker.io/library/busybox:1.36", plain),
        ("docker.io/library/full:latest", full),
        ("docker.io/library/onbuild:latest", onbuild),
        ("docker.io/library/arm:latest", arm),
        ("localhost:5000/bare:v1", json!({})),
        ("layouts/base", json!({ "config": {"User": "layout"} })),
    ] {
        bases.configs.insert(name.to_owned(), config(value));
    }
    bases
}

fn try_plan_with(source: &str, options: &Options, bases: &mut MemoryBases) -> Result<Plan, PlanErrors> {
    let file = parse(source).unwrap_or_else(|errors| panic!("{}", errors.render("Dockerfile", source)));
    plan(&file, source, options, bases)
}

fn plan_with(source: &str, options: &Options) -> Plan {
    try_plan_with(source, options, &mut bases())
        .unwrap_or_else(|error| panic!("{}", error.render("Dockerfile", source)))
}

fn planned(source: &str) -> Plan {
    plan_with(source, &options())
}

fn refused(source: &str) -> PlanError {
    refused_with(source, &options())
}

fn refused_with(source: &str, options: &Options) -> PlanError {
    try_plan_with(source, options, &mut bases()).unwrap_err().errors.remove(0)
}

/// What the plan comes to, for its only platform.
fn result(plan: &Plan) -> &StageResult {
    assert_eq!(plan.results.len(), 1);
    &plan.results[0]
}

/// Options with one named context.
fn with_context(name: &str, context: Context) -> Options {
    Options { contexts: [(name.to_owned(), context)].into(), ..options() }
}

fn container(plan: &Plan) -> &ContainerConfig {
    result(plan).config.config.as_ref().unwrap()
}

fn history(plan: &Plan) -> Vec<&str> {
    result(plan).history.iter().map(|line| line.created_by.as_str()).collect()
}

fn runs(plan: &Plan) -> Vec<&Run> {
    plan.graph
        .vertices
        .iter()
        .filter_map(|vertex| match &vertex.op {
            Op::Run(run) => Some(run),
            _ => None,
        })
        .collect()
}

fn copies(plan: &Plan) -> Vec<&Copy> {
    plan.graph
        .vertices
        .iter()
        .filter_map(|vertex| match &vertex.op {
            Op::Copy(copy) => Some(copy),
            _ => None,
        })
        .collect()
}

fn variable<'r>(run: &'r Run, name: &str) -> Option<&'r str> {
    run.env.iter().find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
}

fn given(build_args: &[(&str, &str)]) -> Options {
    let build_args = build_args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Options { build_args: build_args.collect(), ..options() }
}

/// The bases, `onbuild` with this trigger alone.
fn with_trigger(trigger: &str) -> MemoryBases {
    let mut bases = bases();
    let base = bases.configs.get_mut("docker.io/library/onbuild:latest").unwrap();
    base.config.as_mut().unwrap().on_build = Some(vec![trigger.to_owned()]);
    bases
}
