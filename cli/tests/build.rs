//! `oxbox build`: options, results, errors, and what it leaves behind. What instructions mean is the
//! builder's to test.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;
use support::Oxbox;
use support::image::{Picture, index};

#[test]
fn the_result_is_a_digest_and_a_name_in_the_store() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY motd /etc/motd\nENV COLOUR=blue\n");
    let ran = oxbox.run(["build", "--tag", "app:1", "--tag", "app:2", "context"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("COPY motd /etc/motd"), "{}", ran.stderr);
    let digest = ran.stdout.trim_end();
    for name in ["app:1", "app:2"] {
        assert_eq!(oxbox.json(["inspect", "--json", name])["digest"], digest);
    }
    oxbox.ok(["inspect", "--validate", "app:1"]);
}

#[test]
fn the_same_input_is_the_same_digest_on_emptied_state_and_with_any_number_of_jobs() {
    let digests: Vec<String> = ["1", "2", "7"]
        .iter()
        .map(|jobs| {
            let oxbox = Oxbox::new();
            oxbox.busybox();
            oxbox.dockerfile(
                "FROM localhost/busybox AS a\nCOPY motd /a\nRUN mkdir -p /d/e; echo x > /d/e/f; ln /d/e/f /d/g\n\
                 FROM localhost/busybox AS b\nRUN seq 1000 > /n\n\
                 FROM localhost/busybox\nCOPY --from=a /d /d\nCOPY --from=b /n /n\nRUN cat /n /d/g > /all; rm /n\n",
            );
            oxbox.ok(["build", "--jobs", jobs, "context"])
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

#[test]
fn a_second_build_is_told_to_be_cached_unless_that_is_forbidden() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY motd /etc/motd\n");
    let first = oxbox.ok(["build", "context"]);
    let second = oxbox.run(["build", "context"]);
    assert_eq!(second.stderr, "#1 FROM scratch\n#1 DONE 0.0s\n#2 [1/1] COPY motd /etc/motd\n#2 CACHED\n");
    assert_eq!(second.stdout, first);
    let third = oxbox.run(["build", "--no-cache", "context"]);
    assert!(!third.stderr.contains("CACHED"), "{}", third.stderr);
    assert_eq!(third.stdout, first);
}

#[test]
fn options_reach_the_image() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile(
        "FROM scratch AS first\nLABEL stage=first\nARG A\nARG B\nLABEL a=$A b=$B\nFROM scratch\n",
    );
    let mut command =
        oxbox.command(["build", "-t", "app", "--target", "first", "--label", "own=1", "--build-arg=A=x"]);
    command
        .args(["--build-arg=B", "--platform", "linux/arm64", "--iidfile", "iid", "--json", "context"])
        .env("B", "y");
    let ran = support::Ran::from(command.output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let image = oxbox.json(["inspect", "--json", "app"]);
    assert_eq!(image["config"]["Labels"], json!({"a": "x", "b": "y", "own": "1", "stage": "first"}));
    assert_eq!(image["platform"], "linux/arm64");
    let built: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(built["digest"], image["digest"]);
    assert_eq!(built["names"], json!(["app:latest"]));
    assert_eq!(fs::read_to_string(oxbox.path("iid")).unwrap(), image["digest"]);
}

#[test]
fn layers_are_compressed_as_asked() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY motd /etc/motd\n");
    for (format, end) in [("gzip", "tar+gzip"), ("zstd", "tar+zstd"), ("none", ".v1.tar")] {
        oxbox.ok(["build", "-t", format, "--compression-format", format, "context"]);
        let layers = oxbox.json(["inspect", "--json", format])["layers"].clone();
        assert!(layers[0]["mediaType"].as_str().unwrap().ends_with(end), "{layers}");
        oxbox.ok(["inspect", "--validate", format]);
    }
    oxbox
        .run(["build", "--compression-level", "99", "context"])
        .fails(2, &["--compression-level", "gzip level 99 is not between"]);
}

#[test]
fn the_epoch_is_the_latest_time_of_a_file_and_the_time_of_the_image() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY motd /etc/motd\n");
    let early = oxbox.ok(["build", "-t", "early", "context"]);
    assert_eq!(oxbox.json(["inspect", "--json", "early"])["created"], "1980-01-01T00:00:00Z");
    let late = oxbox.ok(["build", "-t", "late", "--source-date-epoch", "1000000000", "context"]);
    assert_eq!(oxbox.json(["inspect", "--json", "late"])["created"], "2001-09-09T01:46:40Z");
    assert_ne!(early, late);
}

