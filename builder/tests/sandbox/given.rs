//! What a program finds: arguments, environment, user, files of the run, mounts.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use oxbox_builder::exec::{Access, Exit, Failure, Mount, Network, Root, Source};

use rustix::process::{Resource, getrlimit};

use crate::room::{Room, failure, ran};

/// The soft limit of open files that these tests are started with.
pub(crate) const DESCRIPTORS: u64 = 777;

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![
        ("an_exit_code_comes_back", an_exit_code_comes_back),
        ("a_deadly_signal_comes_back", a_deadly_signal_comes_back),
        ("the_environment_is_what_was_given_and_home", the_environment_is_what_was_given_and_home),
        ("a_home_that_was_given_stays", a_home_that_was_given_stays),
        (
            "a_missing_working_directory_is_made_for_the_user",
            a_missing_working_directory_is_made_for_the_user,
        ),
        ("a_user_has_its_groups", a_user_has_its_groups),
        ("a_user_with_a_group_has_only_that", a_user_with_a_group_has_only_that),
        ("an_unknown_user_is_named", an_unknown_user_is_named),
        ("a_missing_shell_is_named", a_missing_shell_is_named),
        (
            "a_missing_interpreter_is_told_from_a_missing_program",
            a_missing_interpreter_is_told_from_a_missing_program,
        ),
        ("a_file_that_is_no_program_is_refused", a_file_that_is_no_program_is_refused),
        ("a_program_is_found_in_the_path_of_the_image", a_program_is_found_in_the_path_of_the_image),
        ("a_program_may_open_as_many_files_as_before", a_program_may_open_as_many_files_as_before),
        ("standard_input_is_empty", standard_input_is_empty),
        ("hosts_and_names_are_those_of_the_run", hosts_and_names_are_those_of_the_run),
        (
            "nothing_of_the_run_is_left_in_the_upper_directory",
            nothing_of_the_run_is_left_in_the_upper_directory,
        ),
        (
            "a_scratch_image_gets_nothing_but_what_the_program_wrote",
            a_scratch_image_gets_nothing_but_what_the_program_wrote,
        ),
        (
            "a_dangling_resolver_link_is_followed_in_the_image",
            a_dangling_resolver_link_is_followed_in_the_image,
        ),
        (
            "what_the_program_did_beside_a_stub_keeps_its_time",
            what_the_program_did_beside_a_stub_keeps_its_time,
        ),
        ("mounts_of_the_caller_are_seen", mounts_of_the_caller_are_seen),
        ("a_file_can_lie_in_dev", a_file_can_lie_in_dev),
        ("a_read_only_bind_is_read_only", a_read_only_bind_is_read_only),
        ("a_plain_directory_serves_as_root", a_plain_directory_serves_as_root),
        ("without_network_there_is_only_loopback", without_network_there_is_only_loopback),
        ("a_root_that_cannot_be_stacked_says_why", a_root_that_cannot_be_stacked_says_why),
        ("devices_work", devices_work),
    ]
}

fn a_program_may_open_as_many_files_as_before() {
    let own = getrlimit(Resource::Nofile);
    assert!(own.current > Some(DESCRIPTORS), "{own:?}");
    let room = Room::busybox();
    let hard = own.maximum.map_or("unlimited".to_owned(), |maximum| maximum.to_string());
    assert_eq!(room.shell("ulimit -n; ulimit -Hn").text(), format!("{DESCRIPTORS}\n{hard}"));
}

fn an_exit_code_comes_back() {
    assert_eq!(Room::busybox().shell("exit 42").exit, Exit::Code(42));
}

fn a_deadly_signal_comes_back() {
    assert_eq!(Room::busybox().shell("kill -9 $$").exit, Exit::Signal(9));
}

fn the_environment_is_what_was_given_and_home() {
    let room = Room::busybox();
    let mut process = room.process(&["env"]);
    process.env.push("A=b c".to_owned());
    assert_eq!(ran(&process).unwrap().text(), "PATH=/bin\nA=b c\nHOME=/root");
}

fn a_home_that_was_given_stays() {
    let room = Room::busybox();
    let mut process = room.process(&["/bin/sh", "-c", "echo $HOME"]);
    process.env.push("HOME=/elsewhere".to_owned());
    assert_eq!(ran(&process).unwrap().text(), "/elsewhere");
}

