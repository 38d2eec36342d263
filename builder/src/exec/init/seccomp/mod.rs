//! The system calls that a program may not make: Docker's default profile, turned inside out.
//!
//! Docker lists what is allowed. Of the calls up to [`LAST_KNOWN`] `table` lists the rest, which
//! is a sixth of the instructions to load and to run through. A call that is newer than the tables is
//! answered "no such call", as runc does, so that a C library falls back to what it used before.
//!
//! ```text
//! architecture ─┬ native ─▶ clone3 or too new? ENOSYS ─▶ in the table, its arguments match? EPERM ─▶ allowed
//!               ├ i386 on x86_64: the same with its own numbers
//!               └ else: killed
//! ```

mod calls;
mod profile;
mod spec;
mod table;

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::sandbox::{Capabilities, Sandbox, Seccomp};
pub(super) use spec::document;
use table::{CLONE3, GROUPS, Group, LAST_KNOWN};

/// Every namespace flag of clone.
const NAMESPACES: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];

/// The execution domains that change nothing but what uname says and where memory starts.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Kinds of sockets that no container needs. AF_VSOCK (40) reaches the hypervisor, which no network namespace
/// covers; AF_ALG (38) the kernel's cryptography. Later ones than 45 are refused altogether.
const REFUSED_SOCKETS: [u64; 9] = [12, 19, 20, 23, 25, 34, 37, 38, 40];
const LAST_SOCKET: u64 = 45;

/// The calls whose arguments decide.
struct Conditional {
    clone: i64,
    personality: i64,
    socket: i64,
}

const NATIVE: Conditional =
    Conditional { clone: libc::SYS_clone, personality: libc::SYS_personality, socket: libc::SYS_socket };
#[cfg(target_arch = "x86_64")]
const I386: Conditional = Conditional { clone: 120, personality: 136, socket: 359 };

// linux/audit.h
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH_NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH_NATIVE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const AUDIT_ARCH_NATIVE: u32 = 0xc000_00f3;
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH_I386: u32 = 0x4000_0003;

// linux/bpf_common.h and struct seccomp_data
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;
/// What is no call at all.
const NO_CALL: u32 = u32::MAX;
/// How many instructions `seccompiler` begins with to look at the architecture.
const CHECK_OF_ARCHITECTURE: usize = 3;
const AT_NUMBER: u32 = 0;
const AT_ARCHITECTURE: u32 = 4;

/// Compiles the filter; none if no call is refused.
pub(super) fn program(sandbox: &Sandbox) -> Result<Option<BpfProgram>, Failure> {
    match &sandbox.seccomp {
        Seccomp::Usual => usual(sandbox.capabilities).map(Some),
        Seccomp::Unconfined => Ok(None),
        Seccomp::Profile(profile) => profile::program(profile, sandbox.capabilities).map(Some),
    }
}

fn usual(capabilities: Capabilities) -> Result<BpfProgram, Failure> {
    let refused = |calls: fn(&'static Group) -> &'static [i64]| -> Vec<i64> {
        let groups = GROUPS.iter().filter(|group| group.holds(capabilities));
        groups.flat_map(|group| group.everywhere.iter().chain(calls(group)).copied()).collect()
    };
    let mut program = vec![instruction(LOAD, 0, 0, AT_ARCHITECTURE)];
    guard(&mut program, AUDIT_ARCH_NATIVE, section(&refused(|group| group.native), &NATIVE, capabilities)?);
    #[cfg(target_arch = "x86_64")]
    guard(&mut program, AUDIT_ARCH_I386, section(&refused(|group| group.i386), &I386, capabilities)?);
    program.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS));
    Ok(program)
}

/// Returns a filter that asks about some native calls, and lets all others through.
pub(super) fn watching(calls: &[i64]) -> BpfProgram {
    let mut section = vec![instruction(LOAD, 0, 0, AT_NUMBER)];
    for (number, &call) in calls.iter().enumerate() {
        let after = u8::try_from(calls.len() - number).expect("because it is a short list");
        let call = u32::try_from(call).expect("because calls have small numbers");
        section.push(instruction(JUMP_IF_EQUAL, after, 0, call));
    }
    section.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    section.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF));
    let mut program = vec![instruction(LOAD, 0, 0, AT_ARCHITECTURE)];
    guard(&mut program, AUDIT_ARCH_NATIVE, section);
    program.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    program
}

/// Appends `section` for one architecture; every other jumps over it.
fn guard(program: &mut BpfProgram, architecture: u32, section: BpfProgram) {
    let length = u32::try_from(section.len()).expect("a filter has some hundred instructions");
    program.push(instruction(JUMP_IF_EQUAL, 1, 0, architecture));
    program.push(instruction(JUMP, 0, 0, length));
    program.extend(section);
}

fn section(
    refused: &[i64],
    conditional: &Conditional,
    capabilities: Capabilities,
) -> Result<BpfProgram, Failure> {
    let no_such_call =
        libc::SECCOMP_RET_ERRNO | u32::try_from(libc::ENOSYS).expect("error numbers are small");
    let mut section =
        vec![instruction(LOAD, 0, 0, AT_NUMBER), instruction(JUMP_IF_GREATER, 1, 0, LAST_KNOWN)];
    let namespaces = !capabilities.has("SYS_ADMIN");
    let refused_clone = if namespaces { CLONE3 } else { NO_CALL };
    section.push(instruction(JUMP_IF_EQUAL, 0, 1, refused_clone));
    section.push(instruction(RETURN, 0, 0, no_such_call));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    rules.extend(refused.iter().map(|&call| (call, Vec::new())));
    let conditions =
        conditions(conditional, namespaces).map_err(invalid).or_fail("compile", "the seccomp filter")?;
    rules.extend(conditions);
    let refuse = SeccompAction::Errno(u32::try_from(libc::EPERM).expect("error numbers are small"));
    // Whatever architecture: its three leading instructions check that, and `program` does so itself.
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, TargetArch::x86_64);
    let compiled: BpfProgram =
        filter.and_then(BpfProgram::try_from).map_err(invalid).or_fail("compile", "the seccomp filter")?;
    section.extend(compiled.into_iter().skip(CHECK_OF_ARCHITECTURE));
    Ok(section)
}

fn conditions(
    calls: &Conditional,
    namespaces: bool,
) -> Result<Vec<(i64, Vec<SeccompRule>)>, seccompiler::BackendError> {
    let first = |operator, value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value);
    let alone = |operator, value| SeccompRule::new(vec![first(operator, value)?]);
    let differs =
        PERSONALITIES.iter().map(|&value| first(SeccompCmpOp::Ne, value)).collect::<Result<_, _>>()?;
    let mut sockets: Vec<_> =
        REFUSED_SOCKETS.iter().map(|&family| alone(SeccompCmpOp::Eq, family)).collect::<Result<_, _>>()?;
    sockets.push(alone(SeccompCmpOp::Gt, LAST_SOCKET)?);
    let mut conditions = vec![(calls.personality, vec![SeccompRule::new(differs)?]), (calls.socket, sockets)];
    if namespaces {
        let flags = NAMESPACES.iter().map(|&flag| alone(SeccompCmpOp::MaskedEq(flag), flag));
        conditions.push((calls.clone, flags.collect::<Result<_, _>>()?));
    }
    Ok(conditions)
}

// The tables are constants, so this is a mistake in them; the caller's report names the filter.
fn invalid(_: seccompiler::BackendError) -> Errno {
    Errno(libc::EINVAL)
}

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}