#[test]
fn a_named_context_and_files_elsewhere_are_used() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\n");
    fs::create_dir(oxbox.path("more")).unwrap();
    fs::write(oxbox.path("more/extra"), "extra\n").unwrap();
    fs::write(oxbox.path("other.file"), "FROM scratch\nCOPY --from=more . /\nCOPY . /\n").unwrap();
    fs::write(oxbox.path("ignored"), "*\n").unwrap();
    let arguments = ["build", "-t", "app", "-f", "other.file", "--build-context", "more=more"];
    oxbox.ok([&arguments[..], &["--ignorefile", "ignored", "context"]].concat());
    let history = oxbox.json(["inspect", "--json", "app"])["history"].clone();
    assert_eq!(history.as_array().unwrap().len(), 2);
    oxbox
        .run(["build", "--build-context", "more", "context"])
        .fails(2, &["--build-context \"more\" is not NAME=DIR"]);
}

#[test]
fn a_build_without_a_name_is_listed_until_it_is_pruned() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY motd /etc/motd\n");
    let digest = oxbox.ok(["build", "--quiet", "context"]);
    assert_eq!(oxbox.json(["images", "--json"])[0]["digest"], digest.trim_end());
    let pruned = oxbox.json(["prune", "--json"]);
    assert_eq!(pruned["unnamed"], json!([digest.trim_end()]));
    // Manifest and config: the layer is what the cache remembers.
    assert_eq!(pruned["blobs"].as_array().unwrap().len(), 2);
    assert_eq!(oxbox.json(["images", "--json"]), json!([]));
    let again = oxbox.run(["build", "context"]);
    assert!(again.stderr.contains("CACHED"), "{}", again.stderr);
    assert_eq!(again.stdout, digest);
}

#[test]
fn quiet_is_quiet() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY motd /etc/motd\n");
    assert_eq!(oxbox.run(["build", "--quiet", "context"]).stderr, "");
}

#[test]
fn a_base_is_pulled_for_the_platform_and_named_in_the_store() {
    let there = Oxbox::new();
    let layout = there.store();
    let pictures = [
        Picture::of("arch", b"amd64").platform("linux/amd64"),
        Picture::of("arch", b"arm64").platform("linux/arm64"),
    ];
    let many = index(&layout, &pictures);
    layout.tag("docker.io/library/base:1", &many).unwrap();
    drop(layout);
    let server = there.serve();
    there.ok(["copy", "base:1", &server.at("base:1")]);
    let oxbox = Oxbox::new();
    oxbox.dockerfile(&format!("FROM {}\nCOPY motd /etc/motd\n", server.name("base:1")));
    oxbox.run(["build", "--pull=never", "context"]).fails(1, &["is not in the local store"]);
    oxbox.ok(["build", "-t", "app", "--platform", "linux/arm64", "context"]);
    assert_eq!(oxbox.json(["inspect", "--json", "app"])["platform"], "linux/arm64");
    assert_eq!(oxbox.json(["inspect", "--json", &server.name("base:1")])["platform"], "linux/arm64");
    // Another platform is not in the store, whatever the name says.
    oxbox.ok(["build", "-t", "app", "--platform", "linux/amd64", "context"]);
    assert_eq!(oxbox.json(["inspect", "--json", "app"])["platform"], "linux/amd64");
    // By digest, an index keeps its digest, with one platform in it.
    oxbox.dockerfile(&format!("FROM {}@{}\nCOPY motd /x\n", server.name("base"), many.digest));
    oxbox.ok(["build", "-t", "pinned", "--platform", "linux/arm64", "context"]);
    drop(server);
    oxbox.ok(["build", "-t", "again", "--platform", "linux/arm64", "context"]);
    oxbox.run(["build", "--pull", "--platform", "linux/arm64", "context"]).fails(1, &["cannot reach"]);
}

#[test]
fn a_base_that_is_nowhere_is_shown_in_its_line() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nFROM 127.0.0.1:1/absent\nCOPY motd /\n");
    let ran = oxbox.run(["build", "context"]);
    ran.fails(1, &["context/Dockerfile:2:", "127.0.0.1:1/absent", "^^^", "cannot reach"]);
}

#[test]
fn a_broken_dockerfile_is_shown_with_a_caret() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPPY motd /etc/motd\nENV\n");
    let ran = oxbox.run(["build", "-t", "app", "context"]);
    ran.fails(2, &["context/Dockerfile:2:1", "COPPY motd /etc/motd", "^^^^^", "did you mean COPY?"]);
    assert_eq!(oxbox.json(["images", "--json"]), json!([]));
}

