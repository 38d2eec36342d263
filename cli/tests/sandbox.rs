//! What RUN may be given on the command line, and a shell where it failed.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::Oxbox;
use support::terminal::Terminal;

fn build<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["build", "--no-cache", "--progress", "plain"], arguments, &["context"]].concat()
}

#[test]
fn what_run_is_given_it_finds() {
    let oxbox = Oxbox::of_lines(
        "RUN cat /proc/self/status | grep CapEff; ulimit -n; hostname; grep there /etc/hosts; \
        cat /etc/resolv.conf; df -k /dev/shm | tail -n 1; cat /in/file; touch /in/x; test -c /dev/mine; df /memory | tail -n 1\n",
    );
    fs::create_dir(oxbox.path("shared")).unwrap();
    fs::write(oxbox.path("shared/file"), "from the host\n").unwrap();
    let volume = format!("{}:/in:ro", oxbox.path("shared").display());
    let ran = oxbox.run(build(&[
        "--cap-drop=ALL",
        "--cap-add=CHOWN",
        "--ulimit=nofile=55:66",
        "--hostname=forge",
        "--add-host=there:192.0.2.9",
        "--add-host=here=host-gateway",
        "--dns=192.0.2.53",
        "--dns-search=example.org",
        "--shm-size=5m",
        "--volume",
        &volume,
        "--device=/dev/zero:/dev/mine:r",
        "--mount=type=tmpfs,target=/memory,tmpfs-size=3m",
    ]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for line in [
        "CapEff:\t0000000000000001",
        " 55\n",
        " forge\n",
        "192.0.2.9\tthere",
        "nameserver 192.0.2.53",
        "search example.org",
        " 5120 ",
        "from the host",
        "Read-only file system",
        " 3072 ",
    ] {
        assert!(ran.stderr.contains(line), "{line:?} in {}", ran.stderr);
    }
}

#[test]
fn what_a_run_does_to_a_volume_with_an_overlay_is_seen_by_it_alone() {
    let oxbox = Oxbox::of_lines(
        "RUN echo changed > /in/file && rm /in/gone && touch /in/new && cat /in/file && ls /in\n\
        RUN cat /in/file && ls /in\n",
    );
    let shared = oxbox.path("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "from the host\n").unwrap();
    fs::write(shared.join("gone"), "").unwrap();
    let ran = oxbox.run(build(&["-v", &format!("{}:/in:O", shared.display())]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let said = |line: &str| ran.stderr.lines().filter(|said| said.ends_with(&format!(" {line}"))).count();
    assert_eq!(
        [said("changed"), said("new"), said("from the host"), said("gone")],
        [1, 1, 1, 1],
        "{}",
        ran.stderr
    );
    let mut names: Vec<_> = fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["file", "gone"]);
    assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "from the host\n");
}

#[test]
fn what_does_not_decide_about_the_result_does_not_decide_about_the_cache() {
    let oxbox = Oxbox::of_lines("RUN echo made > /made\n");
    let again = |arguments: &[&str]| {
        let ran = oxbox.run([&["build", "--progress", "plain"], arguments, &["context"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr.contains("CACHED")
    };
    assert!(!again(&["--add-host=a:192.0.2.1"]));
    // Of a host the name counts and not where it is; what limits and volumes do is not looked at.
    assert!(again(&[
        "--add-host=a:192.0.2.2",
        "--dns=192.0.2.1",
        "--cap-drop=MKNOD",
        "--volume=/tmp:/x",
        "--device=/dev/zero"
    ]));
    assert!(!again(&["--add-host=b:192.0.2.2"]));
    assert!(!again(&["--ulimit=nofile=50"]));
    assert!(!again(&["--network=none"]));
}

#[test]
fn options_that_make_no_sense_are_said_before_anything_is_made() {
    let oxbox = Oxbox::of_lines("RUN true\n");
    for (option, says) in [
        ("--cap-add=WHAT", "there is no capability \"WHAT\""),
        ("--ulimit=files=1", "there is no limit of \"files\""),
        ("--memory=lots", "not a size of memory"),
        ("--memory-swap=1g", "--memory"),
        ("--device=zero", "not HOST[:CONTAINER[:PERMISSIONS]]"),
        ("--add-host=a", "not NAME:ADDRESS"),
        ("--dns=example.org", "not an address"),
        ("--volume=name:/x", "not HOST:TARGET"),
        ("--volume=/nowhere/at/all:/x", "cannot show /nowhere/at/all"),
        ("--volume=/etc/passwd:/x:O", "/etc/passwd is no directory"),
        ("--volume=/tmp:/x:U", "would change owners on this machine"),
        ("--mount=type=cache,target=/x", "not type=bind"),
        ("--security-opt=seccomp=/nowhere/profile", "cannot read the seccomp profile"),
        ("--security-opt=what", "not seccomp="),
        ("--on-error=shell", "needs a terminal"),
    ] {
        let ran = oxbox.run(["build", option, "context"]);
        ran.fails(2, &[says]);
        assert!(!ran.stderr.contains("RUN true"), "{option}: {}", ran.stderr);
    }
}

#[test]
fn an_insecure_run_is_more_than_a_sandbox_once_it_is_allowed() {
    let oxbox = Oxbox::of_lines(
        "RUN --security=insecure mkdir /mnt && mount -t tmpfs none /mnt && mkdir /mnt/x && echo mounted\n",
    );
    let ran = oxbox.run(build(&["--allow=security.insecure"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("mounted"), "{}", ran.stderr);
}

#[test]
fn the_hosts_network_is_allowed_beside_another() {
    let oxbox = Oxbox::of_lines("RUN --network=host ls /sys/class/net\n");
    oxbox.run(build(&["--network=none"])).fails(2, &["--network"]);
    let ran = oxbox.run(build(&["--network=none", "--allow=network.host"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn a_program_that_does_not_listen_ends_with_the_build() {
    let oxbox = Oxbox::of_lines("RUN trap '' TERM INT; echo ready; while :; do sleep 100; done\n");
    for _ in 0..2 {
        let mut command = oxbox.command(build(&[]));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut stderr = child.stderr.take().unwrap();
        while !said.contains(" ready") {
            use std::io::Read as _;
            let mut bytes = [0; 512];
            let count = stderr.read(&mut bytes).unwrap();
            assert!(count > 0, "{said}");
            said.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        let begun = Instant::now();
        support::server::send(&child, rustix::process::Signal::INT);
        assert_eq!(child.wait().unwrap().code(), Some(130));
        // Its grace is less than a second; the rest is a machine with much to do.
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    let left = fs::read_dir(oxbox.root().join("snapshots/active")).map_or(0, |entries| entries.count());
    assert_eq!(left, 0);
}

/// A build that fails in a place of its own.
fn failing(shell: &str) -> Oxbox {
    Oxbox::of_lines(&format!(
        "ENV WHO=nobody-else\nWORKDIR /place\n{shell}RUN echo written > /place/file && echo last words && exit 7\n"
    ))
}

fn at(oxbox: &Oxbox) -> Terminal {
    Terminal::start(&oxbox.command(["build", "--on-error=shell", "context"]), 100, 40)
}

#[test]
fn a_shell_is_opened_where_a_run_failed() {
    let oxbox = failing("");
    let mut terminal = at(&oxbox);
    terminal.until("the build fails when it ends");
    terminal.press(b"echo in-$(cat file)-$WHO-$(pwd)-$(tty); stty size\n");
    terminal.until("in-written-nobody-else-/place-/dev/pts/0");
    terminal.until("40 100");
    terminal.resize(90, 30);
    terminal.press(b"until stty size | grep '30 90'; do :; done\n");
    terminal.until("30 90");
    terminal.interrupt_a_program();
    terminal.press(b"exit 0\n");
    let left = terminal.end();
    let text = left.lines.join("\n");
    assert_eq!(left.code, Some(1), "{text}");
    assert!(text.contains("last words") && text.contains("exited with code 7"), "{text}");
    assert!(text.contains("failed"), "{text}");
    let active = fs::read_dir(oxbox.root().join("snapshots/active")).map_or(0, |entries| entries.count());
    assert_eq!(active, 0);
}

#[test]
fn the_shell_is_the_stages_own_and_what_runs_in_it_ends_with_it() {
    let oxbox = failing("SHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n");
    let mut terminal = at(&oxbox);
    terminal.until("the build fails when it ends");
    terminal.press(b"echo shell-$(tr '\\0' - < /proc/$$/cmdline)end; (sleep 100000 &) ; exit\n");
    terminal.until("shell-/bin/busybox-sh-end");
    assert_eq!(terminal.end().code, Some(1));
}

#[test]
fn an_image_without_a_shell_says_so() {
    let oxbox = Oxbox::new();
    fs::create_dir_all(oxbox.path("context")).unwrap();
    fs::copy("/bin/busybox", oxbox.path("context/busybox")).unwrap();
    oxbox.dockerfile("FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"false\"]\n");
    let left = at(&oxbox).end();
    let text = left.lines.join("\n");
    assert_eq!(left.code, Some(1), "{text}");
    assert!(text.contains("no shell: cannot run /bin/sh"), "{text}");
}
