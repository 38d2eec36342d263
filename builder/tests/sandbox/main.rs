//! Runs real programs in real sandboxes: as root, on this kernel, with busybox as the image.
//!
//! This binary plays several parts, told apart by how it is started: the sandbox's init, a program
//! inside a sandbox (`probe`), a builder that gets killed (`crash`), and the tests themselves.

// All of it is tests, which clippy cannot see: there is no harness.
#![allow(clippy::unwrap_used)]

mod allowed;
mod bench;
mod bounded;
#[path = "../build/room.rs"]
mod builds;
mod contained;
mod crash;
mod escape;
mod given;
mod layers;
mod mounts;
mod private;
mod probe;
mod room;
mod semantics;
mod streams;
mod unmounted;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn main() -> ExitCode {
    if let Some(code) = oxbox_builder::exec::init_main() {
        return code;
    }
    limit_descriptors();
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("probe") => return probe::main(arguments),
        Some("supervise") => return crash::supervise(arguments),
        Some("build") => return crash::build(arguments),
        Some("unmounted") => return unmounted::main(arguments),
        Some("bench") => return bench::main(arguments),
        _ => {}
    }
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: every test of the sandbox needs root, and this is not root");
    }
    let tests = [
        given::tests(),
        contained::tests(),
        allowed::tests(),
        bounded::tests(),
        escape::tests(),
        private::tests(),
        streams::tests(),
        layers::tests(),
        mounts::tests(),
        semantics::tests(),
        crash::tests(),
        unmounted::tests(),
    ];
    let tests = tests.into_iter().flatten().map(|(name, test): (&str, fn())| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(!is_root)
    });
    libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
}

/// A builder that was started with an odd limit, and raised its own.
fn limit_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(given::DESCRIPTORS), maximum }).unwrap();
    oxbox_builder::exec::descriptors::raise_limit();
}
