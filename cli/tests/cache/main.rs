//! What builds take over from earlier ones, and from each other: commands that come out differently each
//! time show whether they ran again.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod random;
#[path = "../support/mod.rs"]
mod support;

use std::fs;

use oxbox_layers::oci::Digest;
use oxbox_layers::store::BlobStore as _;
use support::Oxbox;
use support::image::{files, image};

/// A command whose layer is another one whenever it runs.
const RANDOM: &str = "cat /proc/sys/kernel/random/uuid";

/// Builds the context, and returns the digest and what was told.
fn build(oxbox: &Oxbox, options: &[&str]) -> (Digest, String) {
    let ran = oxbox.run([&["build"], options, &["context"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    (ran.stdout.trim_end().parse().unwrap(), ran.stderr)
}

/// Removes every blob that these images do not need, and all that is known of what was in them.
fn lose_intermediates(oxbox: &Oxbox, kept: &[Digest]) {
    let store = oxbox.store();
    let mut needed: Vec<Digest> = kept.to_vec();
    let names = store.entries().unwrap().iter().map(|entry| entry.digest).collect::<Vec<_>>();
    for digest in kept.iter().chain(&names) {
        let image = image(oxbox, digest);
        needed.extend([*digest, image.config.descriptor().digest]);
        needed.extend(image.layers.iter().map(|layer| layer.descriptor.digest));
    }
    for blob in store.blobs().unwrap() {
        if !needed.contains(&blob.digest) {
            store.remove(&blob.digest).unwrap();
        }
    }
    for folder in ["indexes", "snapshots"] {
        let _ = fs::remove_dir_all(oxbox.root().join(folder));
    }
}

fn made(told: &str) -> Vec<&str> {
    let number = |line: &&str| line.split(' ').next().unwrap().to_owned();
    let cached: Vec<String> =
        told.lines().filter(|line| line.ends_with(" CACHED")).map(|line| number(&line)).collect();
    let titles = told.lines().filter(|line| line.contains(" [") && !line.contains("FROM "));
    let titles = titles.filter(|line| !cached.contains(&number(line)));
    titles.filter_map(|line| line.split_once(' ')).map(|(_, title)| title).collect()
}

#[test]
fn a_stage_that_was_made_again_leaves_nothing_of_its_former_self() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile(&format!(
        "FROM localhost/busybox AS build\nRUN {RANDOM} > /id\nRUN cat /id > /copy\n\
         FROM localhost/busybox\nCOPY --from=build /id /id\nRUN cat /id > /again\nCOPY --from=build /copy /copy\n",
    ));
    let (first, _) = build(&oxbox, &[]);
    let (second, told) = build(&oxbox, &[]);
    assert_eq!((first, made(&told)), (second, vec![]));
    let (third, told) = build(&oxbox, &["--no-cache-filter", "other,BUILD"]);
    assert_ne!(third, first, "{told}");
    assert!(told.contains("there is no stage \"other\""), "{told}");
    for digest in [first, third] {
        let files = files(&oxbox, &digest);
        assert_eq!((&files["id"], &files["id"]), (&files["again"], &files["copy"]));
    }
    let (fourth, told) = build(&oxbox, &[]);
    assert_eq!((fourth, made(&told)), (third, vec![]), "the last one counts");
    let (fifth, told) = build(&oxbox, &["--no-cache"]);
    assert!(fifth != third && !told.contains("CACHED"), "{told}");
    assert_eq!(build(&oxbox, &[]).0, fifth);
}

#[test]
fn what_a_remade_stage_has_as_before_is_not_copied_again() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile(&format!(
        "FROM localhost/busybox AS build\nCOPY motd /motd\nRUN {RANDOM} > /id; echo same > /same\n\
         FROM localhost/busybox\nCOPY --from=build /same /a/\nRUN cat /a/same > /b\n",
    ));
    let (first, _) = build(&oxbox, &[]);
    fs::write(oxbox.path("context/motd"), "changed").unwrap();
    let (second, told) = build(&oxbox, &[]);
    assert_eq!(made(&told).len(), 2, "only the stage itself: {told}");
    assert_eq!(second, first, "{told}");
    // Where a file comes from does not show either.
    fs::write(oxbox.path("context/same"), "same\n").unwrap();
    oxbox.dockerfile("FROM localhost/busybox\nCOPY same /a/\nRUN cat /a/same > /b\n");
    let (third, told) = build(&oxbox, &[]);
    assert_eq!(made(&told), Vec::<&str>::new(), "{told}");
    assert_eq!(files(&oxbox, &third), files(&oxbox, &first));
}

#[test]
fn a_stage_of_which_nothing_is_left_is_not_needed_until_something_else_of_it_is() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    let dockerfile = |more: &str| {
        format!(
            "FROM localhost/busybox AS build\nCOPY motd /motd\nRUN {RANDOM} > /id; cat /id > /id2\n\
             FROM scratch\nCOPY --from=build /id /id\n{more}",
        )
    };
    oxbox.dockerfile(&dockerfile(""));
    let (first, _) = build(&oxbox, &[]);
    lose_intermediates(&oxbox, &[first]);
    let (second, told) = build(&oxbox, &[]);
    assert_eq!((second, made(&told)), (first, vec![]), "{told}");
    assert_eq!(told.matches("CACHED").count(), 3, "what was skipped is told too: {told}");
    // What it said a moment ago cannot be had again: both files must come from the same run.
    oxbox.dockerfile(&dockerfile("COPY --from=build /id2 /id2\n"));
    let (third, told) = build(&oxbox, &[]);
    let files = files(&oxbox, &third);
    assert_eq!(files["id"], files["id2"], "{told}");
    // A file that goes into the stage is seen although the stage is not there.
    lose_intermediates(&oxbox, &[third]);
    fs::write(oxbox.path("context/motd"), "changed").unwrap();
    let (fourth, told) = build(&oxbox, &[]);
    assert_ne!(fourth, third, "{told}");
}

