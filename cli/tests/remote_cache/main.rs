//! Caches elsewhere: what one machine made, another takes over, from a registry, a folder or an image.
//!
//! Commands that come out differently each time show whether they ran again; a proxy before the registry
//! shows what was moved.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod below;
mod mounts;
mod odd;
mod proxy;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;

use oxbox_layers::oci::Digest;
use proxy::Proxy;
use support::Oxbox;
use support::image::{files, image};
use support::server::Server;

/// A command whose layer is another one whenever it runs.
const RANDOM: &str = "cat /proc/sys/kernel/random/uuid";

/// A registry, with somebody before it.
fn registry() -> (Oxbox, Server, Proxy) {
    let oxbox = Oxbox::new();
    let server = oxbox.serve();
    let proxy = Proxy::before(server.address);
    (oxbox, server, proxy)
}

/// A machine of its own, with the base image and this Dockerfile.
fn machine(dockerfile: &str) -> Oxbox {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile(dockerfile);
    oxbox
}

/// Two stages: of the first, the second takes what does not depend on the file.
fn two_stages() -> String {
    format!(
        "FROM localhost/busybox AS build\nRUN {RANDOM} > /id\nCOPY motd /motd\nRUN cat /motd /id > /both\n\
         FROM localhost/busybox\nRUN {RANDOM} > /own\nCOPY --from=build /both /taken\nWORKDIR /bin\n",
    )
}

