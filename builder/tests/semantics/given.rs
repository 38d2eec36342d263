//! Parsing, planning and building in one line.

use std::collections::BTreeMap;

use oxbox_builder::dockerfile::{self, File, Instruction, ParseErrorKind};
use oxbox_builder::plan::graph::{Copy, Run, Source};
use oxbox_builder::plan::{self, MemoryBases, Op, Options, Plan, PlanErrorKind, StageResult};
use oxbox_layers::oci::{Config, ContainerConfig, Platform};
use serde_json::{Value, json};

/// Options that do not depend on the machine.
pub(crate) fn options() -> Options {
    Options { build_platform: Platform::new("linux", "amd64", None), ..Options::default() }
}

/// Options with these `--build-arg`s.
pub(crate) fn given(arguments: &[(&str, &str)]) -> Options {
    let build_args = arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Options { build_args: build_args.collect(), ..options() }
}

/// `base` says little, `full` much, `trigger` has an ONBUILD and `arm` is for arm64.
fn bases() -> MemoryBases {
    let layer = json!({ "type": "layers", "diff_ids": [format!("sha256:{}", "0".repeat(64))] });
    let configs = [
        ("base", json!({ "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]} })),
        ("bare", json!({ "architecture": "amd64", "os": "linux" })),
        (
            "full",
            json!({
                "architecture": "amd64", "os": "linux", "author": "a", "created": "2020-01-01T00:00:00Z", "vendor": "v",
                "config": {"Env": ["A=base", "B=base", "PATH=/p"], "Cmd": ["c"], "Entrypoint": ["e"], "Labels": {"l": "base"},
                           "Shell": ["/s", "-c"], "User": "u", "WorkingDir": "/w", "Hostname": "kept"},
                "history": [{"created_by": "base"}]
            }),
        ),
        (
            "trigger",
            json!({ "architecture": "amd64", "os": "linux", "config": {"OnBuild": ["ENV T=1", "COPY --from=tools x /", "RUN t"]} }),
        ),
        ("arm", json!({ "architecture": "arm64", "variant": "v8", "os": "linux" })),
    ];
    let config = |mut value: Value| -> Config {
        value["rootfs"] = layer.clone();
        serde_json::from_value(value).unwrap()
    };
    let configs: BTreeMap<String, Config> = configs
        .into_iter()
        .map(|(name, value)| (format!("docker.io/library/{name}:latest"), config(value)))
        .collect();
    MemoryBases { configs, asked: Vec::new() }
}

/// Parses a file that is in order.
pub(crate) fn parsed(source: &str) -> File {
    dockerfile::parse(source).unwrap_or_else(|errors| panic!("{}", errors.render("Dockerfile", source)))
}

/// The instructions after the first FROM.
pub(crate) fn instructions(source: &str) -> Vec<Instruction> {
    parsed(source).statements.into_iter().skip(1).map(|statement| statement.instruction).collect()
}

/// What the parser says of the first error.
pub(crate) fn unparsed(source: &str) -> ParseErrorKind {
    dockerfile::parse(source).unwrap_err().errors.remove(0).kind
}

pub(crate) fn planned(source: &str) -> Plan {
    planned_with(source, &options())
}

pub(crate) fn planned_with(source: &str, options: &Options) -> Plan {
    let plan = plan::plan(&parsed(source), source, options, &mut bases());
    plan.unwrap_or_else(|errors| panic!("{}", errors.render("Dockerfile", source)))
}

/// What the plan says of the first error.
pub(crate) fn unplanned(source: &str) -> PlanErrorKind {
    plan::plan(&parsed(source), source, &options(), &mut bases()).unwrap_err().errors.remove(0).kind
}

/// What the plan of one platform comes to.
pub(crate) fn result(plan: &Plan) -> &StageResult {
    assert_eq!(plan.results.len(), 1);
    &plan.results[0]
}

/// What a runtime reads of the image.
pub(crate) fn container(plan: &Plan) -> &ContainerConfig {
    result(plan).config.config.as_ref().unwrap()
}

/// The lines of history that the stage adds.
pub(crate) fn history(plan: &Plan) -> Vec<&str> {
    result(plan).history.iter().map(|line| line.created_by.as_str()).collect()
}

/// The image's environment.
pub(crate) fn environment(plan: &Plan) -> Vec<&str> {
    container(plan).env.as_ref().unwrap().iter().map(String::as_str).collect()
}

pub(crate) fn runs(plan: &Plan) -> Vec<&Run> {
    let ops = plan.graph.vertices.iter().map(|vertex| &vertex.op);
    ops.filter_map(|op| if let Op::Run(run) = op { Some(run) } else { None }).collect()
}

pub(crate) fn copies(plan: &Plan) -> Vec<&Copy> {
    let ops = plan.graph.vertices.iter().map(|vertex| &vertex.op);
    ops.filter_map(|op| if let Op::Copy(copy) = op { Some(copy) } else { None }).collect()
}

/// Name and content of a COPY's only source, a heredoc.
pub(crate) fn inline(copy: &Copy) -> (&str, &str) {
    match copy.sources.as_slice() {
        [Source::Inline { name, content }] => (name, content),
        other => panic!("{other:?}"),
    }
}

/// What a variable is to a RUN.
pub(crate) fn variable<'r>(run: &'r Run, name: &str) -> Option<&'r str> {
    run.env.iter().find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
}
