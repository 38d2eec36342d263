//! A registry in memory that keeps the protocol, for tests that break everything around it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use oxbox_layers::oci::wire::Path;
use oxbox_layers::oci::{Digest, Document, graph};

use crate::scripted::{Reply, Seen};

/// Blobs, manifests by tag and digest, and uploads.
#[derive(Default)]
pub struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    blobs: BTreeMap<String, Bytes>,
    manifests: BTreeMap<String, (String, Bytes)>,
    uploads: BTreeMap<String, Vec<u8>>,
    opened: usize,
}

impl Memory {
    /// The digest that a tag names.
    pub fn tagged(&self, tag: &str) -> Option<Digest> {
        self.0.lock().unwrap().manifests.get(tag).map(|(_, bytes)| Digest::sha256(bytes))
    }

    pub fn answer(&self, seen: &Seen) -> Reply {
        let state = &mut *self.0.lock().unwrap();
        match (seen.method.as_str(), Path::parse(&seen.path)) {
            (_, Some(Path::Base)) => Reply::new(200),
            ("GET" | "HEAD", Some(Path::Blob { digest, .. })) => match state.blobs.get(digest) {
                Some(bytes) => part(bytes, seen),
                None => Reply::error(404, "BLOB_UNKNOWN", "?"),
            },
            ("GET" | "HEAD", Some(Path::Manifest { reference, .. })) => {
                match state.manifests.get(reference) {
                    Some((kind, bytes)) => Reply::new(200).header("content-type", kind).body(bytes.clone()),
                    None => Reply::error(404, "MANIFEST_UNKNOWN", "?"),
                }
            }
            ("POST", Some(Path::Uploads { name })) => {
                state.opened += 1;
                state.uploads.insert(state.opened.to_string(), Vec::new());
                Reply::new(202).header("location", format!("/v2/{name}/blobs/uploads/{}", state.opened))
            }
            (_, Some(Path::Upload { session, .. })) => state.upload(session, seen),
            ("PUT", Some(Path::Manifest { reference, .. })) => state.put_manifest(reference, seen),
            _ => Reply::new(404),
        }
    }
}

fn part(bytes: &Bytes, seen: &Seen) -> Reply {
    let range = seen.header("range").strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
    match range.map(|first| first.parse::<usize>().unwrap()) {
        None => Reply::new(200).body(bytes.clone()),
        Some(first) => Reply::new(206)
            .header("content-range", format!("bytes {first}-{}/{}", bytes.len() - 1, bytes.len()))
            .body(bytes.slice(first..)),
    }
}

impl State {
    fn upload(&mut self, session: &str, seen: &Seen) -> Reply {
        let Some(mut held) = self.uploads.remove(session) else {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "?");
        };
        match seen.method.as_str() {
            "DELETE" => return Reply::new(204),
            "GET" => {
                let range = format!("0-{}", held.len().saturating_sub(1));
                self.uploads.insert(session.to_owned(), held);
                return Reply::new(204).header("location", &seen.path).header("range", range);
            }
            _ if !seen.whole => {
                // What came of a broken request stays, as in a registry that streams to disk.
                held.extend_from_slice(&seen.body);
                self.uploads.insert(session.to_owned(), held);
                return Reply::hang_up();
            }
            "PATCH" => {
                let range = seen.header("content-range");
                if !range.is_empty() && !range.starts_with(&format!("{}-", held.len())) {
                    self.uploads.insert(session.to_owned(), held);
                    return Reply::new(416);
                }
                held.extend_from_slice(&seen.body);
                self.uploads.insert(session.to_owned(), held);
                return Reply::new(202).header("location", &seen.path);
            }
            _ => held.extend_from_slice(&seen.body),
        }
        let digest = &seen.parameters("digest")[0];
        let named: Digest = digest.parse().unwrap();
        if Digest::of(named.algorithm(), &held) != named {
            return Reply::error(400, "DIGEST_INVALID", "?");
        }
        self.blobs.insert(digest.clone(), held.into());
        Reply::new(201).header("docker-content-digest", digest)
    }

    fn put_manifest(&mut self, reference: &str, seen: &Seen) -> Reply {
        let kind = seen.header("content-type").to_owned();
        let Ok(document) = Document::parse(seen.body.clone(), Some(&kind.as_str().into())) else {
            return Reply::error(400, "MANIFEST_INVALID", "?");
        };
        let here = |digest: &Digest| {
            let digest = digest.to_string();
            self.blobs.contains_key(&digest) || self.manifests.contains_key(&digest)
        };
        if graph::successors(&document).iter().any(|(_, child)| !here(&child.digest)) {
            return Reply::error(400, "MANIFEST_BLOB_UNKNOWN", "?");
        }
        let digest = document.digest().to_string();
        for name in [reference, &digest] {
            self.manifests.insert(name.to_owned(), (kind.clone(), seen.body.clone()));
        }
        Reply::new(201).header("docker-content-digest", digest)
    }
}
