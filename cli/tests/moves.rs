//! `oxbox copy`, `inspect`, `tags` and `delete`, between every kind of place.

mod support;

use serde_json::{Value, json};
use support::Oxbox;
use support::image::{Picture, index};

const APP: &str = "docker.io/library/app:1";

fn motd() -> Picture {
    Picture::of("etc/motd", b"hello\n").layer("etc/issue", b"welcome\n")
}

#[test]
fn an_image_keeps_its_digest_through_every_place() {
    let oxbox = Oxbox::new();
    let server = oxbox.serve();
    let digest = format!("{}\n", oxbox.put(APP, &motd()).digest);
    let (there, tagged) = (server.at("team/app:1"), server.at("team/app:2"));
    let way = ["app:1", "oci:layout:one", "oci-archive:a.tar:one", &there, "dir:plain", &tagged, "back:1"];
    for step in way.windows(2) {
        assert_eq!(oxbox.ok(["copy", step[0], step[1]]), digest, "{step:?}");
    }
    let listed = oxbox.json(["images", "--json"]);
    assert_eq!(listed[1]["name"], "back:1");
    assert_eq!(listed[0]["digest"], listed[1]["digest"]);
}

#[test]
fn a_docker_archive_is_read_back_with_the_same_layers() {
    let oxbox = Oxbox::new();
    oxbox.put(APP, &motd());
    oxbox.ok(["copy", "app:1", "docker-archive:saved.tar:app:1"]);
    oxbox.ok(["copy", "docker-archive:saved.tar", "loaded:1"]);
    let history = |name| oxbox.json(["inspect", "--json", name])["history"].clone();
    assert_eq!(history("loaded:1"), history("app:1"));
}

#[test]
fn an_index_travels_whole_and_by_platform() {
    let oxbox = Oxbox::new();
    let server = oxbox.serve();
    let layout = oxbox.store();
    let pictures = [motd().platform("linux/amd64"), motd().platform("linux/arm64")];
    let many = index(&layout, &pictures);
    layout.tag("docker.io/library/many:1", &many).unwrap();
    drop(layout);
    assert_eq!(oxbox.ok(["copy", "many:1", &server.at("many:1")]).trim_end(), many.digest.to_string());
    oxbox.ok(["copy", "--platform", "linux/arm64", &server.at("many:1"), "arm:1"]);
    let inspected = oxbox.json(["inspect", "--json", "arm:1"]);
    assert_eq!(inspected["platform"], "linux/arm64");
    let table = oxbox.ok(["inspect", &server.at("many:1")]);
    assert!(table.contains("linux/amd64") && table.contains("linux/arm64"), "{table}");
    oxbox
        .run(["copy", "--platform", "linux/riscv64", "many:1", "oci:none"])
        .fails(1, &["linux/riscv64", "linux/amd64, linux/arm64"]);
}

#[test]
fn what_is_there_already_is_not_moved_again() {
    let oxbox = Oxbox::new();
    let server = oxbox.serve();
    oxbox.put(APP, &motd());
    let first = oxbox.json(["copy", "--json", "app:1", &server.at("app:1")]);
    assert_eq!(first["blobs"], json!({"copied": 3, "skipped": 0, "mounted": 0, "leftAtUrls": 0}));
    assert!(first["bytes"].as_u64().unwrap() > 0);
    let second = oxbox.json(["copy", "--json", "app:1", &server.at("app:1")]);
    assert_eq!((&second["blobs"]["copied"], &second["bytes"]), (&json!(0), &json!(0)));
    oxbox.put("docker.io/library/app:2", &motd().layer("etc/hosts", b"127.0.0.1 localhost\n"));
    let grown = oxbox.json(["copy", "--json", "app:2", &server.at("app:2")]);
    assert_eq!(grown["blobs"], json!({"copied": 2, "skipped": 2, "mounted": 0, "leftAtUrls": 0}));
    let third = oxbox.json(["copy", "--json", &server.at("app:1"), &server.at("other:1")]);
    assert_eq!(third["blobs"]["mounted"], 3);
}

#[test]
fn progress_is_lines_on_standard_error_and_can_be_silenced() {
    let oxbox = Oxbox::new();
    let digest = oxbox.put(APP, &motd()).digest;
    let ran = oxbox.run(["copy", "app:1", "oci:one"]);
    assert!(ran.stderr.contains("copying 3 blobs, ") && ran.stderr.contains("   copied\n"), "{}", ran.stderr);
    assert_eq!(ran.stdout, format!("{digest}\n"));
    assert_eq!(oxbox.run(["copy", "--quiet", "app:1", "oci:two"]).stderr, "");
    assert_eq!(oxbox.run(["copy", "--progress=none", "app:1", "oci:three"]).stderr, "");
}

#[test]
fn the_digest_can_be_had_in_a_file() {
    let oxbox = Oxbox::new();
    let digest = oxbox.put(APP, &motd()).digest;
    oxbox.ok(["copy", "--digestfile", "digest", "app:1", "oci:one"]);
    assert_eq!(std::fs::read_to_string(oxbox.path("digest")).unwrap(), digest.to_string());
}

