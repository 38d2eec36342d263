//! What a COPY stands on is looked into by what a cache says of it, and stays where it is.

use super::support::image::Picture;
use super::support::server::Server;
use super::{Oxbox, Proxy, build, downloads, files, layers, manifest, registry};

/// A registry that has a base image: a program, names of users, and a link on the way to where things go.
fn base() -> (Oxbox, Server, Proxy, String) {
    let (oxbox, server, proxy) = registry();
    let picture = Picture::of("usr/bin/program", &[7; 200_000])
        .link("bin", "usr/bin")
        .layer("etc/passwd", b"root:x:0:0::/:/bin/sh\nuser:x:1234:1234::/:/bin/sh\n");
    oxbox.put("localhost/base:latest", &picture);
    let name = proxy.name("team/base:1");
    oxbox.ok(["copy", "localhost/base", &format!("docker://{name}")]);
    (oxbox, server, proxy, name)
}

/// A machine that has nothing but a context.
fn machine(dockerfile: &str, motd: &str) -> Oxbox {
    let oxbox = Oxbox::new();
    oxbox.dockerfile(dockerfile);
    std::fs::write(oxbox.path("context/motd"), motd).unwrap();
    oxbox
}

#[test]
fn a_copy_that_changed_moves_no_byte_of_its_base() {
    let (_server, _running, registry, base) = base();
    let (app, cache) = (registry.name("team/app:1"), registry.name("team/app:cache"));
    let dockerfile = format!("FROM {base}\nWORKDIR /srv\nCOPY motd /bin/\n");
    let caches = ["--push", "-t", &app, "--cache-from", &cache, "--cache-to", &cache];
    build(&machine(&dockerfile, "first"), &caches);
    let bases = layers(&manifest(&Oxbox::new(), &base));
    let mut last = None;
    for motd in ["second", "third"] {
        registry.seen();
        let b = machine(&dockerfile, motd);
        let (digest, told) = build(&b, &caches);
        let seen = registry.seen();
        let downloads = downloads(&seen);
        assert!(bases.iter().all(|layer| !downloads.contains(layer)), "{seen:?}");
        let uploads = seen.iter().filter(|line| line.starts_with("PUT ") && line.contains("/blobs/uploads/"));
        // The layer, the image's config, and the cache's.
        assert_eq!(uploads.count(), 3, "{seen:?}");
        // What a machine without a cache makes, the link followed.
        let (whole, _) = build(&machine(&dockerfile, motd), &[]);
        assert_eq!(digest, whole, "{told}");
        last = Some((b, digest));
    }
    let (b, digest) = last.unwrap();
    b.ok(["copy", &format!("docker://{app}"), "app"]);
    let files = files(&b, &digest);
    assert!(files.contains_key("usr/bin/motd") && files.contains_key("srv"), "{files:?}");
}

#[test]
fn for_the_name_of_an_owner_one_layer_is_moved() {
    let (_server, _running, registry, base) = base();
    let cache = registry.name("team/app:cache");
    let dockerfile = format!("FROM {base}\nCOPY --chown=user motd /srv/\n");
    let options = ["--push", "-t", &registry.name("team/app:1"), "--cache-from", &cache];
    build(&machine(&dockerfile, "first"), &[&options[..], &["--cache-to", &cache]].concat());
    let bases = layers(&manifest(&Oxbox::new(), &base));
    registry.seen();
    let (digest, _) = build(&machine(&dockerfile, "second"), &options);
    let downloads = downloads(&registry.seen());
    let moved: Vec<_> = bases.iter().map(|layer| downloads.contains(layer)).collect();
    assert_eq!(moved, [false, false, true]);
    assert_eq!(build(&machine(&dockerfile, "second"), &[]).0, digest);
}
