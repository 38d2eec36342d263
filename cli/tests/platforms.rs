//! `oxbox build` for several platforms, and with contexts in place of images and stages.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use serde_json::json;
use support::Oxbox;

#[test]
fn several_platforms_are_one_name_and_share_what_is_equal() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile(
        "FROM --platform=$BUILDPLATFORM scratch AS build\nCOPY motd /motd\n\
         FROM scratch\nARG TARGETARCH\nCOPY --from=build motd /etc/motd\nENV arch=$TARGETARCH\n",
    );
    let ran = oxbox.run([
        "build",
        "-t",
        "app",
        "--platform",
        "linux/amd64,linux/arm64",
        "--platform=linux/arm/v6",
        "context",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("COPY motd /motd").count(), 1, "made once: {}", ran.stderr);
    let index = oxbox.json(["inspect", "--json", "app"]);
    let manifests = index["manifests"].as_array().unwrap().iter();
    let architectures: Vec<_> = manifests.map(|manifest| &manifest["platform"]["architecture"]).collect();
    assert_eq!(architectures, ["amd64", "arm64", "arm"]);
    oxbox.ok(["inspect", "--validate", "app"]);
    let again =
        oxbox.run(["build", "-t", "app", "--platform", "linux/amd64,linux/arm64,linux/arm/v6", "context"]);
    assert_eq!(again.stdout, ran.stdout);
}

#[test]
fn a_run_for_a_machine_that_nobody_emulates_says_what_is_missing() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY motd /\nRUN [\"/motd\"]\n");
    oxbox.run(["build", "--platform", "linux/s390x", "context"]).fails(
        2,
        &["RUN needs linux/s390x", "3 | RUN", "install qemu-user-static", "FROM --platform=$BUILDPLATFORM"],
    );
    oxbox.dockerfile("FROM scratch\nCOPY motd /\n");
    oxbox.ok(["build", "--platform", "linux/s390x", "context"]);
}

#[test]
fn contexts_stand_in_for_images_and_stages() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY motd /motd\nLABEL from=image\n");
    oxbox.ok(["build", "-t", "localhost/image", "context"]);
    oxbox.dockerfile("FROM scratch\nCOPY motd /motd\nLABEL from=layout\n");
    oxbox.ok(["build", "-t", "localhost/layout", "-o", "type=oci,tar=false,dest=layout,name=v1", "context"]);
    oxbox.dockerfile("FROM scratch AS stage\nLABEL from=stage\nFROM nowhere/base AS replaced\nLABEL more=yes\nFROM replaced\n");
    let label = |context: &str| {
        oxbox.ok(["build", "-t", "app", "--build-context", context, "context"]);
        oxbox.json(["inspect", "--json", "app"])["config"]["Labels"].clone()
    };
    assert_eq!(label("nowhere/base=docker-image://localhost/image"), json!({"from": "image", "more": "yes"}));
    assert_eq!(label("docker.io/nowhere/base:latest=target:stage"), json!({"from": "stage", "more": "yes"}));
    assert_eq!(label("replaced=target:stage"), json!({"from": "stage"}), "what the stage does is gone");
    let before = oxbox.json(["images", "--json"]).as_array().unwrap().len();
    assert_eq!(label("nowhere/base=oci-layout://layout"), json!({"from": "layout", "more": "yes"}));
    assert_eq!(oxbox.json(["images", "--json"]).as_array().unwrap().len(), before, "the base has no name");
}

#[test]
fn contexts_that_are_nothing_are_told_of_before_anything_is_done() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM base\n");
    for (context, said) in [
        ("base=docker-image://A B", "does not name an image"),
        ("base=oci-layout://", "does not name an image of a layout"),
        ("base=target:", "does not name a stage"),
    ] {
        oxbox
            .run(["build", "--build-context", context, "context"])
            .fails(2, &["--build-context \"base\"", said]);
    }
    oxbox
        .run(["build", "--build-context", "base=oci-layout://nowhere", "context"])
        .fails(1, &["image of the layout nowhere cannot be read"]);
    oxbox
        .run(["build", "--build-context", "base=target:none", "context"])
        .fails(2, &["stands for stage \"none\", which is not there"]);
}

#[test]
fn more_than_a_sandbox_must_be_allowed_and_words_that_allow_nothing_are_refused() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nRUN --security=insecure [\"x\"]\n");
    oxbox
        .run(["build", "context"])
        .fails(2, &["RUN asks for more than a sandbox", "--allow security.insecure"]);
    oxbox.run(["build", "--allow", "everything", "context"]).fails(2, &["cannot be allowed"]);
}

#[test]
fn the_epoch_of_a_file_gives_way_to_the_environments_and_that_to_the_options() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile(
        "ARG SOURCE_DATE_EPOCH=1000000000\nFROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL e=$SOURCE_DATE_EPOCH\n",
    );
    let built = |arguments: &[&str], environment: Option<&str>| {
        let mut command = oxbox.command(["build", "-t", "app"]);
        command.args(arguments).arg("context");
        environment.map(|epoch| command.env("SOURCE_DATE_EPOCH", epoch));
        let ran = support::Ran::from(command.output().unwrap());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let image = oxbox.json(["inspect", "--json", "app"]);
        (image["created"].as_str().unwrap()[..4].to_owned(), image["config"]["Labels"]["e"].clone())
    };
    assert_eq!(built(&[], None), ("2001".to_owned(), json!("1000000000")));
    assert_eq!(built(&[], Some("1200000000")), ("2008".to_owned(), json!("1200000000")));
    let given = built(&["--source-date-epoch", "1400000000"], Some("1200000000"));
    assert_eq!(given, ("2014".to_owned(), json!("1400000000")));
}

#[test]
fn a_run_sees_the_machines_name_that_an_argument_gives() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nRUN hostname\n");
    let said = |arguments: &[&str]| {
        let ran = oxbox.run([&["build", "--progress", "plain"], arguments, &["context"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    assert!(said(&[]).contains(" buildkitsandbox\n"));
    assert!(
        said(&["--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=builder"]).contains(" builder\n"),
        "and is part of the key"
    );
    assert!(said(&["--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=builder"]).contains("RUN hostname\n#2 CACHED"));
}
