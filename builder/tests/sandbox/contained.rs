//! What a program cannot do, and what it still can: capabilities, seccomp, masked paths, processes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use oxbox_builder::exec::Exit;

use crate::room::{Room, ran};

/// Docker's fourteen, as /proc/self/status prints them.
pub(crate) const DOCKER: u64 = 0xa804_25fb;

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![
        ("root_has_dockers_capabilities", root_has_dockers_capabilities),
        ("a_user_has_none_but_may_get_them_back", a_user_has_none_but_may_get_them_back),
        ("a_setuid_program_is_root", a_setuid_program_is_root),
        ("refused_calls_are_refused", refused_calls_are_refused),
        ("calls_that_need_arguments_looked_at_are", calls_that_need_arguments_looked_at_are),
        ("programs_of_32_bits_are_filtered_too", programs_of_32_bits_are_filtered_too),
        ("host_paths_are_masked", host_paths_are_masked),
        ("the_sandbox_sees_only_itself", the_sandbox_sees_only_itself),
        ("there_is_no_terminal", there_is_no_terminal),
        ("process_1_cannot_be_looked_into", process_1_cannot_be_looked_into),
        ("the_own_binary_cannot_be_written", the_own_binary_cannot_be_written),
        ("signals_have_their_default_actions", signals_have_their_default_actions),
    ]
}

pub(crate) fn status(field: &str, text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

pub(crate) fn allowed_here() -> u64 {
    DOCKER & status("CapBnd", &fs::read_to_string("/proc/self/status").unwrap())
}

fn root_has_dockers_capabilities() {
    let said = Room::busybox().shell("cat /proc/self/status").text();
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| status(set, &said));
    assert_eq!(sets, [0, allowed_here(), allowed_here(), allowed_here(), 0]);
    assert_eq!((status("Seccomp", &said), status("NoNewPrivs", &said)), (2, 0));
}

fn a_user_has_none_but_may_get_them_back() {
    let room = Room::busybox();
    let mut process = room.process(&["cat", "/proc/self/status"]);
    process.user = "web".to_owned();
    let said = ran(&process).unwrap().text();
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| status(set, &said));
    assert_eq!(sets, [0, 0, 0, allowed_here(), 0]);
}

fn a_setuid_program_is_root() {
    let room = Room::busybox().with_probe(0o4755);
    let mut process = room.process(&["/bin/probe", "probe", "ids"]);
    process.user = "web".to_owned();
    assert_eq!(ran(&process).unwrap().text(), "uid 33 euid 0");
}

fn refused_calls_are_refused() {
    let room = Room::busybox().with_probe(0o755);
    let ran = ran(&room.process(&["/bin/probe", "probe", "refused"])).unwrap();
    assert_eq!(
        ran.text(),
        "mount EPERM\nfsopen EPERM\nunshare EPERM\nsetns EPERM\nsethostname EPERM\nspawn works"
    );
}

fn calls_that_need_arguments_looked_at_are() {
    let room = Room::busybox().with_probe(0o755);
    let ran = ran(&room.process(&["/bin/probe", "probe", "sockets"])).unwrap();
    assert_eq!(ran.text(), "inet works\nunix works\nvsock EPERM");
}

/// An i386 program that makes one system call with zeros and exits with the error it got.
fn i386(call: u32) -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    let mut code = vec![0xb8]; // mov eax, call
    code.extend(call.to_le_bytes());
    code.extend([0x31, 0xdb, 0x31, 0xc9, 0x31, 0xd2, 0x31, 0xf6, 0x31, 0xff]); // xor ebx, ecx, edx, esi, edi
    code.extend([0xcd, 0x80, 0xf7, 0xd8, 0x89, 0xc3]); // int 0x80; neg eax; mov ebx, eax
    code.extend([0xb8, 1, 0, 0, 0, 0xcd, 0x80]); // exit
    let size = HEADERS + u32::try_from(code.len()).unwrap();
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0".to_vec();
    elf.extend([BASE + HEADERS, 52, 0, 0].map(u32::to_le_bytes).concat());
    elf.extend([52_u16, 32, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    elf.extend([1, 0, BASE, BASE, size, size, 5, 0x1000].map(u32::to_le_bytes).concat());
    elf.extend(code);
    elf
}

fn programs_of_32_bits_are_filtered_too() {
    let room = Room::busybox();
    let mut codes = Vec::new();
    // getuid, mount, unshare, clone3, and one that nobody knows yet.
    for call in [199, 21, 310, 435, 999] {
        let program = room.lower().join(format!("bin/call{call}"));
        fs::write(&program, i386(call)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        codes.push(match ran(&room.process(&[&format!("call{call}")])) {
            Ok(ran) => ran.exit,
            Err(error) if call == 199 => {
                eprintln!("SKIPPED: this kernel runs no 32-bit programs ({error})");
                return;
            }
            Err(error) => panic!("{error}"),
        });
    }
    let (eperm, enosys) = (1, 38);
    assert_eq!(codes, [0, eperm, eperm, enosys, enosys].map(Exit::Code));
}

fn host_paths_are_masked() {
    let script = "cat /proc/interrupts | wc -c; find /proc/acpi /sys/firmware -mindepth 1 2>/dev/null | wc -l; \
        for f in /proc/sys/kernel/hostname /proc/sysrq-trigger; do (echo x > $f) 2>/dev/null || echo locked; done; \
        touch /sys/x 2>/dev/null || echo locked";
    assert!(!fs::read("/proc/interrupts").unwrap().is_empty());
    assert_eq!(Room::busybox().shell(script).text(), "0\n0\nlocked\nlocked\nlocked");
}

fn the_sandbox_sees_only_itself() {
    let said = Room::busybox()
        .shell("echo $$; ls -d /proc/[0-9]* | wc -l; cut -d' ' -f5 /proc/self/mountinfo | sort");
    let text = said.text();
    let mut lines = text.lines();
    // The program is the second process; `ls` and the shell's own fork for the pipe come on top.
    assert_eq!(lines.next(), Some("2"));
    assert!(lines.next().unwrap().parse::<u32>().unwrap() <= 5);
    let mounts: Vec<_> = lines.collect();
    assert!(mounts.contains(&"/") && mounts.contains(&"/proc"));
    assert!(
        mounts
            .iter()
            .all(|at| ["/dev", "/etc", "/proc", "/sys"].iter().any(|top| at.starts_with(top)) || *at == "/")
    );
}

fn there_is_no_terminal() {
    assert_eq!(Room::busybox().shell("(: < /dev/tty) 2>/dev/null || echo none").text(), "none");
}

fn process_1_cannot_be_looked_into() {
    let script = "readlink /proc/1/exe || echo hidden; readlink /proc/1/fd/1 || echo hidden";
    assert_eq!(Room::busybox().shell(script).text(), "hidden\nhidden");
}

fn the_own_binary_cannot_be_written() {
    // The image makes the sandbox execute the binary that is just being replaced: what then is
    // /proc/self/exe must not be a way to the host's file.
    let room = Room::busybox();
    let ran = ran(&room.process(&["/proc/self/exe", "probe", "overwrite"])).unwrap();
    assert_eq!(ran.text(), "EROFS");
}

fn signals_have_their_default_actions() {
    // Without a shell, which ignores some itself.
    let said = ran(&Room::busybox().process(&["cat", "/proc/self/status"])).unwrap().text();
    assert_eq!(status("SigBlk", &said), 0);
    assert_eq!(status("SigIgn", &said), 0);
    assert_eq!(Room::busybox().shell("yes | head -n 1").exit, Exit::Code(0));
}
