//! What all processes of a RUN may use together.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The kernel's own bounds of cpu.weight.
const MAX_WEIGHT: u64 = 10_000;

/// What all processes of a RUN may use together; without a word, as much as the builder itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// Memory and swap together.
    pub memory_and_swap: Option<Swap>,
    /// How long the processors may be used in each period.
    pub cpu_quota: Option<Quota>,
    /// The share beside others, 1024 being usual.
    pub cpu_shares: Option<u64>,
    /// Which processors, as `0-2,4`.
    pub cpus: Option<String>,
    /// Which memory nodes.
    pub memory_nodes: Option<String>,
    /// How many processes and threads.
    pub pids: Option<u64>,
    /// The group to make groups in, if not the builder's own: `/a/b` from the top of each hierarchy.
    pub parent: Option<PathBuf>,
}

/// Memory and swap together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Swap {
    /// No more than this.
    Bytes(u64),
    /// As much swap as there is.
    Unlimited,
}

/// Time of the processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Time used in each period; none if only the period is given.
    pub quota_us: Option<u64>,
    /// How long a period is.
    pub period_us: u64,
}

impl Quota {
    /// The kernel's own period.
    pub const PERIOD_US: u64 = 100_000;

    /// Returns the quota of so many processors, if it is one that the kernel takes.
    pub fn of_cpus(cpus: f64) -> Option<Self> {
        /// The kernel refuses less than a millisecond.
        const LEAST: f64 = 0.01;
        /// More processors than any machine has.
        const MOST: f64 = 1_000_000.0;
        let sane = cpus.is_finite() && (LEAST..=MOST).contains(&cpus);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above")]
        let quota = (cpus * Self::PERIOD_US as f64).round() as u64;
        sane.then_some(Self { quota_us: Some(quota), period_us: Self::PERIOD_US })
    }
}

impl Resources {
    /// Whether there is anything to enforce.
    pub fn are_limited(&self) -> bool {
        *self != Self { parent: self.parent.clone(), ..Self::default() }
    }

    /// Returns these without the limits that options of these names ask for.
    pub fn without(mut self, options: &[&str]) -> Self {
        for option in options {
            match *option {
                "memory" => (self.memory_bytes, self.memory_and_swap) = (None, None),
                "memory-swap" => self.memory_and_swap = None,
                "cpus" => self.cpu_quota = None,
                "cpu-shares" => self.cpu_shares = None,
                "cpuset-cpus" => self.cpus = None,
                "cpuset-mems" => self.memory_nodes = None,
                "pids-limit" => self.pids = None,
                _ => {}
            }
        }
        self
    }

    /// Returns how much swap beside the memory, as cgroups of version 2 count; `None` leaves it alone.
    ///
    /// As in Docker, a limit of memory alone lets as much swap be used again.
    pub fn swap(&self) -> Option<Swap> {
        let memory = self.memory_bytes?;
        match self.memory_and_swap {
            None => Some(Swap::Bytes(memory)),
            Some(Swap::Unlimited) => Some(Swap::Unlimited),
            Some(Swap::Bytes(both)) => Some(Swap::Bytes(both.saturating_sub(memory))),
        }
    }

    /// Returns the share as version 2 counts it: 1 to 10000, 100 being usual.
    ///
    /// The curve through (2, 1), (1024, 100) and (262144, 10000) that runc and crun use since 2025: the
    /// straight line before it gave 1024 the weight 39, less than groups that never said anything.
    pub fn cpu_weight(&self) -> Option<u64> {
        let shares = self.cpu_shares?;
        if shares <= 2 {
            return Some(1);
        }
        let log = (shares as f64).log2();
        let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bounds")]
        let weight = 10_f64.powf(exponent).ceil().clamp(1.0, MAX_WEIGHT as f64) as u64;
        Some(weight)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Quota, Resources, Swap};

    #[test]
    fn memory_alone_lets_as_much_swap_be_used() {
        let limited =
            |both| Resources { memory_bytes: Some(64), memory_and_swap: both, ..Resources::default() };
        assert_eq!(limited(None).swap(), Some(Swap::Bytes(64)));
        assert_eq!(limited(Some(Swap::Bytes(64))).swap(), Some(Swap::Bytes(0)));
        assert_eq!(limited(Some(Swap::Unlimited)).swap(), Some(Swap::Unlimited));
        assert_eq!(Resources::default().swap(), None);
    }

    #[test]
    fn usual_shares_are_the_usual_weight() {
        let weight = |shares| Resources { cpu_shares: Some(shares), ..Resources::default() }.cpu_weight();
        assert_eq!([2, 1024, 262_144].map(weight), [1, 100, 10_000].map(Some));
        assert_eq!(weight(0), Some(1));
        assert_eq!(weight(u64::MAX), Some(10_000));
    }

    #[test]
    fn processors_are_a_quota() {
        assert_eq!(Quota::of_cpus(1.5), Some(Quota { quota_us: Some(150_000), period_us: 100_000 }));
        for cpus in [0.0, -1.0, f64::NAN, f64::INFINITY, 0.001] {
            assert_eq!(Quota::of_cpus(cpus), None, "{cpus}");
        }
    }

    #[test]
    fn what_lacks_is_left_out() {
        let all =
            Resources { memory_bytes: Some(9), pids: Some(3), cpu_shares: Some(5), ..Resources::default() };
        let left = all.without(&["memory", "cpu-shares", "cpus"]);
        assert_eq!(left, Resources { pids: Some(3), ..Resources::default() });
    }

    #[test]
    fn a_parent_alone_limits_nothing() {
        let only = Resources { parent: Some(PathBuf::from("/a")), ..Resources::default() };
        assert!(!only.are_limited());
        assert!(Resources { pids: Some(3), ..only }.are_limited());
    }
}
