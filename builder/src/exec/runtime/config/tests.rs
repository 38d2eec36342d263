use rustix::fs::StatVfsMountFlags;
use serde_json::{Value, json};

use super::{Config, Held, Hidden, Mounted};
use crate::exec::sandbox::resources::{Quota, Resources, Swap};
use crate::exec::sandbox::{Confinement, Privileges, Sandbox, TerminalSize};
use crate::exec::user::Identity;
use crate::exec::{Network, Process, Root, Runtime, SecretVariable};
use crate::lent::Secret;

fn process() -> Process {
    Process {
        root: Root::Directory("/root".into()),
        args: vec!["sh".to_owned(), "-c".to_owned(), "true".to_owned()],
        env: vec!["PATH=/bin".to_owned(), "WORD=seen".to_owned()],
        secrets: Vec::new(),
        cwd: "/place".to_owned(),
        user: "app".to_owned(),
        hostname: "forge".to_owned(),
        network: Network::Host,
        hosts: Vec::new(),
        mounts: Vec::new(),
        sandbox: Sandbox::default(),
    }
}

fn runtime() -> Runtime {
    Runtime { program: "/usr/bin/runc".into(), flags: Vec::new(), name: "oxbox-1-0".to_owned(), group: None }
}

fn identity(uid: u32) -> Identity {
    Identity { uid, gid: 7, groups: vec![7, 90], home: "/home/app".to_owned() }
}

/// The document of a process of this user.
fn document(process: &Process, uid: u32, runtime: &Runtime) -> Value {
    let config = Config {
        process,
        runtime,
        identity: &identity(uid),
        args: process.args.clone(),
        mounts: Vec::new(),
        capabilities: Held { bounding: 0b1011, permitted: 0b0011 },
        limits: Vec::new(),
        seccomp: None,
        devices: Vec::new(),
        device_rules: Vec::new(),
        hidden: Hidden::default(),
    };
    config.document().unwrap()
}

#[test]
fn the_whole_of_a_plain_run() {
    let (process, runtime) = (process(), Runtime { group: Some("/a/oxbox-1-0".to_owned()), ..runtime() });
    let config = Config {
        process: &process,
        runtime: &runtime,
        identity: &identity(0),
        args: process.args.clone(),
        mounts: vec![
            Mounted::of("proc", "/proc".to_owned(), &["nosuid"]),
            Mounted::bind("/in".to_owned(), "mounts/3".to_owned(), StatVfsMountFlags::empty()),
        ],
        capabilities: Held { bounding: 0b1011, permitted: 0b0011 },
        limits: vec!["nofile=10:-1".parse().unwrap()],
        seccomp: Some(json!({ "defaultAction": "SCMP_ACT_ALLOW" })),
        devices: vec![json!({ "path": "/dev/fuse" })],
        device_rules: vec![json!({ "allow": false })],
        hidden: Hidden { masked: vec!["/proc/keys".to_owned()], read_only: vec!["/proc/bus".to_owned()] },
    };
    let expected = json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs" },
        "hostname": "forge",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 7, "additionalGids": [7, 90], "umask": 18 },
            "args": ["sh", "-c", "true"],
            "env": ["PATH=/bin", "WORD=seen", "HOME=/home/app"],
            "cwd": "/place",
            "capabilities": {
                "bounding": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"],
                "effective": ["CAP_CHOWN", "CAP_DAC_OVERRIDE"],
                "permitted": ["CAP_CHOWN", "CAP_DAC_OVERRIDE"],
                "inheritable": [],
                "ambient": [],
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 10, "hard": u64::MAX }],
            "noNewPrivileges": false,
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"] },
            { "destination": "/in", "type": "bind", "source": "mounts/3", "options": ["rbind", "rprivate"] },
        ],
        "linux": {
            "namespaces":
                [{ "type": "mount" }, { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "cgroup" }],
            "maskedPaths": ["/proc/keys"],
            "readonlyPaths": ["/proc/bus"],
            "devices": [{ "path": "/dev/fuse" }],
            "seccomp": { "defaultAction": "SCMP_ACT_ALLOW" },
            "cgroupsPath": "/a/oxbox-1-0",
            "resources": { "devices": [{ "allow": false }] },
        },
    });
    assert_eq!(config.document().unwrap(), expected);
}

