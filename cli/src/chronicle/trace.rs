//! A build as Chrome's trace events, for Perfetto and chrome://tracing.
//!
//! ```text
//! {"traceEvents":[{"name":"[2/3] RUN make","cat":"run","ph":"X","pid":1,"tid":2,"ts":1000,"dur":2500,"args":{…}},…]}
//!
//! tid 0       build ─────────────────────────────────────
//! tid 1…      a step ──────────────   the next ──────────     a lane each, "X" events
//!             └ key ─┘└─ make ─────┘                          nested in it
//!                              s ╌╌╌╌╌▶ f                     flow events: from an input to who needs it
//! ```
//!
//! The format is described in "Trace Event Format" of the Chromium project.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::timeline::{Bar, Work, bars, critical, microseconds};
use super::{Account, Ending};
use crate::progress::record::{Kind, Step, Verdict};
use crate::progress::transfer::Transfer;

/// One process in the trace.
const PROCESS: u32 = 1;

/// Returns the trace, whole.
pub(super) fn write(account: &Account<'_>) -> String {
    let bars = bars(account.record, account.total);
    let critical = critical(&account.record.steps);
    let mut events = names(account, &bars);
    events.push(whole(account));
    for bar in &bars {
        match bar.work {
            Work::Transfer(moved) => {
                events.push(slice(bar, &moved.title, "transfer", args_of_transfer(moved)));
            }

            Work::Step { at, step } => {
                let mut args = args_of_step(at, step);
                args.insert("critical".to_owned(), critical.contains(&at).into());
                events.push(slice(bar, &step.title, category(step.kind), args));
                events.extend(phases(bar, step));
            }
        }
    }
    events.extend(flows(&bars));
    let other = json!({ "writer": writer(), "started": account.record.at, "subject": account.subject.name });
    let trace = json!({ "traceEvents": events, "displayTimeUnit": "ms", "otherData": other });
    format!("{trace}\n")
}

/// Who writes this.
pub(super) fn writer() -> String {
    format!("oxbox {}", env!("CARGO_PKG_VERSION"))
}

/// Returns a word for what a step does.
pub(super) fn category(kind: Kind) -> &'static str {
    match kind {
        Kind::Base => "base",
        Kind::Copy => "copy",
        Kind::Fetch => "fetch",
        Kind::Link => "link",
        Kind::Run => "run",
        Kind::Workdir => "workdir",
    }
}

/// Returns a word for how a step ended.
pub(super) fn word(step: &Step) -> &'static str {
    match &step.ended {
        Some((_, Verdict::Base)) => "base",
        Some((_, Verdict::Cached)) => "cached",
        Some((_, Verdict::Made)) => "made",
        Some((_, Verdict::Failed { .. })) => "failed",
        Some((_, Verdict::Cancelled)) => "cancelled",
        None if step.looked.is_some() => "unfinished",
        None => "unreached",
    }
}

fn names(account: &Account<'_>, bars: &[Bar<'_>]) -> Vec<Value> {
    let name = |what: &str, thread: usize, name: String| json!({ "name": what, "ph": "M", "pid": PROCESS, "tid": thread, "args": { "name": name } });
    let lanes = bars.iter().map(|bar| bar.lane + 1).max().unwrap_or(0);
    let process = name("process_name", 0, format!("oxbox build {}", account.subject.name));
    let lanes = (1..=lanes).map(|lane| name("thread_name", lane, format!("lane {lane}")));
    [process, name("thread_name", 0, "build".to_owned())].into_iter().chain(lanes).collect()
}

fn whole(account: &Account<'_>) -> Value {
    let mut args = Map::from_iter([("outcome".to_owned(), account.ending.word().into())]);
    if let Ending::Built(Some(exported)) = account.ending {
        args.insert("digest".to_owned(), exported.manifest.digest.to_string().into());
    }
    args.extend(account.ending.error().map(|error| ("error".to_owned(), error.into())));
    json!({
        "name": "build", "cat": "build", "ph": "X", "pid": PROCESS, "tid": 0,
        "ts": 0, "dur": microseconds(account.total), "args": args,
    })
}

fn slice(bar: &Bar<'_>, name: &str, category: &str, args: Map<String, Value>) -> Value {
    json!({
        "name": name, "cat": category, "ph": "X", "pid": PROCESS, "tid": bar.lane + 1,
        "ts": bar.begin, "dur": bar.end - bar.begin, "args": args,
    })
}

/// What a step that was made did first, and what then.
fn phases(bar: &Bar<'_>, step: &Step) -> Vec<Value> {
    let Some(started) = step.started.map(microseconds) else { return Vec::new() };
    let middle = started.clamp(bar.begin, bar.end);
    let parts = [("key", Bar { end: middle, ..*bar }), ("make", Bar { begin: middle, ..*bar })];
    let parts = parts.iter().filter(|(_, bar)| bar.begin < bar.end);
    parts.map(|(name, bar)| slice(bar, name, "phase", Map::new())).collect()
}

fn args_of_step(at: usize, step: &Step) -> Map<String, Value> {
    let mut args = Map::new();
    let mut put = |name: &str, value: Value| drop(args.insert(name.to_owned(), value));
    put("step", (at + 1).into());
    put("verdict", word(step).into());
    if step.line > 0 {
        put("line", step.line.into());
    }
    put("inputs", step.inputs.iter().map(|input| input + 1).collect());
    if let Some(layer) = &step.layer {
        put("layerDigest", layer.descriptor.digest.to_string().into());
        put("layerSize", layer.descriptor.size.into());
        put("diffId", layer.diff_id.to_string().into());
    }
    if let Some(why) = &step.why {
        put("why", why.as_str().into());
    }
    if let Some((_, Verdict::Failed { error })) = &step.ended {
        put("error", error.as_str().into());
    }
    args
}

fn args_of_transfer(moved: &Transfer) -> Map<String, Value> {
    let (blobs, bytes) = moved.planned;
    Map::from_iter([
        ("verdict".to_owned(), if moved.is_done { "made" } else { "failed" }.into()),
        ("blobs".to_owned(), blobs.into()),
        ("bytes".to_owned(), bytes.into()),
        ("movedBytes".to_owned(), moved.bytes.into()),
    ])
}

/// Arrows from the ends of inputs to the beginnings of those who need them.
fn flows(bars: &[Bar<'_>]) -> Vec<Value> {
    let steps: BTreeMap<usize, (&Bar<'_>, &Step)> = bars
        .iter()
        .filter_map(|bar| match bar.work {
            Work::Step { at, step } => Some((at, (bar, step))),
            Work::Transfer(_) => None,
        })
        .collect();
    let mut flows = Vec::new();
    for (bar, step) in steps.values() {
        for (from, _) in step.inputs.iter().filter_map(|input| steps.get(input)) {
            let flow = |phase: &str, bar: &Bar<'_>, time: u64| {
                json!({
                    "name": "input", "cat": "input", "ph": phase, "id": flows.len() / 2,
                    "pid": PROCESS, "tid": bar.lane + 1, "ts": time,
                })
            };
            // An arrow belongs to the slice that is open at its time: the last microsecond still is.
            let begin = flow("s", from, from.end - 1);
            let mut end = flow("f", bar, bar.begin.max(from.end));
            end["bp"] = "e".into();
            flows.extend([begin, end]);
        }
    }
    flows
}

#[cfg(test)]
mod tests;
