//! 58 to 61: what a layer's bytes are. 56 and 57, what a RUN leaves of deletions, are with the sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;

use oxbox_builder::Request;
use oxbox_builder::build::Times;
use oxbox_builder::export::form::Form;
use oxbox_layers::compress::Compression;
use oxbox_layers::image::Image;
use oxbox_layers::oci::{DiffId, Digest};
use oxbox_layers::tar::Kind;

use crate::room::Room;
use crate::scene::{Scene as _, directory, file, on};

/// The tar of a layer.
fn tar(room: &Room, image: &Image, layer: usize) -> Vec<u8> {
    let mut tar = Vec::new();
    image.layers[layer].open_tar(&*room.store).unwrap().read_to_end(&mut tar).unwrap();
    tar
}

#[test]
fn s58_parents_come_once_with_their_metadata_and_everything_in_order() {
    let room = on(&[directory("a", 0o711, 5), directory("a/b", 0o1777, 6), directory("z", 0o755, 0)]);
    room.file("d/f", "f").file("d-e", "e").file("d/g/h", "h").file("d0", "0");
    assert_eq!(
        room.last("COPY . /a/b/"),
        [
            "711 5:5 a/",
            "1777 6:6 a/b/",
            "644 0:0 a/b/Dockerfile \"FROM localhost/base\\nCOPY . /a/b/\\n\"",
            "755 0:0 a/b/d/",
            "644 0:0 a/b/d/f \"f\"",
            "755 0:0 a/b/d/g/",
            "644 0:0 a/b/d/g/h \"h\"",
            "644 0:0 a/b/d-e \"e\"",
            "644 0:0 a/b/d0 \"0\"",
        ],
        "a directory is followed by what is in it, whatever sorts between"
    );
    assert_eq!(room.last("COPY d/f /"), ["644 0:0 f \"f\""], "the root has no entry");
}

