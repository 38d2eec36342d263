//! Configs and histories of images on bases that others made.

use std::collections::BTreeMap;

use oxbox_layers::compress::Compression;
use oxbox_layers::image::Image;
use oxbox_layers::layer::{Family, LayerWriter};
use oxbox_layers::oci::{Descriptor, MediaType, Raw};
use oxbox_layers::store::BlobStore as _;
use oxbox_layers::tar::{Entry, Kind};
use serde_json::{Value, json};

use crate::room::Room;

/// Names a base of one layer in the store, with this config but for its diff_ids.
fn base(room: &Room, family: Family, mut config: Value) {
    let mut writer = LayerWriter::new(&*room.store, Compression::GZIP, 1).unwrap();
    writer.append(&Entry::new("srv", Kind::Directory, 0o755), &mut std::io::empty()).unwrap();
    let layer = writer.finish().unwrap();
    config["rootfs"] = json!({ "type": "layers", "diff_ids": [layer.diff_id.to_string()] });
    let kind = match family {
        Family::Docker => MediaType::DOCKER_CONFIG,
        Family::Oci => MediaType::OCI_CONFIG,
    };
    let history = config.as_object_mut().unwrap().remove("history");
    let plain = Raw::parse(config.to_string().into_bytes(), kind.into()).unwrap();
    let mut image = Image::assemble(plain, vec![layer], BTreeMap::new()).unwrap();
    // Afterwards: what is made here may not have such a history.
    if let Some(history) = history {
        image.config = image.config.edit(|config| config["history"] = history).unwrap();
        let descriptor = serde_json::to_value(image.config.descriptor()).unwrap();
        image.manifest = image.manifest.edit(|manifest| manifest["config"] = descriptor).unwrap();
    }
    let manifest = image.write(&*room.store).unwrap();
    room.store.tag("localhost/base:latest", &manifest).unwrap();
}

fn document(room: &Room, descriptor: &Descriptor) -> Value {
    let mut blob = room.store.open(&descriptor.digest).unwrap().unwrap();
    serde_json::from_reader(&mut blob).unwrap()
}

#[test]
fn a_docker_base_becomes_an_oci_image_of_the_same_blobs() {
    let room = Room::new();
    base(&room, Family::Docker, json!({ "os": "linux", "architecture": "amd64" }));
    room.file("f", "f");
    let image = room.build("FROM localhost/base\nCOPY f /f\n");
    let manifest: Value = serde_json::from_slice(image.manifest.bytes()).unwrap();
    assert_eq!(manifest["mediaType"], MediaType::OCI_MANIFEST);
    for layer in manifest["layers"].as_array().unwrap() {
        assert_eq!(layer["mediaType"], MediaType::OCI_LAYER_GZIP);
    }
}

#[test]
fn a_history_tells_of_every_layer_whatever_the_base_told() {
    for history in [
        json!(null),
        json!([]),
        json!([{ "created_by": "one" }]),
        json!([{ "created_by": "e", "empty_layer": true }]),
        json!([{ "created_by": "e", "empty_layer": true }, { "created_by": "one" }]),
    ] {
        let room = Room::new();
        let mut config = json!({ "os": "linux", "architecture": "amd64" });
        if !history.is_null() {
            config["history"] = history.clone();
        }
        base(&room, Family::Oci, config);
        room.file("f", "f");
        let image = room.build("FROM localhost/base\nENV A=b\nCOPY f /f\nWORKDIR /srv\nWORKDIR /new\n");
        assert_eq!(image.config.history_layers(), Some(3), "{history}");
        assert_eq!(image.config.rootfs.diff_ids.len(), 3);
        assert_eq!(image.layers.len(), 3);
    }
}

#[test]
fn what_a_config_holds_that_nobody_here_knows_survives() {
    let room = Room::new();
    let config = json!({
        "os": "linux", "architecture": "amd64", "author": "somebody", "x-top": { "a": [1] },
        "created": "2001-01-01T00:00:00Z",
        "config": { "Env": ["A=1", "PATH=/bin"], "x-inner": true, "Hostname": "h", "Healthcheck": { "Test": ["NONE"] } },
    });
    base(&room, Family::Oci, config);
    let image = room.build("FROM localhost/base\nENV B=2\n");
    let config = document(&room, &image.config.descriptor());
    assert_eq!(config["x-top"], json!({ "a": [1] }));
    assert_eq!(config["author"], "somebody");
    assert_eq!(config["created"], "1980-01-01T00:00:00Z");
    assert_eq!(config["config"]["x-inner"], true);
    assert_eq!(config["config"]["Hostname"], "h");
    assert_eq!(config["config"]["Healthcheck"], json!({ "Test": ["NONE"] }));
    assert_eq!(config["config"]["Env"], json!(["A=1", "PATH=/bin", "B=2"]));
}

#[test]
fn an_image_may_have_no_layer_at_all() {
    let room = Room::new();
    let image = room.build("FROM scratch\nCMD [\"/x\"]\n");
    let manifest: Value = serde_json::from_slice(image.manifest.bytes()).unwrap();
    assert_eq!(manifest["layers"], json!([]));
    let config = document(&room, &image.config.descriptor());
    assert_eq!(config["rootfs"], json!({ "type": "layers", "diff_ids": [] }));
    assert_eq!(config["history"].as_array().unwrap().len(), 1);
}

#[test]
fn a_step_that_changes_nothing_is_told_as_an_empty_layer() {
    let room = Room::new();
    base(&room, Family::Oci, json!({ "os": "linux", "architecture": "amd64" }));
    let image = room.build("FROM localhost/base\nWORKDIR /srv\nCOPY none* /x/\n");
    assert_eq!(image.layers.len(), 1);
    let history = image.config.history.as_ref().unwrap();
    assert_eq!(
        history.iter().map(|line| line.empty_layer).collect::<Vec<_>>(),
        [None, Some(true), Some(true)]
    );
}
