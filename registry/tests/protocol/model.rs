//! Any sequence of requests leaves what a few sets and maps would hold.

use std::collections::{BTreeMap, BTreeSet};

use oxbox_layers::oci::{Descriptor, Digest, Index, Manifest, MediaType, Raw};
use proptest::prelude::*;
use serde_json::json;

use crate::fixture::Fixture;

const REPOSITORIES: [&str; 2] = ["a", "b/c"];
const BLOBS: [&[u8]; 3] = [b"{}", b"one", b"two"];
const TAGS: [&str; 2] = ["v1", "V1"];

#[derive(Debug, Clone)]
enum Step {
    Push(usize, usize),
    Mount(usize, usize),
    DeleteBlob(usize, usize),
    /// By a tag, or by its digest.
    Put(usize, usize, Option<usize>),
    DeleteManifest(usize, usize),
    DeleteTag(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (repository, blob, document) = (0..2_usize, 0..3_usize, 0..4_usize);
    let tag = prop::option::of(0..2_usize);
    prop_oneof![
        4 => (repository.clone(), blob.clone()).prop_map(|(r, b)| Step::Push(r, b)),
        1 => (repository.clone(), blob.clone()).prop_map(|(r, b)| Step::Mount(r, b)),
        2 => (repository.clone(), blob).prop_map(|(r, b)| Step::DeleteBlob(r, b)),
        5 => (repository.clone(), document.clone(), tag).prop_map(|(r, d, t)| Step::Put(r, d, t)),
        2 => (repository.clone(), document).prop_map(|(r, d)| Step::DeleteManifest(r, d)),
        1 => (repository, 0..2_usize).prop_map(|(r, t)| Step::DeleteTag(r, t)),
    ]
}

/// A document, the blobs and the documents it needs, and its subject.
struct Sample {
    bytes: bytes::Bytes,
    media_type: &'static str,
    digest: Digest,
    blobs: Vec<usize>,
    children: Vec<usize>,
    subject: Option<usize>,
}

/// Two images, an index of both, and a signature of the first.
fn samples() -> Vec<Sample> {
    let blob = |number: usize| Descriptor::of(MediaType::OCI_LAYER, BLOBS[number]);
    let config = || Descriptor::of(MediaType::OCI_CONFIG, BLOBS[0]);
    let images = [vec![1], vec![1, 2]].map(|layers: Vec<usize>| {
        Raw::write(
            Manifest::of_image(config(), layers.iter().map(|n| blob(*n)).collect()),
            MediaType::OCI_MANIFEST,
        )
    });
    let index = Raw::write(Index::of(images.iter().map(Raw::descriptor).collect()), MediaType::OCI_INDEX);
    let mut signature = Manifest::of_image(config(), vec![blob(2)]);
    signature.subject = Some(images[0].descriptor());
    let signature = Raw::write(signature, MediaType::OCI_MANIFEST);
    let manifest = |raw: &Raw<Manifest>, blobs: &[usize], subject| Sample {
        bytes: raw.bytes().clone(),
        media_type: MediaType::OCI_MANIFEST,
        digest: raw.digest(),
        blobs: blobs.to_vec(),
        children: Vec::new(),
        subject,
    };
    vec![
        manifest(&images[0], &[0, 1], None),
        manifest(&images[1], &[0, 1, 2], None),
        Sample {
            bytes: index.bytes().clone(),
            media_type: MediaType::OCI_INDEX,
            digest: index.digest(),
            blobs: Vec::new(),
            children: vec![0, 1],
            subject: None,
        },
        manifest(&signature, &[0, 2], Some(0)),
    ]
}

/// What one repository should hold.
#[derive(Default)]
struct Model {
    known: bool,
    blobs: BTreeSet<usize>,
    documents: BTreeSet<usize>,
    tags: BTreeMap<usize, usize>,
}

fn missing(status: u16, there: bool) -> u16 {
    if there { status } else { 404 }
}

async fn take(registry: &Fixture, models: &mut [Model; 2], samples: &[Sample], step: &Step) -> (u16, u16) {
    let digest = |blob: usize| Digest::sha256(BLOBS[blob]);
    match *step {
        Step::Push(repository, blob) => {
            let model = &mut models[repository];
            model.known = true;
            model.blobs.insert(blob);
            let line =
                format!("POST /v2/{}/blobs/uploads/?digest={}", REPOSITORIES[repository], digest(blob));
            (registry.send(&line, &[], BLOBS[blob].to_vec()).await.status, 201)
        }
        Step::Mount(repository, blob) => {
            let (to, from) = (REPOSITORIES[repository], REPOSITORIES[1 - repository]);
            let is_there = models[1 - repository].blobs.contains(&blob);
            if is_there {
                models[repository].known = true;
                models[repository].blobs.insert(blob);
            }
            let line = format!("POST /v2/{to}/blobs/uploads/?mount={}&from={from}", digest(blob));
            (registry.ask(&line).await.status, if is_there { 201 } else { 202 })
        }
        Step::DeleteBlob(repository, blob) => {
            let model = &mut models[repository];
            let needed = model.documents.iter().any(|document| samples[*document].blobs.contains(&blob));
            let expected = match model.blobs.contains(&blob) {
                true if needed => 405,
                there => missing(202, there),
            };
            if expected == 202 {
                model.blobs.remove(&blob);
            }
            let line = format!("DELETE /v2/{}/blobs/{}", REPOSITORIES[repository], digest(blob));
            (registry.ask(&line).await.status, expected)
        }
        Step::Put(repository, document, tag) => {
            let (model, sample) = (&mut models[repository], &samples[document]);
            let complete = sample.blobs.iter().all(|blob| model.blobs.contains(blob))
                && sample.children.iter().all(|child| model.documents.contains(child));
            if complete {
                model.known = true;
                model.documents.insert(document);
                model.tags.extend(tag.map(|tag| (tag, document)));
            }
            let name = tag.map_or(sample.digest.to_string(), |tag| TAGS[tag].to_owned());
            let line = format!("PUT /v2/{}/manifests/{name}", REPOSITORIES[repository]);
            let kind = [("content-type", sample.media_type)];
            let status = registry.send(&line, &kind, sample.bytes.clone()).await.status;
            (status, if complete { 201 } else { 400 })
        }
        Step::DeleteManifest(repository, document) => {
            let model = &mut models[repository];
            let there = model.documents.remove(&document);
            model.tags.retain(|_, tagged| *tagged != document);
            let line =
                format!("DELETE /v2/{}/manifests/{}", REPOSITORIES[repository], samples[document].digest);
            (registry.ask(&line).await.status, missing(202, there))
        }
        Step::DeleteTag(repository, tag) => {
            let model = &mut models[repository];
            let there = model.tags.remove(&tag).is_some();
            let line = format!("DELETE /v2/{}/manifests/{}", REPOSITORIES[repository], TAGS[tag]);
            (registry.ask(&line).await.status, missing(202, there))
        }
    }
}

async fn assert_holds(registry: &Fixture, name: &str, model: &Model, samples: &[Sample]) {
    for (blob, content) in BLOBS.iter().enumerate() {
        let answer = registry.ask(&format!("GET /v2/{name}/blobs/{}", Digest::sha256(content))).await;
        assert_eq!(answer.status, missing(200, model.blobs.contains(&blob)));
        assert!(answer.status == 404 || answer.body == content[..]);
    }
    for (document, sample) in samples.iter().enumerate() {
        let answer = registry.ask(&format!("GET /v2/{name}/manifests/{}", sample.digest)).await;
        assert_eq!(answer.status, missing(200, model.documents.contains(&document)));
        assert!(answer.status == 404 || answer.body == sample.bytes);
        let referrers = registry.ask(&format!("GET /v2/{name}/referrers/{}", sample.digest)).await.json();
        let listed: Vec<&str> = referrers["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["digest"].as_str().unwrap())
            .collect();
        let expected = model.documents.iter().filter(|other| samples[**other].subject == Some(document));
        assert_eq!(listed, expected.map(|other| samples[*other].digest.to_string()).collect::<Vec<_>>());
    }
    let tags = registry.ask(&format!("GET /v2/{name}/tags/list")).await;
    assert_eq!(tags.status, missing(200, model.known));
    if model.known {
        let mut names: Vec<&str> = model.tags.keys().map(|tag| TAGS[*tag]).collect();
        names.sort_unstable();
        assert_eq!(tags.json()["tags"], json!(names));
    }
    for (tag, document) in &model.tags {
        let answer = registry.ask(&format!("HEAD /v2/{name}/manifests/{}", TAGS[*tag])).await;
        assert_eq!(answer.header("docker-content-digest"), samples[*document].digest.to_string());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_sequence_of_requests_leaves_what_it_says(steps in prop::collection::vec(step(), 1..40), restart in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut registry = Fixture::new();
            let (mut models, samples) = (<[Model; 2]>::default(), samples());
            for step in &steps {
                let (status, expected) = take(&registry, &mut models, &samples, step).await;
                assert_eq!(status, expected, "{step:?}");
            }
            if restart {
                registry = registry.restarted();
            }
            for (name, model) in REPOSITORIES.iter().zip(&models) {
                assert_holds(&registry, name, model, &samples).await;
            }
            let filled = REPOSITORIES.iter().zip(&models).filter(|(_, model)| !model.documents.is_empty());
            let filled: Vec<&str> = filled.map(|(name, _)| *name).collect();
            assert_eq!(registry.ask("GET /v2/_catalog").await.json()["repositories"], json!(filled));
        });
    }
}
