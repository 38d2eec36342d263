//! A layer larger than any 32-bit count passes through build, serve and copy, and no process grows with it.
//!
//! Zeros, uncompressed: what is measured is the way of the bytes, and no disk or compressor.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

use support::Oxbox;

const LAYER_BYTES: u64 = (4 << 30) + 1;
const MOST_KIB: u64 = 128 << 10;

/// The most memory that a living process ever had, in KiB; `None` once it has ended.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Runs what must succeed within the bound.
fn run_within_bound(oxbox: &Oxbox, arguments: &[&str]) {
    let mut command = oxbox.command(arguments);
    let mut child = command.env("BUILDKIT_PROGRESS", "none").stdout(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    let status = loop {
        most = peak(child.id()).unwrap_or(0).max(most);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // The kernel keeps the peak: only the last few milliseconds go unseen.
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{arguments:?}");
    assert!(most > 0 && most < MOST_KIB, "{arguments:?} took {most} KiB");
}

#[test]
fn four_gibibytes_pass_in_bounded_memory() {
    let oxbox = Oxbox::new();
    fs::create_dir(oxbox.path("context")).unwrap();
    File::create(oxbox.path("context/big")).unwrap().set_len(LAYER_BYTES).unwrap();
    fs::write(oxbox.path("context/Dockerfile"), "FROM scratch\nCOPY big /big\n").unwrap();
    let server = oxbox.serve();
    run_within_bound(&oxbox, &["build", "-t", "big", "--compression-format", "none", "context"]);
    run_within_bound(&oxbox, &["copy", "big", &server.at("big:1")]);
    let built = oxbox.ok(["inspect", "--raw", "big"]);
    // Room for what comes back.
    oxbox.ok(["rmi", "big"]);
    oxbox.ok(["prune"]);
    run_within_bound(&oxbox, &["copy", &server.at("big:1"), "oci:back:big"]);
    assert_eq!(oxbox.ok(["inspect", "--raw", "oci:back:big"]), built);
    let size = oxbox.json(["inspect", "--json", "oci:back:big"])["size"].as_u64().unwrap();
    assert!(size > LAYER_BYTES);
    let most = peak(server.pid()).unwrap();
    assert!(most < MOST_KIB, "serve took {most} KiB");
}
