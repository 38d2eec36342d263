//! Whole builds without RUN: context and Dockerfile in, an image in the store out, nothing mounted.
//!
//! ```text
//! room     folders and builds              cache    keys, damage, processes that are killed
//! main     what a build makes              odd      contexts that nobody would make on purpose
//! export   config and history on bases           depot    caches elsewhere
//! ```

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod cache;
mod depot;
mod export;
mod odd;
mod room;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::Path;

use oxbox_builder::Request;
use oxbox_builder::export::form::Form;
use oxbox_builder::solve::Reuse;
use oxbox_layers::compress::Compression;
use oxbox_layers::image::Image;
use oxbox_layers::oci::{Compressed, Config, Kind, MediaType, Raw};
use oxbox_layers::tar::Entry;
use oxbox_layers::validate::validate;

use room::Room;

#[test]
fn files_of_the_context_become_a_layer_and_a_history() {
    let room = Room::new();
    room.file("app/main.txt", "main").file("app/lib/x.txt", "x");
    let image = room.build("FROM scratch\nCOPY app /srv/\nENV A=b\nCMD [\"/srv/main\"]\n");
    assert_eq!(room.paths(&image, 0), ["srv", "srv/lib", "srv/lib/x.txt", "srv/main.txt"]);
    let history = image.config.history.as_ref().unwrap();
    let lines: Vec<_> =
        history.iter().map(|line| (line.created_by.as_deref().unwrap(), line.empty_layer)).collect();
    assert_eq!(
        lines,
        [("COPY app /srv/ # buildkit", None), ("ENV A=b", Some(true)), ("CMD [\"/srv/main\"]", Some(true)),]
    );
    assert_eq!(image.config.created.as_deref(), Some("1980-01-01T00:00:00Z"));
}

#[test]
fn the_same_inputs_give_the_same_digest_with_any_number_of_jobs_and_any_age_of_files() {
    let digest = |jobs: usize, age: i64| {
        let room = Room::new();
        room.file("a", "a").file("b", "b");
        let path = room.folder.path().join("context/a");
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age.unsigned_abs());
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        room.file(
            "Dockerfile",
            "FROM scratch AS one\nCOPY a /a\nFROM scratch\nCOPY b /b\nCOPY --from=one /a /c\n",
        );
        let request = Request { jobs: NonZero::new(jobs).unwrap(), ..room.request("localhost/x") };
        room.run(&request).0.unwrap().manifest.digest
    };
    assert_eq!(digest(1, 0), digest(4, 86_400));
}

#[test]
fn an_unchanged_step_comes_from_the_cache_and_a_changed_file_is_noticed() {
    let room = Room::new();
    room.file("a", "a").file("b", "b").file("Dockerfile", "FROM scratch\nCOPY a /a\nCOPY b /b\n");
    let (first, _) = room.run(&room.request("localhost/x"));
    let (second, heard) = room.run(&room.request("localhost/x"));
    assert_eq!(first.unwrap(), second.unwrap());
    let (base, steps) = heard.split_first().unwrap();
    assert_eq!(base, "made FROM scratch", "what a stage stands on is not remembered");
    assert!(steps.iter().all(|line| line.starts_with("cached")), "{heard:?}");
    room.file("a", "A");
    let (_, heard) = room.run(&room.request("localhost/x"));
    let made: Vec<_> = heard.iter().skip(1).filter(|line| line.starts_with("made")).collect();
    assert_eq!(
        made.len(),
        1,
        "what stands on a changed layer and lands the same is not made again: {heard:?}"
    );
}

#[test]
fn no_cache_makes_everything_again_and_the_same() {
    let room = Room::new();
    room.file("a", "a").file("Dockerfile", "FROM scratch\nCOPY a /a\n");
    let (first, _) = room.run(&room.request("localhost/x"));
    let request = Request { reuse: Reuse::Forbidden, ..room.request("localhost/x") };
    let (second, heard) = room.run(&request);
    assert_eq!(first.unwrap(), second.unwrap());
    assert!(heard.iter().any(|line| line.starts_with("made") && line.contains("COPY")), "{heard:?}");
}