#[test]
fn s59_a_tar_says_no_more_than_it_must() {
    let room = on(&[directory("d", 0o755, 0)]);
    room.file("sub/f", "f");
    fs::File::open(room.at("sub/f"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(5500))
        .unwrap();
    let image = room.build("FROM localhost/base\nCOPY sub/f /d/f\n");
    let tar = tar(&room, &image, 1);
    assert_eq!(tar.len(), 512 * 5, "d, d/f, its content, two blocks of zeros and no more");
    assert!(tar[512 * 3..].iter().all(|&byte| byte == 0));
    let field = |start: usize, length: usize| {
        let bytes = &tar[512 + start..][..length];
        String::from_utf8(bytes.to_vec()).unwrap().trim_end_matches(['\0', ' ']).to_owned()
    };
    assert_eq!(&tar[..3], b"d/\0", "a directory ends in a slash");
    assert_eq!((field(0, 100), field(156, 1), field(257, 5)), ("d/f".into(), "0".into(), "ustar".into()));
    assert_eq!(i64::from_str_radix(&field(100, 8), 8).unwrap(), 0o644, "permissions alone");
    assert_eq!(i64::from_str_radix(&field(136, 12), 8).unwrap(), 5, "whole seconds");
    assert_eq!((field(265, 32), field(297, 32)), (String::new(), String::new()), "no names of this machine");
    for device in [field(329, 8), field(337, 8)] {
        assert!(device.bytes().all(|digit| digit == b'0'), "{device:?}");
    }
}

#[test]
fn s59_what_ustar_cannot_say_comes_in_a_pax_record_and_only_that() {
    let room = on(&[directory("d", 0o755, 0)]);
    let long = "n".repeat(120);
    room.file("sub/short", "").file(&format!("sub/{long}"), "").file("sub/ümlaut", "");
    let image = room.build("FROM localhost/base\nCOPY --chown=2097152:7 sub /x\n");
    let tar = tar(&room, &image, 1);
    let pax: Vec<String> = tar
        .chunks(512)
        .zip(tar.chunks(512).skip(1))
        .filter(|(header, _)| header[156] == b'x' && header[257..].starts_with(b"ustar"))
        .map(|(_, records)| String::from_utf8(records.to_vec()).unwrap().trim_end_matches('\0').to_owned())
        .collect();
    assert_eq!(pax.len(), 4, "each has an owner beyond seven octal digits");
    assert!(pax.iter().all(|records| records.contains(" uid=2097152\n") && !records.contains("gid=")));
    let paths: Vec<_> = pax.iter().filter(|records| records.contains(" path=")).collect();
    assert_eq!(paths.len(), 2, "the long name and the one that is not ASCII");
    assert!(pax.iter().all(|records| !records.contains("time=")));
}

#[test]
fn s60_times_are_cut_to_the_epoch_not_set_and_bases_stay_as_they_are() {
    let mut base = file("base", 0o644, 0, "b");
    base.0.mtime = 4_000_000_000;
    let room = on(&[base]);
    room.file("old", "").file("new", "");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(100);
    fs::File::open(room.at("old")).unwrap().set_modified(old).unwrap();
    room.file("Dockerfile", "FROM localhost/base\nCOPY old new /d/\nENV A=b\n");
    let below =
        Image::load(&*room.store, &room.store.resolve("localhost/base:latest").unwrap().unwrap()).unwrap();
    let request = Request { times: Times::Cut(1_000_000), ..room.request("localhost/x") };
    let image = Image::load(&*room.store, &room.run(&request).0.unwrap().manifest).unwrap();
    assert_eq!(image.layers[0], below.layers[0]);
    let times: BTreeMap<_, _> =
        room.entries(&image, 1).into_iter().map(|(entry, _)| (entry.path, entry.mtime)).collect();
    assert_eq!(times[&b"d/new"[..]], 1_000_000);
    assert_eq!(times[&b"d/old"[..]], 100);
    let created: Vec<_> =
        image.config.history.as_ref().unwrap().iter().map(|line| line.created.clone().unwrap()).collect();
    let epoch = "1970-01-12T13:46:40Z".to_owned();
    assert_eq!(
        created,
        ["1980-01-01T00:00:00Z".to_owned(), epoch.clone(), epoch.clone()],
        "the base's own line stays"
    );
    assert_eq!(image.config.created, Some(epoch));
}

#[test]
fn s60_gzip_says_neither_when_nor_where_nor_how() {
    let room = on(&[directory("d", 0o755, 0)]);
    room.file("f", "f").file("Dockerfile", "FROM localhost/base\nCOPY f /f\n");
    let request = Request { forms: vec![Form::plain(Compression::default())], ..room.request("localhost/x") };
    let image = Image::load(&*room.store, &room.run(&request).0.unwrap().manifest).unwrap();
    let mut start = [0; 10];
    let blob = oxbox_layers::store::BlobStore::open(&*room.store, &image.layers[1].descriptor.digest);
    blob.unwrap().unwrap().read_exact(&mut start).unwrap();
    assert_eq!(start, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
}

#[test]
fn s61_diff_ids_are_of_the_tars_and_every_layer_has_its_line_of_history() {
    let room = on(&[directory("d", 0o755, 0)]);
    room.file("f", "f");
    let image = room.build("FROM localhost/base\nCOPY f /f\nCOPY none* /\nENV A=b\nWORKDIR /d\nADD f /g\n");
    let diff_ids = &image.config.rootfs.diff_ids;
    assert_eq!(diff_ids.len(), image.layers.len());
    for (layer, diff_id) in diff_ids.iter().enumerate() {
        let tar = tar(&room, &image, layer);
        assert_eq!(*diff_id, DiffId(Digest::sha256(&tar)));
        assert_ne!(diff_id.0, image.layers[layer].descriptor.digest, "that is of what is stored");
    }
    // What changes nothing makes no layer, and its line says so.
    let lines = image.config.history.as_ref().unwrap();
    let with_layer = lines.iter().filter(|line| line.empty_layer != Some(true)).count();
    assert_eq!((lines.len(), with_layer, diff_ids.len()), (6, 3, 3));
    assert!(room.entries(&image, 1).iter().all(|(entry, _)| !matches!(entry.kind, Kind::Hardlink { .. })));
}
