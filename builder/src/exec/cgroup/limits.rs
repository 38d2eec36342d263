//! Limits as the files of control groups, in both versions.

use crate::exec::sandbox::resources::{Quota, Resources, Swap};

use super::Lacking;

/// In the order in which they are set.
pub(super) const CONTROLLERS: [&str; 4] = ["memory", "cpu", "cpuset", "pids"];

/// Process 1 of the sandbox, which in Docker is the program itself.
const OWN_PROCESSES: u64 = 1;

/// A limit: a file and what goes into it, in each version.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) controller: &'static str,
    option: &'static str,
    pub(super) one: Option<(&'static str, String)>,
    pub(super) two: Option<(&'static str, String)>,
    pub(super) matters: Matters,
}

/// Whether a file that is not there is a limit that lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matters {
    Always,
    IfThere,
}

impl Limit {
    pub(super) fn lacking(&self, reason: String) -> Lacking {
        Lacking { option: self.option, reason }
    }
}

/// Returns all limits, in an order in which the kernel takes them.
pub(super) fn of(resources: &Resources) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut limit = |controller, option, one: Option<(&'static str, String)>, two| {
        limits.push(Limit { controller, option, one, two, matters: Matters::Always });
    };
    if let Some(bytes) = resources.memory_bytes {
        let bytes = bytes.to_string();
        limit(
            "memory",
            "memory",
            Some(("memory.limit_in_bytes", bytes.clone())),
            Some(("memory.max", bytes)),
        );
    }
    if let Some(Quota { quota_us, period_us }) = resources.cpu_quota {
        let words = quota_us.map_or("max".to_owned(), |quota| quota.to_string());
        let number = quota_us.map_or("-1".to_owned(), |quota| quota.to_string());
        limit("cpu", "cpus", Some(("cpu.cfs_period_us", period_us.to_string())), None);
        let two = Some(("cpu.max", format!("{words} {period_us}")));
        limit("cpu", "cpus", Some(("cpu.cfs_quota_us", number)), two);
    }
    if let Some(shares) = resources.cpu_shares {
        let weight = resources.cpu_weight().map(|weight| ("cpu.weight", weight.to_string()));
        limit("cpu", "cpu-shares", Some(("cpu.shares", shares.to_string())), weight);
    }
    if let Some(cpus) = &resources.cpus {
        let file = Some(("cpuset.cpus", cpus.clone()));
        limit("cpuset", "cpuset-cpus", file.clone(), file);
    }
    if let Some(nodes) = &resources.memory_nodes {
        let file = Some(("cpuset.mems", nodes.clone()));
        limit("cpuset", "cpuset-mems", file.clone(), file);
    }
    if let Some(pids) = resources.pids {
        let file = Some(("pids.max", pids.saturating_add(OWN_PROCESSES).to_string()));
        limit("pids", "pids-limit", file.clone(), file);
    }
    // After the memory, which may not be above it.
    let at = usize::from(resources.memory_bytes.is_some());
    if let Some(swap) = swap(resources) {
        limits.insert(at, swap);
    }
    limits
}

fn swap(resources: &Resources) -> Option<Limit> {
    let (memory, swap) = (resources.memory_bytes?, resources.swap()?);
    let (one, two) = match swap {
        Swap::Unlimited => ("-1".to_owned(), "max".to_owned()),
        // Version 1 counts both together, version 2 swap alone.
        Swap::Bytes(bytes) => (memory.saturating_add(bytes).to_string(), bytes.to_string()),
    };
    let matters = match resources.memory_and_swap {
        Some(Swap::Bytes(_)) => Matters::Always,
        None | Some(Swap::Unlimited) => Matters::IfThere,
    };
    let (one, two) = (Some(("memory.memsw.limit_in_bytes", one)), Some(("memory.swap.max", two)));
    Some(Limit { controller: "memory", option: "memory-swap", one, two, matters })
}

#[cfg(test)]
mod tests {
    use super::{Matters, of};
    use crate::exec::sandbox::resources::{Quota, Resources, Swap};

    fn files(resources: &Resources) -> (Vec<String>, Vec<String>) {
        let words =
            |file: &Option<(&str, String)>| file.as_ref().map(|(name, value)| format!("{name}={value}"));
        let limits = of(resources);
        let one = limits.iter().filter_map(|limit| words(&limit.one)).collect();
        (one, limits.iter().filter_map(|limit| words(&limit.two)).collect())
    }

    #[test]
    fn each_limit_has_a_file_in_both_versions() {
        let resources = Resources {
            memory_bytes: Some(100),
            memory_and_swap: Some(Swap::Bytes(150)),
            cpu_quota: Quota::of_cpus(0.5),
            cpu_shares: Some(1024),
            cpus: Some("0-1".to_owned()),
            memory_nodes: Some("0".to_owned()),
            pids: Some(7),
            parent: None,
        };
        let (one, two) = files(&resources);
        assert_eq!(
            one.join(" "),
            "memory.limit_in_bytes=100 memory.memsw.limit_in_bytes=150 cpu.cfs_period_us=100000 \
             cpu.cfs_quota_us=50000 cpu.shares=1024 cpuset.cpus=0-1 cpuset.mems=0 pids.max=8"
        );
        assert_eq!(
            two.join(" "),
            "memory.max=100 memory.swap.max=50 cpu.max=50000 100000 cpu.weight=100 cpuset.cpus=0-1 \
             cpuset.mems=0 pids.max=8"
        );
    }

    #[test]
    fn swap_that_nobody_spoke_of_need_not_be_limited() {
        let resources = Resources { memory_bytes: Some(1), ..Resources::default() };
        assert_eq!(of(&resources)[1].matters, Matters::IfThere);
        assert!(of(&Resources::default()).is_empty());
    }
}
