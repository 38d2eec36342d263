//! Command lines of buildx and Buildah, as they are carried over.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use serde_json::{Value, json};
use support::Oxbox;
use support::image::Picture;

fn config(oxbox: &Oxbox) -> Value {
    oxbox.json(["inspect", "--json", "app"])["config"].clone()
}

#[test]
fn what_is_done_anyway_may_be_asked_for() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY motd /\n");
    let plain = oxbox.ok(["build", "context"]);
    let lines = [
        &["--layers", "--rm", "--force-rm=false", "--compress", "--disable-compression=false"][..],
        &["--builder", "default", "--provenance=false", "--sbom=false", "--load"],
        &["--attest", "type=sbom,disabled=true", "--provenance=mode=max,disabled=true"],
        &["--skip-unused-stages", "--created-annotation=false", "--identity-label=false"],
        &[
            "--inherit-annotations=false",
            "--unsetannotation",
            "a",
            "--rewrite-timestamp",
            "--http-proxy=false",
        ],
        &["--jobs", "0", "--os", "linux", "--debug", "--pull=missing"],
    ];
    for line in lines {
        assert_eq!(oxbox.ok([&["build"], line, &["context"]].concat()), plain, "{line:?}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY motd /\n");
    let refused = [
        (&["--provenance=mode=max"][..], "--provenance=false"),
        (&["--sbom"], "--sbom=false"),
        (&["--attest", "type=provenance"], "disabled=true"),
        (&["--skip-unused-stages=false"], "only the stages that the target needs"),
        (&["--identity-label"], "oxbox adds nothing of the kind"),
    ];
    for (line, reason) in refused {
        oxbox.run([&["build"], line, &["context"]].concat()).fails(2, &[reason]);
    }
}

#[test]
fn labels_and_variables_are_changed_after_the_file() {
    let oxbox = Oxbox::new();
    oxbox.put("localhost/base:latest", &Picture::of("base", b"base\n"));
    oxbox.dockerfile("FROM localhost/base\nLABEL kept=1 gone=2\nENV A=1 B=2\nCOPY motd /\n");
    let options =
        ["--unsetlabel", "gone", "--label", "empty", "--env", "A=3", "--env", "C=4", "--unsetenv", "B"];
    oxbox.ok([&["build", "-t", "app"], &options[..], &["context"]].concat());
    assert_eq!(config(&oxbox)["Labels"], json!({"empty": "", "kept": "1", "maintainer": "nobody"}));
    let variables = config(&oxbox)["Env"].as_array().unwrap()[1..].to_vec();
    assert_eq!(variables, ["COLOUR=blue", "A=3", "C=4"]);
    oxbox.ok(["build", "-t", "app", "--inherit-labels=false", "context"]);
    assert_eq!(config(&oxbox)["Labels"], json!({"gone": "2", "kept": "1"}));
}

#[test]
fn the_first_from_may_be_of_another_image() {
    let oxbox = Oxbox::new();
    oxbox.put("localhost/other:latest", &Picture::of("other", b"other\n"));
    oxbox.dockerfile("FROM localhost/nowhere AS base\nLABEL of=base\nFROM base\nCOPY motd /\n");
    oxbox.ok(["build", "-t", "app", "--from", "localhost/other", "context"]);
    assert_eq!(config(&oxbox)["Labels"]["of"], "base");
    oxbox.ok(["build", "-o", "out", "--from", "localhost/other", "context"]);
    assert!(oxbox.path("out/other").exists() && oxbox.path("out/motd").exists());
}

#[test]
fn an_image_may_keep_its_history_to_itself() {
    let oxbox = Oxbox::new();
    oxbox.put("localhost/base:latest", &Picture::of("base", b"base\n"));
    oxbox.dockerfile("FROM localhost/base\nCOPY motd /\nENV A=1\n");
    let history = |option: &[&str]| {
        oxbox.ok([&["build", "-t", "app"], option, &["context"]].concat());
        oxbox.ok(["inspect", "--validate", "app"]);
        oxbox.json(["inspect", "--config", "app"])["history"].as_array().map(Vec::len)
    };
    assert_eq!(history(&[]), Some(3));
    assert_eq!(history(&["--omit-history"]), None);
}

#[test]
fn without_layers_there_is_one_of_all_steps() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY motd /a\nCOPY motd /b\n");
    let squashed = oxbox.ok(["build", "--squash", "context"]);
    assert_eq!(oxbox.ok(["build", "--layers=false", "context"]), squashed);
}
