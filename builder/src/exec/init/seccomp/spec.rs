//! The same refusals in the words of the runtime spec, for a runtime that enforces them.
//!
//! ```text
//! table ─▶ all other calls by name     ALLOW
//!          refused ones                ERRNO EPERM
//!          clone, personality, socket  ALLOW or ERRNO EPERM, by their first argument
//!          else                        ERRNO ENOSYS: what is newer than the tables does not exist
//! ```
//!
//! [runtime-spec, seccomp](https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config-linux.md#seccomp).
//! A rule there says what is the case and not what is not, and looks at an argument once: what is allowed of
//! `socket` is told number by number. Of `personality` all else is answered ENOSYS.

use serde_json::{Value, json};

use crate::exec::sandbox::profile::Profile;
use crate::exec::sandbox::{Capabilities, Sandbox, Seccomp};

use super::calls::CALLS;
use super::profile::{counts, verdict};
use super::table::GROUPS;
use super::{LAST_SOCKET, NAMESPACES, PERSONALITIES, REFUSED_SOCKETS};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [&str; 2] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [&str; 1] = ["SCMP_ARCH_AARCH64"];
#[cfg(target_arch = "riscv64")]
const ARCHITECTURES: [&str; 1] = ["SCMP_ARCH_RISCV64"];

/// Calls whose first argument decides.
const CONDITIONAL: [&str; 2] = ["personality", "socket"];

/// Returns the member `linux.seccomp` of a runtime's configuration; none if no call is refused.
pub(in crate::exec::init) fn document(sandbox: &Sandbox) -> Option<Value> {
    match &sandbox.seccomp {
        Seccomp::Usual => Some(usual(sandbox.capabilities)),
        Seccomp::Unconfined => None,
        Seccomp::Profile(profile) => Some(of_profile(profile, sandbox.capabilities)),
    }
}

fn usual(capabilities: Capabilities) -> Value {
    let groups = GROUPS.iter().filter(|group| group.holds(capabilities));
    let refused: Vec<&str> = groups.flat_map(|group| group.names.iter().copied()).collect();
    let namespaces = !capabilities.has("SYS_ADMIN");
    // clone3 cannot be looked into, and so does not exist: what programs try first, and then clone.
    let looked_at = |name: &str| {
        CONDITIONAL.contains(&name)
            || (namespaces && matches!(name, "clone" | "clone3"))
            || refused.contains(&name)
    };
    let allowed: Vec<&str> = CALLS.split_whitespace().filter(|name| !looked_at(name)).collect();
    let mut rules = vec![allow(&allowed, None), refuse(&refused, None)];
    rules.extend(personalities());
    rules.extend(sockets());
    if namespaces {
        rules.extend(clones());
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::ENOSYS,
        "architectures": ARCHITECTURES,
        "syscalls": rules,
    })
}

fn personalities() -> Vec<Value> {
    let allowed =
        PERSONALITIES.iter().map(|&value| allow(&["personality"], Some(first("SCMP_CMP_EQ", value))));
    allowed.collect()
}

fn sockets() -> Vec<Value> {
    let rule = |family| match REFUSED_SOCKETS.contains(&family) {
        true => refuse(&["socket"], Some(first("SCMP_CMP_EQ", family))),
        false => allow(&["socket"], Some(first("SCMP_CMP_EQ", family))),
    };
    let later = refuse(&["socket"], Some(first("SCMP_CMP_GT", LAST_SOCKET)));
    (0..=LAST_SOCKET).map(rule).chain([later]).collect()
}