#[test]
fn inspect_tells_what_the_config_says() {
    let oxbox = Oxbox::new();
    let digest = oxbox.put(APP, &motd()).digest.to_string();
    let text = oxbox.ok(["inspect", "app:1"]);
    let words = [
        &digest,
        "linux/",
        "2026-01-02 03:04",
        "1000",
        "COLOUR=blue",
        r#"["/bin/hello"]"#,
        r#"["--loud"]"#,
        "/work",
        "80/tcp",
        "maintainer=nobody",
        "in 2 layers",
        "COPY layer 1",
    ];
    for word in words {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    let value = oxbox.json(["inspect", "--json", "app:1"]);
    assert_eq!(value["config"]["User"], "1000");
    assert_eq!(value["layers"].as_array().unwrap().len(), 2);
}

#[test]
fn raw_and_config_are_the_exact_bytes() {
    let oxbox = Oxbox::new();
    let server = oxbox.serve();
    let image = oxbox.put(APP, &motd());
    let stored =
        |digest: &str| std::fs::read_to_string(oxbox.store().blob_path(&digest.parse().unwrap())).unwrap();
    oxbox.ok(["copy", "app:1", &server.at("app:1")]);
    for place in ["app:1", &server.at("app:1")] {
        let raw = oxbox.ok(["inspect", "--raw", place]);
        assert_eq!(raw, stored(&image.digest.to_string()));
        let manifest: Value = serde_json::from_str(&raw).unwrap();
        let config = manifest["config"]["digest"].as_str().unwrap();
        assert_eq!(oxbox.ok(["inspect", "--config", place]), stored(config));
    }
}

#[test]
fn validate_finds_a_flipped_byte_and_says_where() {
    let oxbox = Oxbox::new();
    oxbox.put(APP, &motd());
    assert!(oxbox.ok(["inspect", "--validate", "app:1"]).starts_with("sound: 1 document, 3 blobs, "));
    let layer =
        oxbox.json(["inspect", "--json", "app:1"])["layers"][1]["digest"].as_str().unwrap().to_owned();
    let path = oxbox.store().blob_path(&layer.parse().unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let ran = oxbox.run(["inspect", "--validate", "app:1"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout.contains(&format!("{layer}: ")) && ran.stdout.contains("layer 1 of "),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.starts_with("error: store:app:1 has "), "{}", ran.stderr);
}

#[test]
fn tags_are_listed_wherever_there_are_some() {
    let oxbox = Oxbox::new();
    let server = oxbox.serve();
    oxbox.put(APP, &motd());
    oxbox.ok(["tag", "app:1", "app:2", "unrelated:3"]);
    assert_eq!(oxbox.ok(["tags", "app"]), "1\n2\n");
    for tag in ["b", "a"] {
        oxbox.ok(["copy", "app:1", &server.at(&format!("app:{tag}"))]);
        oxbox.ok(["copy", "app:1", &format!("oci:layout:{tag}")]);
    }
    assert_eq!(oxbox.json(["tags", "--json", &server.at("app")]), json!(["a", "b"]));
    assert_eq!(oxbox.ok(["tags", "oci:layout"]), "a\nb\n");
    oxbox.run(["tags", &server.at("absent")]).fails(1, &["repository absent is not known to 127.0.0.1:"]);
    oxbox.run(["tags", "dir:somewhere"]).fails(2, &["dir:somewhere has no tags"]);
}

#[test]
fn delete_takes_a_tag_or_a_manifest() {
    let oxbox = Oxbox::new();
    let server = oxbox.serve();
    let digest = oxbox.put(APP, &motd()).digest;
    for tag in ["a", "b", "c"] {
        oxbox.ok(["copy", "app:1", &server.at(&format!("app:{tag}"))]);
    }
    let gone = server.name("app:a");
    assert_eq!(oxbox.ok(["delete", &server.at("app:a")]), format!("deleted {gone}\n"));
    assert_eq!(oxbox.ok(["tags", &server.at("app")]), "b\nc\n");
    oxbox.ok(["delete", &server.at(&format!("app@{digest}"))]);
    assert_eq!(oxbox.ok(["tags", &server.at("app")]), "");
    oxbox.run(["delete", &server.at("app:b")]).fails(1, &["is not in its registry"]);
    oxbox.run(["delete", "app:1"]).fails(2, &["store:app:1 is not in a registry", "oxbox rmi"]);
}

#[test]
fn a_missing_image_suggests_those_that_are_there() {
    let oxbox = Oxbox::new();
    oxbox.run(["inspect", "app:1"]).fails(1, &["image app:1 is not in the local store", "docker://app:1"]);
    oxbox.put(APP, &motd());
    oxbox.run(["copy", "ap:1", "oci:x"]).fails(1, &["image ap:1 is not in", "hint: there is app:1"]);
    assert!(!oxbox.path("x").exists());
}

#[test]
fn an_unknown_transport_lists_the_known_ones() {
    let oxbox = Oxbox::new();
    let known = ["docker://", "oci-archive:", "dir:"];
    oxbox.run(["copy", "ftp://x", "y"]).fails(2, &["transport \"ftp\" is not supported"]);
    oxbox.run(["copy", "docker-daemon:x", "y"]).fails(2, &known);
    oxbox.run(["copy", "docker:x", "y"]).fails(2, &known);
}

#[test]
fn credentials_are_never_printed() {
    let oxbox = Oxbox::new();
    for arguments in [
        ["copy", "--src-creds=u:hunter2", "docker://127.0.0.1:1/x", "y"],
        ["copy", "--dest-creds=:hunter2", "x", "docker://127.0.0.1:1/x"],
    ] {
        let ran = oxbox.run([&["-DD"][..], &arguments].concat());
        assert_ne!(ran.code, Some(0));
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
}