fn a_missing_working_directory_is_made_for_the_user() {
    let room = Room::busybox();
    let mut process = room.process(&["/bin/sh", "-c", "pwd; stat -c %u:%g:%a . .."]);
    process.cwd = "/srv/app".to_owned();
    process.user = "web".to_owned();
    assert_eq!(ran(&process).unwrap().text(), "/srv/app\n33:34:755\n33:34:755");
    assert!(room.upper().join("srv/app").is_dir());
}

fn a_user_has_its_groups() {
    let room = Room::busybox();
    let mut process = room.process(&["/bin/sh", "-c", "id -u; id -g; id -G; echo $HOME"]);
    process.user = "web".to_owned();
    assert_eq!(ran(&process).unwrap().text(), "33\n34\n34 90\n/var/www");
}

fn a_user_with_a_group_has_only_that() {
    let room = Room::busybox();
    let mut process = room.process(&["id", "-G"]);
    process.user = "web:log".to_owned();
    assert_eq!(ran(&process).unwrap().text(), "90");
}

fn an_unknown_user_is_named() {
    let room = Room::busybox();
    let mut process = room.process(&["id"]);
    process.user = "nobody".to_owned();
    assert_eq!(failure(&process), Failure::UnknownUser { user: "nobody".to_owned() });
}

fn a_missing_shell_is_named() {
    let failure = failure(&Room::scratch().process(&["/bin/sh", "-c", "true"]));
    assert_eq!(failure.to_string(), "cannot run /bin/sh: no such file in the image");
}

fn a_missing_interpreter_is_told_from_a_missing_program() {
    let room = Room::busybox();
    let script = room.lower().join("bin/script");
    fs::write(&script, "#!/usr/bin/python3\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(
        failure(&room.process(&["script"])),
        Failure::NoInterpreter { program: "/bin/script".to_owned() }
    );
}

fn a_file_that_is_no_program_is_refused() {
    let room = Room::busybox();
    let file = room.lower().join("bin/text");
    fs::write(&file, "no program").unwrap();
    assert!(matches!(failure(&room.process(&["/bin/text"])), Failure::NotExecutable { .. }));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let failure = failure(&room.process(&["/bin/text"]));
    assert!(matches!(failure, Failure::WrongFormat { .. }), "{failure:?}");
}

fn a_program_is_found_in_the_path_of_the_image() {
    let room = Room::busybox();
    let mut process = room.process(&["echo", "found"]);
    process.env = vec!["PATH=/nowhere:/bin".to_owned()];
    assert_eq!(ran(&process).unwrap().text(), "found");
}

fn standard_input_is_empty() {
    assert_eq!(
        Room::busybox().shell("readlink /proc/self/fd/0; cat; ls /proc/self/fd").text(),
        "/dev/null\n0\n1\n2\n3"
    );
}

fn hosts_and_names_are_those_of_the_run() {
    let room = Room::busybox();
    let script = "cat /etc/hosts /etc/hostname; hostname; echo more >> /etc/hosts && tail -n 1 /etc/hosts";
    let mut process = room.process(&["/bin/sh", "-c", script]);
    process.hosts = vec![("mirror".to_owned(), "10.0.0.7".parse().unwrap())];
    assert_eq!(
        ran(&process).unwrap().text(),
        "127.0.0.1\tlocalhost sandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.7\tmirror\n\
         sandbox\nsandbox\nmore"
    );
}

