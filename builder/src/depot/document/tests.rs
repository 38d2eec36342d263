//! The document: golden, there and back, and whatever somebody may send. `BLESS=1` rewrites the golden one.

use std::path::Path;

use oxbox_layers::compress::Compression;
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{ChainId, Descriptor, DiffId, Digest, MediaType};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{Document, DocumentError, MAX_BYTES, MAX_ENTRIES, MAX_TEXT_BYTES, MountRecord, Record};
use crate::depot::listing::{LISTING_TYPE, Listing, Packed};
use crate::fetch::Validators;
use crate::mounts::About;
use crate::solve::cache::{Derivation, Seen};
use crate::solve::downloads::Download;
use crate::solve::{Key, KeyHasher};

include!("../../../../fuzz/fuzz_targets/text/cache.rs");

fn key(name: &str) -> Key {
    KeyHasher::new("test").field("name", name).finish()
}

fn chain(name: &str) -> ChainId {
    ChainId(Digest::sha256(name.as_bytes()))
}

fn layer(content: &str, media_type: &str) -> Layer {
    let descriptor = Descriptor::of(media_type, content.as_bytes());
    Layer { descriptor, diff_id: DiffId(Digest::sha256(format!("tar of {content}").as_bytes())) }
}

fn record(name: &str, layer: Layer, compression: Option<Compression>) -> Record {
    Record { key: key(name), layer, compression }
}

/// A stage of two steps, of which the first was made twice under other keys, and a WORKDIR of what is there.
fn stages() -> Document {
    let files = layer("files", MediaType::OCI_LAYER_GZIP);
    let step = |content: Option<&str>, made: &str, others: Vec<Seen>| Derivation {
        content: content.map(key),
        made: Some(chain(made)),
        below: Some(chain("base")),
        others,
    };
    Document {
        records: vec![
            record("copy", files.clone(), Some(Compression::Gzip { level: 4 })),
            record("copy once more", files, None),
            record("run", layer("output", MediaType::OCI_LAYER_ZSTD), Some(Compression::ZSTD)),
            record("stage", layer("plain", MediaType::OCI_LAYER), Some(Compression::None)),
        ],
        derivations: vec![
            (key("COPY"), step(Some("copy"), "one", vec![Seen::Stack(None), Seen::Stack(Some(chain("x")))])),
            (key("WORKDIR"), step(None, "base", Vec::new())),
        ],
        downloads: vec![(
            key("https://example.org/a"),
            Download {
                digest: Digest::sha256(b"a"),
                validators: Validators { etag: Some("\"1\"".to_owned()), last_modified: None },
            },
        )],
        mounts: vec![MountRecord {
            about: About { id: "/root/.cache".to_owned(), uid: Some(7), ..About::default() },
            layer: layer("packages", MediaType::OCI_LAYER_GZIP),
        }],
        listings: vec![
            Listing { layer: layer("files", "").diff_id, packed: Packed::Data(b"few names".to_vec()) },
            Listing {
                layer: layer("output", "").diff_id,
                packed: Packed::Blob(Box::new(Descriptor::of(LISTING_TYPE, b"many names"))),
            },
        ],
    }
}

fn descriptors(layers: Vec<Layer>) -> Vec<Descriptor> {
    layers.into_iter().map(|layer| layer.descriptor).collect()
}

#[test]
fn the_document_is_as_it_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/cache/stages/config.json");
    let (bytes, layers) = stages().write();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let pretty = format!("{}\n", serde_json::to_string_pretty(&value).unwrap());
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &pretty).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(pretty, expected);
    assert_eq!(layers.len(), 4, "a layer stands once however many keys lead to it");
    assert_eq!(Document::read(expected.as_bytes(), &descriptors(layers)).unwrap(), stages());
}

#[test]
fn records_within_an_image_name_its_layers_by_their_places() {
    let base = layer("base", MediaType::OCI_LAYER_GZIP);
    let image: Vec<Layer> = std::iter::once(base).chain(stages().write().1).collect();
    let value = stages().write_inline(&image);
    assert_eq!(value["records"][0]["layer"], 1);
    assert_eq!(value.get("diffIds"), None);
    assert_eq!(Document::read_inline(&value, &image).unwrap(), stages());
    // One that was squashed has none of the layers.
    assert_eq!(Document::read_inline(&stages().write_inline(&[]), &[]).unwrap().records, []);
}

#[test]
fn what_a_descriptor_says_beside_goes_no_further() {
    let (bytes, layers) = stages().write();
    let mut layers = descriptors(layers);
    layers[0].urls = Some(vec!["http://elsewhere/".to_owned()]);
    layers[0].annotations = Some([("a".to_owned(), "b".to_owned())].into());
    layers.push(Descriptor::of(LISTING_TYPE, b"many names"));
    assert_eq!(Document::read(&bytes, &layers).unwrap(), stages());
}

#[test]
fn a_compression_that_the_type_contradicts_is_not_believed() {
    let (bytes, layers) = stages().write();
    let mut layers = descriptors(layers);
    layers[0].media_type = MediaType::new(MediaType::OCI_LAYER_ZSTD);
    assert_eq!(Document::read(&bytes, &layers).unwrap().records[0].compression, None);
    for other in ["gzip:99", "gzip", "lz4:1", "none:3", ""] {
        let text = String::from_utf8(bytes.clone()).unwrap().replace("gzip:4", other);
        let document = Document::read(text.as_bytes(), &descriptors(stages().write().1)).unwrap();
        assert_eq!(document.records[0].compression, None, "{other}");
    }
}

