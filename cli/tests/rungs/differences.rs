//! What differs between two images, entry by entry and field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use oxbox_layers::layer::Layer;
use oxbox_layers::oci::Digest;
use oxbox_layers::tar::{Entry, Reader};

use crate::support::Oxbox;
use crate::support::image::image;

/// Longer contents are not told, only that they differ.
const MAX_TOLD_BYTES: usize = 300;

/// Entries of a layer with what they hold, by path.
type Entries = BTreeMap<String, (Entry, Vec<u8>)>;

/// Returns a line for each difference between an image and another one: what there was, and what there is.
pub(crate) fn between(expected: (&Oxbox, &str), found: (&Oxbox, &str)) -> Vec<String> {
    let [one, other] = [expected, found].map(|(oxbox, digest)| {
        let digest: Digest = digest.trim().parse().unwrap();
        (oxbox, image(oxbox, &digest))
    });
    let mut lines = Vec::new();
    let [config, other_config] = [&one, &other].map(|(_, image)| {
        let mut config: serde_json::Value = serde_json::from_slice(image.config.bytes()).unwrap();
        config.as_object_mut().unwrap().remove("rootfs");
        config
    });
    if config != other_config || one.1.layers.len() != other.1.layers.len() {
        lines.push(format!("config: {config} is {other_config}"));
    }
    for (layer, other_layer) in one.1.layers.iter().zip(&other.1.layers) {
        if layer.diff_id != other_layer.diff_id {
            lines.extend(between_layers(&entries(one.0, layer), &entries(other.0, other_layer)));
        }
    }
    lines
}

fn between_layers(expected: &Entries, found: &Entries) -> Vec<String> {
    let mut lines = Vec::new();
    let paths: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for path in paths {
        match (expected.get(path), found.get(path)) {
            (Some(one), Some(other)) => {
                lines.extend(fields(one, other).into_iter().map(|line| format!("{path}: {line}")));
            }
            (Some(_), None) => lines.push(format!("{path}: is not there")),
            (None, _) => lines.push(format!("{path}: is there")),
        }
    }
    lines
}

fn fields((one, content): &(Entry, Vec<u8>), (other, other_content): &(Entry, Vec<u8>)) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |name: &str, one: String, other: String| {
        if one != other {
            lines.push(format!("{name} {one} is {other}"));
        }
    };
    let told = |content: &[u8]| match content.len() {
        0..MAX_TOLD_BYTES => format!("{:?}", String::from_utf8_lossy(content)),
        length => format!("{} of {length} bytes", Digest::sha256(content)),
    };
    if content == other_content {
        compare("kind", format!("{:?}", one.kind), format!("{:?}", other.kind));
    }
    compare("mode", format!("{:o}", one.mode), format!("{:o}", other.mode));
    compare("owner", format!("{}:{}", one.uid, one.gid), format!("{}:{}", other.uid, other.gid));
    compare("time", one.mtime.to_string(), other.mtime.to_string());
    compare("attributes", format!("{:?}", one.xattrs), format!("{:?}", other.xattrs));
    compare("content", told(content), told(other_content));
    lines
}

fn entries(oxbox: &Oxbox, layer: &Layer) -> Entries {
    let store = oxbox.store();
    let (mut reader, mut entries) = (Reader::new(layer.open_tar(&store).unwrap()), Entries::new());
    while let Some(entry) = reader.next().unwrap() {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        entries.insert(String::from_utf8_lossy(&entry.path).into_owned(), (entry, content));
    }
    entries
}
