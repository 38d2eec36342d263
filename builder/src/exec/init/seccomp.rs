//! The system calls that a program may not make: Docker's default profile, turned inside out.
//!
//! Docker lists what is allowed. Of the calls up to [`LAST_KNOWN`] the tables here list the rest, which
//! is a sixth of the instructions to load and to run through. A call that is newer than the tables is
//! answered "no such call", as runc does, so that a C library falls back to what it used before.
//!
//! ```text
//! architecture ─┬ native ─▶ clone3 or too new? ENOSYS ─▶ in the table, its arguments match? EPERM ─▶ allowed
//!               ├ i386 on x86_64: the same with its own numbers
//!               └ else: killed
//! ```

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use crate::exec::failure::{Errno, Failure, OrFail};

/// removexattrat, Linux 6.13: no later call was looked at.
const LAST_KNOWN: u32 = 466;

/// The same number everywhere. Its flags are behind a pointer, where no filter can see them.
const CLONE3: u32 = 435;

/// Every namespace flag of clone.
const NAMESPACES: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];

/// The execution domains that change nothing but what uname says and where memory starts.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Reaches the hypervisor, which no network namespace covers.
const AF_VSOCK: u64 = 40;

/// Calls with the same number on every architecture: mounts, io_uring, what looks into other processes.
const REFUSED_EVERYWHERE: [i64; 19] = [
    425, 426, 427, // io_uring_setup, _enter, _register
    428, 429, 430, 431, 432, 433,
    442, // open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr
    438, 440, // pidfd_getfd, process_madvise
    443, 450, // quotactl_fd, set_mempolicy_home_node
    457, 458, 459, 460,
    461, // statmount, listmount, lsm_get_self_attr, lsm_set_self_attr, lsm_list_modules
];

const REFUSED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_get_mempolicy,
    libc::SYS_init_module,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    libc::SYS_mount,
    libc::SYS_move_pages,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_set_mempolicy,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS__sysctl,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_sysfs,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_vserver,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// The same calls by their numbers for 32-bit programs (`asm/unistd_32.h`), in the order of the tables.
#[cfg(target_arch = "x86_64")]
const REFUSED_I386: &[i64] = &[
    51, 286, 357, 264, 404, 129, 338, 350, 275, 128, 349, 283, 288, 253, 274, 294, 21, 317, 169, 342, 336,
    217, 131, 88, 287, 276, 121, 74, 346, 79, 25, 115, 87, 103, 22, 52, 310, 374, 111, 149, 127, 130, 101,
    110, 167, 135, 86, 62, 273, 166, 113,
];

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
const AT_NUMBER: u32 = 0;
const AT_ARCHITECTURE: u32 = 4;

/// Compiles the filter.
pub(super) fn program() -> Result<BpfProgram, Failure> {
    let native = section(&[&REFUSED_EVERYWHERE, REFUSED, REFUSED_HERE], &NATIVE)?;
    let mut program = vec![instruction(LOAD, 0, 0, AT_ARCHITECTURE)];
    guard(&mut program, AUDIT_ARCH_NATIVE, native);
    #[cfg(target_arch = "x86_64")]
    guard(&mut program, AUDIT_ARCH_I386, section(&[&REFUSED_EVERYWHERE, REFUSED_I386], &I386)?);
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

fn section(refused: &[&[i64]], conditional: &Conditional) -> Result<BpfProgram, Failure> {
    let no_such_call =
        libc::SECCOMP_RET_ERRNO | u32::try_from(libc::ENOSYS).expect("error numbers are small");
    let mut section = vec![
        instruction(LOAD, 0, 0, AT_NUMBER),
        instruction(JUMP_IF_GREATER, 1, 0, LAST_KNOWN),
        instruction(JUMP_IF_EQUAL, 0, 1, CLONE3),
        instruction(RETURN, 0, 0, no_such_call),
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    rules.extend(refused.iter().copied().flatten().map(|&call| (call, Vec::new())));
    let conditions = conditions(conditional).map_err(invalid).or_fail("compile", "the seccomp filter")?;
    rules.extend(conditions);
    let refuse = SeccompAction::Errno(u32::try_from(libc::EPERM).expect("error numbers are small"));
    // Whatever architecture: its three leading instructions check that, and `program` does so itself.
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, TargetArch::x86_64);
    let compiled: BpfProgram =
        filter.and_then(BpfProgram::try_from).map_err(invalid).or_fail("compile", "the seccomp filter")?;
    section.extend(compiled.into_iter().skip(3));
    Ok(section)
}

fn conditions(calls: &Conditional) -> Result<Vec<(i64, Vec<SeccompRule>)>, seccompiler::BackendError> {
    let first = |operator, value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value);
    let clone = NAMESPACES
        .iter()
        .map(|&flag| SeccompRule::new(vec![first(SeccompCmpOp::MaskedEq(flag), flag)?]))
        .collect::<Result<_, _>>()?;
    let differs =
        PERSONALITIES.iter().map(|&value| first(SeccompCmpOp::Ne, value)).collect::<Result<_, _>>()?;
    let personality = vec![SeccompRule::new(differs)?];
    let socket = vec![SeccompRule::new(vec![first(SeccompCmpOp::Eq, AF_VSOCK)?])?];
    Ok(vec![(calls.clone, clone), (calls.personality, personality), (calls.socket, socket)])
}

// The tables are constants, so this is a mistake in them; the caller's report names the filter.
fn invalid(_: seccompiler::BackendError) -> Errno {
    Errno(libc::EINVAL)
}

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}
