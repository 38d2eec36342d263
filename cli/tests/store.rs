//! The commands of the local store: images, tag, rmi, prune.

mod support;

use serde_json::json;
use support::Oxbox;
use support::image::{Picture, blob, index};

fn motd() -> Picture {
    Picture::of("etc/motd", b"hello\n")
}

#[test]
fn nothing_is_made_by_looking() {
    let oxbox = Oxbox::new();
    assert_eq!(oxbox.ok(["images"]), "NAME   DIGEST   PLATFORM   SIZE   CREATED\n");
    assert_eq!(oxbox.json(["images", "--json"]), json!([]));
    oxbox.ok(["prune"]);
    oxbox.ok(["info"]);
    assert!(!oxbox.root().exists());
}

#[test]
fn images_are_listed_by_their_familiar_names() {
    let oxbox = Oxbox::new();
    let image = oxbox.put("docker.io/library/app:1", &motd().platform("linux/arm64"));
    let listed = oxbox.json(["images", "--json"]);
    assert_eq!(listed[0]["name"], "app:1");
    assert_eq!(listed[0]["digest"], image.digest.to_string());
    assert_eq!(listed[0]["platforms"], json!(["linux/arm64"]));
    assert_eq!(listed[0]["created"], "2026-01-02T03:04:05Z");
    let table = oxbox.ok(["images"]);
    let line = table.lines().nth(1).unwrap();
    for word in ["app:1", &image.digest.short(), "linux/arm64", "2026-01-02 03:04"] {
        assert!(line.contains(word), "{word} is not in {line}");
    }
}

