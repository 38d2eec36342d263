//! Images of other builders pass through oxbox: layout → store → registry → layout, byte for byte.

use std::fs;
use std::path::Path;

use crate::peer::Peer;
use crate::support::Oxbox;

/// Sends `oci:built:app` around, and compares what comes back.
fn assert_passes(oxbox: &Oxbox) {
    let server = oxbox.serve();
    let there = server.at("app:1");
    let digests: Vec<String> = [["oci:built:app", "app:1"], ["app:1", &there], [&there, "oci:back:app"]]
        .iter()
        .map(|step| oxbox.ok(["copy", step[0], step[1]]))
        .collect();
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
    assert_eq!(
        oxbox.ok(["inspect", "--raw", "oci:built:app"]),
        oxbox.ok(["inspect", "--raw", "oci:back:app"])
    );
    // All that the manifest names is there, and each of these blobs is the builder's own.
    oxbox.ok(["inspect", "--validate", "oci:back:app"]);
    let blobs = |layout: &str| oxbox.path(layout).join("blobs/sha256");
    let mut compared = 0;
    for blob in fs::read_dir(blobs("back")).unwrap().map(Result::unwrap) {
        let original = blobs("built").join(blob.file_name());
        assert_eq!(read(&blob.path()), read(&original), "{}", original.display());
        compared += 1;
    }
    let layers = oxbox.json(["inspect", "--json", "oci:back:app"])["layers"].as_array().unwrap().len();
    assert_eq!(compared, layers + 2);
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn an_image_of_buildah_passes_unchanged() {
    let oxbox = Oxbox::new();
    fs::write(oxbox.path("motd"), "hello\n").unwrap();
    fs::write(oxbox.path("issue"), "welcome\n").unwrap();
    let buildah = Peer::with_storage(&oxbox, "buildah");
    buildah.ok(["from", "--name", "first", "scratch"]);
    buildah.ok(["copy", "first", "motd", "/etc/motd"]);
    buildah.ok(["config", "--env", "COLOUR=blue", "--label", "maker=buildah", "first"]);
    buildah.ok(["commit", "first", "localhost/first"]);
    buildah.ok(["from", "--name", "second", "localhost/first"]);
    buildah.ok(["copy", "second", "issue", "/etc/issue"]);
    buildah.ok(["commit", "second", "oci:built:app"]);
    assert_passes(&oxbox);
}

#[test]
fn an_image_of_umoci_passes_unchanged() {
    let oxbox = Oxbox::new();
    let umoci = Peer::new(&oxbox, "umoci", &[]);
    umoci.ok(["init", "--layout", "built"]);
    umoci.ok(["new", "--image", "built:app"]);
    for name in ["motd", "issue"] {
        let bundle = format!("bundle-{name}");
        umoci.ok(["unpack", "--image", "built:app", &bundle]);
        fs::write(oxbox.path(&bundle).join("rootfs").join(name), format!("this is {name}\n")).unwrap();
        umoci.ok(["repack", "--image", "built:app", &bundle]);
    }
    umoci.ok(["config", "--image", "built:app", "--config.env", "COLOUR=blue", "--author", "umoci"]);
    assert_passes(&oxbox);
}

#[test]
fn layers_without_an_end_as_umoci_inserts_them_are_taken() {
    let oxbox = Oxbox::new();
    let umoci = Peer::new(&oxbox, "umoci", &[]);
    umoci.ok(["init", "--layout", "built"]);
    umoci.ok(["new", "--image", "built:app"]);
    for name in ["motd", "issue"] {
        fs::write(oxbox.path(name), format!("this is {name}\n")).unwrap();
        umoci.ok(["insert", "--image", "built:app", name, &format!("/etc/{name}")]);
    }
    assert_passes(&oxbox);
    fs::create_dir(oxbox.path("context")).unwrap();
    let dockerfile = "FROM app:1 AS base\nFROM base\nCOPY --from=base /etc/motd /copy\n";
    fs::write(oxbox.path("context/Dockerfile"), dockerfile).unwrap();
    oxbox.ok(["build", "--tag", "more:1", "context"]);
    oxbox.ok(["inspect", "--validate", "more:1"]);
    oxbox.ok(["copy", "more:1", "oci:more:app"]);
    umoci.ok(["unpack", "--image", "more:app", "bundle"]);
    for (path, content) in [("etc/motd", "motd"), ("etc/issue", "issue"), ("copy", "motd")] {
        let text = fs::read_to_string(oxbox.path("bundle/rootfs").join(path)).unwrap();
        assert_eq!(text, format!("this is {content}\n"));
    }
}
