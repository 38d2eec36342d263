//! What the binary says of itself: version, info, help, completions, manual pages.

mod support;

use support::Oxbox;
use support::image::Picture;

#[test]
fn the_version_is_the_packages() {
    let oxbox = Oxbox::new();
    let version = env!("CARGO_PKG_VERSION");
    assert!(oxbox.ok(["version"]).starts_with(&format!("oxbox {version} linux/")));
    assert_eq!(oxbox.json(["version", "--json"])["version"], version);
}

#[test]
fn info_tells_where_and_how_much() {
    let oxbox = Oxbox::new();
    oxbox.put("docker.io/library/app:1", &Picture::of("etc/motd", b"hello\n"));
    let info = oxbox.json(["info", "--json"]);
    assert_eq!(info["root"], oxbox.root().to_str().unwrap());
    assert_eq!(info["store"]["images"], 1);
    assert_eq!(info["store"]["blobs"], 3);
    assert!(oxbox.ok(["info"]).contains("1 image, 3 blobs, "));
}

#[test]
fn info_names_credential_files_and_no_credentials() {
    let oxbox = Oxbox::new();
    let file = oxbox.path("home/.docker/config.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, r#"{"auths":{"q.io":{"auth":"c2VjcmV0OnNlY3JldA=="}}}"#).unwrap();
    let text = oxbox.ok(["info"]);
    assert!(text.contains(file.to_str().unwrap()), "{text}");
    assert!(!text.contains("c2VjcmV0") && !text.contains("q.io"), "{text}");
}

#[test]
fn state_is_where_the_option_says_before_where_the_environment_says() {
    let oxbox = Oxbox::new();
    let info = oxbox.json(["info", "--json", "--root", "/elsewhere"]);
    assert_eq!(info["root"], "/elsewhere");
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    let oxbox = Oxbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = oxbox.ok(["completions", shell]);
        assert!(script.contains("images") && script.contains("prune"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let oxbox = Oxbox::new();
    oxbox.ok(["man", "pages"]);
    for page in ["oxbox.1", "oxbox-images.1", "oxbox-prune.1"] {
        let text = std::fs::read_to_string(oxbox.path("pages").join(page)).unwrap();
        assert!(text.contains(".SH"), "{page}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let oxbox = Oxbox::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = oxbox.command(["completions", "bash"]).stdout(writer).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn a_full_standard_output_is_an_error() {
    let oxbox = Oxbox::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = oxbox.command(["version"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("error: cannot write to standard output\n  cause: "), "{stderr}");
}