#[test]
fn a_changed_file_above_does_not_bring_a_lost_stage_back() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile(&format!(
        "FROM localhost/busybox AS build\nRUN {RANDOM} > /id\n\
         FROM scratch\nCOPY motd /motd\nCOPY --from=build /id /id\n",
    ));
    let (first, _) = build(&oxbox, &[]);
    // The names and places of its files are still known.
    let indexes = oxbox.path("indexes");
    fs::rename(oxbox.root().join("indexes"), &indexes).unwrap();
    lose_intermediates(&oxbox, &[first]);
    fs::rename(&indexes, oxbox.root().join("indexes")).unwrap();
    fs::write(oxbox.path("context/motd"), "changed").unwrap();
    let (second, told) = build(&oxbox, &[]);
    assert_eq!(made(&told), ["[stage-1 1/2] COPY motd /motd"], "{told}");
    assert_eq!(files(&oxbox, &second)["id"], files(&oxbox, &first)["id"]);
}

#[test]
fn what_a_forgotten_stage_led_to_is_made_again_with_it() {
    let forget: [fn(&Oxbox); 2] =
        [|oxbox| lose_intermediates(oxbox, &[]), |oxbox| _ = oxbox.ok(["prune", "--max-used-space", "1"])];
    for forget in forget {
        let oxbox = Oxbox::new();
        oxbox.busybox();
        let dockerfile = |name: &str| {
            format!(
                "FROM localhost/busybox AS first\nRUN {RANDOM} > /id; cat /id > /id2\n\
                 FROM first AS second\nRUN cat /id > /copy\n\
                 FROM scratch\nCOPY --from=second /copy /copy\nCOPY --from=first /{name} /id\n",
            )
        };
        oxbox.dockerfile(&dockerfile("id"));
        build(&oxbox, &["--tag", "localhost/result"]);
        forget(&oxbox);
        // The copy of the second stage is at hand, but it was made of another first one.
        oxbox.dockerfile(&dockerfile("id2"));
        let (digest, told) = build(&oxbox, &[]);
        let files = files(&oxbox, &digest);
        assert_eq!(files["id"], files["copy"], "{told}");
        assert_eq!(build(&oxbox, &[]).0, digest, "and so it stays");
    }
}

#[test]
fn what_was_made_again_counts_however_it_was_compressed() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile(&format!(
        "FROM localhost/busybox AS build\nRUN {RANDOM} > /id\n\
                               FROM scratch\nCOPY --from=build /id /id\n"
    ));
    let (first, _) = build(&oxbox, &[]);
    // Nobody exports the stage in a build of what copies from it, so that it is not compressed there.
    let (second, _) = build(&oxbox, &["--no-cache", "--target", "build"]);
    let (third, told) = build(&oxbox, &[]);
    let id = |digest| files(&oxbox, digest)["id"].clone();
    assert_ne!(id(&first), id(&second));
    assert_eq!(id(&third), id(&second), "{told}");
}
