//! Compiles a profile in Docker's form.
//!
//! `seccompiler` knows two actions for each filter, a profile any number. Each further one gets a filter
//! of its own, which falls through to the next where it has nothing to say:
//!
//! ```text
//! architecture ─▶ ERRNO 38: clone3? ─▶ LOG: …? ─▶ ALLOW: all that is allowed ─▶ else the default
//!      └ else: killed
//! ```

use std::io::Cursor;

use seccompiler::{BpfProgram, TargetArch, compile_from_json};
use serde_json::{Value, json};

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::sandbox::Capabilities;
use crate::exec::sandbox::profile::{Action, Argument, Circumstances, Comparison, Profile, Rule};

use super::{
    AT_ARCHITECTURE, AUDIT_ARCH_NATIVE, CHECK_OF_ARCHITECTURE, JUMP, LOAD, RETURN, guard, instruction,
};

/// What a filter answers if it has nothing to say; replaced by a jump behind it. No profile has it: traced
/// calls carry no data here.
const NOTHING_TO_SAY: u32 = libc::SECCOMP_RET_TRACE | 0x7abc;

#[cfg(target_arch = "x86_64")]
const HERE: (TargetArch, &str) = (TargetArch::x86_64, "amd64");
#[cfg(target_arch = "aarch64")]
const HERE: (TargetArch, &str) = (TargetArch::aarch64, "arm64");
#[cfg(target_arch = "riscv64")]
const HERE: (TargetArch, &str) = (TargetArch::riscv64, "riscv64");

/// What becomes of a call, with its error number.
pub(super) type Verdict = (Action, u16);

pub(super) fn program(profile: &Profile, capabilities: Capabilities) -> Result<BpfProgram, Failure> {
    let default = verdict(profile.default_action, profile.default_errno_ret);
    let version = rustix::system::uname().release().to_string_lossy().into_owned();
    let rules = profile.syscalls.as_deref().unwrap_or_default();
    let rules: Vec<&Rule> = rules.iter().filter(|rule| counts(rule, capabilities, &version)).collect();
    let mut verdicts: Vec<Verdict> =
        rules.iter().map(|rule| verdict(rule.action, rule.errno_ret)).filter(|v| *v != default).collect();
    // The strictest first, as the kernel and libseccomp decide between rules that both apply.
    verdicts.sort_by_key(|(action, number)| (strictness(*action), *number));
    verdicts.dedup();
    let mut section = BpfProgram::new();
    for verdict in verdicts {
        let of_it = rules.iter().filter(|rule| self::verdict(rule.action, rule.errno_ret) == verdict);
        let rules: Vec<Value> = of_it.flat_map(|rule| in_words(rule)).collect();
        section.extend(filter(&rules, verdict)?);
    }
    section.push(instruction(RETURN, 0, 0, answer(default)));
    let mut program = vec![instruction(LOAD, 0, 0, AT_ARCHITECTURE)];
    guard(&mut program, AUDIT_ARCH_NATIVE, section);
    program.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS));
    Ok(program)
}

/// Compiles the rules of one verdict.
fn filter(rules: &[Value], verdict: Verdict) -> Result<BpfProgram, Failure> {
    if rules.is_empty() {
        return Ok(BpfProgram::new());
    }
    let text = json!({ "filter": {
        "mismatch_action": { "trace": NOTHING_TO_SAY & 0xffff },
        "match_action": "allow",
        "filter": rules,
    }});
    let mut compiled = compile_from_json(Cursor::new(text.to_string()), HERE.0)
        .map_err(|error| {
            tracing::debug!(%error, "cannot compile the seccomp profile");
            Errno(libc::EINVAL)
        })
        .or_fail("compile", "the seccomp profile")?;
    let compiled = compiled.remove("filter").unwrap_or_default();
    let mut section: BpfProgram = compiled.into_iter().skip(CHECK_OF_ARCHITECTURE).collect();
    let length = section.len();
    for (at, one) in section.iter_mut().enumerate().filter(|(_, one)| one.code == RETURN) {
        let replaced = match one.k {
            NOTHING_TO_SAY => {
                let rest = u32::try_from(length - at - 1).expect("the kernel takes 4096 instructions");
                instruction(JUMP, 0, 0, rest)
            }
            libc::SECCOMP_RET_ALLOW => instruction(RETURN, 0, 0, answer(verdict)),
            _ => continue,
        };
        *one = replaced;
    }
    Ok(section)
}

