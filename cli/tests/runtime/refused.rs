//! What cannot be had, and how that is told.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::build;
use super::support::Oxbox;
use super::support::terminal::Terminal;

#[test]
fn a_runtime_that_is_not_there_is_said_before_anything_is_made() {
    let oxbox = Oxbox::of_lines("COPY motd /\nRUN true\n");
    for name in ["no-such-runtime", "/nowhere/runc", "./context/Dockerfile"] {
        let ran = oxbox.run(["build", "--runtime", name, "context"]);
        ran.fails(1, &["there is no runtime", name, "hint: "]);
        assert!(!ran.stderr.contains("COPY"), "{}", ran.stderr);
    }
}

#[test]
fn isolation_that_leaves_nothing_to_a_runtime_is_said_before_anything_is_made() {
    let oxbox = Oxbox::of_lines("COPY motd /\nRUN true\n");
    for rung in ["single-id", "chroot", "none"] {
        let ran = oxbox.run(["build", "--runtime", "runc", "--isolation", rung, "context"]);
        ran.fails(
            1,
            &[&format!("a runtime cannot be used with isolation {rung}"), "hint: leave --runtime away"],
        );
        assert!(!ran.stderr.contains("COPY"), "{}", ran.stderr);
    }
}

#[test]
fn root_in_a_user_namespace_of_all_ids_is_no_user_to_a_runtime() {
    let oxbox = Oxbox::of_lines("RUN true\n");
    let ran = oxbox.run(["build", "--runtime", "runc", "--isolation", "rootless", "context"]);
    // Root whose ids are not the machine's all is one.
    if ran.code != Some(0) {
        ran.fails(1, &["where all ids are mapped, for root of the machine", "hint: use --isolation root"]);
    }
}

#[test]
fn a_runtime_that_does_not_start_a_program_has_its_words_in_the_error() {
    let oxbox = Oxbox::of_lines("RUN true\n");
    let script = oxbox.path("runtime");
    for (text, words) in [
        (
            "#!/bin/sh\necho 'words of its own' >&2; exit 3\n",
            "did not start it (exit code 3): words of its own",
        ),
        ("#!/bin/sh\nkill -9 $$\n", "did not start it (signal 9)"),
        ("#!/bin/sh\nexit 0\n", "wrote no process id"),
        ("#!/nowhere/sh\n", "cannot be executed: No such file or directory"),
    ] {
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        let ran = oxbox.run(["build", "--runtime", "./runtime", "context"]);
        ran.fails(1, &["the runtime runtime ", words, "hint: without --runtime"]);
    }
    let ran = oxbox.run(build(&["--runtime-flag=no-such-flag"]));
    ran.fails(1, &["the runtime runc did not start it", "no-such-flag"]);
}

#[test]
fn what_a_runtime_says_is_cut() {
    let oxbox = Oxbox::of_lines("RUN true\n");
    let script = oxbox.path("runtime");
    let text = "#!/bin/sh\nhead -c 1000000 /dev/zero | tr '\\0' x >&2\nfor n in 1 2 3 4 5 6 7 8 9; do echo line-$n >&2; done\nexit 1\n";
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let ran = oxbox.run(["build", "--runtime", "./runtime", "context"]);
    let error = ran.stderr.lines().find(|line| line.contains("cause: the runtime")).unwrap();
    assert!(error.contains("line-9") && error.len() < 4096, "{error}");
}

#[test]
fn a_program_that_is_not_there_is_told_as_without_a_runtime() {
    let oxbox = Oxbox::of_lines("RUN [\"/bin/nothing\"]\n");
    let ran = oxbox.run(build(&[]));
    ran.fails(1, &["cannot run /bin/nothing: no such file in the image", "hint: "]);
    oxbox.dockerfile("FROM localhost/busybox\nRUN [\"nothing\"]\n");
    oxbox.run(build(&[])).fails(1, &["cannot run nothing: no such file in the image"]);
    oxbox.dockerfile("FROM localhost/busybox\nUSER nobody-known\nRUN true\n");
    oxbox.run(build(&[])).fails(1, &["user \"nobody-known\" is not in the image's /etc/passwd"]);
}

#[test]
fn a_shell_that_is_not_there_is_told_as_without_a_runtime() {
    let oxbox = Oxbox::new();
    fs::create_dir_all(oxbox.path("context")).unwrap();
    fs::copy("/bin/busybox", oxbox.path("context/busybox")).unwrap();
    oxbox.dockerfile("FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"false\"]\n");
    let command = oxbox.command(["build", "--runtime", "runc", "--on-error=shell", "context"]);
    let left = Terminal::start(&command, 100, 40).end();
    let text = left.lines.join("\n");
    assert_eq!(left.code, Some(1), "{text}");
    assert!(text.contains("no shell: cannot run /bin/sh"), "{text}");
}

#[test]
fn a_limit_that_is_beyond_our_own_is_told_as_without_a_runtime() {
    let oxbox = Oxbox::of_lines("RUN true\n");
    let ran = oxbox.limited(64, build(&["--ulimit=nofile=2000000000"])).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success() || said.contains("--ulimit nofile=2000000000"), "{said}");
}

#[test]
fn info_tells_which_runtimes_there_are() {
    let oxbox = Oxbox::of_lines("");
    let told = oxbox.json(["info", "--json"]);
    let names = told["machine"]["runtimes"].as_array().unwrap();
    assert!(names.iter().any(|path| path.as_str().unwrap().ends_with("/runc")), "{names:?}");
    assert!(oxbox.ok(["info"]).contains("OCI runtimes: "));
}
