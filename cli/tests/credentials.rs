//! Secrets that are credentials: each is shown to the host that it is for, and to nobody else.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;

use oxbox_testdata::elsewhere::{Answer, Repository, Static, Web};
use support::Oxbox;

/// x-access-token:t0ken
const BASIC: &str = "Basic eC1hY2Nlc3MtdG9rZW46dDBrZW4=";

fn secret(oxbox: &Oxbox, id: &str, value: &str) -> String {
    fs::write(oxbox.path("given"), value).unwrap();
    format!("id={id},src=given")
}

/// Returns what a server was shown, by path.
fn shown(web: &Web) -> Vec<(String, Option<String>)> {
    let asked = web.asked();
    asked.iter().map(|one| (one.path.clone(), one.header("authorization").map(str::to_owned))).collect()
}

#[test]
fn a_file_is_asked_for_with_the_token_of_its_host_and_a_redirect_elsewhere_is_not() {
    let oxbox = Oxbox::new();
    let other = Web::start(|_| Answer::new(200, "moved"));
    let place = other.url("/moved");
    let web = Web::start(move |asked| match asked.path.as_str() {
        "/away" => Answer::new(302, "").header(format!("Location: {place}")),
        _ => Answer::new(200, "here"),
    });
    oxbox.dockerfile(&format!(
        "FROM scratch\nADD {} /here\nADD {} /moved\n",
        web.url("/here"),
        web.url("/away")
    ));
    for (id, value, expected) in [
        ("HTTP_AUTH_TOKEN_127.0.0.1", "t0ken\n", Some("Bearer t0ken")),
        ("HTTP_AUTH_HEADER_127.0.0.1", "Custom x", Some("Custom x")),
        ("HTTP_AUTH_TOKEN_localhost", "t0ken", None),
    ] {
        let secret = secret(&oxbox, id, value);
        oxbox.ok(["build", "--no-cache", "--secret", &secret, "context"]);
        let told = shown(&web);
        assert!(told.len() >= 2 && told.iter().all(|(_, shown)| shown.as_deref() == expected), "{told:?}");
        let moved = shown(&other);
        assert!(!moved.is_empty() && moved.iter().all(|(_, shown)| shown.is_none()), "{moved:?}");
    }
    let secret = secret(&oxbox, "HTTP_AUTH_TOKEN_127.0.0.1", "t0ken\r\nX-Other: 1");
    let ran = oxbox.run(["build", "--no-cache", "--secret", &secret, "context"]);
    ran.fails(1, &["HTTP_AUTH_TOKEN_127.0.0.1", "cannot be a header"]);
    assert!(!ran.stderr.contains("t0ken"), "{}", ran.stderr);
}

#[test]
fn a_context_is_asked_for_with_them_too() {
    let oxbox = Oxbox::new();
    let web = Web::start(|asked| match asked.header("authorization") {
        Some("Bearer t0ken") => Answer::new(200, "FROM scratch\nCOPY <<EOF /f\nf\nEOF\n"),
        _ => Answer::new(401, ""),
    });
    let secret = secret(&oxbox, "HTTP_AUTH_TOKEN_127.0.0.1", "t0ken");
    oxbox.ok(["build", "--secret", &secret, &web.url("/Dockerfile")]);
    assert_eq!(oxbox.run(["build", &web.url("/Dockerfile")]).code, Some(1));
}

#[test]
fn a_repository_is_asked_for_with_the_token_of_its_host_or_of_all() {
    let oxbox = Oxbox::new();
    Repository::new(oxbox.folder(), "app").file("Dockerfile", "FROM scratch\nCOPY . /\n").commit("one");
    let server = Static::start(oxbox.folder(), Some(BASIC));
    let url = server.url("", "app");
    let host = url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    for id in ["GIT_AUTH_TOKEN".to_owned(), format!("GIT_AUTH_TOKEN.{host}")] {
        let secret = secret(&oxbox, &id, "t0ken");
        oxbox.ok(["build", "--no-cache", "--secret", &secret, &url]);
        oxbox.dockerfile(&format!("FROM scratch\nADD {url} /\n"));
        oxbox.ok(["build", "--no-cache", "--secret", &secret, "context"]);
    }
    let header = secret(&oxbox, &format!("GIT_AUTH_HEADER.{host}"), BASIC);
    oxbox.ok(["build", "--no-cache", "--secret", &header, &url]);
    for id in ["GIT_AUTH_TOKEN.q.io", "OTHER"] {
        let secret = secret(&oxbox, id, "t0ken");
        assert_eq!(oxbox.run(["build", "--no-cache", "--secret", &secret, &url]).code, Some(1), "{id}");
    }
    assert!(!fs::read_to_string(oxbox.root().join("store/index.json")).unwrap().contains("t0ken"));
}

#[test]
fn git_finds_keys_at_the_agent_that_was_lent() {
    let oxbox = Oxbox::new();
    let (socket, seen) = (oxbox.path("agent"), oxbox.path("seen"));
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    oxbox.dockerfile("FROM scratch\nADD git@q.io:team/app.git /\n");
    let option = format!("default={}", socket.display());
    for (url, expected) in [("context", 1), ("git@q.io:team/app.git", 1)] {
        let mut command = oxbox.command(["build", "--ssh", &option, url]);
        // In the place of ssh: it says where it would look, and gives up.
        command.env("GIT_SSH_COMMAND", format!("echo $SSH_AUTH_SOCK > {}; false", seen.display()));
        assert_eq!(command.output().unwrap().status.code(), Some(expected), "{url}");
        assert_eq!(fs::read_to_string(&seen).unwrap().trim(), socket.to_str().unwrap(), "{url}");
        fs::remove_file(&seen).unwrap();
    }
}
