//! What every [`BlobStore`](super::BlobStore) must do: one suite that each of them runs.
//!
//! The expression makes a fresh store, and beside it whatever must outlive it (a directory).

macro_rules! blob_store_contract {
    ($($store:ident => $fresh:expr;)+) => { $(
        mod $store {
            use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

            use crate::oci::{Algorithm, Digest};
            use crate::store::{BlobStore, Committed, StoreError};

            fn put(store: &dyn BlobStore, algorithm: Algorithm, content: &[u8]) -> Committed {
                let mut writer = store.writer(algorithm).unwrap();
                writer.write_all(content).unwrap();
                writer.commit().unwrap()
            }

            fn get(store: &dyn BlobStore, digest: &Digest) -> Vec<u8> {
                let mut content = Vec::new();
                store.open(digest).unwrap().unwrap().read_to_end(&mut content).unwrap();
                content
            }

            #[test]
            fn a_committed_blob_reads_back() {
                let (store, _keep) = $fresh;
                let content: Vec<u8> = (0..300_000_u32).map(|at| (at ^ at >> 9) as u8).collect();
                let committed = put(&store, Algorithm::Sha256, &content);
                assert_eq!(committed, Committed { digest: Digest::sha256(&content), size: 300_000 });
                assert_eq!(store.stat(&committed.digest).unwrap(), Some(300_000));
                assert_eq!(store.open(&committed.digest).unwrap().unwrap().size(), 300_000);
                assert!(get(&store, &committed.digest) == content);
            }

            #[test]
            fn an_empty_blob_is_a_blob() {
                let (store, _keep) = $fresh;
                let committed = store.writer(Algorithm::Sha256).unwrap().commit().unwrap();
                assert_eq!(committed, Committed { digest: Digest::sha256(b""), size: 0 });
                assert_eq!(get(&store, &committed.digest), b"");
            }

            #[test]
            fn a_sha512_blob_is_one_of_its_own() {
                let (store, _keep) = $fresh;
                let committed = put(&store, Algorithm::Sha512, b"content");
                assert_eq!(committed.digest, Digest::of(Algorithm::Sha512, b"content"));
                assert_eq!(get(&store, &committed.digest), b"content");
                assert_eq!(store.stat(&Digest::sha256(b"content")).unwrap(), None);
            }

            #[test]
            fn nothing_is_seen_before_the_commit() {
                let (store, _keep) = $fresh;
                let mut writer = store.writer(Algorithm::Sha256).unwrap();
                writer.write_all(b"content").unwrap();
                assert_eq!(store.stat(&Digest::sha256(b"content")).unwrap(), None);
                writer.commit().unwrap();
                assert_eq!(store.stat(&Digest::sha256(b"content")).unwrap(), Some(7));
            }

            #[test]
            fn a_dropped_writer_leaves_nothing() {
                let (store, _keep) = $fresh;
                let mut writer = store.writer(Algorithm::Sha256).unwrap();
                writer.write_all(b"content").unwrap();
                drop(writer);
                assert_eq!(store.stat(&Digest::sha256(b"content")).unwrap(), None);
                assert!(store.open(&Digest::sha256(b"content")).unwrap().is_none());
            }

            #[test]
            fn two_writers_of_one_blob_both_succeed() {
                let (store, _keep) = $fresh;
                let mut first = store.writer(Algorithm::Sha256).unwrap();
                let mut second = store.writer(Algorithm::Sha256).unwrap();
                first.write_all(b"content").unwrap();
                second.write_all(b"content").unwrap();
                let first = first.commit().unwrap();
                assert_eq!(second.commit().unwrap(), first);
                assert_eq!(get(&store, &first.digest), b"content");
            }

            #[test]
            fn many_threads_may_write_at_once() {
                let (store, _keep) = $fresh;
                std::thread::scope(|scope| {
                    for thread in 0_u8..16 {
                        let store = &store;
                        scope.spawn(move || {
                            put(store, Algorithm::Sha256, b"the same");
                            put(store, Algorithm::Sha256, &[thread; 1000]);
                        });
                    }
                });
                assert_eq!(get(&store, &Digest::sha256(b"the same")), b"the same");
                for thread in 0_u8..16 {
                    assert_eq!(get(&store, &Digest::sha256(&[thread; 1000])), [thread; 1000]);
                }
            }

            #[test]
            fn what_was_promised_is_published() {
                let (store, _keep) = $fresh;
                let expected = Committed { digest: Digest::of(Algorithm::Sha512, b"content"), size: 7 };
                for _ in 0..2 {
                    let mut writer = store.writer(Algorithm::Sha512).unwrap();
                    writer.write_all(b"content").unwrap();
                    writer.commit_as(&expected).unwrap();
                }
                assert_eq!(get(&store, &expected.digest), b"content");
            }

            #[test]
            fn commit_as_another_digest_publishes_nothing() {
                let (store, _keep) = $fresh;
                let expected = Committed { digest: Digest::sha256(b"promise"), size: 7 };
                let mut writer = store.writer(Algorithm::Sha256).unwrap();
                writer.write_all(b"content").unwrap();
                let Err(StoreError::Mismatch { actual, actual_size, .. }) = writer.commit_as(&expected)
                else {
                    panic!("published");
                };
                assert_eq!((actual, actual_size), (Digest::sha256(b"content"), 7));
                assert_eq!(store.stat(&expected.digest).unwrap(), None);
                assert_eq!(store.stat(&actual).unwrap(), None);
            }

            #[test]
            fn a_short_blob_is_refused() {
                let (store, _keep) = $fresh;
                let expected = Committed { digest: Digest::sha256(b"content"), size: 8 };
                let mut writer = store.writer(Algorithm::Sha256).unwrap();
                writer.write_all(b"content").unwrap();
                assert!(matches!(
                    writer.commit_as(&expected),
                    Err(StoreError::Mismatch { expected_size: 8, actual_size: 7, .. })
                ));
                assert_eq!(store.stat(&expected.digest).unwrap(), None);
            }

            #[test]
            fn a_promise_in_another_algorithm_is_refused() {
                let (store, _keep) = $fresh;
                let expected = Committed { digest: Digest::of(Algorithm::Sha512, b"content"), size: 7 };
                let mut writer = store.writer(Algorithm::Sha256).unwrap();
                writer.write_all(b"content").unwrap();
                assert!(matches!(writer.commit_as(&expected), Err(StoreError::Mismatch { .. })));
            }

            #[test]
            fn a_missing_blob_is_none_not_an_error() {
                let (store, _keep) = $fresh;
                for digest in [Digest::sha256(b"x"), Digest::of(Algorithm::Sha512, b"x")] {
                    assert_eq!(store.stat(&digest).unwrap(), None);
                    assert!(store.open(&digest).unwrap().is_none());
                    assert!(!store.remove(&digest).unwrap());
                }
            }

            #[test]
            fn an_open_blob_survives_its_removal() {
                let (store, _keep) = $fresh;
                let digest = put(&store, Algorithm::Sha256, b"content").digest;
                let mut blob = store.open(&digest).unwrap().unwrap();
                assert!(store.remove(&digest).unwrap());
                assert_eq!(store.stat(&digest).unwrap(), None);
                let mut content = String::new();
                blob.read_to_string(&mut content).unwrap();
                assert_eq!(content, "content");
            }

            #[test]
            fn a_removed_blob_can_be_written_again() {
                let (store, _keep) = $fresh;
                let digest = put(&store, Algorithm::Sha256, b"content").digest;
                assert!(store.remove(&digest).unwrap());
                assert!(!store.remove(&digest).unwrap());
                put(&store, Algorithm::Sha256, b"content");
                assert_eq!(get(&store, &digest), b"content");
            }

            #[test]
            fn a_blob_is_read_from_where_it_is_sought() {
                let (store, _keep) = $fresh;
                let digest = put(&store, Algorithm::Sha256, b"content").digest;
                let mut blob = store.open(&digest).unwrap().unwrap();
                blob.seek(SeekFrom::Start(3)).unwrap();
                let mut content = String::new();
                blob.read_to_string(&mut content).unwrap();
                assert_eq!(content, "tent");
            }
        }
    )+ };
}

blob_store_contract! {
    layout => {
        let directory = tempfile::tempdir().unwrap();
        (crate::store::Layout::create(directory.path()).unwrap(), directory)
    };
    opened_layout => {
        let directory = tempfile::tempdir().unwrap();
        drop(crate::store::Layout::create(directory.path()).unwrap());
        (crate::store::Layout::open(directory.path()).unwrap(), directory)
    };
    memory => (crate::store::Memory::new(), ());
}
