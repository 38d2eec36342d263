//! `build --explain` and `oxbox why`: the first thing that was different, for every way to differ.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use support::Oxbox;

/// Builds, and returns what is told of a step by a part of its title.
fn told(oxbox: &Oxbox, step: &str, options: &[&str]) -> Value {
    let result = oxbox.json([&["build", "--explain=json"], options, &["context"]].concat());
    let steps = result["explanation"]["steps"].as_array().unwrap();
    let found = steps.iter().find(|told| told["title"].as_str().unwrap().contains(step));
    found.unwrap_or_else(|| panic!("no {step}: {steps:#?}")).clone()
}

/// Why a step was made; its verdict if it was not.
fn why(oxbox: &Oxbox, step: &str, options: &[&str]) -> String {
    let told = told(oxbox, step, options);
    told["why"].as_str().or(told["verdict"].as_str()).unwrap().to_owned()
}

fn context(dockerfile: &str) -> Oxbox {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile(dockerfile);
    for (path, content) in [("src/a", "a"), ("src/b", "b"), ("src/c", "c")] {
        write(&oxbox, path, content);
    }
    oxbox
}

fn write(oxbox: &Oxbox, path: &str, content: &str) {
    let path = oxbox.path("context").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn a_step_is_new_then_cached_then_made_because_it_was_asked_for() {
    let oxbox = context("FROM scratch AS one\nCOPY src /src\n");
    assert_eq!(why(&oxbox, "COPY", &[]), "never built here");
    assert_eq!(why(&oxbox, "COPY", &[]), "cached");
    assert_eq!(why(&oxbox, "COPY", &["--no-cache"]), "--no-cache");
    assert_eq!(why(&oxbox, "COPY", &["--no-cache-filter=one"]), "--no-cache-filter names its stage");
    assert_eq!(told(&oxbox, "FROM", &[])["verdict"], "base");
}

#[test]
fn a_file_that_changed_is_named_with_what_it_was() {
    let oxbox = context("FROM scratch\nCOPY src /src\n");
    why(&oxbox, "COPY", &[]);
    write(&oxbox, "src/b", "longer");
    let reason = told(&oxbox, "COPY", &[])["reason"].clone();
    assert_eq!((&reason["kind"], &reason["path"]), (&"file".into(), &"src/b".into()));
    assert_eq!((&reason["old"]["size"], &reason["new"]["size"]), (&1.into(), &6.into()));
    assert_ne!(reason["old"]["content"], reason["new"]["content"]);
    fs::set_permissions(oxbox.path("context/src/a"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(why(&oxbox, "COPY", &[]), "src/a changed its mode: 0644 → 0600");
    fs::remove_file(oxbox.path("context/src/b")).unwrap();
    write(&oxbox, "src/d", "new");
    assert_eq!(why(&oxbox, "COPY", &[]), "src/b is gone, and 1 other path");
}

#[test]
fn an_instruction_and_what_stands_on_it_have_the_same_first_cause() {
    let dockerfile =
        |word: &str| format!("FROM localhost/busybox\nRUN echo {word} > /w\nRUN cat /w\nCOPY motd /m\n");
    let oxbox = context(&dockerfile("one"));
    why(&oxbox, "COPY", &[]);
    oxbox.dockerfile(&dockerfile("two"));
    let result = oxbox.json(["build", "--explain=json", "context"]);
    let steps = result["explanation"]["steps"].as_array().unwrap();
    let changed = "the instruction changed: RUN echo one > /w → RUN echo two > /w";
    assert_eq!(steps[1]["why"], changed);
    assert_eq!(steps[2]["why"], format!("[2/4] RUN echo two > /w: {changed}"));
    assert_eq!(steps[2]["reason"]["kind"], "input");
    assert_eq!(steps[3]["verdict"], "cached", "its layer holds the same on any other");
}

#[test]
fn a_variable_is_named_and_a_secret_one_is_not_shown() {
    let oxbox = context("FROM localhost/busybox\nARG VERSION=1\nARG API_TOKEN\nRUN true\n");
    why(&oxbox, "RUN", &["--build-arg", "API_TOKEN=hunter2"]);
    let options = ["--build-arg", "API_TOKEN=hunter2", "--build-arg", "VERSION=2"];
    assert_eq!(why(&oxbox, "RUN", &options), "variable VERSION changed: \"1\" → \"2\"");
    let options = ["--build-arg", "API_TOKEN=hunter3", "--build-arg", "VERSION=2"];
    let told = told(&oxbox, "RUN", &options);
    assert_eq!(told["why"], "variable API_TOKEN changed (its values are not shown)");
    assert!(!told.to_string().contains("hunter"), "{told}");
    let bytes = fs::read(oxbox.root().join("cache.db")).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("hunter"), "nor is it noted");
}

#[test]
fn another_base_is_a_cause() {
    let oxbox = context("FROM localhost/busybox\nRUN true\n");
    why(&oxbox, "RUN", &[]);
    let busybox = fs::read("/bin/busybox").unwrap();
    let picture = support::image::Picture::of("bin/busybox", &busybox).link("bin/sh", "busybox").user("root");
    oxbox.put("localhost/busybox:latest", &picture);
    let told = told(&oxbox, "RUN", &[]);
    let cause = &told["reason"]["because"];
    assert_eq!((&cause["kind"], &cause["name"]), (&"field".into(), &"digest".into()), "{told}");
    assert_ne!(cause["old"], cause["new"]);
}

#[test]
fn a_stage_is_a_cause_and_one_that_is_not_needed_is_told() {
    let oxbox = context(
        "FROM localhost/busybox AS build\nCOPY src /src\nRUN cat /src/* > /all\nFROM scratch\nCOPY --from=build /all /\n",
    );
    why(&oxbox, "COPY", &[]);
    assert_eq!(why(&oxbox, "RUN", &[]), "not-needed");
    write(&oxbox, "src/c", "C");
    let told = told(&oxbox, "--from=build", &[]);
    let because = &told["reason"]["because"];
    assert_eq!(
        (&told["reason"]["step"], &because["path"]),
        (&"[build 2/3] COPY src /src".into(), &"src/c".into())
    );
}

#[test]
fn a_result_that_was_lost_is_told() {
    let oxbox = context("FROM scratch\nCOPY src /src\n");
    why(&oxbox, "COPY", &[]);
    let image = oxbox.json(["build", "--json", "context"]);
    let digest = image["digest"].as_str().unwrap();
    let layers = oxbox.json(["inspect", "--json", digest])["layers"].clone();
    let layer = layers[0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    fs::remove_file(oxbox.root().join("store/blobs/sha256").join(layer)).unwrap();
    assert_eq!(why(&oxbox, "COPY", &[]), "its result is no longer in the store");
}

#[test]
fn the_table_goes_to_standard_error() {
    let oxbox = context("FROM scratch\nCOPY src /src\n");
    let ran = oxbox.run(["--progress", "none", "build", "--explain", "context"]);
    assert!(ran.stdout.starts_with("sha256:") && ran.stdout.lines().count() == 1, "{}", ran.stdout);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(
        lines[lines.len() - 2..],
        ["#1     FROM scratch          base", "#2     [1/1] COPY src /src   made   never built here",]
    );
}

#[test]
fn why_finds_the_build_of_an_image_and_who_made_each_layer() {
    let oxbox = context("FROM scratch\nCOPY src /src\n");
    assert!(oxbox.run(["why"]).stderr.contains("no build is remembered"));
    oxbox.ok(["build", "-t", "app:1", "context"]);
    write(&oxbox, "src/a", "A");
    oxbox.ok(["build", "-t", "app:2", "context"]);
    oxbox.ok(["build", "-t", "app:2", "context"]);
    oxbox.ok(["build", "-t", "app:3", "--label", "a=b", "context"]);
    let steps = |arguments: &[&str]| oxbox.json([&["why", "--json"], arguments].concat());
    let first = steps(&["app:1"]);
    assert_eq!(first["steps"][1]["why"], "never built here");
    let second = steps(&["app:2", "--step", "copy"]);
    assert_eq!((&second["times"], second["steps"].as_array().unwrap().len()), (&1.into(), 1));
    assert_eq!(second["steps"][0]["reason"]["path"], "src/a");
    // Nothing of the third was made for it: the layer is the second's.
    let third = steps(&["app:3", "--step", "#2"]);
    assert_eq!(third["steps"][0]["verdict"], "cached");
    assert_eq!(third["steps"][0]["origin"]["image"], second["image"]);
    assert_eq!(steps(&["[1/1] COPY"])["image"], third["image"], "a step is one of the last build");
    assert_eq!(steps(&[second["image"].as_str().unwrap()]), steps(&["app:2"]));
    let text = oxbox.ok(["why", "app:2"]);
    assert!(text.contains("built once since") && text.contains("src/a changed"), "{text}");
    assert_eq!(oxbox.run(["why", "localhost/busybox"]).code, Some(1));
    assert!(oxbox.run(["why", "nothing like it"]).stderr.contains("no step"));
}
