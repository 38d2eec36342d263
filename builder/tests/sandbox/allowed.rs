//! What the caller allows and forbids: capabilities, system calls, limits, devices, names.

use std::fs;

use oxbox_builder::exec::sandbox::capability::Named;
use oxbox_builder::exec::sandbox::{Capabilities, Privileges, Profile, Resolver, Seccomp};
use oxbox_builder::exec::{Exit, Failure, Network, Process};

use crate::contained::{DOCKER, allowed_here, status};
use crate::room::{Room, failure, ran};

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![
        ("capabilities_are_added_and_dropped", capabilities_are_added_and_dropped),
        (
            "a_capability_lifts_the_calls_that_it_lifts_in_docker",
            a_capability_lifts_the_calls_that_it_lifts_in_docker,
        ),
        ("unconfined_calls_are_not_filtered", unconfined_calls_are_not_filtered),
        ("a_profile_decides_about_calls", a_profile_decides_about_calls),
        (
            "without_new_privileges_a_setuid_program_is_nobody_else",
            without_new_privileges_a_setuid_program_is_nobody_else,
        ),
        ("limits_are_set", limits_are_set),
        ("a_limit_beyond_the_builders_own_is_told", a_limit_beyond_the_builders_own_is_told),
        ("shared_memory_has_its_size", shared_memory_has_its_size),
        ("devices_of_the_host_are_given", devices_of_the_host_are_given),
        ("what_is_no_device_is_told", what_is_no_device_is_told),
        ("an_insecure_program_is_root", an_insecure_program_is_root),
        ("names_and_name_servers_are_the_callers", names_and_name_servers_are_the_callers),
        ("the_images_own_resolver_stays", the_images_own_resolver_stays),
    ]
}

fn named(names: &[&str]) -> Vec<Named> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn shell(room: &Room, script: &str) -> Process {
    room.process(&["/bin/sh", "-c", script])
}

fn capabilities_are_added_and_dropped() {
    let room = Room::busybox();
    let mut process = room.process(&["cat", "/proc/self/status"]);
    process.sandbox.capabilities =
        Capabilities::default().changed(&named(&["SYS_PTRACE"]), &named(&["CAP_NET_RAW", "chown"]));
    let said = ran(&process).unwrap().text();
    let wanted = (DOCKER | 1 << 19) & !(1 << 13) & !1;
    let here = status("CapBnd", &fs::read_to_string("/proc/self/status").unwrap());
    assert_eq!((status("CapEff", &said), status("CapBnd", &said)), (wanted & here, wanted & here));
    assert_eq!(here & DOCKER, allowed_here());
}

fn a_capability_lifts_the_calls_that_it_lifts_in_docker() {
    let room = Room::busybox().with_probe(0o755);
    let mut process = room.process(&["/bin/probe", "probe", "refused"]);
    process.sandbox.capabilities = Capabilities::default().changed(&named(&["SYS_ADMIN"]), &[]);
    // In the new user namespace what belongs to the old one is refused by the kernel itself.
    assert_eq!(
        ran(&process).unwrap().text(),
        "mount works\nfsopen works\nunshare works\nsetns EPERM\nsethostname EPERM\nspawn works"
    );
}

fn unconfined_calls_are_not_filtered() {
    let room = Room::busybox();
    let mut process = room.process(&["cat", "/proc/self/status"]);
    process.sandbox.seccomp = Seccomp::Unconfined;
    let said = ran(&process).unwrap().text();
    assert_eq!((status("Seccomp", &said), status("CapEff", &said)), (0, allowed_here()));
}

