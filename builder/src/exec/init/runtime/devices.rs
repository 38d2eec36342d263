//! /dev, as a runtime makes it: its usual devices by itself, others as it is told.
//!
//! Nobody but a control group of devices keeps a program from using nodes that it makes, or that the image has, for a
//! runtime may mount the root anew without `nodev`. In a user namespace nobody can make any, and the kernel opens none.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, major, minor};
use serde_json::{Value, json};

use crate::exec::runtime::config::Mounted;
use crate::exec::sandbox::{Confinement, Sandbox};

use super::super::devices::{DEV_OPTIONS, Node, Nodes, PTS_OPTIONS, SHM_BYTES};
use super::QUIET;

/// The group that usually has terminals.
const TERMINALS: u64 = 5;

/// What a runtime is told of devices.
#[derive(Default)]
pub(super) struct Told {
    /// `linux.devices`.
    pub(super) nodes: Vec<Value>,
    /// `linux.resources.devices`.
    pub(super) rules: Vec<Value>,
    /// The host's own nodes, where none can be made, and where they are to be.
    pub(super) bound: Vec<(String, OwnedFd)>,
}

/// Says what there is besides the usual.
pub(super) fn told(nodes: Nodes, sandbox: &Sandbox) -> Told {
    let mut told = Told::default();
    for node in nodes.unusual() {
        match node.host {
            Some(host) => told.bound.push((node.target, host)),
            None => {
                told.rules.push(rule(&node));
                told.nodes.push(described(&node));
            }
        }
    }
    told.rules = match sandbox.confinement {
        Confinement::None => vec![json!({ "allow": true, "access": "rwm" })],
        Confinement::Usual => usual_rules().into_iter().chain(told.rules).collect(),
    };
    told
}

/// Returns the mounts of /dev.
pub(super) fn mounts(dev: &str, sandbox: &Sandbox) -> Vec<Mounted> {
    let of = |(name, value): &(&str, &str)| format!("{name}={value}");
    let terminals = if is_mapped(TERMINALS) { &PTS_OPTIONS[..] } else { &PTS_OPTIONS[..2] };
    let terminals: Vec<String> = terminals.iter().map(of).collect();
    let folder: Vec<String> = DEV_OPTIONS.iter().map(of).collect();
    let size = format!("size={}", sandbox.shm_bytes.unwrap_or(SHM_BYTES));
    fn with<'a>(flags: &[&'a str], options: &'a [String]) -> Vec<&'a str> {
        flags.iter().copied().chain(options.iter().map(String::as_str)).collect()
    }
    let mut mounts = vec![
        Mounted::of("tmpfs", dev.to_owned(), &with(&["nosuid", "strictatime"], &folder)),
        Mounted::of("devpts", format!("{dev}/pts"), &with(&["nosuid", "noexec", "newinstance"], &terminals)),
        Mounted::of("tmpfs", format!("{dev}/shm"), &[&QUIET[..], &["mode=1777", &size]].concat()),
    ];
    // A kernel without message queues has no program that needs them.
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.ends_with("\tmqueue")) {
        mounts.push(Mounted::of("mqueue", format!("{dev}/mqueue"), &QUIET));
    }
    mounts
}

/// Docker's: any node may be made, and the usual ones be used.
fn usual_rules() -> Vec<Value> {
    const CONSOLES: [(u32, u32); 7] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];
    let all = |kind: &str| json!({ "allow": true, "type": kind, "access": "m" });
    let one = |(major, minor): (u32, u32)| json!({ "allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm" });
    let mut rules = vec![json!({ "allow": false, "access": "rwm" }), all("c"), all("b")];
    rules.extend(CONSOLES.map(one));
    // Terminals of a devpts.
    rules.push(json!({ "allow": true, "type": "c", "major": 136, "access": "rwm" }));
    rules
}

fn rule(node: &Node) -> Value {
    let letters = [(0o444, 'r'), (0o222, 'w')].into_iter().filter(|(mask, _)| node.mode & mask != 0);
    let access: String = letters.map(|(_, letter)| letter).chain(['m']).collect();
    let (major, minor) = (major(node.number), minor(node.number));
    json!({ "allow": true, "type": kind(node), "major": major, "minor": minor, "access": access })
}

fn described(node: &Node) -> Value {
    json!({
        "path": node.target,
        "type": kind(node),
        "major": major(node.number),
        "minor": minor(node.number),
        "fileMode": node.mode & 0o7777,
        "uid": node.owner.0,
        "gid": node.owner.1,
    })
}

fn kind(node: &Node) -> &'static str {
    if node.file_type == FileType::BlockDevice { "b" } else { "c" }
}

/// Whether this user namespace has a group.
fn is_mapped(group: u64) -> bool {
    let map = std::fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        matches!(numbers[..], [inside, _, count] if (inside..inside.saturating_add(count)).contains(&group))
    })
}
