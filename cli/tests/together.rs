//! Several builds at once that need the same: one makes it, the others wait and take it over.
//!
//! A RUN asks the test for leave to go on, by TCP: that counts how often it runs, and holds it up until
//! the other build waits.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

use rustix::process::Signal;
use support::{Oxbox, server};

/// A build under way, and what it says.
struct Build {
    child: Child,
    told: BufReader<std::process::ChildStderr>,
}

impl Build {
    fn start(oxbox: &Oxbox, arguments: &[&str]) -> Self {
        let mut command = oxbox.command([&["build"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        Self { child, told }
    }

    /// Reads until it says this.
    fn says(&mut self, text: &str) {
        let mut all = String::new();
        while !all.contains(text) {
            let mut line = String::new();
            assert_ne!(self.told.read_line(&mut line).unwrap(), 0, "it never said {text:?}: {all}");
            all.push_str(&line);
        }
    }

    /// Waits for its end; returns its code, its result, and what else it said.
    fn end(mut self) -> (Option<i32>, String, String) {
        let mut told = String::new();
        self.told.read_to_string(&mut told).unwrap();
        let output = self.child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), told)
    }
}

/// A context whose RUN says that it runs, and waits for a line.
fn context(oxbox: &Oxbox) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    oxbox.busybox();
    oxbox.dockerfile(&format!(
        "FROM localhost/busybox\nRUN nc 127.0.0.1 {port} > /answer; cat /proc/sys/kernel/random/uuid > /id\n",
    ));
    listener
}

fn answer(mut stream: TcpStream) {
    stream.write_all(b"go on\n").unwrap();
}

#[test]
fn one_of_two_builds_makes_what_both_need() {
    let oxbox = Oxbox::new();
    let listener = context(&oxbox);
    let first = Build::start(&oxbox, &["context"]);
    let (running, _) = listener.accept().unwrap();
    let mut second = Build::start(&oxbox, &["--jobs", "1", "context"]);
    second.says("waiting for another build");
    answer(running);
    let (first, second) = (first.end(), second.end());
    assert_eq!((first.0, second.0), (Some(0), Some(0)), "{}{}", first.2, second.2);
    assert_eq!(first.1, second.1);
    assert!(second.2.contains("CACHED"), "{}", second.2);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "it ran once");
}

#[test]
fn what_a_killed_build_was_making_is_made_by_the_one_that_waits() {
    let oxbox = Oxbox::new();
    let listener = context(&oxbox);
    let mut first = Build::start(&oxbox, &["context"]);
    let (_running, _) = listener.accept().unwrap();
    let mut second = Build::start(&oxbox, &["context"]);
    second.says("waiting for another build");
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let (again, _) = listener.accept().unwrap();
    answer(again);
    let (code, _, told) = second.end();
    assert_eq!(code, Some(0), "{told}");
    assert!(!told.contains("CACHED"), "{told}");
    let left: Vec<_> =
        std::fs::read_dir(oxbox.root().join("locks/steps")).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_build_that_waits_can_be_interrupted_and_the_other_goes_on() {
    let oxbox = Oxbox::new();
    let listener = context(&oxbox);
    let first = Build::start(&oxbox, &["context"]);
    let (running, _) = listener.accept().unwrap();
    let mut second = Build::start(&oxbox, &["context"]);
    second.says("waiting for another build");
    server::send(&second.child, Signal::INT);
    assert_eq!(second.end().0, Some(130));
    answer(running);
    assert_eq!(first.end().0, Some(0));
}

#[test]
fn a_build_that_makes_everything_again_waits_for_nobody() {
    let oxbox = Oxbox::new();
    let listener = context(&oxbox);
    let first = Build::start(&oxbox, &["context"]);
    let (running, _) = listener.accept().unwrap();
    let second = Build::start(&oxbox, &["--no-cache", "context"]);
    let (again, _) = listener.accept().unwrap();
    answer(again);
    let second = second.end();
    answer(running);
    let first = first.end();
    assert_eq!((first.0, second.0), (Some(0), Some(0)), "{}{}", first.2, second.2);
    assert_ne!(first.1, second.1);
}

#[test]
fn builds_that_need_the_same_in_another_order_both_end() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM scratch\n");
    let stage = |name: &str| {
        format!(
            "FROM localhost/busybox AS {name}\nRUN cat /proc/sys/kernel/random/uuid > /{name}; sleep 0.2\n"
        )
    };
    let last = "FROM scratch\nCOPY --from=a /a /a\nCOPY --from=b /b /b\n";
    for (name, order) in [("one", ["a", "b"]), ("two", ["b", "a"])] {
        let text = order.map(stage).concat() + last;
        std::fs::write(oxbox.path(&format!("context/{name}")), text).unwrap();
    }
    for jobs in ["1", "2"] {
        let options = |name| ["--jobs", jobs, "-f", name, "context"];
        let builds = ["context/one", "context/two"].map(|name| Build::start(&oxbox, &options(name)));
        let [one, two] = builds.map(Build::end);
        assert_eq!((one.0, two.0), (Some(0), Some(0)), "{}{}", one.2, two.2);
        assert_eq!(one.1, two.1, "{}{}", one.2, two.2);
        std::fs::remove_file(oxbox.root().join("cache.db")).unwrap();
    }
}
