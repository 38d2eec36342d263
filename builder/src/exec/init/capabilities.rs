//! The capabilities of a program: Docker's fourteen.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use crate::exec::failure::{Failure, OrFail};
use crate::exec::rung::Rung;

/// What root in a container may do by default (moby's `oci/caps/defaults.go`).
const DEFAULTS: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Those of a rung: with CAP_SYS_CHROOT root can leave a root that is only changed.
fn of(rung: Rung) -> CapabilitySet {
    match rung {
        Rung::Chroot => DEFAULTS.difference(CapabilitySet::SYS_CHROOT),
        _ => DEFAULTS,
    }
}

/// Takes everything else out of reach for good, setuid programs included.
pub(super) fn drop_bounding(rung: Rung) -> Result<(), Failure> {
    if rung == Rung::Chroot && !holds(CapabilitySet::SETPCAP)? {
        // Whoever started the container took it away, and with it the right to take away more.
        return Ok(());
    }
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if of(rung).contains(capability) {
            continue;
        }
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

/// Keeps the defaults, as far as oxbox itself has them, and lets none be inherited.
///
/// Inheritable ones would reach programs with inheritable file capabilities (CVE-2022-24769).
pub(super) fn keep_defaults(rung: Rung) -> Result<(), Failure> {
    let held = capabilities(None).or_fail("read", "capabilities")?.permitted;
    let kept = held.intersection(of(rung));
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).or_fail("set", "capabilities")
}

fn holds(capability: CapabilitySet) -> Result<bool, Failure> {
    let held = capabilities(None).or_fail("read", "capabilities")?;
    Ok(held.effective.contains(capability))
}
