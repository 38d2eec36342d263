//! Several builds at once that need the same: one makes it, the others wait and take it over.
//!
//! A RUN asks the test for leave to go on, by TCP: that counts how often it runs, and holds it up until
//! the other build waits.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};

use rustix::process::Signal;
use support::underway::Build;
use support::{Oxbox, server};

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
    let (first, second) = (first.succeeds(), second.succeeds());
    assert_eq!(first.stdout, second.stdout);
    assert!(second.stderr.contains("CACHED"), "{}", second.stderr);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "it ran once");
}

#[test]
fn what_a_killed_build_was_making_is_made_by_the_one_that_waits() {
    let oxbox = Oxbox::new();
    let listener = context(&oxbox);
    let first = Build::start(&oxbox, &["context"]);
    let (_running, _) = listener.accept().unwrap();
    let mut second = Build::start(&oxbox, &["context"]);
    second.says("waiting for another build");
    first.kill();
    let (again, _) = listener.accept().unwrap();
    answer(again);
    let told = second.succeeds().stderr;
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
    assert_eq!(second.end().code, Some(130));
    answer(running);
    first.succeeds();
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
    let second = second.succeeds();
    answer(running);
    let first = first.succeeds();
    assert_ne!(first.stdout, second.stdout);
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
        let [one, two] = builds.map(Build::succeeds);
        assert_eq!(one.stdout, two.stdout, "{}{}", one.stderr, two.stderr);
        std::fs::remove_file(oxbox.root().join("cache.db")).unwrap();
    }
}