fn clones() -> Vec<Value> {
    let all = NAMESPACES.iter().fold(0, |all, flag| all | flag);
    let masked = |mask: u64, value: u64| json!({ "index": 0, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" });
    let refused = NAMESPACES.iter().map(|&flag| refuse(&["clone"], Some(masked(flag, flag))));
    refused.chain([allow(&["clone"], Some(masked(all, 0)))]).collect()
}

fn first(operator: &str, value: u64) -> Value {
    json!({ "index": 0, "value": value, "op": operator })
}

fn allow(names: &[&str], condition: Option<Value>) -> Value {
    rule(names, "SCMP_ACT_ALLOW", None, condition)
}

fn refuse(names: &[&str], condition: Option<Value>) -> Value {
    rule(names, "SCMP_ACT_ERRNO", Some(libc::EPERM), condition)
}

fn rule(names: &[&str], action: &str, errno: Option<i32>, condition: Option<Value>) -> Value {
    let mut rule = json!({ "names": names, "action": action });
    if let Some(errno) = errno {
        rule["errnoRet"] = errno.into();
    }
    if let Some(condition) = condition {
        rule["args"] = json!([condition]);
    }
    rule
}

/// Returns a profile of Docker's form in the spec's: of its circumstances only the rules that count are left.
fn of_profile(profile: &Profile, capabilities: Capabilities) -> Value {
    let version = rustix::system::uname().release().to_string_lossy().into_owned();
    let rules = profile.syscalls.iter().flatten().filter(|rule| counts(rule, capabilities, &version));
    let rules: Vec<Value> = rules
        .map(|rule| {
            let (action, errno) = verdict(rule.action, rule.errno_ret);
            let names: Vec<&String> = rule.names.iter().chain(&rule.name).collect();
            let mut value = json!({ "names": names, "action": action });
            if errno != 0 {
                value["errnoRet"] = errno.into();
            }
            if let Some(arguments) = rule.args.as_ref().filter(|arguments| !arguments.is_empty()) {
                value["args"] = json!(arguments);
            }
            value
        })
        .collect();
    let (action, errno) = verdict(profile.default_action, profile.default_errno_ret);
    // Programs of other architectures are killed, as by our own filter.
    let mut document =
        json!({ "defaultAction": action, "architectures": &ARCHITECTURES[..1], "syscalls": rules });
    if errno != 0 {
        document["defaultErrnoRet"] = errno.into();
    }
    document
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Cursor;

    use seccompiler::{TargetArch, compile_from_json};
    use serde_json::json;

    use super::{CALLS, Capabilities, GROUPS, Sandbox, Seccomp, document};
    use crate::exec::sandbox::Profile;

    /// The number that `seccompiler` gives a call of x86-64.
    fn number(name: &str) -> Option<i64> {
        let text = json!({ "one": {
            "mismatch_action": "allow", "match_action": "log", "filter": [{ "syscall": name }],
        }});
        let compiled = compile_from_json(Cursor::new(text.to_string()), TargetArch::x86_64).ok()?;
        let tested = compiled["one"].iter().skip(super::super::CHECK_OF_ARCHITECTURE);
        tested.filter(|one| one.code == super::super::JUMP_IF_EQUAL).map(|one| one.k.into()).next()
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn names_of_refused_calls_are_those_of_their_numbers() {
        for group in GROUPS {
            let numbers: Vec<i64> = group.everywhere.iter().chain(group.native).copied().collect();
            let known: Vec<i64> = group.names.iter().filter_map(|name| number(name)).collect();
            assert!(known.iter().all(|known| numbers.contains(known)), "{:?}", group.names);
            // i386 has three more there, and its own umount, stime and clock_settime64.
            let more = group.names.len() - numbers.len();
            let expected = match group.names {
                [.., "vm86old", "vm86", "bdflush"] => 3,
                [.., "umount"] => 1,
                [.., "stime", "clock_settime64"] => 2,
                _ => 0,
            };
            assert_eq!(more, expected, "{:?}", group.names);
        }
    }

    #[test]
    fn every_refused_call_is_a_call() {
        let calls: BTreeSet<_> = CALLS.split_whitespace().collect();
        for name in GROUPS.iter().flat_map(|group| group.names) {
            assert!(calls.contains(name), "{name}");
        }
        assert_eq!(calls.len(), CALLS.split_whitespace().count(), "each is there once");
    }

    fn names(document: &serde_json::Value, action: &str) -> BTreeSet<String> {
        let rules = document["syscalls"].as_array().unwrap().iter();
        let of = rules.filter(|rule| rule["action"] == action && rule["args"].is_null());
        of.flat_map(|rule| rule["names"].as_array().unwrap())
            .map(|n| n.as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn what_is_refused_depends_on_capabilities() {
        let usual = document(&Sandbox::default()).unwrap();
        let (allowed, refused) = (names(&usual, "SCMP_ACT_ALLOW"), names(&usual, "SCMP_ACT_ERRNO"));
        assert!(allowed.is_disjoint(&refused));
        assert!(allowed.contains("read") && allowed.contains("mknodat") && allowed.contains("mmap2"));
        assert!(refused.contains("mount") && refused.contains("bpf") && refused.contains("keyctl"));
        for name in ["clone", "clone3", "socket", "personality"] {
            assert!(!allowed.contains(name) && !refused.contains(name), "{name}");
        }
        let capabilities = Capabilities::default().changed(&["SYS_ADMIN".parse().unwrap()], &[]);
        let more = document(&Sandbox { capabilities, ..Sandbox::default() }).unwrap();
        let allowed = names(&more, "SCMP_ACT_ALLOW");
        assert!(["mount", "clone", "clone3", "bpf"].iter().all(|name| allowed.contains(*name)));
        assert!(!allowed.contains("keyctl"));
    }

    #[test]
    fn a_profile_keeps_the_rules_that_count() {
        let text = br#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"name": "socket", "action": "SCMP_ACT_KILL", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]}]}"#;
        let seccomp = Seccomp::Profile(Box::new(Profile::read(text).unwrap()));
        let document = document(&Sandbox { seccomp, ..Sandbox::default() }).unwrap();
        assert_eq!(
            document["syscalls"],
            json!([
                { "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 },
                { "names": ["socket"], "action": "SCMP_ACT_KILL",
                  "args": [{ "index": 0, "value": 40, "valueTwo": 0, "op": "SCMP_CMP_EQ" }] },
            ])
        );
        assert_eq!(document["defaultAction"], "SCMP_ACT_ALLOW");
        assert!(document.get("defaultErrnoRet").is_none());
        assert_eq!(super::document(&Sandbox { seccomp: Seccomp::Unconfined, ..Sandbox::default() }), None);
    }
}