/// Builds the context, and returns the digest and what was told.
fn build(oxbox: &Oxbox, options: &[&str]) -> (Digest, String) {
    let ran = oxbox.run([&["build"], options, &["context"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    (ran.stdout.trim_end().parse().unwrap(), ran.stderr)
}

/// Returns the titles of steps that were made: how each ended last counts.
fn made(told: &str) -> Vec<&str> {
    let mut steps: BTreeMap<usize, (&str, bool)> = BTreeMap::new();
    for line in told.lines() {
        let Some((number, rest)) = line.strip_prefix('#').and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let step = steps.entry(number.parse().unwrap()).or_default();
        match rest.split_once("] ") {
            Some((_, title)) if rest.starts_with('[') => step.0 = title,
            _ if rest == "CACHED" => step.1 = false,
            _ if rest.starts_with("DONE ") => step.1 = true,
            _ if step.0.is_empty() => step.0 = rest,
            _ => {}
        }
    }
    let made = steps.into_values().filter(|(title, is_made)| *is_made && !title.starts_with("FROM "));
    made.map(|(title, _)| title).collect()
}

/// Returns the blobs that were downloaded.
fn downloads(seen: &[String]) -> Vec<String> {
    let blob =
        |line: &String| line.strip_prefix("GET ")?.split_once("/blobs/").map(|(_, blob)| blob.to_owned());
    seen.iter().filter_map(blob).collect()
}

/// Returns the manifest of a cache, which the registry has under this name.
fn manifest(oxbox: &Oxbox, name: &str) -> serde_json::Value {
    let folder = oxbox.path("manifest");
    let _ = fs::remove_dir_all(&folder);
    oxbox.ok(["copy", &format!("docker://{name}"), &format!("dir:{}", folder.display())]);
    serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

fn layers(manifest: &serde_json::Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_another_machine_made_is_taken_over_without_moving_it() {
    let (_server, _running, registry) = registry();
    let (app, cache) = (registry.name("app:1"), registry.name("app:cache"));
    let to = format!("type=registry,ref={cache},mode=max");
    let a = machine(&two_stages());
    let (first, _) = build(&a, &["--push", "-t", &app, "--cache-to", &to]);
    let cached = layers(&manifest(&a, &cache));
    assert_eq!(cached.len(), 5);
    registry.seen();
    let b = machine(&two_stages());
    let again = registry.name("app:2");
    let (second, told) = build(&b, &["--push", "-t", &again, "--cache-from", &cache, "--explain"]);
    assert_eq!((second, made(&told)), (first, vec![]), "{told}");
    assert!(told.contains(&format!("cached       from the cache {cache}")), "{told}");
    let seen = registry.seen();
    let moved: Vec<_> = downloads(&seen).into_iter().filter(|blob| cached.contains(blob)).collect();
    assert_eq!(moved, Vec::<String>::new(), "a layer was downloaded: {seen:?}");
    assert!(!seen.iter().any(|line| line.starts_with("PATCH") || line.contains("digest=sha256")), "{seen:?}");
    // An image for this machine needs the layers that it has, and no others.
    let c = machine(&two_stages());
    let (third, told) = build(&c, &["-t", "here", "--cache-from", &cache]);
    assert_eq!((third, made(&told)), (first, vec![]), "{told}");
    assert_eq!(downloads(&registry.seen()).len(), 1 + 2, "its keys, RUN and COPY");
    let files = files(&c, &third);
    assert!(files["taken"].ends_with(files["own"].get(36..).unwrap()));
    // From then on it is this machine's own.
    let (fourth, told) = build(&c, &["-t", "here"]);
    assert_eq!((fourth, made(&told)), (first, vec![]), "{told}");
}

#[test]
fn one_changed_file_makes_again_what_depends_on_it_and_as_much_as_the_cache_lacks() {
    let (_server, _running, registry) = registry();
    let (min, max) = (registry.name("cache:min"), registry.name("cache:max"));
    let a = machine(&two_stages());
    let to = [format!("type=registry,ref={min}"), format!("type=registry,ref={max},mode=max")];
    let (first, _) = build(&a, &["--cache-to", &to[0], "--cache-to", &to[1]]);
    assert_eq!((layers(&manifest(&a, &min)).len(), layers(&manifest(&a, &max)).len()), (2, 5));
    let run = format!("RUN {RANDOM} > /id");
    for (from, expected) in [
        (&max, vec!["COPY motd /motd", "RUN cat /motd /id > /both", "COPY --from=build /both /taken"]),
        (&min, vec![&run, "COPY motd /motd", "RUN cat /motd /id > /both", "COPY --from=build /both /taken"]),
    ] {
        let b = machine(&two_stages());
        let (unchanged, told) = build(&b, &["--cache-from", from]);
        assert_eq!((unchanged, made(&told)), (first, vec![]), "{told}");
        let b = machine(&two_stages());
        fs::write(b.path("context/motd"), "changed\n").unwrap();
        let (changed, told) = build(&b, &["--cache-from", from]);
        assert_eq!(made(&told), expected, "{told}");
        assert!(files(&b, &changed)["taken"].starts_with("changed\n"));
    }
}

#[test]
fn no_image_has_the_output_of_two_runs() {
    let (_server, _running, registry) = registry();
    let dockerfile = |more: &str| {
        format!(
            "FROM localhost/busybox AS build\nRUN {RANDOM} > /id\nRUN cat /id > /copy\n\
             FROM localhost/busybox\nCOPY --from=build /id /id\n{more}",
        )
    };
    let names = [registry.name("cache:a"), registry.name("cache:b")];
    // Two machines that know nothing of each other, each with its own numbers, and of the stages nothing.
    for name in &names {
        build(&machine(&dockerfile("")), &["--cache-to", name]);
    }
    let more = "COPY --from=build /copy /copy\n";
    build(
        &machine(&dockerfile(more)),
        &["--cache-to", &format!("type=registry,ref={},mode=max", registry.name("cache:c"))],
    );
    let third = registry.name("cache:c");
    for from in
        [vec![&names[0]], vec![&names[0], &names[1]], vec![&names[1], &third], vec![&third, &names[0]]]
    {
        let options: Vec<&str> = from.iter().flat_map(|name| ["--cache-from", name.as_str()]).collect();
        let b = machine(&dockerfile(more));
        let (digest, told) = build(&b, &options);
        let files = files(&b, &digest);
        assert_eq!(files["id"], files["copy"], "{told}");
        // And when it is made again, nothing of what was taken over stays.
        let (digest, told) = build(&b, &[&options[..], &["--no-cache-filter", "build"]].concat());
        let again = self::files(&b, &digest);
        assert_eq!(again["id"], again["copy"], "{told}");
        assert_ne!(again["id"], files["id"], "{told}");
    }
}

#[test]
fn a_build_that_made_nothing_gives_as_much_as_the_one_that_did() {
    let (_server, _running, registry) = registry();
    let names = [registry.name("one/cache"), registry.name("two/cache"), registry.name("three/cache")];
    let to = |name: &str| format!("type=registry,ref={name},mode=max");
    let a = machine(&two_stages());
    build(&a, &["--cache-to", &to(&names[0])]);
    let expected = manifest(&a, &names[0]);
    let (_, told) = build(&a, &["--cache-to", &to(&names[1])]);
    assert_eq!((manifest(&a, &names[1]), made(&told)), (expected.clone(), vec![]));
    // Nor need it have the layers.
    let b = machine(&two_stages());
    registry.seen();
    let app = registry.name("app");
    build(&b, &["--push", "-t", &app, "--cache-from", &names[0], "--cache-to", &to(&names[2])]);
    let seen = registry.seen();
    assert_eq!(downloads(&seen).len(), 1, "the keys alone: {seen:?}");
    assert_eq!(manifest(&b, &names[2]), expected);
}

#[test]
fn a_cache_compressed_otherwise_gives_the_same_image() {
    let (_server, _running, registry) = registry();
    let cache = registry.name("cache");
    let a = machine(&two_stages());
    let to = format!("type=registry,ref={cache},mode=max,compression=zstd,force-compression=true");
    let (first, _) = build(&a, &["--cache-to", &to]);
    let manifest = manifest(&a, &cache);
    assert!(
        manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|layer| { layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd" })
    );
    let b = machine(&two_stages());
    let app = registry.name("app");
    let (second, _) = build(&b, &["--push", "-t", &app, "--cache-from", &cache]);
    assert_eq!(second, first);
    let (zstd, told) =
        build(&machine(&two_stages()), &["--compression-format", "zstd", "--cache-from", &cache]);
    assert_ne!(zstd, first);
    assert_eq!(made(&told), Vec::<&str>::new());
}

#[test]
fn a_folder_is_a_cache_too_and_a_layout() {
    let a = machine(&two_stages());
    let (first, _) = build(&a, &["--cache-to", "type=local,dest=shared,mode=max"]);
    let index = fs::read_to_string(a.path("shared/index.json")).unwrap();
    assert!(index.contains("\"org.opencontainers.image.ref.name\":\"latest\""), "{index}");
    let (_, told) = build(&a, &["--cache-to", "type=local,dest=shared,mode=max"]);
    assert_eq!((fs::read_to_string(a.path("shared/index.json")).unwrap(), made(&told)), (index, vec![]));
    let from = format!("type=local,src={}", a.path("shared").display());
    let b = machine(&two_stages());
    let (second, told) = build(&b, &["--cache-from", &from]);
    assert_eq!((second, made(&told)), (first, vec![]), "{told}");
    files(&b, &second);
    // What is only pushed comes from the folder, too.
    let (_server, _running, registry) = registry();
    let c = machine(&two_stages());
    let app = registry.name("app");
    let (third, told) = build(&c, &["--push", "-t", &app, "--cache-from", &from]);
    assert_eq!((third, made(&told)), (first, vec![]), "{told}");
    let missing = build(&machine(&two_stages()), &["--cache-from", "type=local,src=nowhere"]).1;
    assert!(missing.contains("cache nowhere:latest is not used: there is none yet"), "{missing}");
}

#[test]
fn an_image_can_carry_its_own_records() {
    let (_server, _running, registry) = registry();
    let app = registry.name("app:1");
    let a = machine(&two_stages());
    let (plain, _) = build(&a, &["-t", "plain"]);
    let (first, _) = build(&a, &["--push", "-t", &app, "--cache-to", "type=inline"]);
    assert_ne!(first, plain, "the records stand in the config");
    let b = machine(&two_stages());
    let (second, told) = build(&b, &["-t", "here", "--cache-from", &app, "--cache-to", "type=inline"]);
    assert_eq!((second, made(&told)), (first, vec![]), "{told}");
    files(&b, &second);
    let from = ["--cache-from", app.as_str()];
    let (without, told) = build(&machine(&two_stages()), &from);
    assert_eq!((without, made(&told)), (plain, vec![]), "{told}");
    // What stands on it does not inherit them.
    b.dockerfile("FROM here\nCOPY motd /motd\n");
    let (above, _) = build(&b, &["-t", "above"]);
    let fields = |digest| image(&b, digest).config.other.keys().cloned().collect::<Vec<_>>();
    assert_eq!((fields(&second), fields(&above)), (vec!["oxbox.cache.v1".to_owned()], vec![]));
    let (_, told) = build(&machine(&two_stages()), &["--cache-from", &registry.name("nothing")]);
    assert!(told.contains("is not used: there is none yet"), "{told}");
}

#[test]
fn platforms_share_one_cache() {
    let (_server, _running, registry) = registry();
    let (app, cache) = (registry.name("app:1"), registry.name("app:cache"));
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY motd /$TARGETARCH\n";
    let platforms = ["--platform", "linux/amd64,linux/arm64"];
    let given = ["--push", "-t", &app, "--cache-to", &cache, "--cache-to", "type=inline"];
    let (first, _) = build(&machine(dockerfile), &[&platforms[..], &given].concat());
    for from in [&cache, &app] {
        let b = machine(dockerfile);
        let (second, told) =
            build(&b, &[&platforms[..], &["--cache-from", from, "--cache-to", "type=inline"]].concat());
        assert_eq!((second, made(&told)), (first, vec![]), "{told}");
    }
}

#[test]
fn equal_builds_give_equal_caches() {
    let dockerfile = "FROM scratch AS one\nCOPY motd /a\nFROM scratch\nCOPY --from=one /a /b\nWORKDIR /c\n";
    let index = |jobs: &str| {
        let machine = machine(dockerfile);
        build(&machine, &["-j", jobs, "--cache-to", "type=local,dest=shared,mode=max"]);
        fs::read_to_string(machine.path("shared/index.json")).unwrap()
    };
    assert_eq!(index("1"), index("4"));
}
