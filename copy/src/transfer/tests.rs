//! The engine between places in memory, which note what happens and fail as they are told.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use oxbox_layers::oci::{Config, Descriptor, Digest, Document, Index, Manifest, MediaType, Platform, Raw};

use super::{Options, Outcome, Referrers, Report, TransferError, copy};
use crate::endpoint::{BlobStream, Destination, EndpointError, Origin, Source, Subject, Takes};
use crate::progress::{Event, Silent};
use crate::select::{SelectError, Selection, Subset};

/// Blobs and documents, and how the next openings of a blob fail.
#[derive(Default)]
struct Here {
    blobs: HashMap<Digest, Bytes>,
    root: Option<Descriptor>,
    referrers: HashMap<Digest, Vec<Descriptor>>,
    faults: Mutex<HashMap<Digest, VecDeque<EndpointError>>>,
    origin: Option<Origin>,
}

/// What was done, in order, by the digests it was done to.
#[derive(Default)]
struct There {
    log: Mutex<Vec<(&'static str, Digest)>>,
    has: HashSet<Digest>,
    mounts: HashSet<Digest>,
    takes: Option<Takes>,
    under_way: Mutex<(usize, usize)>,
}

impl Here {
    fn keep(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        self.blobs.insert(descriptor.digest, Bytes::copy_from_slice(bytes));
        descriptor
    }

    fn image(&mut self, platform: &str, layers: &[&str]) -> Descriptor {
        let platform = platform.parse().unwrap();
        let config = serde_json::to_vec(&Config::scratch(&platform)).unwrap();
        let config = self.keep(MediaType::OCI_CONFIG, &config);
        let layers = layers.iter().map(|layer| self.keep(MediaType::OCI_LAYER, layer.as_bytes())).collect();
        let manifest = Raw::write(Manifest::of_image(config, layers), MediaType::OCI_MANIFEST);
        let mut descriptor = self.keep(MediaType::OCI_MANIFEST, manifest.bytes());
        descriptor.platform = Some(platform);
        descriptor
    }

    fn index(&mut self, children: &[&Descriptor]) -> Descriptor {
        let index = Index::of(children.iter().map(|child| (*child).clone()).collect());
        self.keep(MediaType::OCI_INDEX, Raw::write(index, MediaType::OCI_INDEX).bytes())
    }

    fn referrer(&mut self, subject: &Descriptor, content: &str) -> Descriptor {
        let config = self.keep(MediaType::OCI_EMPTY, b"{}");
        let blob = self.keep("application/vnd.example", content.as_bytes());
        let mut manifest = Manifest::of_image(config, vec![blob]);
        manifest.subject = Some(subject.clone());
        let bytes = Raw::write(manifest, MediaType::OCI_MANIFEST).bytes().clone();
        let referrer = self.keep(MediaType::OCI_MANIFEST, &bytes);
        self.referrers.entry(subject.digest).or_default().push(referrer.clone());
        referrer
    }

    fn fail(&self, digest: Digest, error: EndpointError) {
        self.faults.lock().unwrap().entry(digest).or_default().push_back(error);
    }

    fn layer(&self, content: &str) -> Digest {
        let digest = Digest::sha256(content.as_bytes());
        assert!(self.blobs.contains_key(&digest));
        digest
    }

    fn get(&self, subject: Subject, digest: &Digest) -> Result<Bytes, EndpointError> {
        let absent = || EndpointError::Absent { subject, place: "here".to_owned(), details: String::new() };
        self.blobs.get(digest).cloned().ok_or_else(absent)
    }
}

impl Source for Here {
    async fn resolve(&self) -> Result<Descriptor, EndpointError> {
        Ok(self.root.clone().unwrap())
    }

    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, EndpointError> {
        self.get(Subject::Document(descriptor.digest), &descriptor.digest)
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<BlobStream, EndpointError> {
        let fault = self.faults.lock().unwrap().get_mut(&descriptor.digest).and_then(VecDeque::pop_front);
        let bytes = self.get(Subject::Blob(descriptor.digest), &descriptor.digest)?;
        match fault {
            Some(error) => {
                let half = Ok(bytes.slice(..bytes.len() / 2));
                Ok(BlobStream::new(descriptor, "here", futures_util::stream::iter([half, Err(error)])))
            }
            None => Ok(BlobStream::of_bytes(descriptor, "here", bytes)),
        }
    }

    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, EndpointError> {
        Ok(self.referrers.get(digest).cloned().unwrap_or_default())
    }

    fn origin(&self, _blob: &Descriptor) -> Option<Origin> {
        self.origin.clone()
    }
}

impl There {
    fn note(&self, what: &'static str, digest: Digest) {
        self.log.lock().unwrap().push((what, digest));
    }