#[test]
fn a_stage_that_is_not_exported_is_not_compressed() {
    let room = Room::new();
    room.file("a", "a");
    let image =
        room.build("FROM scratch AS build\nCOPY a /deep/a\nFROM scratch\nCOPY --from=build /deep /out\n");
    assert_eq!(image.layers.len(), 1);
    assert_eq!(image.layers[0].descriptor.media_type.kind(), Kind::Layer(Compressed::Gzip));
    assert_eq!(room.paths(&image, 0), ["out", "out/a"]);
    // And once it is exported, what the cache holds of it is compressed instead of made again.
    let mut request = room.request("localhost/build");
    request.options.target = Some("build".to_owned());
    let exported = room.run(&request).0.unwrap();
    let image = Image::load(&*room.store, &exported.manifest).unwrap();
    assert_eq!(image.layers[0].descriptor.media_type.kind(), Kind::Layer(Compressed::Gzip));
}

#[test]
fn an_image_stands_on_another_whose_layers_stay_as_they_are() {
    let room = Room::new();
    room.file("a", "a").file("passwd", "app:x:7:8::/:\n");
    room.file("Dockerfile", "FROM scratch\nCOPY passwd /etc/passwd\nENV BASE=1\n");
    let base = room.run(&room.request("localhost/base")).0.unwrap();
    let base = Image::load(&*room.store, &base.manifest).unwrap();
    let image = room.build("FROM localhost/base\nCOPY --chown=app a /home/app/a\nWORKDIR /srv/x\n");
    assert_eq!(image.layers[0], base.layers[0]);
    let owners: Vec<_> = room.entries(&image, 1).iter().map(|(entry, _)| (entry.uid, entry.gid)).collect();
    assert_eq!(owners, [(7, 8), (7, 8), (7, 8)]);
    assert_eq!(room.paths(&image, 2), ["srv", "srv/x"]);
    let env = image.config.config.as_ref().unwrap().env.clone().unwrap();
    assert!(env.contains(&"BASE=1".to_owned()));
    assert_eq!(image.config.history_layers(), Some(3));
}

/// Names a base in the form that Docker pushes: its own media types, and fields that only it writes.
fn docker_base(room: &Room) -> Image {
    room.file("passwd", "app:x:7:8::/:\n")
        .file("Dockerfile", "FROM scratch\nCOPY passwd /etc/passwd\nENV BASE=1\n");
    let base = room.run(&room.request("localhost/oci")).0.unwrap();
    let base = Image::load(&*room.store, &base.manifest).unwrap();
    let mut config = serde_json::to_value(base.config.view()).unwrap();
    config["container"] = "0123abcd".into();
    config["docker_version"] = "20.10.24".into();
    config["container_config"] = serde_json::json!({ "Cmd": ["/bin/sh", "-c", "#(nop) ENV BASE=1"] });
    config["config"]["Hostname"] = "0123abcd".into();
    config["x-vendor"] = serde_json::json!({ "kept": true });
    config["config"]["Healthcheck"] = serde_json::json!({ "Test": ["CMD", "true"], "Retries": 3 });
    let config: Config = serde_json::from_value(config).unwrap();
    let config = Raw::write(config, MediaType::DOCKER_CONFIG);
    let base = Image::assemble(config, base.layers, BTreeMap::new()).unwrap();
    assert_eq!(base.layers[0].descriptor.media_type.as_str(), MediaType::DOCKER_LAYER_GZIP);
    let manifest = base.write(&*room.store).unwrap();
    assert_eq!(manifest.media_type.as_str(), MediaType::DOCKER_MANIFEST);
    room.store.tag("localhost/docker:latest", &manifest).unwrap();
    base
}

#[test]
fn an_image_on_one_of_dockers_is_an_oci_image_of_the_same_layers() {
    let room = Room::new();
    let base = docker_base(&room);
    room.file("a", "a");
    for compression in [Compression::default(), Compression::ZSTD] {
        room.file("Dockerfile", "FROM localhost/docker\nCOPY --chown=app a /a\n");
        let request = Request { forms: vec![Form::plain(compression)], ..room.request("localhost/test") };
        let exported = room.run(&request).0.unwrap();
        let faults = validate(&*room.store, &exported.manifest).faults;
        assert!(faults.is_empty(), "{faults:?}");
        let image = Image::load(&*room.store, &exported.manifest).unwrap();
        assert_eq!(image.manifest.media_type().as_str(), MediaType::OCI_MANIFEST);
        assert_eq!(image.config.media_type().as_str(), MediaType::OCI_CONFIG);
        let types: Vec<_> = image.layers.iter().map(|layer| layer.descriptor.media_type.clone()).collect();
        assert_eq!(types, [MediaType::OCI_LAYER_GZIP.into(), MediaType::oci_layer(compression.format())]);
        assert_eq!(image.layers[0].descriptor.digest, base.layers[0].descriptor.digest);
        let config = image.config.config.as_ref().unwrap();
        assert_eq!(config.healthcheck.as_ref().unwrap().retries, Some(3));
        assert!(config.env.as_ref().unwrap().contains(&"BASE=1".to_owned()));
        // How the base was made says nothing of what stands on it; other fields that nobody knows stay.
        let others: Vec<_> = image.config.other.keys().chain(config.other.keys()).collect();
        assert_eq!(others, ["x-vendor", "Hostname"]);
    }
}

