//! What can be known of every RUN's surroundings before anything is made.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::{Surroundings, Volume};
use crate::exec::cgroup::{self, Group, Lacking};
use crate::exec::network::{Connector, NoConnector};
use crate::exec::rung::{self, Rung};
use crate::exec::sandbox::{Resources, Ulimit};
use crate::exec::{self, Access, Failure, Source};
use crate::plan::Graph;
use crate::plan::graph::{Network, Op, Run, Security};
use crate::progress::{Event, Progress};

// asm-generic/resource.h
const RLIMIT_DATA: u32 = 2;
const RLIMIT_NPROC: u32 = 6;

/// Looks whether what RUN is to have can be had, tells what cannot, and removes control groups that killed
/// builds left.
///
/// # Errors
///
/// A RUN wants a private network, and nothing can make one.
pub fn prepare(
    surroundings: &Surroundings,
    graph: &Graph,
    state: &Path,
    progress: &dyn Progress,
) -> Result<Surroundings, NoConnector> {
    if let Err(error) = cgroup::sweep(state) {
        tracing::warn!(%error, "cannot look for control groups that killed builds left");
    }
    let mut surroundings = Surroundings { state: state.to_owned(), ..surroundings.clone() };
    let runs = || {
        graph
            .vertices
            .iter()
            .filter_map(|vertex| if let Op::Run(run) = &vertex.op { Some(run) } else { None })
    };
    if runs().any(|run: &Run| run.network == Network::Private) {
        Connector::find()?;
    }
    let resources = &surroundings.sandbox.resources;
    if (resources.are_limited() || resources.parent.is_some()) && runs().next().is_some() {
        let (held, lacking) = tried(resources, state);
        surroundings.fallbacks = fallbacks(resources, &lacking);
        if held == Held::Nowhere {
            surroundings.sandbox.resources = Resources::default();
        } else if surroundings.sandbox.runtime.is_some() {
            // It would not start for them.
            let options: Vec<_> = lacking.iter().map(|one| one.option).collect();
            surroundings.sandbox.resources = resources.clone().without(&options);
        }
        if let Some(message) = warning(&lacking, Delegation::find()) {
            progress.event(Event::Warning { message: &message });
        }
    }
    Ok(surroundings)
}

/// Returns why a RUN cannot have what it wants on the rung that this process stands on; nothing if it can, or may.
pub fn unable(run: &Run, surroundings: &Surroundings) -> Option<Failure> {
    let what = match (run.network, run.security) {
        (Network::None, _) => "keep the network away (--network=none)",
        (Network::Private, _) => "make a network of its own (--network=private)",
        (_, Security::Insecure) => "do more than the container may (--security=insecure)",
        _ if !surroundings.sandbox.devices.is_empty() => "give devices (--device)",
        _ if surroundings.volumes.iter().any(is_written_to) => {
            "share a volume that is written to (with ro RUN gets a copy)"
        }
        _ if surroundings.volumes.iter().any(|volume| matches!(volume, Volume::Over { .. })) => {
            "lay a volume below another directory (:O)"
        }
        _ => return None,
    };
    // Only now: to try the rungs takes milliseconds.
    let rung = rung::standing().rung;
    (rung == Rung::Chroot).then(|| Failure::Unable { what: what.to_owned(), rung })
}

/// Whether it is somebody else's, and changed where it is.
fn is_written_to(volume: &Volume) -> bool {
    let written =
        |mount: &exec::Mount| matches!(mount.source, Source::Bind { access: Access::ReadWrite, .. });
    matches!(volume, Volume::Mounted(mount) if written(mount))
}

/// Whether there is any use in making groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    InGroups,
    Nowhere,
}

/// Makes a group and enters it, to see what it lacks.
fn tried(resources: &Resources, state: &Path) -> (Held, Vec<Lacking>) {
    match Group::make(resources, state) {
        Ok((group, lacking)) => match group.try_entering() {
            Ok(()) => (Held::InGroups, lacking),
            Err(error) => (Held::Nowhere, cgroup::all_lacking(resources, &error.to_string())),
        },
        Err(error) => {
            tracing::warn!(%error, "cannot note a control group");
            (Held::InGroups, Vec::new())
        }
    }
}

/// Returns limits of each process that do a little of what those of all together would.
fn fallbacks(resources: &Resources, lacking: &[Lacking]) -> Vec<Ulimit> {
    let lacks = |option| lacking.iter().any(|one| one.option == option);
    let both = |resource, value: u64| Ulimit { resource, soft: Some(value), hard: Some(value) };
    let memory = resources.memory_bytes.filter(|_| lacks("memory")).map(|bytes| both(RLIMIT_DATA, bytes));
    let pids = resources.pids.filter(|_| lacks("pids-limit")).map(|pids| both(RLIMIT_NPROC, pids));
    memory.into_iter().chain(pids).collect()
}

fn warning(lacking: &[Lacking], delegation: Delegation) -> Option<String> {
    let first = lacking.first()?;
    let mut options: Vec<String> = Vec::new();
    for one in lacking {
        let option = format!("--{}", one.option);
        if !options.contains(&option) {
            options.push(option);
        }
    }
    let mut text = format!("warning: {} cannot be enforced here: {}", options.join(", "), first.reason);
    if options.iter().any(|option| option == "--memory") {
        text.push_str("\n - each process by itself may have so much data (ulimit data)");
    }
    if options.iter().any(|option| option == "--pids-limit") {
        text.push_str("\n - processes are counted for each user (ulimit nproc), which does not bind root");
    }
    if delegation == Delegation::OfSystemd {
        text.push_str(
            "\n - systemd gives its users groups of their own: systemd-run --user --scope oxbox build …",
        );
    }
    Some(text)
}

/// Whether there is somebody to ask for groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delegation {
    OfSystemd,
    Unknown,
}

impl Delegation {
    /// Looks for the user's own systemd, where this process is somebody's, not the machine's root, and not in one of its
    /// groups already.
    fn find() -> Self {
        let socket = |folder: OsString| Path::new(&folder).join("systemd/private").exists();
        let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let is_asked_for = rung::standing().rung.is_in_user_namespace() && !group.contains("/user@");
        match is_asked_for && env::var_os("XDG_RUNTIME_DIR").is_some_and(socket) {
            true => Self::OfSystemd,
            false => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Delegation, Lacking, Resources, fallbacks, warning};

    #[test]
    fn what_lacks_is_told_once_and_made_up_for_where_that_can_be() {
        let lack = |option| Lacking { option, reason: "there is none".to_owned() };
        let resources = Resources { memory_bytes: Some(10), pids: Some(3), ..Resources::default() };
        let lacking = [lack("memory"), lack("cpus"), lack("cpus")];
        let limits: Vec<_> = fallbacks(&resources, &lacking).iter().map(ToString::to_string).collect();
        assert_eq!(limits, ["data=10:10"]);
        let text = warning(&lacking, Delegation::OfSystemd).unwrap();
        assert!(
            text.starts_with("warning: --memory, --cpus cannot be enforced here: there is none\n"),
            "{text}"
        );
        assert!(text.ends_with("systemd-run --user --scope oxbox build …"), "{text}");
        assert_eq!(warning(&[], Delegation::OfSystemd), None);
    }
}
