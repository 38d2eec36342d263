//! Ways out of the sandbox, each tried.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use oxbox_builder::exec::{Access, Exit, Interrupt, Mount, Source, Stream, run};

use crate::room::{Room, ran};

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![
        ("a_link_at_a_mount_point_stays_in_the_image", a_link_at_a_mount_point_stays_in_the_image),
        ("a_link_that_goes_round_is_no_mount_point", a_link_that_goes_round_is_no_mount_point),
        ("switches_of_the_kernel_are_locked", switches_of_the_kernel_are_locked),
        ("the_root_of_process_1_is_the_images", the_root_of_process_1_is_the_images),
        ("a_device_made_inside_cannot_be_opened", a_device_made_inside_cannot_be_opened),
        ("a_device_of_the_image_cannot_be_opened", a_device_of_the_image_cannot_be_opened),
        ("the_usual_devices_cannot_be_changed_for_others", the_usual_devices_cannot_be_changed_for_others),
        (
            "a_process_that_hides_in_a_session_of_its_own_ends_too",
            a_process_that_hides_in_a_session_of_its_own_ends_too,
        ),
        ("ten_thousand_open_files_are_no_harm", ten_thousand_open_files_are_no_harm),
        ("calls_of_dockers_profile_are_answered_as_there", calls_of_dockers_profile_are_answered_as_there),
        ("no_descriptor_of_the_builder_is_inherited", no_descriptor_of_the_builder_is_inherited),
        ("a_deaf_program_ends_by_the_second_signal", a_deaf_program_ends_by_the_second_signal),
        ("a_setuid_file_of_a_volume_is_seen_and_a_device_is_not", devices_of_a_volume_cannot_be_opened),
        ("nothing_can_be_typed_into_a_terminal", nothing_can_be_typed_into_a_terminal),
    ]
}

