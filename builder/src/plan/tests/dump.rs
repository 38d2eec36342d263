//! A plan as text that people can review.

use std::fmt::Write;

use oxbox_layers::oci::Config;

use super::super::graph::{
    Copy, CopyInstruction, HistoryLine, Placing, Run, Security, Source, Unpack, VertexId,
};
use super::super::{Op, Plan, ResultForm, Vertex};

/// Returns the plan as text.
pub(super) fn dump(plan: &Plan, source: &str) -> String {
    let mut text = String::new();
    for (place, vertex) in plan.graph.vertices.iter().enumerate() {
        describe(&mut text, place, vertex);
    }
    for result in &plan.results {
        let _ = writeln!(text, "result {}", name(result.vertex));
        config(&mut text, &result.config);
        text.push_str("history\n");
        for HistoryLine { created_by, vertex } in &result.history {
            let layer = vertex.map(name).unwrap_or_default();
            let _ = writeln!(text, "  {layer:<3} {}", created_by.replace('\n', "\\n"));
        }
    }
    if plan.form == ResultForm::Index {
        text.push_str("as an index\n");
    }
    if let Some(epoch) = plan.epoch {
        let _ = writeln!(text, "epoch {epoch}");
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "{}", warning.render("Dockerfile", source));
    }
    text
}

fn name(VertexId(place): VertexId) -> String {
    format!("#{place}")
}

fn describe(text: &mut String, place: usize, vertex: &Vertex) {
    let exported = if vertex.exported { ", exported" } else { "" };
    let _ = writeln!(text, "#{place} {} (line {}{exported})", vertex.title, vertex.line);
    match &vertex.op {
        Op::Scratch => text.push_str("  nothing\n"),
        Op::Image(image) => {
            let _ = writeln!(text, "  image {}", image.name);
        }
        Op::Workdir(workdir) => {
            let _ =
                writeln!(text, "  on {} mkdir {} for {:?}", name(workdir.below), workdir.path, workdir.user);
        }
        Op::Git(git) => {
            let _ = writeln!(text, "  {git:?}");
        }
        Op::Http(http) => {
            let _ = writeln!(text, "  {http:?}");
        }
        Op::Local(local) => {
            let _ = writeln!(text, "  context {}", local.name);
        }
        Op::Merge(merge) => {
            let _ = writeln!(text, "  on {} layers of {}", name(merge.below), name(merge.above));
        }
        Op::Run(run) => describe_run(text, run),
        Op::Copy(copy) => describe_copy(text, copy),
    }
}

fn describe_run(text: &mut String, run: &Run) {
    let _ = writeln!(text, "  on {} run {:?}", name(run.below), run.args);
    let _ = writeln!(text, "  in {} as {:?}, network {:?}", run.cwd, run.user, run.network);
    for variable in &run.env {
        let outside = run.env_outside_key.iter().any(|name| variable.starts_with(&format!("{name}=")));
        let _ = writeln!(text, "  env {variable:?}{}", if outside { " outside the key" } else { "" });
    }
    for mount in &run.mounts {
        let _ = writeln!(text, "  mount {mount:?}");
    }
    if run.security == Security::Insecure {
        text.push_str("  insecure\n");
    }
    if let Some(hostname) = &run.hostname {
        let _ = writeln!(text, "  on the machine {hostname:?}");
    }
    for file in &run.files {
        let _ = writeln!(text, "  file {} {:?}", file.name, file.content);
    }
}

fn describe_copy(text: &mut String, copy: &Copy) {
    let _ = writeln!(text, "  on {} {:?} to {:?}", name(copy.below), copy.instruction, copy.destination);
    for source in &copy.sources {
        let _ = match source {
            Source::Context { name: None, pattern } => writeln!(text, "  from the context {pattern:?}"),
            Source::Context { name: Some(name), pattern } => {
                writeln!(text, "  from context {name:?} {pattern:?}")
            }
            Source::Vertex { vertex, pattern } => writeln!(text, "  from {} {pattern:?}", name(*vertex)),
            Source::Inline { name, content } => writeln!(text, "  inline {name} {content:?}"),
        };
    }
    if let Some(owner) = &copy.chown {
        let _ = writeln!(text, "  chown {owner}");
    }
    if let Some(vertex) = copy.names {
        let _ = writeln!(text, "  names of {}", name(vertex));
    }
    if !copy.exclude.is_empty() {
        let _ = writeln!(text, "  exclude {:?}", copy.exclude);
    }
    if copy.placing == Placing::Path {
        let _ = writeln!(text, "  under their paths");
    }
    match (copy.instruction, copy.unpack) {
        (_, Unpack::Everything) => text.push_str("  unpack everything\n"),
        (CopyInstruction::Add, Unpack::Nothing) => text.push_str("  unpack nothing\n"),
        (CopyInstruction::Add, Unpack::Local) | (CopyInstruction::Copy, _) => {}
    }
    if let Some(mode) = &copy.chmod {
        let _ = writeln!(text, "  chmod {mode}");
    }
}

fn config(text: &mut String, config: &Config) {
    let value = serde_json::to_value(config).unwrap();
    for (key, value) in value.as_object().unwrap() {
        match value.as_object().filter(|_| key == "config") {
            None if key == "rootfs" => {
                let _ = writeln!(text, "  {} layers", config.rootfs.diff_ids.len());
            }
            None => {
                let _ = writeln!(text, "  {key} {value}");
            }
            Some(container) => {
                for (key, value) in container {
                    let _ = writeln!(text, "  config {key} {value}");
                }
            }
        }
    }
}