#[test]
fn others_than_root_begin_with_no_capability() {
    let capabilities = document(&process(), 1000, &runtime())["process"]["capabilities"].clone();
    assert_eq!(
        (&capabilities["effective"], &capabilities["permitted"], &capabilities["bounding"]),
        (&json!([]), &json!([]), &json!(["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]))
    );
}

#[test]
fn a_secret_takes_the_place_of_a_variable() {
    let secret =
        |value: &[u8]| SecretVariable { name: "WORD".to_owned(), value: Secret::new(value.to_vec()) };
    let process = Process { secrets: vec![secret(b"hidden")], ..process() };
    let env = document(&process, 0, &runtime())["process"]["env"].clone();
    assert_eq!(env, json!(["PATH=/bin", "WORD=hidden", "HOME=/home/app"]));
}

#[test]
fn what_json_or_a_program_cannot_be_told_is_refused() {
    let refused = |process: &Process| {
        let config = Config {
            process,
            runtime: &runtime(),
            identity: &identity(0),
            args: process.args.clone(),
            mounts: Vec::new(),
            capabilities: Held { bounding: 0, permitted: 0 },
            limits: Vec::new(),
            seccomp: None,
            devices: Vec::new(),
            device_rules: Vec::new(),
            hidden: Hidden::default(),
        };
        config.document().unwrap_err().to_string()
    };
    let binary = SecretVariable { name: "KEY".to_owned(), value: Secret::new(vec![0xff, 0xfe]) };
    let text = refused(&Process { secrets: vec![binary], ..process() });
    assert_eq!(text, "cannot put into config.json the secret variable KEY, which is no UTF-8");
    let text = refused(&Process { args: vec!["a\0b".to_owned()], ..process() });
    assert_eq!(text, "cannot pass on a zero byte to the program");
}

#[test]
fn attributes_of_a_mount_are_said() {
    let all = StatVfsMountFlags::RDONLY | StatVfsMountFlags::NODEV | StatVfsMountFlags::NOSUID;
    let mounted = Mounted::bind("/in".to_owned(), "mounts/0".to_owned(), all);
    assert_eq!(mounted.options, ["rbind", "rprivate", "ro", "nosuid", "nodev"]);
}

#[test]
fn an_insecure_program_has_nothing_hidden_and_a_terminal_has_a_size() {
    let mut process = process();
    process.sandbox.confinement = Confinement::None;
    process.sandbox.privileges = Privileges::Refused;
    process.sandbox.terminal = Some(TerminalSize { rows: 40, columns: 100 });
    process.cwd = String::new();
    let document = document(&process, 0, &runtime());
    assert!(
        document["linux"].get("maskedPaths").is_none() && document["linux"].get("readonlyPaths").is_none()
    );
    let told = &document["process"];
    assert_eq!(told["consoleSize"], json!({ "height": 40, "width": 100 }));
    assert_eq!(
        (&told["terminal"], &told["noNewPrivileges"], &told["cwd"]),
        (&json!(true), &json!(true), &json!("/"))
    );
}

#[test]
fn limits_are_resources() {
    let limited = |resources: Resources| {
        let mut process = process();
        process.sandbox.resources = resources;
        document(&process, 0, &runtime())["linux"].get("resources").cloned()
    };
    assert_eq!(limited(Resources::default()), None);
    let all = Resources {
        memory_bytes: Some(100),
        memory_and_swap: Some(Swap::Bytes(150)),
        cpu_quota: Quota::of_cpus(0.5),
        cpu_shares: Some(1024),
        cpus: Some("0-1".to_owned()),
        memory_nodes: Some("0".to_owned()),
        pids: Some(7),
        parent: None,
    };
    assert_eq!(
        limited(all).unwrap(),
        json!({
            "memory": { "limit": 100, "swap": 150 },
            "cpu": { "shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "0-1", "mems": "0" },
            "pids": { "limit": 7 },
        })
    );
    let memory = |both| Resources { memory_bytes: Some(100), memory_and_swap: both, ..Resources::default() };
    assert_eq!(limited(memory(None)).unwrap(), json!({ "memory": { "limit": 100 } }));
    assert_eq!(limited(memory(Some(Swap::Unlimited))).unwrap()["memory"]["swap"], -1);
}