    fn log(&self) -> Vec<(&'static str, Digest)> {
        self.log.lock().unwrap().clone()
    }

    fn did(&self, what: &str) -> HashSet<Digest> {
        self.log().into_iter().filter(|(done, _)| *done == what).map(|(_, digest)| digest).collect()
    }

    fn position(&self, digest: Digest) -> usize {
        let log = self.log();
        let mut positions = log.iter().enumerate().filter(|(_, (_, done))| *done == digest);
        let (position, _) = positions.next().unwrap();
        assert!(positions.next().is_none(), "{digest} was pushed twice");
        position
    }
}

impl Destination for There {
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        Ok(self.has.contains(&descriptor.digest))
    }

    async fn has_document(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        Ok(self.has.contains(&descriptor.digest))
    }

    async fn mount(&self, descriptor: &Descriptor, _: &Origin) -> Result<bool, EndpointError> {
        Ok(self.mounts.contains(&descriptor.digest))
    }

    async fn push_blob(&self, descriptor: &Descriptor, content: BlobStream) -> Result<(), EndpointError> {
        {
            let mut under_way = self.under_way.lock().unwrap();
            under_way.0 += 1;
            under_way.1 = under_way.1.max(under_way.0);
        }
        tokio::task::yield_now().await;
        let taken: Result<Vec<Bytes>, _> = content.try_collect().await;
        self.under_way.lock().unwrap().0 -= 1;
        taken.map_err(|_| EndpointError::Failed {
            subject: Subject::Blob(descriptor.digest),
            place: "there".to_owned(),
            source: "the body broke off".into(),
        })?;
        self.note("blob", descriptor.digest);
        Ok(())
    }

    async fn push_document(&self, document: &Document) -> Result<(), EndpointError> {
        self.note("document", document.digest());
        Ok(())
    }

    async fn publish(&self, root: &Document) -> Result<(), EndpointError> {
        self.note("publish", root.digest());
        Ok(())
    }