/// Every path below `directory`, sorted.
fn paths(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            found.push(entry.path().strip_prefix(directory).unwrap().to_str().unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn nothing_of_the_run_is_left_in_the_upper_directory() {
    let room = Room::busybox();
    assert_eq!(room.shell("ls -d /dev/null /proc/1 /sys/kernel /etc/resolv.conf").exit, Exit::Code(0));
    // The parent of a stub was copied up, which says nothing: it is the same directory still.
    assert_eq!(paths(&room.upper()), ["etc"]);
    let meta = |path| {
        fs::metadata(path).map(|meta| (meta.mode(), meta.uid(), meta.mtime(), meta.mtime_nsec())).unwrap()
    };
    assert_eq!(meta(room.upper().join("etc")), meta(room.lower().join("etc")));
}

fn a_scratch_image_gets_nothing_but_what_the_program_wrote() {
    let room = Room::scratch();
    fs::create_dir(room.lower().join("bin")).unwrap();
    fs::copy("/bin/busybox", room.lower().join("bin/busybox")).unwrap();
    assert_eq!(ran(&room.process(&["/bin/busybox", "touch", "/made"])).unwrap().exit, Exit::Code(0));
    assert_eq!(paths(&room.upper()), ["made"]);
}

fn a_dangling_resolver_link_is_followed_in_the_image() {
    let room = Room::busybox();
    symlink("../run/systemd/resolve/stub-resolv.conf", room.lower().join("etc/resolv.conf")).unwrap();
    let ran = room.shell("cat /etc/resolv.conf");
    assert_eq!(ran.text().trim_end(), fs::read_to_string("/etc/resolv.conf").unwrap_or_default().trim_end());
    assert_eq!(paths(&room.upper()), ["etc"]);
}

fn what_the_program_did_beside_a_stub_keeps_its_time() {
    let room = Room::busybox();
    room.shell("touch /etc/made; touch -d @1000000000 /etc").text();
    assert_eq!(paths(&room.upper()), ["etc", "etc/made"]);
    assert_eq!(fs::metadata(room.upper().join("etc")).unwrap().mtime(), 1_000_000_000);
}

fn mounts_of_the_caller_are_seen() {
    let room = Room::busybox();
    fs::write(room.path().join("shared/file"), "from the host").unwrap();
    let script = "cat /in/side/file /run/secret; touch /scratch/x; stat -c %a /run/secret";
    let mut process = room.process(&["/bin/sh", "-c", script]);
    process.mounts = vec![
        Mount {
            target: "/in/side".to_owned(),
            source: Source::Bind { path: room.path().join("shared"), access: Access::ReadWrite },
        },
        Mount {
            target: "/run/secret".to_owned(),
            source: Source::File { content: b"hidden\n".to_vec(), mode: 0o400 },
        },
        Mount { target: "/scratch".to_owned(), source: Source::Tmpfs { size_bytes: Some(1 << 20) } },
    ];
    assert_eq!(ran(&process).unwrap().text(), "from the hosthidden\n400");
    assert_eq!(paths(&room.upper()), ["etc"]);
}

fn a_file_can_lie_in_dev() {
    // Where a heredoc of RUN goes that begins with #!.
    let room = Room::busybox();
    let mut process = room.process(&["/dev/pipes/EOF"]);
    process.mounts = vec![Mount {
        target: "/dev/pipes/EOF".to_owned(),
        source: Source::File { content: b"#!/bin/sh\necho from a script\n".to_vec(), mode: 0o755 },
    }];
    assert_eq!(ran(&process).unwrap().text(), "from a script");
    assert_eq!(paths(&room.upper()), ["etc"]);
}

fn a_read_only_bind_is_read_only() {
    let room = Room::busybox();
    let mut process = room.process(&["/bin/sh", "-c", "touch /in/x 2>/dev/null || echo refused"]);
    process.mounts = vec![Mount {
        target: "/in".to_owned(),
        source: Source::Bind { path: room.path().join("shared"), access: Access::ReadOnly },
    }];
    assert_eq!(ran(&process).unwrap().text(), "refused");
}

fn a_plain_directory_serves_as_root() {
    let room = Room::busybox();
    let mut process = room.process(&["touch", "/made"]);
    process.root = Root::Directory(room.lower());
    assert_eq!(ran(&process).unwrap().exit, Exit::Code(0));
    assert!(room.lower().join("made").exists());
    assert!(!room.lower().join("etc/hosts").exists() && !room.lower().join("proc").exists());
}

fn without_network_there_is_only_loopback() {
    let room = Room::busybox();
    let mut process = room.process(&["/bin/sh", "-c", "ls /sys/class/net; ip link show lo | grep -c UP"]);
    process.network = Network::None;
    assert_eq!(ran(&process).unwrap().text(), "lo\n1");
}

fn a_root_that_cannot_be_stacked_says_why() {
    let room = Room::busybox();
    fs::remove_dir_all(room.lower()).unwrap();
    match failure(&room.process(&["true"])) {
        Failure::Overlay { layers: 1, option, .. } => assert_eq!(option, "lowerdir+=lower"),
        other => panic!("{other:?}"),
    }
}

fn devices_work() {
    let script = "head -c 3 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x > /dev/full || echo full; \
        stat -c %a /dev/null /dev/shm; readlink /dev/ptmx; readlink /dev/fd; ls /dev";
    let said = Room::busybox().shell(&format!("exec 2>/dev/null; {script}")).text();
    assert_eq!(
        said,
        "3\n4\nfull\n666\n1777\npts/ptmx\n/proc/self/fd\ncore\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\n\
         stderr\nstdin\nstdout\ntty\nurandom\nzero"
    );
}
