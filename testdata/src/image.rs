//! Images made of plain bytes and JSON, for tests to move, read and break.
//!
//! Written without `oxbox-layers` on purpose: what tests compare with must not share its mistakes.
//!
//! ```text
//! Blobs   digest → bytes, and the documents among them
//!   image(…)  index(…)  artifact(…)  ─▶ descriptors (JSON) to nest in each other
//!   write_layout(path, …)             ─▶ oci-layout, index.json, blobs/
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

/// Whose media types a document has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `application/vnd.docker.…`
    Docker,
    /// `application/vnd.oci.…`
    Oci,
}

/// Which hash names a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// `sha256:…`
    Sha256,
    /// `sha512:…`
    Sha512,
}

/// Blobs by digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blobs(pub BTreeMap<String, Vec<u8>>);

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The uncompressed tar.
    pub tar: Vec<u8>,
    /// What names the compressed bytes.
    pub hash: Hash,
}

impl Layer {
    /// Returns a layer of one file, whose name and content follow from the seed.
    pub fn of_file(seed: u8, size: usize) -> Self {
        let content: Vec<u8> = (0..size).map(|byte| (byte as u8).wrapping_mul(31) ^ seed).collect();
        Self { tar: tar_of_file(&format!("file-{seed}"), &content), hash: Hash::Sha256 }
    }
}

impl Blobs {
    /// Keeps bytes and returns their descriptor.
    pub fn keep(&mut self, media_type: &str, bytes: &[u8], hash: Hash) -> Value {
        let digest = digest_of(bytes, hash);
        self.0.insert(digest.clone(), bytes.to_vec());
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// Keeps an image with gzip layers and a config whose diff_ids are true.
    pub fn image(&mut self, family: Family, architecture: &str, layers: &[Layer]) -> Value {
        let (manifest_type, config_type, layer_type) = match family {
            Family::Docker => (
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ),
            Family::Oci => (
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
            ),
        };
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest_of(&layer.tar, Hash::Sha256)).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "created": "1970-01-01T00:00:00Z",
            "config": { "Cmd": ["/file"], "Healthcheck": { "Test": ["NONE"] } },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": layers.iter().map(|_| json!({ "created_by": "test" })).collect::<Vec<_>>(),
        });
        let config = self.keep(config_type, config.to_string().as_bytes(), Hash::Sha256);
        let layers: Vec<Value> =
            layers.iter().map(|layer| self.keep(layer_type, &gzip(&layer.tar), layer.hash)).collect();
        // Indented, and with a field that nobody knows: whoever writes it anew changes its digest.
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type, "x-unknown": true, "config": config, "layers": layers,
        });
        let text = serde_json::to_vec_pretty(&manifest).expect("because JSON values can be printed");
        let mut descriptor = self.keep(manifest_type, &text, Hash::Sha256);
        descriptor["platform"] = json!({ "architecture": architecture, "os": "linux" });
        descriptor
    }

    /// Keeps an index of documents.
    pub fn index(&mut self, family: Family, children: &[Value]) -> Value {
        let media_type = match family {
            Family::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
            Family::Oci => "application/vnd.oci.image.index.v1+json",
        };
        let index =
            json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": children, "x-unknown": [1] });
        self.keep(media_type, index.to_string().as_bytes(), Hash::Sha256)
    }

    /// Keeps an artifact that may refer to another document.
    pub fn artifact(&mut self, content: &[u8], subject: Option<&Value>) -> Value {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let config = self.keep("application/vnd.oci.empty.v1+json", b"{}", Hash::Sha256);
        let blob = self.keep("application/vnd.example.thing", content, Hash::Sha256);
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": media_type, "artifactType": "application/vnd.example.thing",
            "config": config, "layers": [blob], "annotations": { "k": "v" },
        });
        if let Some(subject) = subject {
            manifest["subject"] = subject.clone();
        }
        self.keep(media_type, manifest.to_string().as_bytes(), Hash::Sha256)
    }

    /// Returns what a descriptor reaches, itself included; a subject is not followed.
    pub fn reachable(&self, descriptor: &Value) -> Self {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![descriptor.clone()];
        while let Some(descriptor) = waiting.pop() {
            let Some(digest) = descriptor["digest"].as_str() else { continue };
            let Some(bytes) = self.0.get(digest) else { continue };
            if !reached.insert(digest.to_owned()) || !is_document(&descriptor) {
                continue;
            }
            let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
            waiting.extend(document.get("config").cloned());
            for list in ["layers", "manifests"] {
                waiting.extend(document[list].as_array().into_iter().flatten().cloned());
            }
        }
        Self(
            reached
                .into_iter()
                .filter_map(|digest| Some((digest.clone(), self.0.get(&digest)?.clone())))
                .collect(),
        )
    }

    /// Writes an OCI image layout with these entries, each with its name.
    pub fn write_layout(&self, path: &Path, entries: &[(Option<&str>, Value)]) {
        let write = |path: &Path, bytes: &[u8]| {
            let directory = path.parent().expect("because the path was joined");
            fs::create_dir_all(directory)
                .and_then(|()| fs::write(path, bytes))
                .expect("because tests own the place");
        };
        for (digest, bytes) in &self.0 {
            write(&path.join("blobs").join(digest.replace(':', "/")), bytes);
        }
        let manifests: Vec<Value> =
            entries.iter().map(|(name, descriptor)| named(descriptor, *name)).collect();
        write(
            &path.join("index.json"),
            json!({ "schemaVersion": 2, "manifests": manifests }).to_string().as_bytes(),
        );
        write(&path.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
    }

    /// Reads every blob of an OCI image layout.
    pub fn read_layout(path: &Path) -> Self {
        let mut blobs = BTreeMap::new();
        for algorithm in ["sha256", "sha512"] {
            let Ok(files) = fs::read_dir(path.join("blobs").join(algorithm)) else { continue };
            for file in files.flatten() {
                let name = file.file_name().to_string_lossy().into_owned();
                let bytes = fs::read(file.path()).expect("because tests own the place");
                blobs.insert(format!("{algorithm}:{name}"), bytes);
            }
        }
        Self(blobs)
    }
}