fn a_profile_decides_about_calls() {
    let profile = br#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS", "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]},
        {"names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}"#;
    let room = Room::busybox();
    let script = "exec 2>&1; mkdir /x; chmod 700 /tmp; ln -s a /link && echo linked; kill -0 $$ && echo alive; \
        sh -c 'kill -USR1 $$; echo survived'; echo $?";
    let mut process = shell(&room, script);
    process.sandbox.seccomp = Seccomp::Profile(Box::new(Profile::read(profile).unwrap()));
    let said = ran(&process).unwrap().text();
    assert!(said.contains("No space left on device") && said.contains("Operation not permitted"), "{said}");
    // 128 and SIGSYS.
    assert!(
        said.ends_with("linked\nalive\nBad system call\n159") || said.ends_with("linked\nalive\n159"),
        "{said}"
    );
}

fn without_new_privileges_a_setuid_program_is_nobody_else() {
    let room = Room::busybox().with_probe(0o4755);
    let mut process = room.process(&["/bin/probe", "probe", "ids"]);
    process.user = "web".to_owned();
    process.sandbox.privileges = Privileges::Refused;
    assert_eq!(ran(&process).unwrap().text(), "uid 33 euid 33");
}

fn limits_are_set() {
    let room = Room::busybox();
    let mut process = shell(&room, "ulimit -n; ulimit -Hn; ulimit -c");
    process.sandbox.ulimits = vec!["nofile=50:60".parse().unwrap(), "core=0".parse().unwrap()];
    assert_eq!(ran(&process).unwrap().text(), "50\n60\n0");
}

fn a_limit_beyond_the_builders_own_is_told() {
    let here = status("CapEff", &fs::read_to_string("/proc/self/status").unwrap());
    if here & (1 << 24) != 0 {
        eprintln!("SKIPPED: with CAP_SYS_RESOURCE no limit is beyond one's own");
        return;
    }
    let room = Room::busybox();
    let mut process = room.process(&["true"]);
    process.sandbox.ulimits = vec!["nofile=1000000000".parse().unwrap()];
    match failure(&process) {
        Failure::Ulimit { limit, .. } => assert_eq!(limit, "nofile=1000000000:1000000000"),
        other => panic!("{other:?}"),
    }
}

fn shared_memory_has_its_size() {
    let room = Room::busybox();
    let mut process = shell(&room, "df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d' ' -f2");
    process.sandbox.shm_bytes = Some(3 << 20);
    assert_eq!(ran(&process).unwrap().text(), "3072");
}

fn devices_of_the_host_are_given() {
    let room = Room::busybox();
    let script = "head -c 2 /dev/mine/zero | wc -c; test -c /dev/zero && head -c 1 /elsewhere | wc -c; test -c /dev/mine/full";
    let mut process = shell(&room, script);
    let devices = ["/dev/zero:/dev/mine/zero:r", "/dev/zero:/elsewhere", "/dev/full:/dev/mine/full"];
    process.sandbox.devices = devices.iter().map(|device| device.parse().unwrap()).collect();
    assert_eq!(ran(&process).unwrap().text(), "2\n1");
}

fn what_is_no_device_is_told() {
    let room = Room::busybox();
    for (source, errno) in [("/etc/hostname", libc::ENODEV), ("/dev/no-such-device", libc::ENOENT)] {
        let mut process = room.process(&["true"]);
        process.sandbox.devices = vec![source.parse().unwrap()];
        match failure(&process) {
            Failure::Device { path, errno: found } => assert_eq!((path.as_str(), found.0), (source, errno)),
            other => panic!("{other:?}"),
        }
    }
}

fn an_insecure_program_is_root() {
    let room = Room::busybox();
    let script = "cat /proc/self/status; mount -t tmpfs none /tmp && echo mounted; \
        wc -c < /proc/interrupts; test -w /proc/sys/kernel/hostname && echo writable; mknod /n c 1 3 && : > /n && echo usable";
    let mut process = shell(&room, script);
    process.sandbox = process.sandbox.insecure();
    let said = ran(&process).unwrap().text();
    let here = status("CapEff", &fs::read_to_string("/proc/self/status").unwrap());
    assert_eq!((status("CapEff", &said), status("Seccomp", &said)), (here, 0));
    assert!(said.contains("mounted\n") && said.ends_with("writable\nusable"), "{said}");
}

fn names_and_name_servers_are_the_callers() {
    let room = Room::busybox();
    let mut process = shell(&room, "cat /etc/resolv.conf; grep there /etc/hosts; hostname");
    process.hosts = vec![("there".to_owned(), "192.0.2.7".parse().unwrap())];
    process.sandbox.resolver = Resolver {
        servers: vec!["192.0.2.53".parse().unwrap()],
        search: vec!["example.org".to_owned()],
        options: vec!["ndots:3".to_owned()],
        ..Resolver::default()
    };
    process.network = Network::None;
    assert_eq!(
        ran(&process).unwrap().text(),
        "nameserver 192.0.2.53\nsearch example.org\noptions ndots:3\n192.0.2.7\tthere\nsandbox"
    );
}

fn the_images_own_resolver_stays() {
    let room = Room::busybox();
    fs::write(room.lower().join("etc/resolv.conf"), "# the image's\n").unwrap();
    let mut process = shell(&room, "cat /etc/resolv.conf; echo more >> /etc/resolv.conf");
    process.sandbox.resolver.file = oxbox_builder::exec::sandbox::resolver::File::Image;
    let ran = ran(&process).unwrap();
    assert_eq!((ran.exit, ran.text().as_str()), (Exit::Code(0), "# the image's"));
    assert!(room.upper().join("etc/resolv.conf").exists());
}
