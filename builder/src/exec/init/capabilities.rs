//! The capabilities of a program: Docker's fourteen, or what the sandbox says.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::exec::failure::{Failure, OrFail};
use crate::exec::rung::Rung;
use crate::exec::sandbox::Capabilities;

/// Those of a rung: with CAP_SYS_CHROOT root can leave a root that is only changed.
fn of(wanted: Capabilities, rung: Rung) -> Capabilities {
    match rung {
        Rung::Chroot => wanted.without("SYS_CHROOT"),
        _ => wanted,
    }
}

/// Takes everything else out of reach for good, setuid programs included.
pub(super) fn drop_bounding(wanted: Capabilities, rung: Rung) -> Result<(), Failure> {
    if rung == Rung::Chroot && !holds(CapabilitySet::SETPCAP)? {
        // Whoever started the container took it away, and with it the right to take away more. Root would get back
        // by execve what is given up here, CAP_SYS_CHROOT above all, unless it has promised to get nothing.
        return set_no_new_privs(true).or_fail("set", "no_new_privs");
    }
    let kept = of(wanted, rung);
    for number in 0..u64::BITS {
        if kept.bits() & (1 << number) != 0 {
            continue;
        }
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) => remove_capability_from_bounding_set(capability)
                .or_fail("drop from the bounding set", format!("capability {number}"))?,
            Ok(false) => {}
            // The kernel knows no higher one.
            Err(_) => break,
        }
    }
    Ok(())
}

/// Keeps those, as far as oxbox itself has them, and lets none be inherited.
///
/// Inheritable ones would reach programs with inheritable file capabilities (CVE-2022-24769).
pub(super) fn keep(wanted: Capabilities, rung: Rung) -> Result<(), Failure> {
    let held = capabilities(None).or_fail("read", "capabilities")?.permitted;
    let kept = held.intersection(CapabilitySet::from_bits_retain(of(wanted, rung).bits()));
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).or_fail("set", "capabilities")
}

/// Whether this process may load a filter without giving up setuid programs.
pub(super) fn may_administer() -> Result<bool, Failure> {
    holds(CapabilitySet::SYS_ADMIN)
}

fn holds(capability: CapabilitySet) -> Result<bool, Failure> {
    let held = capabilities(None).or_fail("read", "capabilities")?;
    Ok(held.effective.contains(capability))
}
