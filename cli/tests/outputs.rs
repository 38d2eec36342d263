//! `oxbox build`: where the result goes, and what it is made like.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::Oxbox;
use support::image::Picture;

/// Three layers on a base of two: one file comes and goes.
const STEPS: &str = "FROM localhost/base\nCOPY motd /a/one\nCOPY motd /b\nRUN rm /a/one /base && ln /b /c\n";

fn room() -> Oxbox {
    let oxbox = Oxbox::new();
    let busybox = fs::read("/bin/busybox").expect("busybox-static must be installed");
    let mut base = Picture::of("bin/busybox", &busybox).user("root").layer("base", b"b");
    for applet in ["sh", "rm", "ln"] {
        base = base.link(&format!("bin/{applet}"), "busybox");
    }
    oxbox.put("localhost/base:latest", &base);
    oxbox.dockerfile(STEPS);
    oxbox
}

fn listing(tar: &Path) -> Vec<String> {
    let listed = Command::new("tar").arg("-tf").arg(tar).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let mut names: Vec<String> =
        String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn manifest(oxbox: &Oxbox, image: &str) -> Value {
    let raw = oxbox.ok(["inspect", "--raw", image]);
    serde_json::from_str(&raw).unwrap()
}

#[test]
fn the_files_alone_are_a_folder_or_a_tar() {
    let oxbox = room();
    let ran = oxbox.run(["build", "-o", "out", "--output", "type=tar,dest=out.tar", "context"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(oxbox.path("out/b")).unwrap(), "hello\n");
    let inode = |name: &str| fs::metadata(oxbox.path(name)).unwrap().ino();
    assert_eq!(inode("out/b"), inode("out/c"));
    assert!(!oxbox.path("out/base").exists() && !oxbox.path("out/a/one").exists());
    let names = listing(&oxbox.path("out.tar"));
    assert_eq!(names, ["a/", "b", "bin/", "bin/busybox", "bin/ln", "bin/rm", "bin/sh", "c", "work/"]);
    assert_eq!(oxbox.json(["images", "--json"]).as_array().unwrap().len(), 1, "only the base is stored");
    let ran = oxbox.command(["build", "-q", "-o", "-", "context"]).output().unwrap();
    assert!(ran.stdout == fs::read(oxbox.path("out.tar")).unwrap());
}

#[test]
fn files_for_several_platforms_have_a_folder_each() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY motd /a/$TARGETARCH\nCOPY motd /motd\n");
    let platforms = "linux/amd64,linux/arm/v7";
    let outputs = ["-o", "out", "-o", "type=tar,dest=out.tar"];
    oxbox.ok([&["build", "--platform", platforms], &outputs[..], &["context"]].concat());
    let names = [
        "linux_amd64/",
        "linux_amd64/a/",
        "linux_amd64/a/amd64",
        "linux_amd64/motd",
        "linux_arm_v7/",
        "linux_arm_v7/a/",
        "linux_arm_v7/a/arm",
        "linux_arm_v7/motd",
    ];
    assert_eq!(listing(&oxbox.path("out.tar")), names);
    for name in names {
        assert!(oxbox.path("out").join(name).exists(), "{name}");
    }
}

#[test]
fn archives_and_layouts_hold_the_same_image_as_the_store() {
    let oxbox = room();
    let digest = oxbox.ok(["build", "-t", "app:1", "context"]);
    let several = [
        "build",
        "-t",
        "app:1",
        "-o",
        "type=oci,dest=a.tar",
        "-o",
        "type=oci,tar=false,dest=layout",
        "-o",
        "type=docker,dest=d.tar",
        "-o",
        "type=image",
        "context",
    ];
    assert_eq!(oxbox.ok(several), digest);
    for place in ["oci-archive:a.tar", "oci:layout:docker.io/library/app:1", "store:app:1"] {
        assert_eq!(oxbox.json(["inspect", "--json", place])["digest"], digest.trim_end(), "{place}");
    }
    assert!(listing(&oxbox.path("d.tar")).contains(&"manifest.json".to_owned()));
    let config = |place: &str| oxbox.json(["inspect", "--config", place])["rootfs"].clone();
    assert_eq!(config("docker-archive:d.tar"), config("app:1"));
    let piped =
        oxbox.command(["build", "-q", "-t", "app:1", "-o", "type=oci,dest=-", "context"]).output().unwrap();
    assert!(piped.stdout == fs::read(oxbox.path("a.tar")).unwrap());
}

#[test]
fn a_push_leaves_no_name_behind_unless_it_is_asked_to_load_too() {
    let oxbox = room();
    let server = oxbox.serve();
    let name = server.name("team/app:1");
    let pushed = oxbox.ok(["build", "-t", &name, "--push", "context"]);
    let there = oxbox.json(["inspect", "--json", &server.at("team/app:1")]);
    assert_eq!(there["digest"], pushed.trim_end());
    assert_eq!(oxbox.json(["images", "--json"]).as_array().unwrap().len(), 1);
    assert_eq!(oxbox.ok(["build", "-t", &name, "--push", "--load", "context"]), pushed);
    assert_eq!(oxbox.json(["inspect", "--json", &name])["digest"], pushed.trim_end());
    let other = format!("type=image,name={},push=true", server.name("team/other:2"));
    assert_eq!(oxbox.ok(["build", "-o", &other, "context"]), pushed);
    assert_eq!(oxbox.json(["inspect", "--json", &server.at("team/other:2")])["digest"], pushed.trim_end());
}

#[test]
fn a_push_without_a_name_is_refused_before_anything_is_built() {
    let oxbox = room();
    let ran = oxbox.run(["build", "--push", "context"]);
    ran.fails(2, &["the image has no name to push it under", "--tag"]);
    assert!(!ran.stderr.contains("COPY"), "{}", ran.stderr);
}

#[test]
fn squashing_makes_one_layer_with_the_same_files() {
    let oxbox = room();
    oxbox.ok(["build", "-t", "plain", "context"]);
    oxbox.ok(["build", "-t", "new", "--squash", "context"]);
    oxbox.ok(["build", "-t", "all", "--squash-all", "context"]);
    let layers = |image: &str| manifest(&oxbox, image)["layers"].as_array().unwrap().clone();
    let (plain, new, all) = (layers("plain"), layers("new"), layers("all"));
    assert_eq!((new.len(), all.len()), (plain.len() - 2, 1));
    assert_eq!(new[..new.len() - 1], plain[..plain.len() - 3]);
    for image in ["new", "all"] {
        oxbox.ok(["inspect", "--validate", image]);
        oxbox.dockerfile(&format!("FROM {image}\n")).ok([
            "build",
            "-o",
            &format!("type=tar,dest={image}.tar"),
            "context",
        ]);
    }
    oxbox.dockerfile("FROM plain\n").ok(["build", "-o", "type=tar,dest=plain.tar", "context"]);
    let names = listing(&oxbox.path("plain.tar"));
    assert_eq!(listing(&oxbox.path("new.tar")), names);
    assert_eq!(listing(&oxbox.path("all.tar")), names);
}

#[test]
fn compression_is_of_the_new_layers_unless_it_is_forced() {
    let oxbox = room();
    oxbox.ok(["build", "-t", "gzip", "context"]);
    oxbox.ok(["build", "-t", "zstd", "--compression-format", "zstd", "context"]);
    oxbox.ok(["build", "-t", "forced", "--compression-format", "zstd", "--force-compression", "context"]);
    let types = |image: &str| -> Vec<String> {
        let manifest = manifest(&oxbox, image);
        let layers = manifest["layers"].as_array().unwrap();
        layers
            .iter()
            .map(|layer| layer["mediaType"].as_str().unwrap().rsplit(['.', '+']).next().unwrap().to_owned())
            .collect()
    };
    let base = types("localhost/base");
    assert_eq!(types("zstd")[..base.len()], base);
    assert_eq!(types("zstd")[base.len()..], ["zstd", "zstd", "zstd"]);
    assert!(types("forced").iter().all(|format| format == "zstd"));
    let config = |image: &str| oxbox.json(["inspect", "--config", image])["rootfs"].clone();
    assert_eq!(config("forced"), config("gzip"));
    // Two forms in one build, each its own image.
    oxbox.ok([
        "build",
        "-t",
        "app",
        "-o",
        "type=oci,dest=z,tar=false,compression=zstd",
        "-o",
        "type=image",
        "context",
    ]);
    assert_eq!(manifest(&oxbox, "app"), manifest(&oxbox, "gzip"));
    assert_eq!(manifest(&oxbox, "oci:z"), manifest(&oxbox, "zstd"));
}

#[test]
fn annotations_and_metadata_tell_of_the_image() {
    let oxbox = room();
    let ran = oxbox.run([
        "build",
        "-t",
        "app:1",
        "--annotation",
        "org.example.a=1",
        "--annotation",
        "manifest:b=2=3",
        "--metadata-file",
        "metadata.json",
        "--iidfile",
        "iid",
        "context",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let digest = ran.stdout.trim_end();
    assert_eq!(manifest(&oxbox, "app:1")["annotations"], json!({"org.example.a": "1", "b": "2=3"}));
    let metadata: Value = serde_json::from_slice(&fs::read(oxbox.path("metadata.json")).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.digest"], digest);
    assert_eq!(metadata["containerimage.descriptor"]["digest"], digest);
    assert_eq!(metadata["image.name"], "docker.io/library/app:1");
    assert_eq!(fs::read_to_string(oxbox.path("iid")).unwrap(), digest);
    oxbox
        .run(["build", "--annotation", "a=b", "--format", "docker", "context"])
        .fails(2, &["Docker's media types"]);
}

#[test]
fn dockers_media_types_are_there_for_who_needs_them() {
    let oxbox = room();
    oxbox.ok(["build", "-t", "app:1", "--format", "docker", "context"]);
    let manifest = manifest(&oxbox, "app:1");
    assert_eq!(manifest["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.docker.container.image.v1+json");
    oxbox.ok(["inspect", "--validate", "app:1"]);
}

#[test]
fn times_are_kept_if_that_is_asked_for() {
    let oxbox = room();
    let when = filetime(&oxbox.path("context/motd"));
    oxbox.ok(["build", "-o", "cut", "context"]);
    oxbox.ok(["build", "--no-cache", "--timestamps=keep", "-o", "kept", "context"]);
    assert_eq!(filetime(&oxbox.path("cut/b")), 315_532_800);
    assert_eq!(filetime(&oxbox.path("kept/b")), when);
}

fn filetime(path: &Path) -> i64 {
    fs::metadata(path).unwrap().mtime()
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let oxbox = room();
    let ran = oxbox.run(["build", "-o", "type=tar,dest=missing/out.tar", "context"]);
    ran.fails(1, &["missing/out.tar"]);
    let ran = oxbox.run(["build", "-o", "type=oci,dest=missing/out.tar", "context"]);
    ran.fails(1, &["missing/out.tar"]);
    assert!(!oxbox.path("missing").exists());
}

#[test]
fn arguments_come_from_files_too() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nARG A=0\nARG B=0\nARG C=0\nLABEL a=$A b=$B c=$C\n");
    fs::write(oxbox.path("args"), "# a comment\nA=1\n\nB=two words\nC=3\n").unwrap();
    oxbox.ok(["build", "-t", "x", "--build-arg-file", "args", "--build-arg", "C=4", "context"]);
    let labels = oxbox.json(["inspect", "--config", "x"])["config"]["Labels"].clone();
    assert_eq!(labels, json!({"a": "1", "b": "two words", "c": "4"}));
    fs::write(oxbox.path("args"), "fine=1\n=x\n").unwrap();
    oxbox.run(["build", "--build-arg-file", "args", "context"]).fails(2, &["args", "line 2"]);
}

/// A registry with a base image of two layers, and a builder that has nothing.
fn base_elsewhere() -> (Oxbox, support::server::Server, Oxbox, Vec<String>) {
    let registry = Oxbox::new();
    registry.put("localhost/base:latest", &Picture::of("etc/one", b"1").layer("etc/two", b"2"));
    let server = registry.serve();
    registry.ok(["copy", "localhost/base", &server.at("team/base:1")]);
    let digests = manifest(&registry, "localhost/base")["layers"].as_array().unwrap().clone();
    let digests = digests.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect();
    (registry, server, Oxbox::new(), digests)
}

fn has_blob(oxbox: &Oxbox, digest: &str) -> bool {
    oxbox.root().join("store/blobs").join(digest.replace(':', "/")).exists()
}

#[test]
fn a_push_to_the_registry_of_the_base_moves_no_byte_of_the_base() {
    let (_registry, server, oxbox, layers) = base_elsewhere();
    oxbox.dockerfile(&format!("FROM {}\nENV A=b\nLABEL c=d\n", server.name("team/base:1")));
    for name in ["team/base:2", "other/app:1"] {
        oxbox.ok(["build", "--push", "-t", &server.name(name), "context"]);
        let pushed = manifest(&oxbox, &server.at(name));
        let digests: Vec<&str> = pushed["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| layer["digest"].as_str().unwrap())
            .collect();
        assert_eq!(digests, layers);
        // Every blob can be had from there.
        oxbox.ok(["copy", &server.at(name), &format!("oci:{}", name.replace(['/', ':'], "-"))]);
    }
    assert!(layers.iter().all(|layer| !has_blob(&oxbox, layer)));
}

#[test]
fn a_copy_with_link_is_pushed_without_moving_its_base() {
    let (_registry, server, oxbox, layers) = base_elsewhere();
    oxbox.dockerfile(&format!("FROM {}\nCOPY --link motd /etc/\nENV A=b\n", server.name("team/base:1")));
    for name in ["team/app:1", "other/app:1"] {
        oxbox.ok(["build", "--push", "-t", &server.name(name), "context"]);
        let pushed = manifest(&oxbox, &server.at(name));
        assert_eq!(pushed["layers"].as_array().unwrap().len(), layers.len() + 1);
        oxbox.ok(["copy", &server.at(name), &format!("oci:{}", name.replace(['/', ':'], "-"))]);
    }
    assert!(layers.iter().all(|layer| !has_blob(&oxbox, layer)));
}

#[test]
fn a_push_elsewhere_takes_the_base_along() {
    let (_registry, server, oxbox, layers) = base_elsewhere();
    let elsewhere = Oxbox::new();
    let other = elsewhere.serve();
    oxbox.dockerfile(&format!("FROM {}\nENV A=b\n", server.name("team/base:1")));
    oxbox.ok(["build", "--push", "-t", &other.name("app:1"), "context"]);
    oxbox.ok(["copy", &other.at("app:1"), "oci:out"]);
    assert!(layers.iter().all(|layer| oxbox.path("out/blobs").join(layer.replace(':', "/")).exists()));
}

#[test]
fn a_step_that_must_look_below_brings_the_base_in() {
    let (_registry, server, oxbox, layers) = base_elsewhere();
    oxbox.dockerfile(&format!("FROM {}\nCOPY motd /etc/motd\n", server.name("team/base:1")));
    let name = server.name("team/app:1");
    let pushed = oxbox.ok(["build", "--push", "-t", &name, "context"]);
    assert!(layers.iter().all(|layer| has_blob(&oxbox, layer)));
    assert_eq!(oxbox.ok(["build", "-t", &name, "context"]), pushed);
    oxbox.ok(["inspect", "--validate", &name]);
}

#[test]
fn a_build_that_is_verified_is_made_twice_and_compared_by_file() {
    let oxbox = room();
    let digest = oxbox.ok(["build", "-t", "app", "context"]);
    assert_eq!(oxbox.ok(["build", "-t", "again", "--verify", "context"]), digest);
    assert_eq!(oxbox.json(["inspect", "--json", "again"])["digest"], digest.trim_end());
    oxbox.dockerfile(
        "FROM localhost/base\nCOPY motd /motd\nRUN cat /proc/sys/kernel/random/uuid > /id; chmod 600 /id; echo x > /same\n",
    );
    let base = Picture::of("bin/busybox", &fs::read("/bin/busybox").unwrap()).user("root");
    let base =
        ["sh", "cat", "chmod"].iter().fold(base, |base, name| base.link(&format!("bin/{name}"), "busybox"));
    oxbox.put("localhost/base:latest", &base);
    let ran = oxbox.run(["build", "-t", "random", "--verify", "context"]);
    ran.fails(1, &["two different images", "layer", "/id: content \"sha256:"]);
    assert!(!ran.stderr.contains("/same: ") && !ran.stderr.contains("/motd: "), "{}", ran.stderr);
    oxbox.run(["inspect", "random"]).fails(1, &["random"]);
    assert!(!oxbox.root().join("verify").exists());
}

#[test]
fn a_layer_is_pushed_while_later_steps_still_run() {
    let oxbox = Oxbox::new();
    let busybox = fs::read("/bin/busybox").expect("busybox-static must be installed");
    let mut base = Picture::of("bin/busybox", &busybox).user("root");
    for applet in ["sh", "wget", "sleep", "seq"] {
        base = base.link(&format!("bin/{applet}"), "busybox");
    }
    oxbox.put("localhost/base:latest", &base);
    oxbox.dockerfile("FROM localhost/base\nCOPY motd /motd\n").ok(["build", "-t", "first", "context"]);
    let first = manifest(&oxbox, "first");
    let layer = first["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned();
    let server = oxbox.serve();
    let name = server.name("team/app:1");
    let host = name.split('/').next().unwrap();
    // The last step ends well only once the registry has the layer of the first.
    oxbox.dockerfile(&format!(
        "FROM localhost/base\nCOPY motd /motd\nRUN for i in $(seq 400); do \
         wget -q -O /dev/null http://{host}/v2/team/app/blobs/{layer} && exit 0; sleep 0.05; done; exit 1\n",
    ));
    oxbox.ok(["build", "--push", "-t", &name, "context"]);
    oxbox.ok(["copy", &server.at("team/app:1"), "oci:out"]);
}