/// Returns a rule as `seccompiler` reads it, one for each call.
fn in_words(rule: &Rule) -> Vec<Value> {
    let names = rule.names.iter().chain(&rule.name);
    // As libseccomp: a name that this machine does not have is no mistake.
    let names = names.filter(|name| is_known(name));
    let arguments = rule.args.as_deref().unwrap_or_default();
    let alternatives: Vec<Vec<&Argument>> = match repeats(arguments) {
        // runc's rule: conditions on different arguments must all hold, on the same one any of them.
        true => arguments.iter().map(|argument| vec![argument]).collect(),
        false => vec![arguments.iter().collect()],
    };
    let one = |name: &String, arguments: &[&Argument]| match arguments {
        [] => json!({ "syscall": name }),
        arguments => json!({
            "syscall": name,
            "args": arguments.iter().map(|argument| condition(argument)).collect::<Vec<_>>(),
        }),
    };
    let all = names.flat_map(|name| alternatives.iter().map(move |arguments| one(name, arguments)));
    all.collect()
}

fn repeats(arguments: &[Argument]) -> bool {
    arguments.iter().enumerate().any(|(at, one)| arguments[..at].iter().any(|other| other.index == one.index))
}

fn condition(argument: &Argument) -> Value {
    let (operator, value) = match argument.op {
        Comparison::NotEqual => (json!("ne"), argument.value),
        Comparison::Less => (json!("lt"), argument.value),
        Comparison::LessOrEqual => (json!("le"), argument.value),
        Comparison::Equal => (json!("eq"), argument.value),
        Comparison::GreaterOrEqual => (json!("ge"), argument.value),
        Comparison::Greater => (json!("gt"), argument.value),
        Comparison::MaskedEqual => (json!({ "masked_eq": argument.value }), argument.value_two),
    };
    json!({ "index": argument.index, "type": "qword", "op": operator, "val": value })
}

fn is_known(name: &str) -> bool {
    let text = json!({ "one": {
        "mismatch_action": "allow", "match_action": "log", "filter": [{ "syscall": name }],
    }});
    compile_from_json(Cursor::new(text.to_string()), HERE.0).is_ok()
}

pub(super) fn counts(rule: &Rule, capabilities: Capabilities, version: &str) -> bool {
    let included = rule.includes.as_ref().is_none_or(|wanted| are_so(wanted, capabilities, version));
    // Of what excludes, any one is enough.
    let excluded = rule.excludes.as_ref().is_some_and(|unwanted| {
        has_any(&unwanted.caps, |name| capabilities.has(name))
            || has_any(&unwanted.arches, |name| name == HERE.1)
            || unwanted.min_kernel.as_ref().is_some_and(|least| at_least(version, least))
    });
    included && !excluded
}

/// Whether all that is said is so; all capabilities are needed, one architecture is enough.
fn are_so(wanted: &Circumstances, capabilities: Capabilities, version: &str) -> bool {
    let names = wanted.caps.as_deref().unwrap_or_default();
    let arches = wanted.arches.as_deref().unwrap_or_default();
    names.iter().all(|name| capabilities.has(name))
        && (arches.is_empty() || arches.iter().any(|name| name == HERE.1))
        && wanted.min_kernel.as_ref().is_none_or(|least| at_least(version, least))
}

fn has_any(names: &Option<Vec<String>>, is_so: impl Fn(&str) -> bool) -> bool {
    names.as_deref().unwrap_or_default().iter().any(|name| is_so(name))
}

/// Whether a version of Linux is at least `least`, by its first two numbers.
fn at_least(version: &str, least: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        text.split(|letter: char| !letter.is_ascii_digit()).take(2).map(|n| n.parse().unwrap_or(0)).collect()
    };
    numbers(version) >= numbers(least)
}

pub(super) fn verdict(action: Action, number: Option<u16>) -> Verdict {
    const EPERM: u16 = 1;
    (action, if action == Action::Errno { number.unwrap_or(EPERM) } else { 0 })
}

fn strictness(action: Action) -> u8 {
    match action {
        Action::KillProcess => 0,
        Action::KillThread => 1,
        Action::Trap => 2,
        Action::Errno => 3,
        Action::Trace => 4,
        Action::Log => 5,
        Action::Allow => 6,
    }
}

fn answer((action, number): Verdict) -> u32 {
    match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Errno => libc::SECCOMP_RET_ERRNO | u32::from(number),
        Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
        Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        Action::Log => libc::SECCOMP_RET_LOG,
        Action::Trace => libc::SECCOMP_RET_TRACE,
        Action::Trap => libc::SECCOMP_RET_TRAP,
    }
}

#[cfg(test)]
mod tests {
    use super::{at_least, is_known};

    #[test]
    fn versions_are_compared_by_numbers() {
        assert!(at_least("6.18.44-debian", "4.8") && at_least("4.8.0", "4.8"));
        assert!(!at_least("4.8.0", "4.10") && !at_least("3.19", "4.8"));
    }

    #[test]
    fn calls_of_other_machines_are_not_known() {
        assert!(is_known("read") && is_known("socket"));
        assert!(!is_known("s390_pci_mmio_read") && !is_known("\"") && !is_known(""));
    }
}