#[test]
fn what_is_no_document_is_refused_and_says_why() {
    let (bytes, layers) = stages().write();
    let (text, layers) = (String::from_utf8(bytes).unwrap(), descriptors(layers));
    let told =
        |text: &str, layers: &[Descriptor]| Document::read(text.as_bytes(), layers).unwrap_err().to_string();
    assert_eq!(told("{", &[]), "the records cannot be read");
    assert_eq!(told("[]", &[]), "the records cannot be read");
    let later = "{\"version\":2,\"records\":{}}";
    assert_eq!(told(later, &[]), "the records are of version 2, and this oxbox knows version 1");
    assert_eq!(told(&text, &layers[..1]), "there are 1 layers and 4 diff_ids");
    assert_eq!(told(&text.replace("\"layer\":2", "\"layer\":4"), &layers), "a record names layer 4 of 4");
    let odd: Vec<Descriptor> =
        layers.iter().map(|layer| Descriptor { media_type: "text/plain".into(), ..layer.clone() }).collect();
    assert_eq!(told(&text, &odd), "layer 0 is of a type that is no layer's");
    assert_eq!(told(&text.replace("\"led\":\"-", "\"led\":\"x"), &layers), "derivation 1 cannot be read");
    let long = text.replace("/root/.cache", &"x".repeat(MAX_TEXT_BYTES + 1));
    assert_eq!(told(&long, &layers), "a text takes more than 4096 bytes");
    let bad = text.replacen(&key("copy").to_string(), "00", 1);
    assert_eq!(told(&bad, &layers), "the records cannot be read");
}

#[test]
fn what_fuzzing_begins_with_is_a_document() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/cache/whole");
    let seed = std::fs::read(path).unwrap();
    let document = Document::read(&seed, &[Descriptor::of(MediaType::OCI_LAYER_GZIP, b"layer")]).unwrap();
    assert_eq!((document.records.len(), document.derivations.len()), (2, 2));
    exercise_cache(&seed);
}

#[test]
fn more_than_anybody_has_is_refused() {
    let line = format!("{{\"key\":\"{}\",\"layer\":0}}", key("x"));
    let many = format!("{{\"version\":1,\"records\":[{}]}}", vec![line.as_str(); MAX_ENTRIES + 1].join(","));
    let error = Document::read(many.as_bytes(), &[]).unwrap_err();
    assert!(matches!(error, DocumentError::TooMany { what: "records", .. }), "{error}");
    let large = vec![b' '; usize::try_from(MAX_BYTES).unwrap() + 1];
    assert!(matches!(Document::read(&large, &[]), Err(DocumentError::TooLarge { .. })));
    // What a later version may add is skipped, however deep it is.
    let deep = format!("{{\"version\":1,\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(Document::read(deep.as_bytes(), &[]).unwrap(), Document::default());
}

fn some_key() -> impl Strategy<Value = Key> {
    any::<u16>().prop_map(|number| key(&number.to_string()))
}

fn some_chain() -> impl Strategy<Value = Option<ChainId>> {
    option::of(any::<u16>().prop_map(|number| chain(&number.to_string())))
}

fn some_record() -> impl Strategy<Value = Record> {
    let compression = prop_oneof![
        Just(None),
        Just(Some(Compression::None)),
        (1_u8..10).prop_map(|level| Some(Compression::Gzip { level })),
        (1_u8..20).prop_map(|level| Some(Compression::Zstd { level })),
    ];
    (some_key(), 0_u8..6, compression).prop_map(|(key, content, compression)| {
        // One blob is of one type.
        let media_type = [MediaType::OCI_LAYER, MediaType::OCI_LAYER_GZIP, MediaType::OCI_LAYER_ZSTD];
        let layer = layer(&content.to_string(), media_type[usize::from(content % 3)]);
        let suits = |one: &Compression| MediaType::oci_layer(one.format()) == layer.descriptor.media_type;
        Record { key, compression: compression.filter(suits), layer }
    })
}

fn some_derivation() -> impl Strategy<Value = (Key, Derivation)> {
    let seen = prop_oneof![Just(Seen::Unknown), some_chain().prop_map(Seen::Stack)];
    let derivation = (option::of(some_key()), some_chain(), some_chain(), vec(seen, 0..4));
    (
        some_key(),
        derivation.prop_map(|(content, made, below, others)| Derivation { content, made, below, others }),
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        records in vec(some_record(), 0..12),
        derivations in vec(some_derivation(), 0..12),
    ) {
        let document = Document { records, derivations, ..stages() };
        let (bytes, layers) = document.write();
        prop_assert_eq!(&document.write().0, &bytes);
        prop_assert_eq!(&Document::read(&bytes, &descriptors(layers.clone())).unwrap(), &document);
        let value = document.write_inline(&layers);
        prop_assert_eq!(&Document::read_inline(&value, &layers).unwrap(), &document);
        exercise_cache(&bytes);
    }

    #[test]
    fn nothing_that_is_sent_does_harm(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut bytes, _) = stages().write();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        exercise_cache(&bytes);
        exercise_cache(&bytes[..cut.index(bytes.len())]);
    }
}
