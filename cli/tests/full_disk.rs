//! A disk that runs full under `oxbox build` and `oxbox serve`: a clear error, nothing half-written, and
//! all is well again once there is room.
//!
//! The disk is a small tmpfs, which only root can mount: others skip, and say so.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::Oxbox;
use support::disk::{Disk, write_noise};
use support::image::Picture;

/// How the kernel says it, and thus how everybody knows it.
const FULL: &str = "No space left on device";

const HINT: &str = "  hint: the disk is full; `oxbox prune` removes what no image needs";

impl Oxbox {
    fn names(&self) -> Vec<Value> {
        let images = self.json(["images", "--json"]);
        images.as_array().unwrap().iter().map(|image| image["name"].clone()).collect()
    }
}

#[test]
fn a_layer_that_does_not_fit_fails_its_step_and_leaves_no_trace() {
    let oxbox = Oxbox::new();
    let Some(disk) = Disk::mount(oxbox.root(), 4) else { return };
    oxbox.put("localhost/base:latest", &Picture::of("etc/base", b"base"));
    oxbox.dockerfile("FROM localhost/base\nCOPY motd /motd\nCOPY noise /noise\n");
    write_noise(&oxbox.path("context/noise"), 8 << 20);
    let ran = oxbox.run(["build", "-t", "app", "context"]);
    ran.fails(1, &["context/Dockerfile:3: ", "COPY noise /noise failed", FULL, HINT]);
    assert_eq!(oxbox.names(), ["localhost/base:latest"]);
    assert!(disk.left() > 2 << 20, "what was half written went: {}", disk.left());
    oxbox.ok(["inspect", "--validate", "localhost/base"]);
    assert_eq!(oxbox.json(["prune", "--json"])["leftovers"], 0);
    write_noise(&oxbox.path("context/noise"), 1 << 20);
    let again = oxbox.run(["build", "-t", "app", "context"]);
    assert!(again.stderr.contains("#2 CACHED"), "{}", again.stderr);
    oxbox.ok(["inspect", "--validate", "app"]);
}

#[test]
fn a_run_that_fills_the_disk_fails_and_gives_it_back() {
    let oxbox = Oxbox::new();
    let Some(disk) = Disk::mount(oxbox.root(), 12) else { return };
    oxbox.busybox();
    // More than there is; and then as much as fits once, but not a second time as a layer.
    for (mebibytes, word) in [(64, "exited with code 1"), (5, FULL)] {
        let noise = format!("dd if=/dev/urandom of=/noise bs=1M count={mebibytes}");
        oxbox.dockerfile(&format!("FROM localhost/busybox\nRUN /bin/busybox {noise}\n"));
        let ran = oxbox.run(["build", "-t", "app", "context"]);
        ran.fails(1, &["context/Dockerfile:2: ", word, FULL]);
        assert_eq!(oxbox.names(), ["localhost/busybox:latest"]);
        assert!(disk.left() > 5 << 20, "{}", disk.left());
    }
    oxbox.dockerfile("FROM localhost/busybox\nRUN echo small > /small\n");
    oxbox.ok(["build", "-t", "app", "context"]);
    oxbox.ok(["inspect", "--validate", "app"]);
}

#[test]
fn a_build_on_a_disk_without_any_room_says_so() {
    let oxbox = Oxbox::new();
    let Some(disk) = Disk::mount(oxbox.root(), 4) else { return };
    oxbox.dockerfile("FROM scratch\nCOPY motd /motd\n");
    let old = oxbox.ok(["build", "-t", "old", "context"]);
    oxbox.dockerfile("FROM scratch\nCOPY motd /motd\nENV COLOUR=blue\n");
    disk.fill();
    oxbox.run(["build", "-t", "app", "context"]).fails(1, &["build cache", HINT]);
    oxbox.run(["tag", "old", "other"]).fails(1, &[FULL]);
    assert_eq!(oxbox.names(), ["old:latest"]);
    assert_eq!(oxbox.json(["inspect", "--json", "old"])["digest"], old.trim_end());
    disk.free();
    oxbox.ok(["build", "-t", "app", "context"]);
    oxbox.ok(["inspect", "--validate", "app"]);
}

#[test]
fn a_push_to_a_full_registry_is_refused_and_publishes_nothing() {
    let oxbox = Oxbox::new();
    let Some(disk) = Disk::mount(oxbox.path("registry"), 4) else { return };
    oxbox.put("docker.io/library/small:1", &Picture::of("etc/motd", b"hello\n"));
    write_noise(&oxbox.path("noise"), 8 << 20);
    oxbox.put("docker.io/library/large:1", &Picture::of("noise", &fs::read(oxbox.path("noise")).unwrap()));
    let server = oxbox.serve();
    oxbox.ok(["copy", "small:1", &server.at("team/small:1")]);

    oxbox.run(["copy", "large:1", &server.at("team/large:1")]).fails(1, &["507 Insufficient Storage"]);
    oxbox.run(["inspect", &server.at("team/large:1")]).fails(1, &["team/large"]);
    // The repository is there if the small config came in before the layer failed; a tag never is.
    let tags = oxbox.run(["tags", "--json", &server.at("team/large")]);
    match tags.code {
        Some(0) => assert_eq!(tags.stdout.trim(), "[]"),
        _ => tags.fails(1, &["team/large is not known"]),
    }
    assert_eq!(oxbox.json(["tags", "--json", &server.at("team/small")]), json!(["1"]));

    disk.fill();
    oxbox.run(["copy", "small:1", &server.at("team/other:1")]).fails(1, &["507 Insufficient Storage"]);
    oxbox.ok(["copy", &server.at("team/small:1"), "back:1"]);
    disk.free();
    // What came of the large layer is an upload session's, which does not expire yet.
    for upload in fs::read_dir(oxbox.path("registry/uploads")).unwrap() {
        fs::remove_file(upload.unwrap().path()).unwrap();
    }
    oxbox.ok(["copy", "small:1", &server.at("team/other:1")]);
    oxbox.ok(["copy", &server.at("team/other:1"), "oci:out:x"]);
    oxbox.ok(["inspect", "--validate", "oci:out:x"]);
}
