//! config.json: what a runtime is told of a program.
//!
//! ```text
//! process    args env cwd user capabilities rlimits           root      rootfs, beside it
//! mounts     /proc /sys /dev …, sources relative to the bundle hostname
//! linux      namespaces, seccomp, masked and read-only paths, resources, cgroupsPath
//! ```
//!
//! [runtime-spec, config](https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config.md). The network is not
//! among the namespaces: the init has made it, and a runtime leaves the one alone that it finds itself in.

use rustix::fs::StatVfsMountFlags;
use serde_json::{Value, json};

use crate::exec::failure::{Errno, Failure};
use crate::exec::sandbox::resources::{Resources, Swap};
use crate::exec::sandbox::{Confinement, Privileges, Ulimit};
use crate::exec::user::Identity;
use crate::exec::{Process, Runtime};

/// The oldest version that has all of it; runtimes refuse later majors only.
const VERSION: &str = "1.0.2";

/// The root, in the bundle.
pub(in crate::exec) const ROOT: &str = "rootfs";

/// All that goes into it.
pub(in crate::exec) struct Config<'a> {
    pub(in crate::exec) process: &'a Process,
    pub(in crate::exec) runtime: &'a Runtime,
    pub(in crate::exec) identity: &'a Identity,
    /// The program and its arguments, found by the `PATH` that the image may lack.
    pub(in crate::exec) args: Vec<String>,
    pub(in crate::exec) mounts: Vec<Mounted>,
    pub(in crate::exec) capabilities: Held,
    /// Limits of the process, that of open descriptors among them.
    pub(in crate::exec) limits: Vec<Ulimit>,
    /// `linux.seccomp`.
    pub(in crate::exec) seccomp: Option<Value>,
    /// `linux.devices`: more than the usual.
    pub(in crate::exec) devices: Vec<Value>,
    /// Rules of the control group of devices.
    pub(in crate::exec) device_rules: Vec<Value>,
    pub(in crate::exec) hidden: Hidden,
}

/// One of the mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::exec) struct Mounted {
    /// In the container, without symbolic links but in other mounts.
    pub(in crate::exec) destination: String,
    /// A file system's name, or `bind`.
    pub(in crate::exec) kind: &'static str,
    /// What `mount` prints first, or a path in the bundle.
    pub(in crate::exec) source: String,
    pub(in crate::exec) options: Vec<String>,
}

/// Capabilities, bit n for number n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::exec) struct Held {
    /// What nobody in the container gets beyond.
    pub(in crate::exec) bounding: u64,
    /// What root begins with.
    pub(in crate::exec) permitted: u64,
}

/// Paths of the host in /proc and /sys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::exec) struct Hidden {
    pub(in crate::exec) masked: Vec<String>,
    pub(in crate::exec) read_only: Vec<String>,
}

impl Mounted {
    /// A mount of something in the bundle, with the attributes that it has there. They must be said: crun takes
    /// away those that are not.
    pub(in crate::exec) fn bind(destination: String, source: String, attributes: StatVfsMountFlags) -> Self {
        let said = [
            (StatVfsMountFlags::RDONLY, "ro"),
            (StatVfsMountFlags::NOSUID, "nosuid"),
            (StatVfsMountFlags::NODEV, "nodev"),
            (StatVfsMountFlags::NOEXEC, "noexec"),
        ];
        let said = said.into_iter().filter(|(attribute, _)| attributes.contains(*attribute));
        let options = ["rbind", "rprivate"].into_iter().chain(said.map(|(_, word)| word));
        Self { destination, kind: "bind", source, options: options.map(str::to_owned).collect() }
    }

    /// A file system of the container's own.
    pub(in crate::exec) fn of(kind: &'static str, destination: String, options: &[&str]) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Self { destination, kind, source: kind.to_owned(), options }
    }
}

