//! Cache mounts that go along with a cache, for who asks for them on both sides.

use std::fs;

use super::{build, files, layers, machine, made, manifest, registry};

/// A RUN that adds a line to what it keeps, and shows all of it; `mark` makes it another one.
fn keeper(mark: &str) -> String {
    format!(
        "FROM localhost/busybox\nRUN --mount=type=cache,target=/kept,uid=7 \
         touch /kept/.wh.odd; echo {mark} >> /kept/log; cat /kept/log > /all; touch /kept/$(cat /kept/log | md5sum | cut -c1-8)\n",
    )
}

#[test]
fn a_mount_begins_as_what_another_machine_had_in_it() {
    let (_server, _running, registry) = registry();
    let cache = registry.name("cache");
    let to = format!("type=registry,ref={cache},mounts=true");
    build(&machine(&keeper("a")), &["--cache-to", &to]);
    let from = format!("type=registry,ref={cache},mounts=true");
    for (from, expected) in [(from.as_str(), "a\nb\n"), (cache.as_str(), "b\n")] {
        let b = machine(&keeper("b"));
        let (digest, _) = build(&b, &["--cache-from", from]);
        assert_eq!(files(&b, &digest)["all"], expected);
        // What is here by now is not replaced.
        b.dockerfile(&keeper("c"));
        let (digest, _) = build(&b, &["--cache-from", from]);
        assert_eq!(files(&b, &digest)["all"], format!("{expected}c\n"));
    }
}

#[test]
fn mounts_that_nobody_opened_go_on_to_the_next_cache() {
    let (_server, _running, registry) = registry();
    let (first, second) = (registry.name("cache:1"), registry.name("cache:2"));
    let with = |name: &str| format!("type=registry,ref={name},mounts=true");
    build(&machine(&keeper("a")), &["--cache-to", &with(&first)]);
    let b = machine(&keeper("a"));
    let app = registry.name("app");
    let options = ["--push", "-t", &app, "--cache-from", &with(&first), "--cache-to", &with(&second)];
    let (_, told) = build(&b, &options);
    assert_eq!(made(&told), Vec::<&str>::new());
    assert!(!b.root().join("mounts").exists() || fs::read_dir(b.root().join("mounts")).unwrap().count() <= 1);
    assert_eq!(manifest(&b, &second), manifest(&b, &first));
    assert_eq!(layers(&manifest(&b, &first)).len(), 2, "one of the RUN, one of its mount");
}

#[test]
fn a_mount_that_cannot_be_had_begins_empty() {
    let (_server, _running, registry) = registry();
    let cache = registry.name("cache");
    let with = format!("type=registry,ref={cache},mounts=true");
    let a = machine(&keeper("a"));
    build(&a, &["--cache-to", &with]);
    registry.lose(&layers(&manifest(&a, &cache))[1]);
    let b = machine(&keeper("b"));
    let (digest, told) = build(&b, &["--cache-from", &with]);
    assert!(told.contains("warning: cache mount /kept begins empty: "), "{told}");
    assert_eq!(files(&b, &digest)["all"], "b\n");
}