    fn takes(&self) -> Takes {
        self.takes.unwrap_or(Takes::Anything)
    }
}

fn transient() -> EndpointError {
    EndpointError::Transient { subject: Subject::Image, place: "here".to_owned(), source: "reset".into() }
}

fn options() -> Options {
    Options { retry_delay: Duration::ZERO, ..Options::default() }
}

async fn go(here: Here, there: There, options: &Options) -> (Result<Report, TransferError>, Arc<There>) {
    let there = Arc::new(there);
    (copy(Arc::new(here), Arc::clone(&there), options, Arc::new(Silent)).await, there)
}

#[tokio::test]
async fn everything_comes_after_what_it_names_and_the_root_is_last() {
    let mut here = Here::default();
    let (a, b) = (here.image("linux/amd64", &["1", "2"]), here.image("linux/arm64", &["2", "3"]));
    let inner = here.index(&[&b]);
    // `b` is named above and below the inner index.
    let root = here.index(&[&b, &inner, &a]);
    here.root = Some(root.clone());
    let layer = here.layer("3");
    let (report, there) = go(here, There::default(), &options()).await;
    let order = [layer, b.digest, inner.digest, root.digest].map(|digest| there.position(digest));
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(there.log().last(), Some(&("publish", root.digest)));
    let report = report.unwrap();
    assert_eq!((report.documents, report.blobs.len()), (4, 5));
}

#[tokio::test]
async fn a_blob_that_is_there_is_skipped_and_one_next_door_is_mounted() {
    let origin = Origin { registry: "example.org".to_owned(), repository: "a".to_owned() };
    let mut here = Here { origin: Some(origin), ..Here::default() };
    here.root = Some(here.image("linux/amd64", &["there", "next door", "nowhere"]));
    let [there_already, next_door, nowhere] =
        ["there", "next door", "nowhere"].map(|layer| here.layer(layer));
    let there = There { has: [there_already].into(), mounts: [next_door].into(), ..There::default() };
    let (report, there) = go(here, there, &options()).await;
    let report = report.unwrap();
    let outcomes: HashMap<Digest, Outcome> =
        report.blobs.iter().map(|(blob, outcome)| (blob.digest, *outcome)).collect();
    assert_eq!(outcomes[&there_already], Outcome::Present);
    assert_eq!(outcomes[&next_door], Outcome::Mounted);
    assert_eq!(outcomes[&nowhere], Outcome::Copied);
    assert!(!there.did("blob").contains(&next_door));
}

#[tokio::test]
async fn a_document_that_is_there_ends_the_walk() {
    let mut here = Here::default();
    let (a, b) = (here.image("linux/amd64", &["1"]), here.image("linux/arm64", &["2"]));
    here.root = Some(here.index(&[&a, &b]));
    let layer = here.layer("1");
    let (report, there) = go(here, There { has: [a.digest].into(), ..There::default() }, &options()).await;
    report.unwrap();
    assert_eq!(there.did("document"), [b.digest].into());
    assert!(!there.did("blob").contains(&layer));
}

#[tokio::test]
async fn a_root_that_is_there_is_only_named() {
    let mut here = Here::default();
    let root = here.image("linux/amd64", &["1"]);
    here.root = Some(root.clone());
    let (report, there) = go(here, There { has: [root.digest].into(), ..There::default() }, &options()).await;
    assert_eq!(report.unwrap().bytes_moved, 0);
    assert_eq!(there.log(), [("publish", root.digest)]);
}

#[tokio::test]
async fn a_transient_fault_is_tried_again_from_the_start() {
    let mut here = Here::default();
    here.root = Some(here.image("linux/amd64", &["layer"]));
    let layer = here.layer("layer");
    for _ in 0..2 {
        here.fail(layer, transient());
    }
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let progress = Arc::new(move |event| seen.lock().unwrap().push(event));
    copy(Arc::new(here), Arc::new(There::default()), &options(), progress).await.unwrap();
    let restarts =
        events.lock().unwrap().iter().filter(|event| matches!(event, Event::Restarted { .. })).count();
    assert_eq!(restarts, 2);
}

#[tokio::test]
async fn a_fault_that_stays_is_the_error_and_nothing_is_published() {
    let mut here = Here::default();
    here.root = Some(here.image("linux/amd64", &["layer"]));
    let layer = here.layer("layer");
    for _ in 0..3 {
        here.fail(layer, transient());
    }
    let (report, there) = go(here, There::default(), &options()).await;
    // The source's word, not what the destination made of a body that broke off.
    let error = report.unwrap_err();
    assert!(
        matches!(&error, TransferError::Blob { digest, source: EndpointError::Transient { .. }, .. } if *digest == layer)
    );
    assert!(there.did("publish").is_empty() && there.did("document").is_empty());
}

#[tokio::test]
async fn other_faults_are_not_tried_again() {
    let mut here = Here::default();
    here.root = Some(here.image("linux/amd64", &["layer"]));
    let denied =
        EndpointError::Denied { subject: Subject::Image, place: "here".to_owned(), source: "no".into() };
    here.fail(here.layer("layer"), denied);
    let (report, _) = go(here, There::default(), &options()).await;
    assert!(matches!(report, Err(TransferError::Blob { source: EndpointError::Denied { .. }, .. })));
}

#[tokio::test]
async fn no_more_blobs_are_under_way_than_allowed() {
    let layers: Vec<String> = (0..40).map(|layer| layer.to_string()).collect();
    let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
    for (takes, limit) in [(None, 6), (Some(Takes::InOrder), 1)] {
        let mut here = Here::default();
        here.root = Some(here.image("linux/amd64", &layers));
        let (report, there) = go(here, There { takes, ..There::default() }, &options()).await;
        report.unwrap();
        assert_eq!(there.under_way.lock().unwrap().1, limit);
    }
}

#[tokio::test]
async fn blobs_of_an_archive_come_in_the_order_of_the_documents() {
    let mut here = Here::default();
    here.root = Some(here.image("linux/amd64", &["b", "a", "c"]));
    let expected = ["b", "a", "c"].map(|layer| here.layer(layer));
    let (report, there) =
        go(here, There { takes: Some(Takes::InOrder), ..There::default() }, &options()).await;
    report.unwrap();
    let log: Vec<Digest> = there.log().into_iter().map(|(_, digest)| digest).collect();
    assert_eq!(log[1..4], expected);
}

#[tokio::test]
async fn an_inlined_blob_needs_no_fetch() {
    let mut here = Here::default();
    let mut config = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
    config.data = Some("e30=".to_owned());
    let manifest = Raw::write(Manifest::of_image(config, Vec::new()), MediaType::OCI_MANIFEST);
    here.root = Some(here.keep(MediaType::OCI_MANIFEST, manifest.bytes()));
    let (report, there) = go(here, There::default(), &options()).await;
    assert_eq!(report.unwrap().bytes_moved, 2);
    assert_eq!(there.did("blob").len(), 1);
}

#[tokio::test]
async fn a_foreign_layer_that_the_source_lacks_stays_at_its_urls() {
    let mut here = Here::default();
    let config = here.keep(MediaType::OCI_CONFIG, b"{}");
    let mut layer = Descriptor::of(MediaType::DOCKER_FOREIGN_LAYER_GZIP, b"windows");
    layer.urls = Some(vec!["https://example.org/windows".to_owned()]);
    let manifest = Raw::write(Manifest::of_image(config, vec![layer.clone()]), MediaType::OCI_MANIFEST);
    here.root = Some(here.keep(MediaType::OCI_MANIFEST, manifest.bytes()));
    let (report, _) = go(here, There::default(), &options()).await;
    assert_eq!(report.unwrap().blobs[1], (layer, Outcome::LeftAtUrls));
}

#[tokio::test]
async fn referrers_come_along_and_so_does_what_refers_to_them() {
    let mut here = Here::default();
    let a = here.image("linux/amd64", &["1"]);
    let root = here.index(&[&a]);
    let sbom = here.referrer(&a, "sbom");
    let signature = here.referrer(&sbom, "signature of the sbom");
    here.root = Some(root.clone());
    // All of the image is there already; its referrers are newer.
    let there = There { has: [a.digest, root.digest].into(), ..There::default() };
    let (report, there) = go(here, there, &Options { referrers: Referrers::Follow, ..options() }).await;
    report.unwrap();
    assert!(there.did("document").is_superset(&[sbom.digest, signature.digest].into()));
    assert_eq!(there.log().last(), Some(&("publish", root.digest)));
}

#[tokio::test]
async fn referrers_stay_behind_unless_asked_for() {
    let mut here = Here::default();
    let root = here.image("linux/amd64", &["1"]);
    here.referrer(&root, "sbom");
    here.root = Some(root);
    let (report, there) = go(here, There::default(), &options()).await;
    report.unwrap();
    assert_eq!(there.did("document").len(), 0);
}

fn three_platforms() -> (Here, [Descriptor; 3], Descriptor) {
    let mut here = Here::default();
    let images =
        ["linux/amd64", "linux/arm64", "linux/s390x"].map(|platform| here.image(platform, &[platform]));
    let mut attestation = here.image("unknown/unknown", &["attestation"]);
    attestation.annotate("vnd.docker.reference.type", "attestation-manifest");
    attestation.annotate("vnd.docker.reference.digest", images[1].digest.to_string());
    let children: Vec<&Descriptor> = images.iter().chain([&attestation]).collect();
    let root = here.index(&children);
    here.root = Some(root);
    (here, images, attestation)
}

#[tokio::test]
async fn one_platform_is_its_manifest() {
    let (here, images, _) = three_platforms();
    let selection = Selection::One("linux/arm64".parse().unwrap());
    let (report, there) = go(here, There::default(), &Options { selection, ..options() }).await;
    assert_eq!(report.unwrap().root.digest, images[1].digest);
    assert_eq!(there.did("blob").len(), 2);
}

#[tokio::test]
async fn a_missing_platform_is_an_error_that_lists_what_there_is() {
    let (here, _, _) = three_platforms();
    let selection = Selection::One("linux/riscv64".parse().unwrap());
    let (report, there) = go(here, There::default(), &Options { selection, ..options() }).await;
    let error = report.unwrap_err();
    assert!(matches!(error, TransferError::Select(SelectError::NoPlatform { .. })));
    assert!(error.to_string().contains("linux/s390x"), "{error}");
    assert!(there.log().is_empty());
}

#[tokio::test]
async fn a_lone_manifest_must_suit_the_platform_that_was_asked_for() {
    for (wanted, fits) in [("linux/amd64", true), ("linux/arm64", false)] {
        let mut here = Here::default();
        here.root = Some(here.image("linux/amd64", &["1"]));
        let selection = Selection::One(wanted.parse().unwrap());
        let (report, _) = go(here, There::default(), &Options { selection, ..options() }).await;
        assert_eq!(report.is_ok(), fits, "{wanted}");
    }
}

#[tokio::test]
async fn a_stripped_index_names_only_what_is_copied_and_its_attestations() {
    let (here, images, attestation) = three_platforms();
    let platforms = ["linux/s390x", "linux/arm64"].map(|platform| platform.parse().unwrap()).to_vec();
    let selection = Selection::Several(platforms, Subset::Strip);
    let old_root = here.root.clone().unwrap();
    let (report, there) = go(here, There::default(), &Options { selection, ..options() }).await;
    assert_ne!(report.unwrap().root.digest, old_root.digest);
    assert_eq!(there.did("document"), [images[1].digest, images[2].digest, attestation.digest].into());
}

#[tokio::test]
async fn a_sparse_index_keeps_its_digest() {
    let (here, images, _) = three_platforms();
    let selection = Selection::Several(vec!["linux/amd64".parse().unwrap()], Subset::Sparse);
    let old_root = here.root.clone().unwrap();
    let (report, there) = go(here, There::default(), &Options { selection, ..options() }).await;
    assert_eq!(report.unwrap().root.digest, old_root.digest);
    assert_eq!(there.did("document"), [images[0].digest].into());
}

#[tokio::test]
async fn indexes_without_end_are_refused() {
    let mut here = Here::default();
    let mut root = here.image("linux/amd64", &["1"]);
    for _ in 0..20 {
        root.platform = None;
        root = here.index(&[&root]);
    }
    here.root = Some(root);
    let (report, there) = go(here, There::default(), &options()).await;
    assert!(matches!(report, Err(TransferError::Plan(_))));
    assert!(there.log().is_empty());
}

#[tokio::test]
async fn a_place_for_one_image_gets_the_one_for_this_machine() {
    let (mut here, _, _) = three_platforms();
    let host = here.image(&Platform::host().to_string(), &["host"]);
    let far = here.image("linux/mips", &["far"]);
    here.root = Some(here.index(&[&far, &host]));
    let there = There { takes: Some(Takes::OneImage), ..There::default() };
    let (report, _) = go(here, there, &options()).await;
    assert_eq!(report.unwrap().root.digest, host.digest);
}

#[tokio::test]
async fn a_place_for_one_image_takes_no_artifact_and_no_list() {
    let mut here = Here::default();
    let image = here.image("linux/amd64", &["1"]);
    here.root = Some(here.referrer(&image, "sbom"));
    let there = There { takes: Some(Takes::OneImage), ..There::default() };
    let (report, there) = go(here, there, &options()).await;
    assert!(matches!(report, Err(TransferError::Select(SelectError::NotAnImage { .. }))));
    assert!(there.log().is_empty());

    let (here, _, _) = three_platforms();
    let there = There { takes: Some(Takes::OneImage), ..There::default() };
    let platforms = vec!["linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap()];
    let options = Options { selection: Selection::Several(platforms, Subset::Strip), ..options() };
    let (report, _) = go(here, there, &options).await;
    assert!(matches!(report, Err(TransferError::Select(SelectError::OneOnly { count: 2 }))));
}