#[test]
fn a_context_without_a_dockerfile_says_so() {
    let oxbox = Oxbox::new();
    fs::create_dir(oxbox.path("empty")).unwrap();
    oxbox.run(["build", "empty"]).fails(1, &["there is no Containerfile or Dockerfile in empty", "--file"]);
    oxbox.run(["build", "absent"]).fails(1, &["absent"]);
}

#[test]
fn what_is_not_in_the_context_fails_the_step_that_wants_it() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY absent /\n");
    oxbox.run(["build", "-t", "app", "context"]).fails(1, &["context/Dockerfile:2: ", "absent"]);
    oxbox.run(["inspect", "app"]).fails(1, &["not in the local store"]);
}

#[test]
fn run_works_and_shows_what_it_prints() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nCOPY motd /motd\nRUN cat /motd && echo made > /made\n");
    let ran = oxbox.run(["build", "-t", "app", "context"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.lines().any(|line| line.starts_with('#') && line.ends_with(" hello")),
        "{}",
        ran.stderr
    );
    oxbox.ok(["inspect", "--validate", "app"]);
}

#[test]
fn prune_all_forgets_the_cache_and_what_was_unpacked() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nCOPY motd /motd\nRUN cat /motd > /copy\n");
    let digest = oxbox.ok(["build", "context"]);
    let kept = oxbox.json(["prune", "--json"]);
    for key in ["cacheRecords", "snapshots", "indexes"] {
        assert_eq!(kept[key], 0, "{key}");
    }
    let told = oxbox.json(["prune", "--all", "--dry-run", "--json"]);
    let forgotten = oxbox.json(["prune", "--all", "--json"]);
    for key in ["cacheRecords", "snapshots", "indexes", "unnamed", "bytes"] {
        assert_eq!(told[key], forgotten[key], "{key}");
    }
    // Two steps, each as any compression and as this one.
    assert_eq!(forgotten["cacheRecords"], 4);
    assert_eq!(forgotten["blobs"].as_array().unwrap().len(), 2);
    assert!(forgotten["snapshots"].as_u64().unwrap() > 0);
    let again = oxbox.run(["build", "context"]);
    assert!(!again.stderr.contains("CACHED"), "{}", again.stderr);
    assert_eq!(again.stdout, digest);
}

#[test]
fn prune_takes_the_indexes_of_layers_that_went() {
    let oxbox = Oxbox::new();
    oxbox.put("localhost/base:latest", &Picture::of("etc/base", b"base"));
    oxbox.dockerfile("FROM localhost/base\nCOPY motd /motd\n");
    oxbox.ok(["build", "-t", "app", "context"]);
    assert_eq!(oxbox.json(["prune", "--json"])["indexes"], 0);
    oxbox.ok(["rmi", "app", "localhost/base"]);
    assert_eq!(oxbox.json(["prune", "--dry-run", "--json"])["indexes"], 1);
    assert_eq!(oxbox.json(["prune", "--json"])["indexes"], 1);
}

#[test]
fn a_run_that_fails_names_line_and_code() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nRUN echo no luck && exit 7\n");
    let ran = oxbox.run(["build", "-t", "app", "context"]);
    ran.fails(1, &["context/Dockerfile:2: ", "exited with code 7", " no luck\n", "#2 ERROR: "]);
    oxbox.run(["inspect", "app"]).fails(1, &["not in the local store"]);
}

#[test]
fn a_base_without_a_shell_is_hinted_at() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY motd /motd\nRUN cat /motd\n");
    oxbox
        .run(["build", "context"])
        .fails(1, &["/bin/sh: no such file in the image", "  hint: is the base `scratch`"]);
}

#[test]
fn an_interrupted_build_ends_its_programs_and_names_nothing() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nRUN echo started && exec sleep 1000\n");
    for signal in [Signal::INT, Signal::TERM] {
        let mut command = oxbox.command(["build", "-t", "app", "context"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
        assert!(lines.any(|line| line.unwrap().ends_with(" started")));
        support::server::send(&child, signal);
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
        assert_eq!(rest.last().unwrap(), "error: interrupted");
    }
    oxbox.run(["inspect", "app"]).fails(1, &["not in the local store"]);
}

#[test]
fn a_low_limit_of_open_files_is_raised_for_oxbox_and_not_for_its_programs() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nRUN echo $(ulimit -n) $PPID && exec sleep 1000\n");
    let mut command = oxbox.limited(256, ["build", "context"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().ends_with(" 256 1")));
    assert!(support::open_files(child.id()) > 256);
    support::server::send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