impl Config<'_> {
    /// Returns the document.
    ///
    /// # Errors
    ///
    /// Text that cannot be said in JSON, or to a program.
    pub(in crate::exec) fn document(&self) -> Result<Value, Failure> {
        let mounts: Vec<Value> = self.mounts.iter().map(mount).collect();
        Ok(json!({
            "ociVersion": VERSION,
            "root": { "path": ROOT },
            "hostname": self.process.hostname,
            "process": self.process()?,
            "mounts": mounts,
            "linux": self.linux(),
        }))
    }

    fn process(&self) -> Result<Value, Failure> {
        let Process { sandbox, cwd, .. } = self.process;
        let Identity { uid, gid, groups, .. } = self.identity;
        let mut process = json!({
            "terminal": sandbox.terminal.is_some(),
            "user": { "uid": uid, "gid": gid, "additionalGids": groups, "umask": 0o022 },
            "args": whole(&self.args)?,
            "env": self.environment()?,
            "cwd": if cwd.is_empty() { "/" } else { cwd },
            "capabilities": self.capabilities(),
            "rlimits": self.limits.iter().map(limit).collect::<Vec<_>>(),
            "noNewPrivileges": sandbox.privileges == Privileges::Refused,
        });
        if let Some(size) = sandbox.terminal {
            process["consoleSize"] = json!({ "height": size.rows, "width": size.columns });
        }
        Ok(process)
    }

    /// Variables as the program gets them, secret ones in the place of others.
    fn environment(&self) -> Result<Vec<String>, Failure> {
        let secrets = &self.process.secrets;
        let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
        let plain = self.process.env.iter().filter(|variable| {
            let name = name(variable);
            secrets.iter().all(|secret| secret.name != name)
        });
        let mut variables: Vec<String> = plain.cloned().collect();
        for secret in secrets {
            let value = std::str::from_utf8(secret.value.expose()).map_err(|_| Failure::Io {
                verb: "put into config.json".to_owned(),
                what: format!("the secret variable {}, which is no UTF-8", secret.name),
                errno: Errno(libc::EILSEQ),
            })?;
            variables.push(format!("{}={value}", secret.name));
        }
        if !variables.iter().any(|variable| variable.starts_with("HOME=")) {
            variables.push(format!("HOME={}", self.identity.home));
        }
        whole(&variables).map(<[String]>::to_vec)
    }

    /// As execve would have it, others than root begin with none; none can be inherited.
    fn capabilities(&self) -> Value {
        let Held { bounding, permitted } = self.capabilities;
        let begun = if self.identity.uid == 0 { permitted } else { 0 };
        json!({
            "bounding": capability_names(bounding),
            "effective": capability_names(begun),
            "permitted": capability_names(begun),
            "inheritable": [],
            "ambient": [],
        })
    }

    fn linux(&self) -> Value {
        let sandbox = &self.process.sandbox;
        let namespaces = ["mount", "pid", "ipc", "uts", "cgroup"].map(|kind| json!({ "type": kind }));
        let mut linux = json!({ "namespaces": namespaces });
        if sandbox.confinement == Confinement::Usual {
            linux["maskedPaths"] = json!(self.hidden.masked);
            linux["readonlyPaths"] = json!(self.hidden.read_only);
        }
        if !self.devices.is_empty() {
            linux["devices"] = json!(self.devices);
        }
        if let Some(seccomp) = &self.seccomp {
            linux["seccomp"] = seccomp.clone();
        }
        if let Some(group) = &self.runtime.group {
            linux["cgroupsPath"] = json!(group);
        }
        let mut resources = resources(&sandbox.resources);
        if !self.device_rules.is_empty() {
            resources.insert("devices".to_owned(), json!(self.device_rules));
        }
        if !resources.is_empty() {
            linux["resources"] = Value::Object(resources);
        }
        linux
    }
}

fn mount(mounted: &Mounted) -> Value {
    let Mounted { destination, kind, source, options } = mounted;
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

fn limit(limit: &Ulimit) -> Value {
    // The spec has no word for "none" but the kernel's number.
    let number = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
    let name = format!("RLIMIT_{}", limit.name().to_ascii_uppercase());
    json!({ "type": name, "soft": number(limit.soft), "hard": number(limit.hard) })
}

fn resources(resources: &Resources) -> serde_json::Map<String, Value> {
    let mut all = serde_json::Map::new();
    if let Some(bytes) = resources.memory_bytes {
        let mut memory = json!({ "limit": bytes });
        match resources.swap() {
            // Here it is both together.
            Some(Swap::Bytes(swap)) if resources.memory_and_swap.is_some() => {
                memory["swap"] = json!(bytes.saturating_add(swap));
            }
            Some(Swap::Unlimited) => memory["swap"] = json!(-1),
            // A kernel without accounting of swap refuses a limit that nobody asked for.
            _ => {}
        }
        all.insert("memory".to_owned(), memory);
    }
    let mut cpu = serde_json::Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            cpu.insert(name.to_owned(), value);
        }
    };
    set("shares", resources.cpu_shares.map(Value::from));
    set("quota", resources.cpu_quota.and_then(|quota| quota.quota_us).map(Value::from));
    set("period", resources.cpu_quota.map(|quota| quota.period_us.into()));
    set("cpus", resources.cpus.clone().map(Value::from));
    set("mems", resources.memory_nodes.clone().map(Value::from));
    if !cpu.is_empty() {
        all.insert("cpu".to_owned(), Value::Object(cpu));
    }
    if let Some(pids) = resources.pids {
        all.insert("pids".to_owned(), json!({ "limit": pids }));
    }
    all
}

fn capability_names(bits: u64) -> Vec<String> {
    let names = crate::exec::sandbox::capability::NAMES.iter().enumerate();
    names.filter(|(number, _)| bits & (1 << number) != 0).map(|(_, name)| format!("CAP_{name}")).collect()
}

/// execve ends a string at its first zero byte; the program would see less than was written.
fn whole(texts: &[String]) -> Result<&[String], Failure> {
    match texts.iter().any(|text| text.contains('\0')) {
        false => Ok(texts),
        true => Err(Failure::Io {
            verb: "pass on a zero byte to".to_owned(),
            what: "the program".to_owned(),
            errno: Errno(libc::EINVAL),
        }),
    }
}

#[cfg(test)]
mod tests;
