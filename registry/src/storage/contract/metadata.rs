//! What every store of truth must keep to.

use bytes::Bytes;
use oxbox_layers::oci::graph::Role;
use oxbox_layers::oci::{Algorithm, Digest, MediaType};

use crate::condition::Condition;
use crate::name::{ManifestReference, Repository, Tag};
use crate::storage::metadata::{
    BlobRecord, Edge, Found, ManifestRecord, Need, NewManifest, Put, Unlinked, UploadRecord, WantedReferrers,
};
use crate::storage::{BlobKey, Metadata, UploadId};

fn repository(text: &str) -> Repository {
    Repository::parse(text).unwrap()
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

fn blob(size: u64) -> BlobRecord {
    BlobRecord { size, key: BlobKey(format!("key-{size}")) }
}

/// A manifest of one layer of five bytes.
fn manifest(content: &'static str, layer: Digest, tags: &[&str]) -> NewManifest {
    NewManifest {
        record: ManifestRecord {
            digest: Digest::sha256(content.as_bytes()),
            media_type: MediaType::from(MediaType::OCI_MANIFEST),
            size: content.len() as u64,
            body: Some(Bytes::from(content)),
            key: BlobKey("manifest".into()),
            artifact_type: None,
            subject: None,
        },
        annotations: None,
        edges: vec![Edge { child: layer, size: 5, role: Role::Layer, need: Need::Required }],
        tags: tags.iter().map(|text| tag(text)).collect(),
        condition: Condition::default(),
    }
}

fn layer() -> Digest {
    Digest::sha256(b"layer")
}

async fn with_layer(metadata: &dyn Metadata, name: &Repository) {
    metadata.link(name, &layer(), blob(5), None).await.unwrap();
}

fn referring(content: &'static str, artifact_type: &str) -> NewManifest {
    let mut new = manifest(content, layer(), &[]);
    new.record.subject = Some(Digest::sha256(b"subject"));
    new.record.artifact_type = Some(artifact_type.to_owned());
    new.annotations = Some([("k".to_owned(), "v".to_owned())].into());
    new
}

fn wanted(artifact_type: Option<&str>, after: Option<Digest>, max_bytes: usize) -> WantedReferrers {
    let artifact_type = artifact_type.map(str::to_owned);
    WantedReferrers { subject: Digest::sha256(b"subject"), artifact_type, after, max_bytes }
}

/// Runs every test of the contract against a store.
macro_rules! metadata_contract {
    ($($place:ident => $open:expr),+ $(,)?) => {$(
        mod $place {
            use crate::storage::contract::metadata::tests;

            metadata_contract!(@each $open;
                a_blob_is_there_only_for_the_repository_that_links_it
                a_mount_is_a_link_of_its_own
                a_blob_that_a_manifest_names_stays
                a_manifest_without_its_blobs_leaves_no_trace
                a_manifest_that_lies_about_a_size_is_refused
                an_optional_edge_may_lead_nowhere
                a_child_may_be_a_manifest_or_a_blob
                deleting_a_manifest_takes_its_tags_and_deleting_a_tag_takes_only_that
                tags_come_in_the_order_of_bytes_after_any_name
                a_tag_moves_only_if_the_condition_holds
                referrers_are_filtered_and_paged_by_size
                only_repositories_with_manifests_are_listed
                a_session_moves_only_from_where_it_stands
                a_linked_blob_ends_its_session
            );
        }
    )+};
    (@each $open:expr; $($test:ident)+) => {$(
        #[tokio::test]
        async fn $test() {
            let (_keep, metadata) = $open;
            tests::$test(&metadata).await;
        }
    )+};
}

mod on {
    use crate::storage::Sqlite;

    fn sqlite() -> (tempfile::TempDir, Sqlite) {
        let root = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(&root.path().join("meta.db")).unwrap();
        (root, sqlite)
    }

    metadata_contract! {
        sqlite => super::sqlite(),
    }
}

mod tests {
    use super::*;

    pub(super) async fn a_blob_is_there_only_for_the_repository_that_links_it(metadata: &dyn Metadata) {
        let (a, b) = (repository("a"), repository("b"));
        with_layer(metadata, &a).await;
        assert_eq!(metadata.blob(&a, &layer()).await.unwrap(), Some(blob(5)));
        assert_eq!(metadata.blob(&b, &layer()).await.unwrap(), None);
    }

    pub(super) async fn a_mount_is_a_link_of_its_own(metadata: &dyn Metadata) {
        let (a, b, c) = (repository("a"), repository("b"), repository("c"));
        with_layer(metadata, &a).await;
        assert!(!metadata.mount(Some(&c), &b, &layer()).await.unwrap());
        assert!(metadata.mount(Some(&a), &b, &layer()).await.unwrap());
        assert!(metadata.mount(None, &c, &layer()).await.unwrap());
        assert!(!metadata.mount(None, &c, &Digest::sha256(b"no")).await.unwrap());
        assert_eq!(metadata.unlink(&a, &layer()).await.unwrap(), Unlinked::Removed);
        assert_eq!(metadata.blob(&a, &layer()).await.unwrap(), None);
        assert_eq!(metadata.blob(&b, &layer()).await.unwrap(), Some(blob(5)));
    }

    pub(super) async fn a_blob_that_a_manifest_names_stays(metadata: &dyn Metadata) {
        let a = repository("a");
        with_layer(metadata, &a).await;
        let new = manifest("m", layer(), &[]);
        let digest = new.record.digest;
        assert_eq!(metadata.put(&a, new).await.unwrap(), Put::Done);
        assert_eq!(metadata.unlink(&a, &layer()).await.unwrap(), Unlinked::Referenced);
        assert!(metadata.delete_manifest(&a, &digest).await.unwrap());
        assert_eq!(metadata.unlink(&a, &layer()).await.unwrap(), Unlinked::Removed);
        assert_eq!(metadata.unlink(&a, &layer()).await.unwrap(), Unlinked::Missing);
    }

    pub(super) async fn a_manifest_without_its_blobs_leaves_no_trace(metadata: &dyn Metadata) {
        let (a, b) = (repository("a"), repository("b"));
        // Another repository's blob does not count.
        with_layer(metadata, &b).await;
        let put = metadata.put(&a, manifest("m", layer(), &["v1"])).await.unwrap();
        assert_eq!(put, Put::Missing(vec![layer()]));
        let found = metadata.manifest(&a, &ManifestReference::Tag(tag("v1"))).await.unwrap();
        assert_eq!(found, Found::NoRepository);
    }

    pub(super) async fn a_manifest_that_lies_about_a_size_is_refused(metadata: &dyn Metadata) {
        let a = repository("a");
        metadata.link(&a, &layer(), blob(6), None).await.unwrap();
        let put = metadata.put(&a, manifest("m", layer(), &[])).await.unwrap();
        assert_eq!(put, Put::WrongSize { digest: layer(), promised: 5, actual: 6 });
    }

    pub(super) async fn an_optional_edge_may_lead_nowhere(metadata: &dyn Metadata) {
        let mut new = manifest("m", layer(), &["v1"]);
        new.edges[0].need = Need::Optional;
        assert_eq!(metadata.put(&repository("a"), new).await.unwrap(), Put::Done);
    }

    pub(super) async fn a_child_may_be_a_manifest_or_a_blob(metadata: &dyn Metadata) {
        let a = repository("a");
        with_layer(metadata, &a).await;
        metadata.put(&a, manifest("child", layer(), &[])).await.unwrap();
        let mut index = manifest("index", layer(), &[]);
        index.edges[0].role = Role::Child;
        let child = Edge { child: Digest::sha256(b"child"), ..index.edges[0] };
        index.edges.push(child);
        assert_eq!(metadata.put(&a, index).await.unwrap(), Put::Done);
    }

    pub(super) async fn deleting_a_manifest_takes_its_tags_and_deleting_a_tag_takes_only_that(
        metadata: &dyn Metadata,
    ) {
        let a = repository("a");
        with_layer(metadata, &a).await;
        let new = manifest("m", layer(), &["v1", "v2", "v3"]);
        let digest = new.record.digest;
        metadata.put(&a, new).await.unwrap();
        assert!(metadata.delete_tag(&a, &tag("v2")).await.unwrap());
        assert!(!metadata.delete_tag(&a, &tag("v2")).await.unwrap());
        assert_eq!(metadata.tags(&a, "", 9).await.unwrap().unwrap(), ["v1", "v3"]);
        assert!(metadata.delete_manifest(&a, &digest).await.unwrap());
        assert_eq!(metadata.tags(&a, "", 9).await.unwrap().unwrap(), Vec::<String>::new());
        assert!(!metadata.delete_manifest(&a, &digest).await.unwrap());
        let found = metadata.manifest(&a, &ManifestReference::Digest(digest)).await.unwrap();
        assert_eq!(found, Found::NoManifest);
    }

    pub(super) async fn tags_come_in_the_order_of_bytes_after_any_name(metadata: &dyn Metadata) {
        let a = repository("a");
        with_layer(metadata, &a).await;
        metadata.put(&a, manifest("m", layer(), &["b", "a", "B", "1.0-x", "1.0", "_"])).await.unwrap();
        assert_eq!(metadata.tags(&a, "", 9).await.unwrap().unwrap(), ["1.0", "1.0-x", "B", "_", "a", "b"]);
        assert_eq!(metadata.tags(&a, "Z", 2).await.unwrap().unwrap(), ["_", "a"]);
        assert_eq!(metadata.tags(&repository("none"), "", 9).await.unwrap(), None);
    }

    pub(super) async fn a_tag_moves_only_if_the_condition_holds(metadata: &dyn Metadata) {
        let a = repository("a");
        with_layer(metadata, &a).await;
        metadata.put(&a, manifest("one", layer(), &["v1"])).await.unwrap();
        let mut headers = http::HeaderMap::new();
        headers.insert("if-none-match", http::HeaderValue::from_static("*"));
        let mut new = manifest("two", layer(), &["v1"]);
        new.condition = Condition::read(&headers);
        assert_eq!(metadata.put(&a, new.clone()).await.unwrap(), Put::ConditionFailed);
        new.tags = vec![tag("v2")];
        assert_eq!(metadata.put(&a, new).await.unwrap(), Put::Done);
    }

    pub(super) async fn referrers_are_filtered_and_paged_by_size(metadata: &dyn Metadata) {
        let a = repository("a");
        with_layer(metadata, &a).await;
        for (content, artifact_type) in [("r1", "x"), ("r2", "y"), ("r3", "x")] {
            assert_eq!(metadata.put(&a, referring(content, artifact_type)).await.unwrap(), Put::Done);
        }
        let all = metadata.referrers(&a, wanted(None, None, 1 << 20)).await.unwrap();
        assert!(all.referrers.len() == 3 && !all.more);
        assert!(all.referrers.is_sorted_by_key(|referrer| referrer.digest.to_string()));
        assert_eq!(all.referrers[0].annotations.as_ref().unwrap()["k"], "v");
        let only = metadata.referrers(&a, wanted(Some("y"), None, 1 << 20)).await.unwrap();
        assert_eq!(only.referrers[0].digest, Digest::sha256(b"r2"));
        let first = metadata.referrers(&a, wanted(None, None, 1)).await.unwrap();
        assert!(first.referrers.len() == 1 && first.more);
        let rest =
            metadata.referrers(&a, wanted(None, Some(first.referrers[0].digest), 1 << 20)).await.unwrap();
        assert!(rest.referrers == all.referrers[1..] && !rest.more);
    }

    pub(super) async fn only_repositories_with_manifests_are_listed(metadata: &dyn Metadata) {
        for name in ["b", "a/x", "c"] {
            with_layer(metadata, &repository(name)).await;
        }
        for name in ["b", "a/x"] {
            metadata.put(&repository(name), manifest("m", layer(), &[])).await.unwrap();
        }
        assert_eq!(metadata.repositories("", 9).await.unwrap(), ["a/x", "b"]);
        assert_eq!(metadata.repositories("a/x", 9).await.unwrap(), ["b"]);
    }

    pub(super) async fn a_session_moves_only_from_where_it_stands(metadata: &dyn Metadata) {
        let (a, upload) = (repository("a"), UploadId::draw());
        metadata.begin(&upload, &a, Algorithm::Sha512).await.unwrap();
        let at = |offset| UploadRecord { offset, algorithm: Algorithm::Sha512, hash: vec![1, 2] };
        assert!(metadata.advance(&upload, 0, at(5)).await.unwrap());
        assert!(!metadata.advance(&upload, 0, at(9)).await.unwrap());
        assert_eq!(metadata.upload(&upload, &a).await.unwrap(), Some(at(5)));
        assert_eq!(metadata.upload(&upload, &repository("b")).await.unwrap(), None);
    }

    pub(super) async fn a_linked_blob_ends_its_session(metadata: &dyn Metadata) {
        let (a, upload) = (repository("a"), UploadId::draw());
        metadata.begin(&upload, &a, Algorithm::Sha256).await.unwrap();
        metadata.link(&a, &layer(), blob(5), Some(upload.clone())).await.unwrap();
        assert_eq!(metadata.upload(&upload, &a).await.unwrap(), None);
        assert!(!metadata.end(&upload).await.unwrap());
    }
}
