//! Whole images between registries and layouts, undisturbed and under any schedule of faults.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oxbox_copy::client::Client;
use oxbox_copy::endpoint::{AnyDestination, AnySource, Places};
use oxbox_copy::progress::Silent;
use oxbox_copy::transfer::{Options, Outcome, Report, TransferError, copy};
use oxbox_testdata::image::{Blobs, Family, Hash, Layer};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::memory::Memory;
use crate::scripted::{Reply, Scripted, Seen};
use crate::setting::{client, client_as, user};

async fn transfer(dir: &Path, client: &Client, from: &str, to: &str) -> Result<Report, TransferError> {
    let places = Places { registries: client.clone(), store: dir.join("store"), temporary: dir.to_owned() };
    let source = AnySource::open(&from.parse().unwrap(), &places).await?;
    let destination = AnyDestination::create(&to.parse().unwrap(), &places).await?;
    let options = Options {
        retry_delay: Duration::ZERO,
        blobs_at_once: NonZeroUsize::new(2).unwrap(),
        ..Options::default()
    };
    copy(Arc::new(source), Arc::new(destination), &options, Arc::new(Silent)).await
}

/// A layer that gzip cannot make small.
fn noise(seed: u8, size: usize) -> Layer {
    let mut state = u64::from(seed) + 1;
    let tar = (0..size).map(|_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    });
    Layer { tar: tar.collect(), hash: Hash::Sha256 }
}

/// Writes a layout at `dir/in` that holds an index of two images as `v1`.
fn layout(dir: &Path, size: usize) -> String {
    let mut blobs = Blobs::default();
    let shared = noise(1, size);
    let amd64 = blobs.image(Family::Oci, "amd64", &[shared.clone(), noise(2, 1000)]);
    let arm64 = blobs.image(Family::Oci, "arm64", &[shared, noise(3, size / 2)]);
    let index = blobs.index(Family::Oci, &[amd64, arm64]);
    blobs.write_layout(&dir.join("in"), &[(Some("v1"), index)]);
    format!("oci:{}/in:v1", dir.display())
}

fn blobs_of(layout: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn an_index_goes_through_docker_registry_and_mounts_within_it() {
    let peer = crate::peer::Peer::start();
    let client = client_as(&peer.domain, user("oxbox:secret"));
    let dir = TempDir::new().unwrap();
    let from = layout(dir.path(), 3_000_000);
    let first = format!("docker://{}/team/app:v1", peer.domain);
    let second = format!("docker://{}/team/copy:v1", peer.domain);
    let back = format!("oci:{}/out:v1", dir.path().display());
    let pushed = transfer(dir.path(), &client, &from, &first).await.unwrap();
    assert!(pushed.blobs.iter().all(|(_, outcome)| *outcome == Outcome::Copied));
    let again = transfer(dir.path(), &client, &from, &first).await.unwrap();
    assert_eq!(again.bytes_moved, 0);
    let mounted = transfer(dir.path(), &client, &first, &second).await.unwrap();
    assert!(mounted.blobs.iter().all(|(_, outcome)| *outcome == Outcome::Mounted));
    let pulled = transfer(dir.path(), &client, &second, &back).await.unwrap();
    assert_eq!(pulled.root, pushed.root);
    assert_eq!(blobs_of(&dir.path().join("out")), blobs_of(&dir.path().join("in")));
}

/// What happens to one request.
#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    Busy,
    TooMany,
    /// Before anything is done.
    HangUpBefore,
    /// After it is done.
    HangUpAfter,
    /// The answer breaks off half way.
    Cut,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        8 => Just(Fault::None),
        1 => Just(Fault::Busy),
        1 => Just(Fault::TooMany),
        1 => Just(Fault::HangUpBefore),
        1 => Just(Fault::HangUpAfter),
        2 => Just(Fault::Cut),
    ]
}

/// Answers by the schedule: each request takes its next fault, the ones after its end none.
fn faulty(memory: Arc<Memory>, schedule: Vec<Fault>) -> impl Fn(&Seen) -> Reply + Send + Sync {
    let asked = AtomicUsize::new(0);
    move |seen| {
        if seen.path == "/v2/" {
            return Reply::new(200);
        }
        let number = asked.fetch_add(1, Ordering::SeqCst);
        match schedule.get(number).copied().unwrap_or(Fault::None) {
            Fault::None => memory.answer(seen),
            Fault::Busy => Reply::new(503),
            Fault::TooMany => Reply::new(429).header("retry-after", "1"),
            Fault::HangUpBefore => Reply::hang_up(),
            Fault::HangUpAfter => {
                memory.answer(seen);
                Reply::hang_up()
            }
            Fault::Cut => memory.answer(seen).cut_half(),
        }
    }
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_schedule_of_faults_ends_whole_or_without_a_name(
        push in prop::collection::vec(fault(), 0..60),
        pull in prop::collection::vec(fault(), 0..60),
    ) {
        run(async {
            let dir = TempDir::new().unwrap();
            let from = layout(dir.path(), 3_000_000);
            let memory = Arc::new(Memory::default());
            let registry = Scripted::start(faulty(memory.clone(), push)).await;
            let to = format!("docker://{}/team/app:v1", registry.domain());
            let root = match transfer(dir.path(), &client(), &from, &to).await {
                Ok(report) => report.root,
                Err(_) => {
                    let named = memory.tagged("v1");
                    let healthy = Scripted::start(faulty(memory.clone(), Vec::new())).await;
                    let to = format!("docker://{}/team/app:v1", healthy.domain());
                    let root = transfer(dir.path(), &client(), &from, &to).await.unwrap().root;
                    // Named only if the last answer of all was what got lost.
                    prop_assert!(named.is_none_or(|named| named == root.digest));
                    root
                }
            };
            prop_assert_eq!(memory.tagged("v1"), Some(root.digest));
            let registry = Scripted::start(faulty(memory.clone(), pull)).await;
            let from = format!("docker://{}/team/app:v1", registry.domain());
            let to = format!("oci:{}/out:v1", dir.path().display());
            let out = dir.path().join("out");
            match transfer(dir.path(), &client(), &from, &to).await {
                Ok(report) => {
                    prop_assert_eq!(report.root.digest, root.digest);
                    prop_assert_eq!(blobs_of(&out), blobs_of(&dir.path().join("in")));
                }
                Err(_) => {
                    let index = fs::read_to_string(out.join("index.json")).unwrap_or_default();
                    prop_assert!(!index.contains("sha256:"), "{}", index);
                }
            }
            Ok(())
        })?;
    }
}
