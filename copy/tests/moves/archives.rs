//! Archives of several ages and makers, and which image of several is meant.

use std::fs;

use oxbox_copy::endpoint::EndpointError;
use oxbox_copy::select::SelectError;
use oxbox_copy::transfer::{Options, Referrers, TransferError};
use oxbox_testdata::image::{Blobs, Family, Hash, Layer, digest_of, gzip, tar_entry, tar_of_file};
use serde_json::{Value, json};

use crate::place::{Place, chain};

/// Writes an archive of these files.
fn write(place: &Place, name: &str, files: &[(&str, &[u8])]) {
    let mut bytes: Vec<u8> =
        files.iter().flat_map(|(name, content)| tar_entry(name, b'0', content, "")).collect();
    bytes.extend([0; 1024]);
    fs::write(place.join(name), bytes).unwrap();
}

fn config(tars: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<String> = tars.iter().map(|tar| digest_of(tar, Hash::Sha256)).collect();
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs }).to_string().into_bytes()
}

fn item(config: &str, tags: &[&str], layers: &[&str]) -> Value {
    json!({ "Config": config, "RepoTags": tags, "Layers": layers })
}

#[tokio::test]
async fn an_old_docker_archive_gives_an_image_of_its_own_layers() {
    let place = Place::new();
    let (one, two) = (tar_of_file("one", b"1"), tar_of_file("two", b"2"));
    let manifest = json!([item("c.json", &["example.org/x:v1"], &["1/layer.tar", "2.tar"])]).to_string();
    // In any order: the manifest first, its config last.
    write(
        &place,
        "x.tar",
        &[
            ("manifest.json", manifest.as_bytes()),
            ("2.tar", &gzip(&two)),
            ("1/layer.tar", &one),
            ("c.json", &config(&[&one, &two])),
        ],
    );
    place.copy("docker-archive:{}/x.tar", "oci:{}/to").await.unwrap();
    let blobs = Blobs::read_layout(&place.join("to"));
    let media_types: Vec<String> = blobs
        .0
        .values()
        .filter_map(|bytes| serde_json::from_slice::<Value>(bytes).ok())
        .flat_map(|document| document["layers"].as_array().cloned().unwrap_or_default())
        .map(|layer| layer["mediaType"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        media_types,
        ["application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip"]
    );
    assert_eq!(blobs.0[&digest_of(&one, Hash::Sha256)], one);
    assert_eq!(blobs.0[&digest_of(&gzip(&two), Hash::Sha256)], gzip(&two));
}

#[tokio::test]
async fn a_layer_that_is_not_what_the_config_says_is_refused() {
    for layer in [tar_of_file("other", b"1"), gzip(&tar_of_file("other", b"1"))] {
        let place = Place::new();
        let manifest = json!([item("c.json", &[], &["1.tar"])]).to_string();
        let config = config(&[&tar_of_file("one", b"1")]);
        write(
            &place,
            "x.tar",
            &[("1.tar", &layer), ("c.json", &config), ("manifest.json", manifest.as_bytes())],
        );
        let error = place.copy("docker-archive:{}/x.tar", "oci:{}/to:x").await.unwrap_err();
        assert!(chain(&error).contains("sha256:"), "{}", chain(&error));
        assert!(place.copy("oci:{}/to:x", "dir:{}/dir").await.is_err());
    }
}

#[tokio::test]
async fn as_many_layers_as_diff_ids_or_none_at_all() {
    let place = Place::new();
    let manifest = json!([item("c.json", &[], &[])]).to_string();
    let config = config(&[&tar_of_file("one", b"1")]);
    write(&place, "x.tar", &[("c.json", &config), ("manifest.json", manifest.as_bytes())]);
    let error = place.copy("docker-archive:{}/x.tar", "oci:{}/to:x").await.unwrap_err();
    assert!(chain(&error).contains("0 layers, the config 1"), "{}", chain(&error));
}

#[tokio::test]
async fn one_of_several_images_is_named_by_tag_or_position() {
    let place = Place::new();
    let (a, b) = (config(&[]), config(&[&tar_of_file("b", b"")]));
    let b_tar = tar_of_file("b", b"");
    let manifest = json!([
        item("a.json", &["busybox:1"], &[]),
        // As some tools write it: in full.
        item("b.json", &["docker.io/library/busybox:2"], &["b.tar"]),
    ])
    .to_string();
    let files: [(&str, &[u8]); 4] =
        [("a.json", &a), ("b.json", &b), ("b.tar", &b_tar), ("manifest.json", manifest.as_bytes())];
    write(&place, "x.tar", &files);
    let error = place.copy("docker-archive:{}/x.tar", "dir:{}/0").await.unwrap_err();
    assert!(
        matches!(&error, TransferError::Endpoint(EndpointError::Ambiguous { count: 2, .. })),
        "{error:?}"
    );
    for (pick, config) in [("busybox:1", &a), ("@0", &a), ("docker.io/busybox:2", &b), ("@1", &b)] {
        place.copy(&format!("docker-archive:{{}}/x.tar:{pick}"), "dir:{}/to").await.unwrap();
        let manifest: Value =
            serde_json::from_slice(&fs::read(place.join("to/manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["config"]["digest"], digest_of(config, Hash::Sha256), "{pick}");
    }
    let error = place.copy("docker-archive:{}/x.tar:busybox:3", "dir:{}/to").await.unwrap_err();
    assert!(matches!(error, TransferError::Endpoint(EndpointError::Absent { .. })), "{error:?}");
}

#[tokio::test]
async fn the_layout_within_a_docker_archive_is_read_as_far_as_it_is_whole() {
    let place = Place::new();
    let mut blobs = Blobs::default();
    let here = blobs.image(Family::Oci, "amd64", &[Layer::of_file(1, 9)]);
    let mut other = Blobs::default();
    let missing = other.image(Family::Oci, "arm64", &[Layer::of_file(2, 9)]);
    // As Docker 25 saves an image that it pulled for one platform of two.
    let index = blobs.index(Family::Oci, &[here.clone(), missing]);
    let manifest: Value = serde_json::from_slice(&blobs.0[here["digest"].as_str().unwrap()]).unwrap();
    let path =
        |descriptor: &Value| format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"));
    let docker =
        json!([item(&path(&manifest["config"]), &["x:1"], &[&path(&manifest["layers"][0])])]).to_string();
    let top = json!({ "schemaVersion": 2, "manifests": [index] }).to_string();
    let names: Vec<String> =
        blobs.0.keys().map(|digest| format!("blobs/{}", digest.replace(':', "/"))).collect();
    let mut files: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(blobs.0.values().map(Vec::as_slice)).collect();
    files.extend([("index.json", top.as_bytes()), ("manifest.json", docker.as_bytes())]);
    write(&place, "x.tar", &files);
    let report = place.copy("docker-archive:{}/x.tar", "dir:{}/to").await.unwrap();
    assert_eq!(report.root.digest.to_string(), here["digest"]);
}

#[tokio::test]
async fn an_index_json_that_is_the_image_is_taken_whole() {
    let place = Place::new();
    let mut blobs = Blobs::default();
    let images = ["amd64", "arm64"].map(|architecture| blobs.image(Family::Oci, architecture, &[]));
    blobs.write_layout(&place.join("layout"), &images.map(|image| (None, image)));
    let index = fs::read(place.join("layout/index.json")).unwrap();
    let report = place.copy("oci:{}/layout", "oci-archive:{}/x.tar:v1").await.unwrap();
    assert_eq!(report.root.digest.to_string(), digest_of(&index, Hash::Sha256));
    let report = place.copy("oci-archive:{}/x.tar", "dir:{}/to").await.unwrap();
    assert_eq!(report.documents, 3);
}

#[tokio::test]
async fn the_same_image_gives_the_same_archive() {
    let place = Place::new();
    let mut blobs = Blobs::default();
    let layers: Vec<Layer> = (0..8).map(|seed| Layer::of_file(seed, 20_000)).collect();
    let image = blobs.image(Family::Oci, "amd64", &layers);
    blobs.write_layout(&place.join("layout"), &[(None, image)]);
    for transport in ["oci-archive", "docker-archive"] {
        for name in ["1", "2"] {
            place.copy("oci:{}/layout", &format!("{transport}:{{}}/{name}:example.org/x:v1")).await.unwrap();
        }
        assert!(fs::read(place.join("1")).unwrap() == fs::read(place.join("2")).unwrap(), "{transport}");
    }
}

#[tokio::test]
async fn a_docker_archive_holds_no_artifacts() {
    let place = Place::new();
    let mut blobs = Blobs::default();
    let artifact = blobs.artifact(b"thing", None);
    blobs.write_layout(&place.join("layout"), &[(None, artifact)]);
    fs::write(place.join("x.tar"), b"precious").unwrap();
    let error = place.copy("oci:{}/layout", "docker-archive:{}/x.tar:x").await.unwrap_err();
    assert!(matches!(error, TransferError::Select(SelectError::NotAnImage { .. })), "{error:?}");
    assert_eq!(fs::read(place.join("x.tar")).unwrap(), b"precious");
}

#[tokio::test]
async fn a_name_in_a_layout_moves_and_the_image_that_had_it_stays() {
    let place = Place::new();
    let mut blobs = Blobs::default();
    for (name, seed) in [("old", 1), ("new", 2)] {
        let image = blobs.image(Family::Oci, "amd64", &[Layer::of_file(seed, 9)]);
        blobs.write_layout(&place.join(name), &[(None, image)]);
        place.copy(&format!("oci:{{}}/{name}"), "oci:{}/to:v1").await.unwrap();
    }
    let index: Value = serde_json::from_slice(&fs::read(place.join("to/index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    // The unnamed one can still be read by its position or its digest.
    place.copy("oci:{}/to:@1", "dir:{}/by-position").await.unwrap();
    let unnamed = index["manifests"][1]["digest"].as_str().unwrap();
    let report = place.copy(&format!("oci:{{}}/to:{unnamed}"), "dir:{}/by-digest").await.unwrap();
    assert_eq!(report.root.digest.to_string(), unnamed);
}

#[tokio::test]
async fn referrers_are_found_again_wherever_they_were_moved() {
    let place = Place::new();
    let mut blobs = Blobs::default();
    let image = blobs.image(Family::Oci, "amd64", &[Layer::of_file(1, 9)]);
    let sbom = blobs.artifact(b"sbom", Some(&image));
    let signature = blobs.artifact(b"signature", Some(&sbom));
    let entries = [(Some("v1"), image.clone()), (None, sbom), (None, signature)];
    blobs.write_layout(&place.join("layout"), &entries);
    let options = Options { referrers: Referrers::Follow, ..Options::default() };
    let way = [
        "oci:{}/layout:v1",
        "oci-archive:{}/x.tar:v1",
        "store:x",
        "docker-archive:{}/x.docker:x",
        "oci:{}/end",
    ];
    for pair in way.windows(2) {
        place.copy_with(pair[0], pair[1], &options).await.unwrap();
    }
    assert_eq!(Blobs::read_layout(&place.join("end")), blobs);
    // They are listed, and are no images: one image is there, and needs no name.
    let report = place.copy("oci:{}/end", "dir:{}/to").await.unwrap();
    assert_eq!(report.root.digest.to_string(), image["digest"]);
}

#[tokio::test]
async fn a_name_that_is_not_there_is_absent_and_says_what_is() {
    let place = Place::new();
    let mut blobs = Blobs::default();
    let image = blobs.image(Family::Oci, "amd64", &[]);
    blobs.write_layout(&place.join("layout"), &[(Some("v1"), image)]);
    for (from, said) in [
        ("oci:{}/layout:v2", "layout:v2 (there is v1)"),
        ("oci:{}/missing", "there is no directory"),
        ("oci-archive:{}/missing", "there is no such file"),
        ("dir:{}/missing", "there is no file"),
        ("store:missing", "there is no directory"),
    ] {
        let error = place.copy(from, "dir:{}/to").await.unwrap_err();
        assert!(matches!(error, TransferError::Endpoint(EndpointError::Absent { .. })), "{from}: {error:?}");
        assert!(error.to_string().contains(said), "{error}");
    }
}
