//! What is broken, missing or refused: a clear error, the exit code, and nothing half-written.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use support::Oxbox;
use support::disk::Disk;
use support::image::Picture;

const APP: &str = "docker.io/library/app:1";

fn motd() -> Picture {
    Picture::of("etc/motd", b"hello\n").layer("etc/issue", b"welcome\n")
}

/// All files below a folder that are not locks or sessions.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() && !path.ends_with(".oxbox") {
                folders.push(path);
            } else if path.is_file() {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_corrupt_blob_is_not_copied() {
    let oxbox = Oxbox::new();
    let server = oxbox.serve();
    oxbox.put(APP, &motd());
    let layer =
        oxbox.json(["inspect", "--json", "app:1"])["layers"][1]["digest"].as_str().unwrap().to_owned();
    let path = oxbox.store().blob_path(&layer.parse().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    for destination in [server.at("app:1"), "oci:layout:app".to_owned(), "oci-archive:app.tar".to_owned()] {
        oxbox.run(["copy", "app:1", &destination]).fails(1, &[&layer, "corrupt", "promised"]);
    }
    oxbox.run(["inspect", &server.at("app:1")]).fails(1, &["is not in docker://"]);
    oxbox.run(["inspect", "oci:layout:app"]).fails(1, &[]);
    assert!(!oxbox.path("app.tar").exists());
    assert!(!files(&oxbox.path("layout")).iter().any(|file| file.contains(&layer[7..])));
}

#[test]
fn a_truncated_archive_is_not_loaded() {
    let oxbox = Oxbox::new();
    oxbox.put(APP, &motd());
    oxbox.ok(["copy", "app:1", "oci-archive:whole.tar:app"]);
    oxbox.ok(["copy", "app:1", "docker-archive:saved.tar:app:1"]);
    for (transport, file) in [("oci-archive", "whole.tar"), ("docker-archive", "saved.tar")] {
        let whole = fs::read(oxbox.path(file)).unwrap();
        for length in [whole.len() / 2, 700, 3] {
            fs::write(oxbox.path("cut.tar"), &whole[..length]).unwrap();
            let ran = oxbox.run(["copy", &format!("{transport}:cut.tar"), "loaded:1"]);
            ran.fails(1, &["cut.tar"]);
        }
    }
    oxbox.run(["inspect", "loaded:1"]).fails(1, &["image loaded:1 is not in the local store"]);
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let oxbox = Oxbox::new();
    let noise: Vec<u8> =
        (0..6_000_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    oxbox.put(APP, &Picture::of("noise", &noise));
    let small = oxbox.path("small");
    let disk = Disk::of_blocks(small.clone(), 8);
    for destination in ["oci:small/layout:app", "oci-archive:small/app.tar", "dir:small/plain"] {
        oxbox.run(["copy", "app:1", destination]).fails(1, &["No space left on device"]);
    }
    let left = files(&small);
    assert!(left.iter().all(|file| !file.ends_with(".tar") && !file.contains("manifest")), "{left:?}");
    oxbox.run(["inspect", "oci:small/layout:app"]).fails(1, &[]);
    drop(disk);
}

#[test]
fn a_refused_login_says_where_the_credentials_came_from() {
    let oxbox = Oxbox::new();
    let registry = support::server::refuse_everybody();
    let image = format!("docker://{registry}/app:1");
    oxbox.run(["copy", &image, "x"]).fails(1, &["wants credentials and none are known", "--src-creds"]);
    let ran = oxbox.run(["copy", "--src-creds=me:hunter2", &image, "x"]);
    ran.fails(1, &["refuses the credentials from --src-creds"]);
    assert!(!ran.stderr.contains("hunter2"));
    let file = oxbox.path("auth.json");
    fs::write(&file, format!(r#"{{"auths":{{"{registry}":{{"auth":"bWU6aHVudGVyMg=="}}}}}}"#)).unwrap();
    let ran = oxbox.run(["inspect", "--authfile", file.to_str().unwrap(), &image]);
    ran.fails(1, &["refuses the credentials from ", file.to_str().unwrap()]);
    assert!(!ran.stderr.contains("bWU6"));
    assert!(!oxbox.root().exists());
}

#[test]
fn a_port_in_use_is_named() {
    let oxbox = Oxbox::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ran = oxbox.run(["serve", "--root", "registry", "--listen", &address.to_string()]);
    ran.fails(
        1,
        &[&format!("cannot listen on {address}"), &format!("another program has port {}", address.port())],
    );
    assert!(!oxbox.path("registry").exists());
}

#[test]
fn a_registry_that_is_not_there_is_an_error_and_no_image() {
    let oxbox = Oxbox::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    oxbox.run(["copy", &format!("docker://{nobody}/x"), "x"]).fails(1, &["cannot reach", "refused"]);
    assert!(!oxbox.root().join("store/index.json").exists());
}

#[test]
fn plain_http_where_https_is_demanded_hints_at_the_option() {
    let oxbox = Oxbox::new();
    let server = oxbox.serve();
    oxbox.run(["tags", "--tls-verify", &server.at("x")]).fails(1, &["--tls-verify=false"]);
}

#[test]
fn an_interrupted_copy_leaves_no_image_and_says_so() {
    let oxbox = Oxbox::new();
    // A registry that accepts and never answers: the copy is under way for as long as it takes.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let mut command = oxbox.command(["copy", &format!("docker://{address}/x"), "x"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let connection = silent.accept().unwrap();
        support::server::send(&child, signal);
        let ran = support::Ran::from(child.wait_with_output().unwrap());
        ran.fails(130, &["interrupted"]);
        drop(connection);
    }
    assert!(!oxbox.root().join("store/index.json").exists());
}

#[test]
fn what_nobody_allowed_is_refused_before_anything_is_made() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nRUN touch /made\nRUN --security=insecure true\n");
    let ran = oxbox.run(["build", "context"]);
    ran.fails(2, &["Dockerfile:3", "--allow security.insecure"]);
    assert!(!ran.stderr.contains("touch /made"), "{}", ran.stderr);
}
