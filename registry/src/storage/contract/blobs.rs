//! What every store of bytes must keep to.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use oxbox_layers::oci::{Algorithm, Digest};

use crate::storage::{BlobKey, Blobs, Checkpoint, Digester, UploadId};

/// A store under test, and what must outlive it.
pub(crate) type Store = (Option<tempfile::TempDir>, Arc<dyn Blobs>);

pub(crate) fn beginning() -> Checkpoint {
    Checkpoint { offset: 0, digester: Digester::new(Algorithm::Sha256) }
}

pub(crate) async fn append(
    blobs: &dyn Blobs,
    upload: &UploadId,
    from: Checkpoint,
    bytes: &[u8],
) -> Checkpoint {
    let appender = blobs.append(upload, from).unwrap();
    assert!(appender.push(Bytes::copy_from_slice(bytes)).await);
    appender.finish().await.unwrap()
}

pub(crate) async fn read(blobs: &dyn Blobs, key: &BlobKey, range: std::ops::Range<u64>) -> Vec<u8> {
    let pieces: Vec<Bytes> = blobs.read(key, range).await.unwrap().try_collect().await.unwrap();
    pieces.concat()
}

/// Runs every test of the contract against a store.
macro_rules! blobs_contract {
    ($($place:ident => $open:expr),+ $(,)?) => {$(
        mod $place {
            use crate::storage::contract::blobs::tests;

            blobs_contract!(@each $open;
                what_is_put_reads_back_whole_and_in_part
                an_upload_in_pieces_publishes_as_one_blob
                what_stands_behind_a_checkpoint_is_forgotten
                an_empty_blob_needs_no_append
                publishing_again_succeeds_after_a_crash
                racing_publishers_of_one_digest_both_succeed
                an_upload_shorter_than_promised_is_not_published
                a_discarded_upload_is_gone_and_may_be_discarded_again
                a_rehash_is_the_hash_of_what_is_there
                an_unknown_key_is_an_error
            );
        }
    )+};
    (@each $open:expr; $($test:ident)+) => {$(
        #[tokio::test]
        async fn $test() {
            let (_keep, blobs): crate::storage::contract::blobs::Store = $open;
            tests::$test(&*blobs).await;
        }
    )+};
}

mod on {
    use std::sync::Arc;

    use crate::storage::{Disk, Memory};

    fn disk() -> super::Store {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::open(root.path()).unwrap();
        (Some(root), Arc::new(disk))
    }

    blobs_contract! {
        disk => super::disk(),
        memory => (None, super::Arc::new(super::Memory::new())),
    }
}

mod tests {
    use super::*;

    pub(super) async fn what_is_put_reads_back_whole_and_in_part(blobs: &dyn Blobs) {
        // Several pieces, and no whole number of them.
        let content: Vec<u8> = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
        let size = content.len() as u64;
        let key = blobs.put(&Digest::sha256(&content), content.clone().into()).await.unwrap();
        assert!(read(blobs, &key, 0..size).await == content);
        assert!(read(blobs, &key, 262_143..1_048_577).await == content[262_143..1_048_577]);
        assert_eq!(read(blobs, &key, size - 1..size).await, content[size as usize - 1..]);
    }

    pub(super) async fn an_upload_in_pieces_publishes_as_one_blob(blobs: &dyn Blobs) {
        let upload = UploadId::draw();
        let first = append(blobs, &upload, beginning(), b"one ").await;
        let second = append(blobs, &upload, first, b"two").await;
        assert_eq!(second.offset, 7);
        let digest = second.digester.finish();
        assert_eq!(digest, Digest::sha256(b"one two"));
        let key = blobs.publish(&upload, 7, &digest).await.unwrap();
        assert_eq!(read(blobs, &key, 0..7).await, b"one two");
    }

    pub(super) async fn what_stands_behind_a_checkpoint_is_forgotten(blobs: &dyn Blobs) {
        let upload = UploadId::draw();
        let first = append(blobs, &upload, beginning(), b"one ").await;
        append(blobs, &upload, first.clone(), b"a longer piece that was never counted").await;
        let second = append(blobs, &upload, first, b"two").await;
        let key = blobs.publish(&upload, 7, &second.digester.finish()).await.unwrap();
        assert_eq!(read(blobs, &key, 0..7).await, b"one two");
    }

    pub(super) async fn an_empty_blob_needs_no_append(blobs: &dyn Blobs) {
        let key = blobs.publish(&UploadId::draw(), 0, &Digest::sha256(b"")).await.unwrap();
        assert_eq!(read(blobs, &key, 0..0).await, b"");
    }

    pub(super) async fn publishing_again_succeeds_after_a_crash(blobs: &dyn Blobs) {
        let upload = UploadId::draw();
        let digest = append(blobs, &upload, beginning(), b"blob").await.digester.finish();
        let first = blobs.publish(&upload, 4, &digest).await.unwrap();
        let second = blobs.publish(&upload, 4, &digest).await.unwrap();
        assert_eq!(first, second);
    }

    pub(super) async fn racing_publishers_of_one_digest_both_succeed(blobs: &dyn Blobs) {
        let (one, two) = (UploadId::draw(), UploadId::draw());
        let digest = append(blobs, &one, beginning(), b"blob").await.digester.finish();
        append(blobs, &two, beginning(), b"blob").await;
        let (first, second) = tokio::join!(blobs.publish(&one, 4, &digest), blobs.publish(&two, 4, &digest));
        let key = first.unwrap();
        assert_eq!(key, second.unwrap());
        assert_eq!(read(blobs, &key, 0..4).await, b"blob");
    }

    pub(super) async fn an_upload_shorter_than_promised_is_not_published(blobs: &dyn Blobs) {
        let upload = UploadId::draw();
        let digest = append(blobs, &upload, beginning(), b"blob").await.digester.finish();
        assert!(blobs.publish(&upload, 5, &digest).await.is_err());
    }

    pub(super) async fn a_discarded_upload_is_gone_and_may_be_discarded_again(blobs: &dyn Blobs) {
        let upload = UploadId::draw();
        let digest = append(blobs, &upload, beginning(), b"blob").await.digester.finish();
        blobs.discard(&upload).await.unwrap();
        blobs.discard(&upload).await.unwrap();
        assert!(blobs.publish(&upload, 4, &digest).await.is_err());
    }

    pub(super) async fn a_rehash_is_the_hash_of_what_is_there(blobs: &dyn Blobs) {
        let upload = UploadId::draw();
        append(blobs, &upload, beginning(), b"blob and more").await;
        let digester = blobs.rehash(&upload, 4, Algorithm::Sha512).await.unwrap();
        assert_eq!(digester.finish(), Digest::of(Algorithm::Sha512, b"blob"));
        assert!(blobs.rehash(&upload, 99, Algorithm::Sha512).await.is_err());
    }

    pub(super) async fn an_unknown_key_is_an_error(blobs: &dyn Blobs) {
        assert!(blobs.read(&BlobKey("blobs/sha256/00/none".into()), 0..1).await.is_err());
    }
}
