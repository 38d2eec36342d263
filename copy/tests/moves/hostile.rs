//! Images made to cost whoever reads them more than they cost to make.

use std::fs;

use oxbox_testdata::image::{Blobs, Family, Layer, digest_of, tar_entry};
use serde_json::{Value, json};

use crate::place::Place;

/// Wraps a document in indexes within indexes, each of which lists what is below it so many times.
fn wrapped(blobs: &mut Blobs, inner: Value, levels: usize, times: usize) -> Value {
    (0..levels).fold(inner, |below, _| {
        let children = vec![below; times];
        blobs.index(Family::Oci, &children)
    })
}

/// Writes what `docker save` of version 25 would: a layout, and a `manifest.json` that names the config.
fn write_docker_archive(place: &Place, blobs: &Blobs, index: &Value, image: &Value) {
    let manifest: Value = serde_json::from_slice(&blobs.0[image["digest"].as_str().unwrap()]).unwrap();
    let path =
        |descriptor: &Value| format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"));
    let layers: Vec<String> = manifest["layers"].as_array().unwrap().iter().map(path).collect();
    let items = json!([{ "Config": path(&manifest["config"]), "RepoTags": null, "Layers": layers }]);
    let mut tar = Vec::new();
    for (digest, bytes) in &blobs.0 {
        tar.extend(tar_entry(&format!("blobs/{}", digest.replace(':', "/")), b'0', bytes, ""));
    }
    tar.extend(tar_entry("index.json", b'0', index.to_string().as_bytes(), ""));
    tar.extend(tar_entry("manifest.json", b'0', items.to_string().as_bytes(), ""));
    tar.extend([0; 1024]);
    fs::write(place.join("x.tar"), tar).unwrap();
}

fn index(entries: &[&Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries })
}

#[tokio::test]
async fn a_docker_archive_of_thousands_of_nested_indexes_is_read_by_its_image() {
    let place = Place::new();
    let mut blobs = Blobs::default();
    let image = blobs.image(Family::Oci, "amd64", &[Layer::of_file(1, 10)]);
    let missing = json!({ "mediaType": image["mediaType"], "digest": digest_of(b"", oxbox_testdata::image::Hash::Sha256), "size": 0 });
    let deep = wrapped(&mut blobs, missing, 20_000, 1);
    // The image first, so that the index is looked at for whether it is whole.
    let both = blobs.index(Family::Oci, &[image.clone(), deep]);
    write_docker_archive(&place, &blobs, &index(&[&both]), &image);
    let report = place.copy("docker-archive:{}/x.tar", "oci:{}/to:v1").await.unwrap();
    assert_eq!(report.root.digest.to_string(), image["digest"].as_str().unwrap());
}

#[tokio::test]
async fn a_docker_archive_of_indexes_that_multiply_is_read_once() {
    let place = Place::new();
    let mut blobs = Blobs::default();
    let image = blobs.image(Family::Oci, "amd64", &[Layer::of_file(1, 10)]);
    let other = blobs.image(Family::Oci, "arm64", &[Layer::of_file(2, 10)]);
    // In vain before the image is found, and again when it is looked at whether all is there.
    let many = wrapped(&mut blobs, other, 7, 64);
    let both = blobs.index(Family::Oci, &[many.clone(), image.clone()]);
    write_docker_archive(&place, &blobs, &index(&[&many, &both]), &image);
    let report = place.copy("docker-archive:{}/x.tar", "oci:{}/to:v1").await.unwrap();
    assert_eq!(report.root.digest.to_string(), both["digest"].as_str().unwrap());
}

#[tokio::test]
async fn an_index_that_multiplies_is_found_whole_in_a_layout() {
    let place = Place::new();
    let mut blobs = Blobs::default();
    let image = blobs.image(Family::Oci, "amd64", &[Layer::of_file(1, 10)]);
    let many = wrapped(&mut blobs, image, 12, 32);
    blobs.write_layout(&place.join("from"), &[(Some("v1"), many)]);
    let first = place.copy("oci:{}/from:v1", "oci:{}/to:v1").await.unwrap();
    let again = place.copy("oci:{}/from:v1", "oci:{}/to:v2").await.unwrap();
    assert_eq!((again.root, again.documents), (first.root, 1));
}
