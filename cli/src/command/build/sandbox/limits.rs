//! Limits of RUN, by Docker's names.

use std::num::NonZero;
use std::path::PathBuf;

use clap::Args;
use oxbox_builder::exec::sandbox::resources::{Quota, Resources, Swap};
use oxbox_builder::exec::sandbox::ulimit::{Ulimit, UlimitError};

use crate::command::build::OptionError;

/// Limits of RUN.
#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// Limit of each process of RUN, as nofile=1024:2048.
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = ulimit)]
    pub(super) ulimit: Vec<Ulimit>,
    /// Size of /dev/shm in RUN; 64m unless told otherwise.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(super) shm_size: Option<u64>,
    /// Memory of all processes of a RUN together.
    #[arg(short, long, value_name = "SIZE", value_parser = bytes)]
    memory: Option<u64>,
    /// Memory and swap together, or -1 for as much swap as there is; twice --memory unless told otherwise.
    #[arg(long, value_name = "SIZE", value_parser = swap, requires = "memory", allow_hyphen_values = true)]
    memory_swap: Option<Swap>,
    /// Processors that all processes of a RUN may use together, as 1.5.
    #[arg(long, value_name = "NUMBER", value_parser = cpus, conflicts_with_all = ["cpu_period", "cpu_quota"])]
    cpus: Option<Quota>,
    /// Share of the processors beside others, 1024 being usual.
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(2..=262_144))]
    cpu_shares: Option<u64>,
    /// Microseconds of a period of the processors.
    #[arg(long, value_name = "MICROSECONDS", value_parser = clap::value_parser!(u64).range(1000..=1_000_000))]
    cpu_period: Option<u64>,
    /// Microseconds that the processors may be used in each period.
    #[arg(long, value_name = "MICROSECONDS", value_parser = clap::value_parser!(u64).range(1000..))]
    cpu_quota: Option<u64>,
    /// Processors that RUN may use, as 0-2,4.
    #[arg(long, value_name = "LIST", value_parser = list)]
    cpuset_cpus: Option<String>,
    /// Memory nodes that RUN may use, as 0,1.
    #[arg(long, value_name = "LIST", value_parser = list)]
    cpuset_mems: Option<String>,
    /// Processes and threads of a RUN; none unless told otherwise, and -1 means the same.
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Control group to make those of RUN in, from the top of each hierarchy.
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<PathBuf>,
}

impl Limits {
    pub(super) fn resources(&self) -> Resources {
        let of_period = || {
            let period_us = self.cpu_period.unwrap_or(Quota::PERIOD_US);
            let said = self.cpu_period.is_some() || self.cpu_quota.is_some();
            said.then_some(Quota { quota_us: self.cpu_quota, period_us })
        };
        Resources {
            memory_bytes: self.memory,
            memory_and_swap: self.memory_swap,
            cpu_quota: self.cpus.or_else(of_period),
            cpu_shares: self.cpu_shares,
            cpus: self.cpuset_cpus.clone(),
            memory_nodes: self.cpuset_mems.clone(),
            // Docker's none is 0 or -1.
            pids: self
                .pids_limit
                .and_then(|pids| u64::try_from(pids).ok())
                .and_then(NonZero::new)
                .map(NonZero::get),
            parent: self.cgroup_parent.clone(),
        }
    }

    /// Refuses what makes no sense together.
    pub(super) fn check(&self) -> Result<(), OptionError> {
        match (self.memory, self.memory_swap) {
            (Some(memory), Some(Swap::Bytes(both))) if both < memory => {
                Err(OptionError::SwapBelowMemory { memory, both })
            }
            _ => Ok(()),
        }
    }
}

fn ulimit(text: &str) -> Result<Ulimit, UlimitError> {
    text.parse()
}

/// Reads a size of memory: Docker's units are powers of 1024, whatever they are called.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "not a size of memory: write 512m or 2g".to_owned();
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let shift = match unit {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "m" | "mb" | "mi" | "mib" => 20,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let bytes =
        number * f64::from(1_u32 << (shift % 30)) * if shift >= 30 { f64::from(1_u32 << 30) } else { 1.0 };
    /// More than any machine has, and exact as a float.
    const MOST: f64 = (1_u64 << 52) as f64;
    if !(1.0..=MOST).contains(&bytes) {
        return Err(wrong());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above")]
    Ok(bytes as u64)
}

fn swap(text: &str) -> Result<Swap, String> {
    if text == "-1" { Ok(Swap::Unlimited) } else { bytes(text).map(Swap::Bytes) }
}

fn cpus(text: &str) -> Result<Quota, String> {
    let quota = text.parse().ok().and_then(Quota::of_cpus);
    quota.ok_or_else(|| "not a number of processors: write 2 or 0.5".to_owned())
}

/// Reads numbers and ranges of numbers.
fn list(text: &str) -> Result<String, String> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_item = |item: &str| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        is_number(first) && is_number(last)
    };
    match text.split(',').all(is_item) {
        true => Ok(text.to_owned()),
        false => Err("not a list: write 0-2,4".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, cpus, list};

    #[test]
    fn units_of_memory_are_powers_of_1024() {
        assert_eq!(
            [bytes("512m"), bytes("1.5g"), bytes("7"), bytes("1T")],
            [Ok(512 << 20), Ok(3 << 29), Ok(7), Ok(1 << 40)]
        );
        for text in ["", "m", "0", "-1", "1x", "1e3", "99999999t", "nan", "inf"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_and_numbers_are_looked_at() {
        assert!(list("0-2,4").is_ok() && cpus("0.5").is_ok());
        for text in ["", "a", "0-", "0,,1", "../x"] {
            assert!(list(text).is_err(), "{text}");
        }
        assert!(cpus("0").is_err() && cpus("x").is_err());
    }
}
