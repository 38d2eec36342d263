//! What a layer's writer and reader owe.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;

use super::{Layer, LayerError, LayerWriter};
use crate::compress::{Compression, DecodeError};
use crate::oci::{Algorithm, Descriptor, DiffId, Digest, MediaType};
use crate::store::{BlobStore, Memory};
use crate::tar::{Entry, Kind, Reader};

const ALL: [Compression; 3] = [Compression::None, Compression::GZIP, Compression::ZSTD];

fn file(path: &str, content: &[u8]) -> Entry {
    Entry::new(path, Kind::File { size: content.len() as u64 }, 0o644)
}

fn layer(store: &dyn BlobStore, compression: Compression, threads: usize, files: &[(&str, &[u8])]) -> Layer {
    let mut writer = LayerWriter::new(store, compression, threads).unwrap();
    for (path, content) in files {
        writer.append(&file(path, content), &mut &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

fn blob(store: &dyn BlobStore, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.open(digest).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn put(store: &dyn BlobStore, bytes: &[u8]) -> Descriptor {
    let mut writer = store.writer(Algorithm::Sha256).unwrap();
    writer.write_all(bytes).unwrap();
    let blob = writer.commit().unwrap();
    Descriptor::new(MediaType::OCI_LAYER_GZIP, blob.digest, blob.size)
}

#[test]
fn diff_id_and_digest_are_of_the_tar_and_of_the_blob() {
    let store = Memory::new();
    let big = vec![b'x'; 3 << 20];
    for compression in ALL {
        let layer = layer(&store, compression, 2, &[("a", b"one"), ("b", &big)]);
        let bytes = blob(&store, &layer.descriptor.digest);
        assert_eq!(Digest::sha256(&bytes), layer.descriptor.digest);
        assert_eq!(bytes.len() as u64, layer.descriptor.size);
        let mut tar = Vec::new();
        layer.open_tar(&store).unwrap().read_to_end(&mut tar).unwrap();
        assert_eq!(DiffId(Digest::sha256(&tar)), layer.diff_id);
        assert_eq!(layer.descriptor.media_type, MediaType::oci_layer(compression.format()));
    }
}

#[test]
fn a_layer_of_nothing_is_the_end_mark_alone() {
    let store = Memory::new();
    let layer = layer(&store, Compression::GZIP, 2, &[]);
    assert_eq!(layer.diff_id, DiffId(Digest::sha256(&[0; 1024])));
}

#[test]
fn a_dropped_or_failed_writer_publishes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::store::Layout::create(folder.path()).unwrap();
    let mut writer = LayerWriter::new(&store, Compression::GZIP, 2).unwrap();
    let content = vec![7; 5 << 20];
    writer.append(&file("a", &content), &mut &content[..]).unwrap();
    drop(writer);
    let mut writer = LayerWriter::new(&store, Compression::GZIP, 2).unwrap();
    let error = writer.append(&file("a", &content), &mut &content[1..]).unwrap_err();
    assert!(matches!(error, LayerError::Tar { .. }));
    assert!(writer.finish().is_err());
    assert_eq!(store.blobs().unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_is_appended_is_read_back_whatever_the_compression_and_the_threads(
        sizes in prop::collection::vec(prop_oneof![0_usize..3000, 400_000_usize..900_000], 0..6),
        seed: u8,
        threads in 1_usize..4,
        compression in prop::sample::select(&ALL[..]),
    ) {
        let store = Memory::new();
        let content = |index: usize, size: usize| -> Vec<u8> {
            (0..size).map(|at| (at / 7 + index) as u8 ^ seed).collect()
        };
        let mut writer = LayerWriter::new(&store, compression, threads).unwrap();
        for (index, &size) in sizes.iter().enumerate() {
            let bytes = content(index, size);
            writer.append(&file(&format!("f{index}"), &bytes), &mut &bytes[..]).unwrap();
        }
        let layer = writer.finish().unwrap();

        let mut reader = Reader::new(layer.open_tar(&store).unwrap());
        for (index, &size) in sizes.iter().enumerate() {
            let expected = content(index, size);
            prop_assert_eq!(reader.next().unwrap().unwrap(), file(&format!("f{index}"), &expected));
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            prop_assert!(read == expected);
        }
        prop_assert_eq!(reader.next().unwrap(), None);
        reader.into_inner().verify().unwrap();
    }
}

#[test]
fn recompressing_keeps_the_tar_and_the_family() {
    let store = Memory::new();
    let mut original = layer(&store, Compression::GZIP, 1, &[("a", &[1; 300_000])]);
    original.descriptor.media_type = MediaType::DOCKER_LAYER_GZIP.into();
    let recompressed = original.recompress(&store, Compression::ZSTD, 2).unwrap();
    assert_eq!(recompressed.diff_id, original.diff_id);
    assert_eq!(recompressed.descriptor.media_type, MediaType::DOCKER_LAYER_ZSTD);
    recompressed.open_tar(&store).unwrap().verify().unwrap();
    let plain = original.recompress(&store, Compression::None, 1).unwrap();
    assert_eq!(plain.descriptor.digest, plain.diff_id.0);
}

#[test]
fn a_tar_becomes_a_layer_byte_for_byte() {
    let store = Memory::new();
    let tar = b"any bytes, even".repeat(100_000);
    let layer = Layer::of_tar(&store, &mut &tar[..], Compression::ZSTD, 2).unwrap();
    assert_eq!(layer.diff_id, DiffId(Digest::sha256(&tar)));
    let error = Layer::of_tar(&store, &mut Broken, Compression::ZSTD, 2).unwrap_err();
    assert!(matches!(error, LayerError::Source { .. }));
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(5))
    }
}

#[test]
fn another_tar_than_was_promised_fails_at_its_end_and_is_not_recompressed() {
    let store = Memory::new();
    for size in [10, 4 << 20] {
        let mut layer = layer(&store, Compression::None, 1, &[("a", &vec![3; size])]);
        let actual = layer.diff_id;
        let expected = DiffId(Digest::sha256(b"another"));
        layer.diff_id = expected;
        for error in [
            layer.open_tar(&store).unwrap().verify().unwrap_err(),
            layer.recompress(&store, Compression::GZIP, 2).unwrap_err(),
        ] {
            let LayerError::DiffId { digest, expected: e, actual: a } = error else { panic!("{error}") };
            assert_eq!((digest, e, a), (layer.descriptor.digest, expected, actual));
        }
    }
}

#[test]
fn a_damaged_blob_is_named_with_the_decoders_word() {
    let store = Memory::new();
    let layer = layer(&store, Compression::GZIP, 1, &[("a", &[1; 30_000])]);
    let mut bytes = blob(&store, &layer.descriptor.digest);
    bytes.truncate(bytes.len() - 4);
    let damaged = Layer { descriptor: put(&store, &bytes), ..layer };
    let error = damaged.open_tar(&store).unwrap().verify().unwrap_err();
    let LayerError::Read { digest, source } = error else { panic!("{error}") };
    assert_eq!(digest, damaged.descriptor.digest);
    assert!(matches!(source.downcast::<DecodeError>().unwrap(), DecodeError::Truncated { .. }));
}

#[test]
fn a_missing_blob_is_named() {
    let layer = layer(&Memory::new(), Compression::None, 1, &[]);
    let error = layer.open_tar(&Memory::new()).err().unwrap();
    assert!(matches!(error, LayerError::Missing { digest } if digest == layer.descriptor.digest));
}

#[test]
fn gnu_tar_reads_a_layer() {
    let store = Memory::new();
    let layer = layer(&store, Compression::GZIP, 2, &[("etc/a", b"one"), ("etc/b", &[9; 2 << 20])]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer.tar.gz");
    io::copy(
        &mut Cursor::new(blob(&store, &layer.descriptor.digest)),
        &mut std::fs::File::create(&path).unwrap(),
    )
    .unwrap();
    let Ok(output) = std::process::Command::new("tar").arg("-tzf").arg(&path).output() else {
        eprintln!("tar is not installed: nothing was compared");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "etc/a\netc/b\n");
    assert!(output.status.success() && output.stderr.is_empty());
}