#[test]
fn add_unpacks_an_archive_by_its_content() {
    let room = Room::new();
    let mut tar = oxbox_layers::tar::Writer::new(Vec::new());
    let entry = |path: &str, size| Entry {
        uid: 5,
        ..Entry::new(path, oxbox_layers::tar::Kind::File { size }, 0o600)
    };
    // Not sorted: ADD reads what others write.
    tar.append(&entry("z", 1), &mut &b"z"[..]).unwrap();
    tar.append(&entry("a", 1), &mut &b"a"[..]).unwrap();
    room.file("odd.name", tar.finish().unwrap()).file("plain.tar", "no archive at all");
    let image = room.build("FROM scratch\nADD odd.name /in/\nADD plain.tar /\nCOPY odd.name /kept\n");
    let entries = room.entries(&image, 0);
    let seen: Vec<_> = entries.iter().map(|(e, text)| (e.path.as_slice(), e.uid, text.as_str())).collect();
    assert_eq!(seen, [(&b"in"[..], 0, ""), (b"in/a", 5, "a"), (b"in/z", 5, "z")]);
    assert_eq!(room.paths(&image, 1), ["plain.tar"]);
    assert_eq!(room.paths(&image, 2), ["kept"]);
}

#[test]
fn hard_links_of_the_context_stay_hard_links() {
    let room = Room::new();
    room.file("d/one", "same");
    let folder = room.folder.path().join("context/d");
    fs::hard_link(folder.join("one"), folder.join("two")).unwrap();
    let image = room.build("FROM scratch\nCOPY d /d\n");
    let entries = room.entries(&image, 0);
    assert_eq!(entries[2].0.kind, oxbox_layers::tar::Kind::Hardlink { target: b"d/one".to_vec() });
}

#[test]
fn an_ignored_file_is_missing_and_the_error_says_why() {
    let room = Room::new();
    room.file("secret", "s").file(".dockerignore", "secret\n");
    let error = room.error("FROM scratch\nCOPY secret /\n");
    assert!(error.contains("Dockerfile:2") && error.contains("ignore file"), "{error}");
}

#[test]
fn bad_input_is_said_with_its_line_and_names_nothing() {
    let room = Room::new();
    room.file("a", "a");
    for (dockerfile, expected) in [
        ("FROM scratch\nCOPY none /\n", "\"none\" is not there"),
        ("FROM scratch\nCOPY --chown=nobody a /\n", "user \"nobody\" is not in /etc/passwd"),
        ("FROM scratch\nCOPY --chmod=9 a /\n", "mode \"9\""),
        ("FROM localhost/nosuch\nCOPY a /\n", "localhost/nosuch"),
        ("FROM scratch\nCOPPY a /\n", "COPY"),
        ("FROM scratch\nRUN --mount=type=cash,target=/x true\n", "type cannot be \"cash\""),
    ] {
        let error = room.error(dockerfile);
        assert!(error.contains(expected), "{dockerfile:?}: {error}");
    }
}

#[test]
fn the_step_that_fails_is_told_and_no_other() {
    let room = Room::new();
    room.file("a", "a").file("Dockerfile", "FROM scratch\nCOPY a /\nCOPY none /\n");
    let (result, heard) = room.run(&room.request("localhost/x"));
    assert!(result.is_err());
    let failed: Vec<_> = heard.iter().filter(|line| line.starts_with("failed")).collect();
    assert_eq!(failed, ["failed [2/2] COPY none /"]);
}

#[test]
fn a_context_that_is_not_there_is_a_clear_error() {
    let room = Room::new();
    let request = Request { context: Path::new("/nowhere/at/all").to_owned(), ..room.request("localhost/x") };
    let error = room.run(&request).0.unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all"), "{error}");
}
