//! Programs that are compiled in one stage and shipped in another: C, Go, Rust, Java.

use std::process::Command;

use crate::containers::succeeded;
use crate::workshop::{Workshop, projects};

#[test]
fn a_c_program_made_by_make_is_shipped_alone() {
    let workshop = Workshop::open();
    let image = workshop.build("tally");
    let loaded = image.is_as_expected().pulled();
    assert_eq!(loaded.run(&[], &[]), "usage: tally < text\n");
    assert_eq!(loaded.run(&[], &["--version"]), "tally 1.2.0\n");
    workshop.repeats("tally", &projects().join("tally"), &[]);
    // Its RUN leaves what it mounted on.
    let mount_points = ["dev", "etc", "proc", "run", "sys"];
    loaded.is_as_buildah_makes_it(&projects().join("tally"), &[], &mount_points);
}

#[test]
fn a_release_archive_is_unpacked_configured_and_installed() {
    let workshop = Workshop::open();
    let context = workshop.copy("archive");
    let folder = context.path();
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--mtime=@1600000000", "-C"]).arg(folder);
    succeeded(tar.args(["-czf"]).arg(folder.join("greet-1.4.tar.gz")).arg("greet-1.4"));
    let image = workshop.build_with("archive", folder, &[]);
    let loaded = image.is_as_expected().pulled();
    assert_eq!(loaded.run(&[], &[]), "hello, ada\nhello, grace\nhello, alan\n");
    assert_eq!(loaded.run(&[], &["hello", "world"]), "hello, world\n");
    loaded.is_as_buildah_makes_it(folder, &[], &[]);
}

#[test]
fn a_go_program_runs_from_scratch_for_nobody() {
    let workshop = Workshop::open();
    let arguments = ["--build-arg", "VERSION=1.9.2", "--build-arg=COMMIT=abc123"];
    let image = workshop.build_with("beacon", &projects().join("beacon"), &arguments);
    let loaded = image.is_as_expected().loaded();
    assert_eq!(loaded.run(&[], &["-once"]), "beacon 1.9.2 (abc123) as 65532\n");
    let container = loaded.start(&[]);
    assert_eq!(container.get(8053, "/"), "beacon 1.9.2 (abc123) as 65532\n");
    container.is_healthy();
}

#[test]
fn a_go_program_is_compiled_here_for_another_machine() {
    let workshop = Workshop::open();
    let arguments = ["--platform", "linux/arm64"];
    let image = workshop.build_with("beacon", &projects().join("beacon"), &arguments);
    assert_eq!(image.config()["architecture"], "arm64");
    let loaded = image.pulled();
    let found = succeeded(Command::new("file").arg("--brief").arg(loaded.root().join("beacon")));
    assert!(found.contains("ARM aarch64") && found.contains("statically linked"), "{found}");
}

#[test]
fn a_rust_program_is_built_after_its_dependencies() {
    let workshop = Workshop::open();
    let loaded = workshop.build("digits").is_as_expected().pulled();
    assert_eq!(loaded.run(&[], &[]), "42 has 2 digits\n");
    assert_eq!(loaded.run(&[], &["12345", "7"]), "12345 has 5 digits\n7 has 1 digits\n");
    assert_eq!(loaded.run(&["--entrypoint", "id"], &["-un"]), "digits\n");
}

#[test]
fn a_java_program_is_packed_by_maven() {
    let workshop = Workshop::open();
    let loaded = workshop.build("ledger").is_as_expected().pulled();
    assert_eq!(loaded.run(&[], &[]), "total of 2: 942\n");
    assert_eq!(loaded.run(&[], &["sum", "all"]), "sum all of 2: 942\n");
}
