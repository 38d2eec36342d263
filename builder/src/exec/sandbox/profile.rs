//! Seccomp profiles as Docker and the runtime spec write them.
//!
//! ```text
//! { "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
//!   "syscalls": [{ "names": ["read", …], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 8, "op": "SCMP_CMP_EQ" }],
//!                  "includes": { "caps": […], "arches": […], "minKernel": "4.8" }, "excludes": {…} }] }
//! ```
//!
//! [runtime-spec, seccomp](https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config-linux.md#seccomp);
//! `includes` and `excludes` are Docker's. Architectures are not looked at: programs of this machine's
//! own are filtered, others killed.

use serde::{Deserialize, Serialize};

/// Docker's own profile has 17 kB.
pub const MAX_PROFILE_BYTES: u64 = 1 << 20;

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// What becomes of calls that no rule is about.
    pub default_action: Action,
    /// The error number, if that is what becomes of them; EPERM if absent.
    pub default_errno_ret: Option<u16>,
    /// The rules.
    #[serde(default)]
    pub syscalls: Option<Vec<Rule>>,
}

/// What becomes of some calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Which calls; names that this machine does not know are passed over.
    #[serde(default)]
    pub names: Vec<String>,
    /// One more, as old profiles have it.
    pub name: Option<String>,
    /// What becomes of them.
    pub action: Action,
    /// The error number; EPERM if absent.
    pub errno_ret: Option<u16>,
    /// What their arguments must be.
    pub args: Option<Vec<Argument>>,
    /// When the rule counts.
    #[serde(default)]
    pub includes: Option<Circumstances>,
    /// When it does not.
    #[serde(default)]
    pub excludes: Option<Circumstances>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the kernel's and libseccomp's")]
pub enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
}

/// What an argument must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Argument {
    /// Which, from 0.
    pub index: u8,
    /// What it is compared with; the mask of a masked comparison.
    pub value: u64,
    /// What a masked comparison compares with.
    #[serde(default)]
    pub value_two: u64,
    /// How it is compared.
    pub op: Comparison,
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are libseccomp's")]
pub enum Comparison {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// When a rule counts: all of what is said must be so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Circumstances {
    /// Capabilities that the program has.
    #[serde(default)]
    pub caps: Option<Vec<String>>,
    /// Architectures, as Go calls them.
    #[serde(default)]
    pub arches: Option<Vec<String>>,
    /// The oldest version of Linux.
    #[serde(default)]
    pub min_kernel: Option<String>,
}

/// A text that is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is not of the form.
    #[error("it is no seccomp profile")]
    Form {
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// It asks for another program's help.
    #[error("it needs a listener (SCMP_ACT_NOTIFY), which there is none of")]
    Listener,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    ///
    /// [`ProfileError`]: what is not understood could be what protects the host.
    pub fn read(text: &[u8]) -> Result<Self, ProfileError> {
        let value: serde_json::Value =
            serde_json::from_slice(text).map_err(|source| ProfileError::Form { source })?;
        if value["listenerPath"].is_string() || text.windows(15).any(|part| part == b"SCMP_ACT_NOTIFY") {
            return Err(ProfileError::Listener);
        }
        serde_json::from_value(value).map_err(|source| ProfileError::Form { source })
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Comparison, Profile, ProfileError};

    #[test]
    fn dockers_form_is_read() {
        let text = br#"{"defaultAction": "SCMP_ACT_ERRNO", "archMap": [{"architecture": "SCMP_ARCH_X86_64"}],
            "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}, "excludes": {},
                 "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}]}"#;
        let profile = Profile::read(text).unwrap();
        let rules = profile.syscalls.unwrap();
        assert_eq!((profile.default_action, rules[0].names.len()), (Action::Errno, 2));
        assert_eq!(rules[1].args.as_ref().unwrap()[0].op, Comparison::NotEqual);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let read = |text: &str| Profile::read(text.as_bytes());
        assert!(matches!(read("no"), Err(ProfileError::Form { .. })));
        assert!(matches!(read("{}"), Err(ProfileError::Form { .. })));
        assert!(matches!(read(r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#), Err(ProfileError::Listener)));
        assert!(matches!(read(r#"{"defaultAction": "SCMP_ACT_WHAT"}"#), Err(ProfileError::Form { .. })));
    }
}
