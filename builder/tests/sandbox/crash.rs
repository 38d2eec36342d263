//! Kill -9 of a builder in the middle of a RUN: nothing stays mounted, nothing keeps running.
//!
//! ```text
//! test ─▶ supervise (adopts orphans) ─▶ build ─▶ oxbox-init ─▶ process 1 ─▶ program
//!                                         ✗ killed once the program said that it runs
//! ```

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use oxbox_builder::exec::{Access, Interrupt, Mount, Source, run};
use rustix::process::{Pid, WaitOptions, set_child_subreaper, wait};

use crate::room::{self, Room};

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![("a_killed_builder_leaves_no_process_and_no_mount", a_killed_builder_leaves_no_process_and_no_mount)]
}

fn a_killed_builder_leaves_no_process_and_no_mount() {
    let room = Room::busybox();
    let fifo = room.path().join("shared/fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let status = Command::new("/proc/self/exe").arg("supervise").arg(room.path()).status().unwrap();
    assert!(status.success());
    assert_eq!(mounted_anywhere(room.path()), Vec::<PathBuf>::new());
}

/// Runs the builder, kills it and waits until none of its descendants is left.
pub(crate) fn supervise(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let room = PathBuf::from(arguments.next().unwrap());
    set_child_subreaper(Some(Pid::INIT)).unwrap();
    let mut builder = Command::new("/proc/self/exe").arg("build").arg(&room).spawn().unwrap();
    let mut ready = [0; 6];
    fs::File::open(room.join("shared/fifo")).unwrap().read_exact(&mut ready).unwrap();
    assert!(!mounted_anywhere(&room).is_empty());
    builder.kill().unwrap();
    builder.wait().unwrap();
    // Orphans come here; this ends when the last one did.
    while let Ok(Some(_)) = wait(WaitOptions::empty()) {}
    ExitCode::SUCCESS
}

pub(crate) fn build(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let room = PathBuf::from(arguments.next().unwrap());
    let mut process = room::process(&room, &["/bin/sh", "-c", "echo ready > /shared/fifo; sleep 100000"]);
    process.mounts = vec![Mount {
        target: "/shared".to_owned(),
        source: Source::Bind { path: room.join("shared"), access: Access::ReadWrite },
    }];
    run(&process, &Interrupt::new(), &mut |_, _| {}).unwrap();
    ExitCode::FAILURE
}

/// The processes in whose view something of `room` is mounted.
fn mounted_anywhere(room: &Path) -> Vec<PathBuf> {
    let room = room.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let tables = processes.map(|process| process.join("mountinfo"));
    // A process may end while its table is opened; then it has no mounts.
    tables.filter(|table| fs::read_to_string(table).unwrap_or_default().contains(room)).collect()
}