/// Returns `algorithm:hex` of bytes.
pub fn digest_of(bytes: &[u8], hash: Hash) -> String {
    let (name, bytes) = match hash {
        Hash::Sha256 => ("sha256", Sha256::digest(bytes).to_vec()),
        Hash::Sha512 => ("sha512", Sha512::digest(bytes).to_vec()),
    };
    let mut digest = format!("{name}:");
    for byte in bytes {
        write!(digest, "{byte:02x}").expect("because a String takes everything");
    }
    digest
}

/// Compresses as one gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("because a Vec takes everything")
}

/// Returns a tar archive of one regular file, in plain ustar.
pub fn tar_of_file(name: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = tar_entry(name, b'0', content, "");
    tar.extend([0; 1024]);
    tar
}

/// Returns one entry of a tar archive, in plain ustar, without the end of the archive.
pub fn tar_entry(name: &str, flag: u8, content: &[u8], link: &str) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[flag]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut entry = header.to_vec();
    entry.extend(content);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn named(descriptor: &Value, name: Option<&str>) -> Value {
    let mut entry = descriptor.clone();
    if let Some(name) = name {
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    }
    entry
}

fn is_document(descriptor: &Value) -> bool {
    let media_type = descriptor["mediaType"].as_str().unwrap_or_default();
    ["manifest", "index"].iter().any(|word| media_type.contains(word))
}

#[cfg(test)]
mod tests {
    use super::{Blobs, Family, Hash, Layer, digest_of, tar_of_file};

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        let published = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest_of(b"", Hash::Sha256), published);
    }

    #[test]
    fn a_layout_reads_back_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let mut blobs = Blobs::default();
        let image = blobs.image(Family::Oci, "amd64", &[Layer::of_file(1, 10)]);
        blobs.write_layout(directory.path(), &[(Some("a"), image.clone())]);
        assert_eq!(Blobs::read_layout(directory.path()), blobs);
        assert_eq!(blobs.reachable(&image), blobs);
    }

    #[test]
    fn an_archive_is_whole_blocks_with_an_end() {
        assert_eq!(tar_of_file("a", b"x").len(), 512 + 512 + 1024);
    }
}