#[test]
fn an_index_is_one_line_with_all_its_platforms() {
    let oxbox = Oxbox::new();
    let layout = oxbox.store();
    let pictures = [motd().platform("linux/amd64"), motd().platform("linux/arm64")];
    layout.tag("docker.io/library/many:latest", &index(&layout, &pictures)).unwrap();
    let listed = oxbox.json(["images", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["platforms"], json!(["linux/amd64", "linux/arm64"]));
    // Both have the same layer, which is stored once.
    let one = Oxbox::new();
    one.put("docker.io/library/one:latest", &motd());
    assert_eq!(listed[0]["size"], one.json(["images", "--json"])[0]["size"]);
}

#[test]
fn a_damaged_image_does_not_hide_the_others() {
    let oxbox = Oxbox::new();
    let broken = oxbox.put("docker.io/library/broken:latest", &Picture::of("a", b"a"));
    oxbox.put("docker.io/library/whole:latest", &motd());
    std::fs::write(oxbox.store().blob_path(&broken.digest), b"garbage").unwrap();
    let ran = oxbox.run(["images", "--json"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("cannot read broken:latest"), "{}", ran.stderr);
    let listed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(listed[0]["name"], "whole:latest");
}

#[test]
fn a_name_from_outside_cannot_drive_the_terminal() {
    let oxbox = Oxbox::new();
    oxbox.put("evil\u{1b}[2J", &motd());
    assert!(!oxbox.ok(["images"]).contains('\u{1b}'));
}

#[test]
fn a_tag_is_another_name_of_the_same_image() {
    let oxbox = Oxbox::new();
    let image = oxbox.put("docker.io/library/app:1", &motd());
    oxbox.ok(["tag", "app:1", "app:stable", "localhost:5000/team/app"]);
    let listed = oxbox.json(["images", "--json"]);
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["app:1", "app:stable", "localhost:5000/team/app:latest"]);
    assert!(listed.as_array().unwrap().iter().all(|row| row["digest"] == image.digest.to_string()));
}

#[test]
fn an_image_that_loses_its_name_stays_listed_until_it_is_pruned() {
    let oxbox = Oxbox::new();
    let old = oxbox.put("docker.io/library/app:latest", &Picture::of("old", b"old"));
    oxbox.put("docker.io/library/new:latest", &motd());
    oxbox.ok(["tag", "new", "app"]);
    let listed = oxbox.json(["images", "--json"]);
    assert_eq!(listed[2]["name"], json!(null));
    assert_eq!(listed[2]["digest"], old.digest.to_string());
    oxbox.ok(["prune"]);
    assert_eq!(oxbox.json(["images", "--json"]).as_array().unwrap().len(), 2);
    assert!(!oxbox.store().blob_path(&old.digest).exists());
}

#[test]
fn an_image_can_be_tagged_and_removed_by_its_digest() {
    let oxbox = Oxbox::new();
    let digest = oxbox.put("docker.io/library/app:1", &motd()).digest.to_string();
    assert_eq!(
        oxbox.json(["tag", "--json", &digest, "other"]),
        json!({"digest": digest, "names": ["other:latest"]})
    );
    oxbox.ok(["rmi", &digest]);
    assert_eq!(oxbox.json(["images", "--json"]), json!([]));
}

#[test]
fn rmi_takes_only_the_name() {
    let oxbox = Oxbox::new();
    oxbox.put("docker.io/library/app:1", &motd());
    oxbox.ok(["tag", "app:1", "app:2"]);
    assert!(oxbox.ok(["rmi", "app:1"]).starts_with("removed app:1 ("));
    let listed = oxbox.json(["images", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["name"], "app:2");
}

#[test]
fn rmi_removes_all_names_or_none() {
    let oxbox = Oxbox::new();
    oxbox.put("docker.io/library/app:1", &motd());
    oxbox.run(["rmi", "app:1", "absent"]).fails(1, &["image absent:latest is not in the local store"]);
    assert_eq!(oxbox.json(["images", "--json"])[0]["name"], "app:1");
}

#[test]
fn a_name_that_is_not_there_suggests_one_that_is() {
    let oxbox = Oxbox::new();
    oxbox.put("docker.io/library/busybox:latest", &motd());
    oxbox
        .run(["rmi", "bsuybox"])
        .fails(1, &["image bsuybox:latest is not in", "  hint: there is busybox:latest"]);
    oxbox.run(["tag", "busybox:1", "x"]).fails(1, &["  hint: there is busybox:latest"]);
}

#[test]
fn a_name_that_is_none_is_a_mistake_of_the_command_line() {
    let oxbox = Oxbox::new();
    oxbox
        .run(["rmi", "UPPER"])
        .fails(2, &["\"UPPER\" is not the name of an image", "  cause: ", "lowercase"]);
    let digest = format!("app@sha256:{}", "0".repeat(64));
    oxbox.run(["tag", "app", &digest]).fails(2, &["cannot be given as a name"]);
    oxbox.run(["images", "--no-such-option"]).fails(2, &["--no-such-option"]);
}

#[test]
fn prune_removes_what_no_name_reaches_and_says_what() {
    let oxbox = Oxbox::new();
    let kept = oxbox.put("docker.io/library/kept:latest", &motd());
    blob(&oxbox.store(), b"nobody needs this");
    let rehearsed = oxbox.json(["prune", "--dry-run", "--json"]);
    assert_eq!(rehearsed["dryRun"], true);
    assert_eq!(rehearsed["bytes"], 17);
    assert!(oxbox.store().blobs().unwrap().len() == 4);
    assert!(oxbox.ok(["prune"]).ends_with("removed 1 blob, 17 B\n"));
    assert_eq!(oxbox.json(["prune", "--json"])["blobs"], json!([]));
    assert!(oxbox.store().blob_path(&kept.digest).exists());
}

#[test]
fn a_rehearsed_prune_counts_what_only_unnamed_images_need() {
    let oxbox = Oxbox::new();
    let layout = oxbox.store();
    let unnamed = Picture::of("big", &[7; 4096]).store(&layout);
    layout.update(|entries| entries.add(&unnamed)).unwrap();
    drop(layout);
    let rehearsed = oxbox.json(["prune", "--dry-run", "--json"]);
    assert_eq!(oxbox.json(["images", "--json"]).as_array().unwrap().len(), 1);
    let pruned = oxbox.json(["prune", "--json"]);
    assert_eq!(pruned["unnamed"], json!([unnamed.digest]));
    for key in ["unnamed", "blobs", "bytes"] {
        assert_eq!(rehearsed[key], pruned[key]);
    }
}

#[test]
fn a_folder_that_is_no_store_is_told_so() {
    let oxbox = Oxbox::new();
    std::fs::create_dir_all(oxbox.root().join("store")).unwrap();
    oxbox.run(["images"]).fails(1, &["is not an OCI image layout"]);
}
