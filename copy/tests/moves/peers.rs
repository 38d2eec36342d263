//! What other tools write is read with every digest kept, and what is written here they read.
//!
//! The tools are Debian's: buildah, podman, skopeo, umoci. A tool that is missing is a failure: nobody
//! else looks whether they still agree.

use std::fs;
use std::process::Command;

use oxbox_copy::select::Selection;
use oxbox_copy::transfer::Options;
use oxbox_testdata::image::{Blobs, Hash, digest_of};
use serde_json::Value;

use crate::place::Place;

/// Runs a tool and returns what it printed; `{}` in an argument stands for the place.
fn run(place: &Place, line: &str) -> String {
    let words: Vec<String> = line.split(' ').map(|word| place.spell(word)).collect();
    let mut command = Command::new(&words[0]);
    // Nothing of the machine's own images, settings and credentials.
    command.args(&words[1..]).env("HOME", place.path()).env("XDG_RUNTIME_DIR", place.path());
    let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", words[0]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

const STORAGE: &str = "--root {}/storage --runroot {}/run --storage-driver vfs";

/// An image of two layers, made by umoci: `oci:{}/umoci:v1`.
fn by_umoci(place: &Place) {
    fs::create_dir_all(place.join("tree/etc")).unwrap();
    fs::write(place.join("tree/etc/motd"), b"hello").unwrap();
    run(place, "umoci init --layout {}/umoci");
    run(place, "umoci new --image {}/umoci:v1");
    run(place, "umoci insert --image {}/umoci:v1 {}/tree /");
    run(place, "umoci insert --image {}/umoci:v1 {}/tree /copy");
    run(place, "umoci config --image {}/umoci:v1 --config.cmd=/etc/motd --architecture amd64 --os linux");
}

/// The digest of a layout's only image, or of the one with this name.
fn root_digest(place: &Place, layout: &str, name: &str) -> String {
    let index: Value =
        serde_json::from_slice(&fs::read(place.join(layout).join("index.json")).unwrap()).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let named = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == name;
    let entry = entries.iter().find(named).unwrap_or(&entries[0]);
    entry["digest"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_image_by_umoci_keeps_every_digest() {
    let place = Place::new();
    by_umoci(&place);
    let root = root_digest(&place, "umoci", "v1");
    let expected = Blobs::read_layout(&place.join("umoci"));
    for (to, again) in [
        ("oci-archive:{}/x.tar:v1", "oci:{}/from-archive:v1"),
        ("docker-archive:{}/x.docker:example.org/x:v1", "oci:{}/from-docker:v1"),
        ("dir:{}/x.dir", "oci:{}/from-dir:v1"),
        ("store:example.org/x:v1", "oci:{}/from-store:v1"),
    ] {
        place.copy("oci:{}/umoci:v1", to).await.unwrap();
        let report = place.copy(to, again).await.unwrap();
        assert_eq!(report.root.digest.to_string(), root, "{to}");
        let layout = place.join(again.trim_start_matches("oci:{}/").trim_end_matches(":v1"));
        let copied = Blobs::read_layout(&layout);
        assert!(copied.0.iter().all(|(digest, bytes)| expected.0.get(digest) == Some(bytes)), "{to}");
    }
    run(&place, "umoci unpack --rootless --image {}/from-docker:v1 {}/bundle");
    assert_eq!(fs::read(place.join("bundle/rootfs/copy/etc/motd")).unwrap(), b"hello");
}

#[tokio::test]
async fn skopeo_reads_what_is_written_here() {
    let place = Place::new();
    by_umoci(&place);
    let root = root_digest(&place, "umoci", "v1");
    let preserved = "skopeo --insecure-policy copy --preserve-digests";
    for (at, from) in [
        ("oci-archive:{}/x.tar:v1", "oci-archive:{}/x.tar:v1"),
        ("dir:{}/x.dir", "dir:{}/x.dir"),
        ("store:example.org/x:v1", "oci:{}/store:example.org/x:v1"),
        ("oci:{}/layout", "oci:{}/layout"),
    ] {
        place.copy("oci:{}/umoci:v1", at).await.unwrap();
        let raw = run(&place, &format!("skopeo --insecure-policy inspect --raw {from}"));
        assert_eq!(digest_of(raw.as_bytes(), Hash::Sha256), root, "{at}");
        run(&place, &format!("{preserved} {from} dir:{{}}/by-skopeo"));
    }
}

#[tokio::test]
async fn what_skopeo_writes_is_read_here() {
    let place = Place::new();
    by_umoci(&place);
    for to in ["oci:{}/layout:v1", "oci-archive:{}/x.tar:v1", "dir:{}/x.dir"] {
        run(&place, &format!("skopeo --insecure-policy copy oci:{{}}/umoci:v1 {to}"));
        let raw = run(&place, &format!("skopeo --insecure-policy inspect --raw {to}"));
        let report = place.copy(to, "store:again").await.unwrap();
        assert_eq!(report.root.digest.to_string(), digest_of(raw.as_bytes(), Hash::Sha256), "{to}");
    }
}

#[tokio::test]
async fn a_docker_archive_by_skopeo_is_an_image_with_the_same_config_and_layers() {
    let place = Place::new();
    by_umoci(&place);
    run(&place, "skopeo --insecure-policy copy oci:{}/umoci:v1 docker-archive:{}/x.tar:example.org/x:v1");
    place.copy("docker-archive:{}/x.tar:example.org/x:v1", "oci:{}/again:v1").await.unwrap();
    // skopeo reads the archive its own way: config and diff_ids must be the same.
    let config = "skopeo --insecure-policy inspect --config";
    let theirs = run(&place, &format!("{config} --raw docker-archive:{{}}/x.tar:example.org/x:v1"));
    let ours = run(&place, &format!("{config} --raw oci:{{}}/again:v1"));
    assert_eq!(ours, theirs);
    run(&place, "umoci unpack --rootless --image {}/again:v1 {}/bundle");
    assert_eq!(fs::read(place.join("bundle/rootfs/copy/etc/motd")).unwrap(), b"hello");
    // The manifest is made here: the same one every time.
    let first = place.copy("docker-archive:{}/x.tar", "dir:{}/1").await.unwrap();
    let second = place.copy("docker-archive:{}/x.tar", "dir:{}/2").await.unwrap();
    assert_eq!(first.root, second.root);
}

#[tokio::test]
async fn an_image_by_buildah_keeps_every_digest() {
    let place = Place::new();
    fs::write(place.join("file"), b"content").unwrap();
    let buildah = format!("buildah {STORAGE}");
    let container = run(&place, &format!("{buildah} from scratch")).trim().to_owned();
    run(&place, &format!("{buildah} copy {container} {{}}/file /file"));
    for (format, name) in [("oci", "o"), ("docker", "d")] {
        // buildah writes Docker's manifest into a directory as it is.
        let to = format!("dir:{{}}/{name}");
        run(&place, &format!("{buildah} commit --format {format} {container} {to}"));
        let raw = fs::read(place.join(name).join("manifest.json")).unwrap();
        let report = place.copy(&to, &format!("oci:{{}}/layout-{name}:v1")).await.unwrap();
        assert_eq!(report.root.digest.to_string(), digest_of(&raw, Hash::Sha256), "{format}");
        let report = place
            .copy(&format!("oci:{{}}/layout-{name}:v1"), &format!("dir:{{}}/back-{name}"))
            .await
            .unwrap();
        assert_eq!(report.root.digest.to_string(), digest_of(&raw, Hash::Sha256), "{format}");
        for file in fs::read_dir(place.join(name)).unwrap() {
            let file = file.unwrap();
            let back = place.join(&format!("back-{name}")).join(file.file_name());
            assert_eq!(fs::read(file.path()).unwrap(), fs::read(&back).unwrap(), "{}", back.display());
        }
    }
}

#[tokio::test]
async fn podman_loads_what_is_written_for_docker() {
    let place = Place::new();
    by_umoci(&place);
    let podman = format!("podman {STORAGE} --cgroup-manager cgroupfs --events-backend none");
    for (to, file) in [
        ("docker-archive:{}/x.docker:example.org/docker:v1", "x.docker"),
        ("oci-archive:{}/x.tar:example.org/oci:v1", "x.tar"),
    ] {
        place.copy("oci:{}/umoci:v1", to).await.unwrap();
        run(&place, &format!("{podman} load -q -i {{}}/{file}"));
    }
    let names = run(&place, &format!("{podman} images --format {{{{.Repository}}}}:{{{{.Tag}}}}"));
    assert!(names.contains("example.org/docker:v1"), "{names}");
    let loaded = run(&place, &format!("{podman} image inspect example.org/docker:v1"));
    let loaded: Value = serde_json::from_str(&loaded).unwrap();
    assert_eq!(loaded[0]["Config"]["Cmd"][0], "/etc/motd");
}

#[tokio::test]
async fn what_podman_saves_is_read_here() {
    let place = Place::new();
    by_umoci(&place);
    let podman = format!("podman {STORAGE} --cgroup-manager cgroupfs --events-backend none");
    place.copy("oci:{}/umoci:v1", "docker-archive:{}/x.tar:example.org/x:v1").await.unwrap();
    run(&place, &format!("{podman} load -q -i {{}}/x.tar"));
    run(&place, &format!("{podman} save -q -o {{}}/saved.tar example.org/x:v1"));
    place.copy("docker-archive:{}/saved.tar:example.org/x:v1", "oci:{}/again:v1").await.unwrap();
    run(&place, "umoci unpack --rootless --image {}/again:v1 {}/bundle");
    assert_eq!(fs::read(place.join("bundle/rootfs/etc/motd")).unwrap(), b"hello");
    // podman's oci-archive has its own manifest, whose digest stays.
    run(&place, &format!("{podman} save -q --format oci-archive -o {{}}/saved.oci example.org/x:v1"));
    let raw = run(&place, "skopeo --insecure-policy inspect --raw oci-archive:{}/saved.oci");
    let report = place.copy("oci-archive:{}/saved.oci", "store:again").await.unwrap();
    assert_eq!(report.root.digest.to_string(), digest_of(raw.as_bytes(), Hash::Sha256));
}

#[tokio::test]
async fn skopeo_reads_an_index_that_was_moved_here() {
    let place = Place::new();
    by_umoci(&place);
    let layout = Blobs::read_layout(&place.join("umoci"));
    let root = root_digest(&place, "umoci", "v1");
    let mut image = serde_json::json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": root, "size": layout.0[&root].len(),
        "platform": { "architecture": "amd64", "os": "linux" },
    });
    let mut blobs = layout.clone();
    let first = image.clone();
    image["platform"]["architecture"] = "s390x".into();
    let index = blobs.index(oxbox_testdata::image::Family::Oci, &[first, image]);
    blobs.write_layout(&place.join("index"), &[(Some("all"), index.clone())]);
    place.copy("oci:{}/index:all", "dir:{}/x.dir").await.unwrap();
    run(&place, "skopeo --insecure-policy copy --all --preserve-digests dir:{}/x.dir oci:{}/by-skopeo:all");
    assert_eq!(root_digest(&place, "by-skopeo", "all"), index["digest"]);
    let options = Options { selection: Selection::One("linux/amd64".parse().unwrap()), ..Options::default() };
    let report =
        place.copy_with("oci:{}/by-skopeo:all", "docker-archive:{}/one.tar:one", &options).await.unwrap();
    assert_eq!(report.root.digest.to_string(), root);
}
