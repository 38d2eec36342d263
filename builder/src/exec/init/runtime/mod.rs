//! A run by an OCI runtime: what it is given, and who watches it.
//!
//! ```text
//! oxbox-init    set_up as always │ mount points made │ bundle │ attendant … │ mount points taken away
//!
//! <beside the root's mount point>/      a tmpfs in the init's own mount namespace
//!   config.json   mounts/0 1 2 …   state/   log   pid
//!   rootfs/       the overlay, moved there
//! ```
//!
//! Nothing is on disk, and nothing is left by kill -9: with the init its mount namespace goes, and with it process
//! 1 of the pid namespace that the runtime and its container live in.

mod bundle;
mod container;
mod devices;
mod lookup;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::process::getrlimit;
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, capability_is_in_bounding_set};

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::plan::Plan;
use crate::exec::rung::Processes;
use crate::exec::runtime::config::{Config, Held, Hidden};
use crate::exec::sandbox::{Capabilities, Ulimit};
use crate::exec::{Exit, Network, Process, runtime, sys};

use super::mountpoint::Mountpoints;
use super::mounts::{MASKED_PROC, MASKED_SYS, READ_ONLY_PROC};
use super::outer::{self, Duties, Stage};
use super::seccomp;
use bundle::Bundle;
use container::Container;

/// What is quiet: without setuid programs, programs and devices.
const QUIET: [&str; 3] = ["nosuid", "noexec", "nodev"];

/// RLIMIT_NOFILE.
const DESCRIPTORS: u32 = 7;

/// Runs the program of a plan.
pub(super) fn carry_out(plan: Plan, socket: &UnixStream) -> Result<Exit, Failure> {
    let (process, rung) = (&plan.process, plan.rung);
    // It mounts a /proc of its own.
    if runtime::check(rung).is_err() || plan.processes != Processes::Own {
        return Err(Failure::Unable { what: "start a runtime (--runtime)".to_owned(), rung });
    }
    let limits = limits(process, plan.descriptors)?;
    if process.network == Network::None {
        sys::unshare(UnshareFlags::NEWNET).or_fail("unshare", "the network namespace")?;
        sys::raise_loopback().or_fail("raise", "the loopback interface")?;
    }
    let Stage { root, mut planned, keeper: _keeper, proc } = outer::set_up(&plan)?;
    let identity = outer::identify(&root, &process.user)?;
    let mut mountpoints = Mountpoints::new(root.as_fd());
    let ready = mountpoints
        .working_directory(&process.cwd, &identity)
        .and_then(|()| planned.place(&mut mountpoints))
        .and_then(|()| {
            let runtime = process.sandbox.runtime.as_ref().expect("because it was asked for");
            let args = lookup::arguments(&root, process, &planned)?;
            let surroundings = (&process.sandbox, process.network);
            let (bundle, contents) = Bundle::lay_out(&process.root, &root, planned, surroundings)?;
            // In a user namespace nobody can make rules, and none are needed.
            let rules = if rung.is_in_user_namespace() { Vec::new() } else { contents.rules };
            let config = Config {
                process,
                runtime,
                identity: &identity,
                args,
                mounts: contents.mounts,
                capabilities: held(process.sandbox.capabilities)?,
                limits,
                seccomp: seccomp::document(&process.sandbox),
                devices: contents.devices,
                device_rules: rules,
                hidden: hidden(),
            };
            bundle.write(&config.document()?)?;
            let duties = Duties { processes: plan.processes, proc: &proc, calls: None };
            let container = Container { runtime, process, bundle: &bundle, socket };
            outer::watch(&duties, |alive| container.main(alive))
        });
    // Also after a failure: the caller may want to look at what the upper directory holds.
    let removed = mountpoints.remove();
    let exit = ready?;
    removed.map(|()| exit)
}

/// Those of a set that this process has.
fn held(wanted: Capabilities) -> Result<Held, Failure> {
    let permitted = capabilities(None).or_fail("read", "capabilities")?.permitted.bits() & wanted.bits();
    let is_bounding = |number: &u32| {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        wanted.bits() & (1 << number) != 0 && capability_is_in_bounding_set(capability) == Ok(true)
    };
    let bounding = (0..u64::BITS).filter(is_bounding).fold(0, |bits, number| bits | 1 << number);
    Ok(Held { bounding, permitted })
}

/// The limits of the program. Those of descriptors are told in any case: runtimes raise their own, and some forget
/// to lower them again.
fn limits(process: &Process, descriptors: Option<u64>) -> Result<Vec<Ulimit>, Failure> {
    let mut limits = process.sandbox.ulimits.clone();
    let raises =
        capabilities(None).or_fail("read", "capabilities")?.effective.contains(CapabilitySet::SYS_RESOURCE);
    for limit in &limits {
        let most = sys::limit_of(limit.resource).or_fail("read the limit", limit.to_string())?;
        let is_more = most.is_some_and(|most| limit.hard.is_none_or(|hard| hard > most));
        if is_more && !raises {
            return Err(Failure::Ulimit { limit: limit.to_string(), errno: Errno(libc::EPERM) });
        }
    }
    if limits.iter().all(|limit| limit.resource != DESCRIPTORS) {
        let own = getrlimit(rustix::process::Resource::Nofile);
        limits.push(Ulimit { resource: DESCRIPTORS, soft: descriptors.or(own.current), hard: own.maximum });
    }
    Ok(limits)
}

fn hidden() -> Hidden {
    let all =
        |top: &str, names: &[&str]| names.iter().map(|name| format!("{top}/{name}")).collect::<Vec<_>>();
    Hidden {
        masked: [all("/proc", &MASKED_PROC), all("/sys", &MASKED_SYS)].concat(),
        read_only: all("/proc", &READ_ONLY_PROC),
    }
}
