//! What a RUN stands on when little has changed: the same tree, made with little work.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;
use std::path::Path;

use support::Oxbox;

/// Bytes that do not compress, others for each seed.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..40_000).map(next).collect()
}

fn context(oxbox: &Oxbox) {
    oxbox.busybox();
    oxbox.dockerfile(
        "FROM localhost/busybox AS made\nCOPY src /src\nRUN cat /src/* > /all; echo /src/* > /names\n\
         FROM localhost/busybox\nCOPY src /src\nRUN cat /src/* > /all; echo /src/* > /names\n\
         COPY --from=made /all /names /made/\n",
    );
    fs::create_dir(oxbox.path("context/src")).unwrap();
    for number in 0..300 {
        fs::write(oxbox.path(&format!("context/src/{number:03}")), noise(number)).unwrap();
    }
}

fn change(oxbox: &Oxbox) {
    fs::write(oxbox.path("context/src/150"), noise(1000)).unwrap();
    fs::write(oxbox.path("context/src/151more"), "new").unwrap();
    fs::remove_file(oxbox.path("context/src/290")).unwrap();
}

/// How many files of the context lie unpacked.
fn unpacked(oxbox: &Oxbox) -> usize {
    let snapshots = fs::read_dir(oxbox.root().join("snapshots")).unwrap();
    let files = |snapshot: &Path| fs::read_dir(snapshot.join("fs/src")).map_or(0, Iterator::count);
    snapshots.map(|snapshot| files(&snapshot.unwrap().path())).sum()
}

#[test]
fn after_a_small_change_a_run_sees_it_and_little_is_unpacked() {
    let (changed, afresh) = (Oxbox::new(), Oxbox::new());
    context(&changed);
    context(&afresh);
    let before = changed.ok(["build", "context"]);
    // Both stages stand on one layer, plain in one and compressed in the other.
    assert_eq!(unpacked(&changed), 300);
    change(&changed);
    change(&afresh);
    let after = changed.ok(["build", "context"]);
    assert_ne!(after, before);
    assert_eq!(after, afresh.ok(["build", "context"]));
    let made = unpacked(&changed) - 300;
    assert!((2..150).contains(&made), "{made} files were unpacked for three changes");
}

#[test]
fn a_layer_upon_another_base_is_not_unpacked_again() {
    let oxbox = Oxbox::new();
    context(&oxbox);
    oxbox.dockerfile("FROM localhost/busybox\nRUN echo 1 > /x\nCOPY src /src\nRUN cat /src/000 > /first\n");
    oxbox.ok(["build", "context"]);
    oxbox.dockerfile("FROM localhost/busybox\nRUN echo 2 > /x\nCOPY src /src\nRUN cat /src/000 > /first\n");
    oxbox.ok(["build", "context"]);
    assert_eq!(unpacked(&oxbox), 300);
}
