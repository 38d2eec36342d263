//! Random COPY and ADD, built here and by Buildah: the same files must come out.
//!
//! ```text
//! case     seed ─▶ context, archives, ignore file, Dockerfile         on one base with links of all kinds
//! tree     a finished root filesystem as lines, one for each path
//! build    the builders: this one, Buildah, and BuildKit if a Docker socket is named
//! known    where Buildah is meant to differ, and why
//! ```
//!
//! BuildKit decides what is right, Buildah is what every machine can install. To compare with BuildKit,
//! and over more seeds than CI takes time for:
//!
//! ```text
//! OXBOX_DOCKER=unix:///tmp/docker.sock OXBOX_SEEDS=0..500 cargo test -p oxbox-builder --test differential
//! ```

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod build;
mod case;
mod known;
mod tree;

use std::fmt::Write as _;
use std::ops::Range;

use build::{Base, Outcome};
use case::Case;
use known::Peer;

/// What CI compares: enough that each form of source, destination and flag comes up.
const SEEDS: Range<u64> = 0..40;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("OXBOX_SEEDS") else { return SEEDS };
    let (start, end) = text.split_once("..").expect("OXBOX_SEEDS is start..end");
    start.parse().unwrap()..end.parse().unwrap()
}

fn differing(seeds: Range<u64>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let count = seeds.end - seeds.start;
    let base = Base::make(folder.path());
    let docker = std::env::var("OXBOX_DOCKER").ok();
    let who = if docker.is_some() { Peer::BuildKit } else { Peer::Buildah };
    let (mut report, mut built) = (String::new(), 0);
    for seed in seeds {
        let case = Case::of_seed(seed);
        let room = folder.path().join(seed.to_string());
        case.write(&room);
        let ours = base.build_here(&room);
        let peer = match &docker {
            Some(socket) => base.build_with_docker(&room, socket),
            None => base.build_with_buildah(&room),
        };
        built += u64::from(matches!(ours, Outcome::Built(_)));
        let difference = match (&ours, &peer) {
            (Outcome::Built(ours), Outcome::Built(peer)) => {
                tree::difference(ours, peer, known::special(&case, who))
            }
            (Outcome::Failed(_), Outcome::Failed(_)) => String::new(),
            (Outcome::Failed(error), Outcome::Built(_)) => format!("only the peer builds it: {error}\n"),
            (Outcome::Built(_), Outcome::Failed(error)) => format!("only we build it: {error}\n"),
        };
        if !difference.is_empty() && known::reason(&case, &ours, &peer, who).is_none() {
            writeln!(report, "seed {seed}: {case}{difference}").unwrap();
        }
        std::fs::remove_dir_all(&room).unwrap();
    }
    // Or two builders that always fail would agree.
    assert!(built * 5 > count * 2, "only {built} of {count} cases build here");
    report
}

#[test]
fn random_builds_come_out_as_the_peers() {
    let report = differing(seeds());
    assert!(report.is_empty(), "- is ours, + is the peer's\n{report}");
}