fn a_link_at_a_mount_point_stays_in_the_image() {
    let room = Room::busybox();
    let outside = room.path().join("outside");
    fs::create_dir(&outside).unwrap();
    // Up and out, and straight to a path of the host.
    symlink("../../../../../../../../..".to_owned() + outside.to_str().unwrap(), room.lower().join("up"))
        .unwrap();
    symlink(&outside, room.lower().join("away")).unwrap();
    let mut process = room.process(&["/bin/sh", "-c", "cat /up/x/secret /away/x/secret"]);
    process.mounts = ["/up/x", "/away/x"]
        .map(|target| Mount {
            target: format!("{target}/secret"),
            source: Source::File { content: b"hidden\n".to_vec(), mode: 0o400 },
        })
        .to_vec();
    assert_eq!(ran(&process).unwrap().text(), "hidden\nhidden");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

fn a_link_that_goes_round_is_no_mount_point() {
    let room = Room::busybox();
    symlink("b", room.lower().join("a")).unwrap();
    symlink("a", room.lower().join("b")).unwrap();
    let mut process = room.process(&["true"]);
    process.mounts = vec![Mount { target: "/a/x".to_owned(), source: Source::Tmpfs { size_bytes: None } }];
    assert!(ran(&process).is_err());
}

fn switches_of_the_kernel_are_locked() {
    let before = fs::read("/proc/sys/kernel/core_pattern").unwrap();
    let script = "for f in /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sysrq-trigger /proc/irq/default_smp_affinity \
        /sys/kernel/uevent_helper /sys/power/state /proc/self/../sys/kernel/modprobe; do (echo x > $f) 2>/dev/null && echo \"$f written\"; done; \
        mount -o remount,rw /proc/sys 2>/dev/null && echo remounted; umount /proc/sys 2>/dev/null && echo unmounted; \
        cat /proc/kcore /proc/keys 2>/dev/null | wc -c; echo over";
    assert_eq!(Room::busybox().shell(script).text(), "0\nover");
    assert_eq!(fs::read("/proc/sys/kernel/core_pattern").unwrap(), before);
}

fn the_root_of_process_1_is_the_images() {
    let script = "for at in root cwd exe fd/0 ns/mnt; do ls -l /proc/1/$at >/dev/null 2>&1 && \
        readlink /proc/1/$at; done; ls /proc/1/root/bin/busybox 2>/dev/null; cat /proc/1/environ 2>/dev/null | wc -c; \
        cat /proc/1/mem /proc/1/maps 2>/dev/null | wc -c; ls /proc/self/root/.. -d; cd /; cd ../../..; pwd";
    let said = Room::busybox().shell(script).text();
    assert!(said.ends_with("0\n0\n/proc/self/root/..\n/"), "{said}");
    assert!(!said.contains("host"), "{said}");
}

fn a_device_made_inside_cannot_be_opened() {
    let room = Room::busybox();
    // The host's disks, its memory, and what would do no harm.
    let script = "for at in /n /dev/n /dev/shm/n /tmp/n /dev/pts/n; do mknod $at b 254 0 2>/dev/null && \
        head -c 1 $at >/dev/null 2>&1 && echo \"$at read\"; rm -f $at; mknod $at c 1 5 2>/dev/null && \
        head -c 1 $at >/dev/null 2>&1 && echo \"$at used\"; done; mknod /kept b 8 0; echo over";
    assert_eq!(room.shell(script).text(), "over");
    // But it is made, and gets into the layer.
    let kept = fs::symlink_metadata(room.upper().join("kept")).unwrap();
    assert!(kept.file_type().is_block_device());
    assert_eq!(kept.rdev(), rustix::fs::makedev(8, 0));
}

fn a_device_of_the_image_cannot_be_opened() {
    let room = Room::busybox();
    let made =
        std::process::Command::new("mknod").arg(room.lower().join("zero")).args(["c", "1", "5"]).status();
    assert!(made.unwrap().success());
    assert_eq!(room.shell("head -c 1 /zero >/dev/null 2>&1 || echo refused").text(), "refused");
}

fn the_usual_devices_cannot_be_changed_for_others() {
    let before = fs::metadata("/dev/null").unwrap().mode();
    let script =
        "chmod 600 /dev/null; chown 33 /dev/null; echo x > /dev/null; rm /dev/null 2>/dev/null || echo kept";
    assert_eq!(Room::busybox().shell(script).text(), "kept");
    let after = fs::metadata("/dev/null").unwrap();
    assert_eq!((after.mode(), after.uid()), (before, 0));
}

fn a_process_that_hides_in_a_session_of_its_own_ends_too() {
    let room = Room::busybox();
    let shared = room.path().join("shared");
    let script = "(setsid sh -c '(trap \"\" TERM HUP INT; echo $$ > /shared/pid; while :; do sleep 1; done) &' &) ; \
        until [ -s /shared/pid ]; do :; done; echo left";
    let mut process = room.process(&["/bin/sh", "-c", script]);
    let source = Source::Bind { path: shared.clone(), access: Access::ReadWrite };
    process.mounts = vec![Mount { target: "/shared".to_owned(), source }];
    assert_eq!(ran(&process).unwrap().text(), "left");
    assert_eq!(holders(&shared), Vec::<String>::new());
}

/// Processes that see something of `path` mounted.
fn holders(path: &std::path::Path) -> Vec<String> {
    let path = path.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let seeing =
        processes.filter(|at| fs::read_to_string(at.join("mountinfo")).unwrap_or_default().contains(path));
    seeing.map(|at| at.display().to_string()).collect()
}

fn ten_thousand_open_files_are_no_harm() {
    let room = Room::busybox().with_probe(0o755);
    let mut process = room.process(&["/bin/probe", "probe", "files"]);
    process.sandbox.ulimits = vec!["nofile=12000".parse().unwrap()];
    if rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.is_some_and(|most| most < 12_000)
    {
        eprintln!("SKIPPED: this process may not have as many open files itself");
        return;
    }
    assert_eq!(ran(&process).unwrap().text(), "10000 open");
    // Beyond its limit they are refused, and the sandbox ends as ever.
    process.sandbox.ulimits = vec!["nofile=1000".parse().unwrap()];
    assert_eq!(ran(&process).unwrap().exit, Exit::Code(1));
}

fn calls_of_dockers_profile_are_answered_as_there() {
    let room = Room::busybox().with_probe(0o755);
    let ran = ran(&room.process(&["/bin/probe", "probe", "calls"])).unwrap();
    assert_eq!(
        ran.text(),
        "keyctl EPERM\nadd_key EPERM\nbpf EPERM\nperf_event_open EPERM\nuserfaultfd EPERM\nkexec_load EPERM\n\
         init_module EPERM\nopen_by_handle_at EPERM\nio_uring_setup EPERM\nclone3 ENOSYS\nptrace ESRCH\n\
         AF_ALG EPERM\nnewuser EPERM"
    );
}

fn no_descriptor_of_the_builder_is_inherited() {
    // One that is not closed by execve, as a careless library opens it.
    let file = fs::File::open("/etc/hostname").unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let script = "ls /proc/self/fd | wc -l; for n in 0 1 2; do readlink /proc/$$/fd/$n | cut -d: -f1; done";
    // `ls` itself has the folder open.
    assert_eq!(Room::busybox().shell(script).text(), "4\n/dev/null\npipe\npipe");
}

fn a_deaf_program_ends_by_the_second_signal() {
    let room = Room::busybox();
    let script =
        "trap '' TERM INT HUP; (trap '' TERM; sleep 100000) & echo ready; while :; do sleep 100; done";
    let process = room.process(&["/bin/sh", "-c", script]);
    let interrupt = Interrupt::new();
    let exit = run(&process, &interrupt, &mut |stream, line| {
        if stream == Stream::Stdout && line == b"ready" {
            interrupt.send(15);
            interrupt.send(9);
        }
    });
    assert_eq!(exit.unwrap(), Exit::Signal(9));
}

fn devices_of_a_volume_cannot_be_opened() {
    let room = Room::busybox();
    let shared = room.path().join("shared");
    fs::write(shared.join("tool"), "").unwrap();
    fs::set_permissions(shared.join("tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    let mut process = room.process(&[
        "/bin/sh",
        "-c",
        "mknod /in/zero c 1 5; head -c 1 /in/zero >/dev/null 2>&1 || echo refused; stat -c %a /in/tool",
    ]);
    process.mounts = vec![Mount {
        target: "/in".to_owned(),
        source: Source::Bind { path: shared, access: Access::ReadWrite },
    }];
    assert_eq!(ran(&process).unwrap().text(), "refused\n4755");
}

fn nothing_can_be_typed_into_a_terminal() {
    let room = Room::busybox().with_probe(0o755);
    let ran = ran(&room.process(&["/bin/probe", "probe", "typing"])).unwrap();
    assert_eq!(ran.text(), "no terminal");
}
