//! How programs end, and what is left then.

use std::fs;
use std::io::Read as _;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use super::build;
use super::support::terminal::Terminal;
use super::support::{Oxbox, server};

/// A program that says when it is there, and holds a pipe of the test's open for as long as it lives.
const HOLDS: &str =
    "RUN trap '' TERM INT; exec 7> /in/pipe; (sleep 100000 &); echo ready >&7; sleep 100000\n";

/// Starts a build, waits until its program is there, and returns the pipe that it holds.
fn begun(oxbox: &Oxbox, more: &[&str]) -> (Child, fs::File) {
    fs::create_dir_all(oxbox.path("shared")).unwrap();
    let pipe = oxbox.path("shared/pipe");
    if !pipe.exists() {
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }
    let volume = format!("{}:/in", oxbox.path("shared").display());
    let arguments = build(&[&["--volume", &volume], more].concat()).join("\n");
    let mut command = oxbox.command(arguments.split('\n'));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut pipe = fs::File::open(pipe).unwrap();
    let mut word = [0; 6];
    pipe.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ready\n");
    (child, pipe)
}

/// Waits until nobody holds the pipe.
fn released(mut pipe: fs::File) {
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

/// The control groups of a builder that are still there.
fn groups(builder: u32) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let tops = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let tops: Vec<_> = tops.map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect();
    let mut found = Vec::new();
    for top in tops {
        let mut folders = vec![std::path::PathBuf::from(top)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
                if entry.file_name().to_string_lossy().starts_with(&format!("oxbox-{builder}-")) {
                    found.push(entry.path().display().to_string());
                } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(entry.path());
                }
            }
        }
    }
    found
}

fn is_empty(folder: &str, oxbox: &Oxbox) -> bool {
    fs::read_dir(oxbox.root().join(folder)).map_or(0, Iterator::count) == 0
}

#[test]
fn a_programs_code_is_the_errors() {
    let oxbox = Oxbox::of_lines("RUN echo out; echo err >&2; exit 7\n");
    let ran = oxbox.run(build(&[]));
    ran.fails(1, &["exited with code 7", " out\n", " err\n"]);
    assert!(is_empty("snapshots/active", &oxbox) && is_empty("groups", &oxbox));
}

#[test]
fn a_signal_is_told_as_one() {
    // It is process 1, which nobody inside can kill; the kernel can.
    let oxbox = Oxbox::of_lines(
        "RUN [\"/bin/busybox\", \"dd\", \"if=/dev/zero\", \"of=/dev/null\", \"bs=200M\", \"count=1\"]\n",
    );
    let ran = oxbox.run(build(&["--memory=20m", "--memory-swap=20m"]));
    if ran.stderr.contains("cannot be enforced here") {
        return eprintln!("SKIPPED: control groups cannot be written here");
    }
    ran.fails(1, &["was killed by signal 9; it ran out of memory (--memory)"]);
    let ran = oxbox.run(build(&["--memory=400m"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(is_empty("groups", &oxbox));
}

#[test]
fn processes_are_counted() {
    let oxbox = Oxbox::of_lines("RUN for n in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo started\n");
    let ran = oxbox.run(build(&["--pids-limit=5"]));
    if ran.stderr.contains("cannot be enforced here") {
        return eprintln!("SKIPPED: control groups cannot be written here");
    }
    assert!(ran.stderr.contains("can't fork"), "{}", ran.stderr);
    let ran = oxbox.run(build(&["--pids-limit=50"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn an_interrupt_ends_all_of_it() {
    let oxbox = Oxbox::of_lines(HOLDS);
    let (mut child, pipe) = begun(&oxbox, &[]);
    server::send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    released(pipe);
    assert_eq!(groups(child.id()), Vec::<String>::new());
    assert!(is_empty("snapshots/active", &oxbox) && is_empty("groups", &oxbox));
}

#[test]
fn the_first_step_that_fails_ends_the_others() {
    let oxbox = Oxbox::of_lines("");
    oxbox.dockerfile(&format!(
        "FROM localhost/busybox AS one\n{HOLDS}FROM localhost/busybox AS two\nRUN until test -e /in/go; do :; done; exit 3\n\
         FROM scratch\nCOPY --from=one / /\nCOPY --from=two / /\n"
    ));
    let (mut child, pipe) = begun(&oxbox, &["--jobs=4"]);
    fs::write(oxbox.path("shared/go"), "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    released(pipe);
    assert!(is_empty("snapshots/active", &oxbox) && is_empty("groups", &oxbox));
}

#[test]
fn a_builder_that_is_killed_leaves_nothing_running_and_nothing_mounted() {
    let oxbox = Oxbox::of_lines(HOLDS);
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let (mut child, pipe) = begun(&oxbox, &[]);
    server::send(&child, Signal::KILL);
    child.wait().unwrap();
    released(pipe);
    assert!(!mounts().contains(oxbox.folder().to_str().unwrap()), "{}", mounts());
    // What is left of it the next build takes away.
    oxbox.dockerfile("FROM localhost/busybox\nRUN true\n");
    let ran = oxbox.run(build(&[]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(groups(child.id()), Vec::<String>::new());
    assert!(is_empty("snapshots/active", &oxbox) && is_empty("groups", &oxbox));
}

#[test]
fn a_shell_where_a_run_failed_is_the_runtimes_too() {
    let oxbox = Oxbox::of_lines("WORKDIR /place\nRUN echo written > /place/file && exit 7\n");
    let command = oxbox.command(["build", "--runtime", "runc", "--on-error=shell", "context"]);
    let mut terminal = Terminal::start(&command, 100, 40);
    terminal.until("the build fails when it ends");
    terminal.press(b"echo in-$(cat file)-$(pwd); stty size\n");
    terminal.until("in-written-/place");
    terminal.until("40 100");
    terminal.resize(90, 30);
    terminal.press(b"until stty size | grep '30 90'; do :; done\n");
    terminal.until("30 90");
    terminal.interrupt_a_program();
    terminal.press(b"exit 0\n");
    assert_eq!(terminal.end().code, Some(1));
    assert!(is_empty("snapshots/active", &oxbox) && is_empty("groups", &oxbox));
}
