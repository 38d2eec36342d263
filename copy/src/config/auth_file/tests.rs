use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{AuthFileError, Keychain, normalise};
use crate::client::{Credentials, Secret};
use crate::config::Environment;

fn password(username: &str, password: &str) -> Credentials {
    Credentials::Password { username: username.to_owned(), password: Secret::new(password) }
}

fn home() -> (TempDir, Environment) {
    let dir = TempDir::new().unwrap();
    let below = |name: &str| Some(dir.path().join(name));
    let environment = Environment {
        home: below(""),
        session_auth_file: below("run/containers/auth.json"),
        config: below("config"),
        docker: below("docker"),
        auth_file: None,
        etc: dir.path().join("etc"),
    };
    (dir, environment)
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

async fn look(keychain: &Keychain, domain: &str, path: &str) -> Option<Credentials> {
    keychain.find(domain, path).await.unwrap().map(|found| found.credentials)
}

/// `a:1`, `b:2`, `c:3`
const A: &str = "YTox";
const B: &str = "Yjoy";
const C: &str = "Yzoz";

#[tokio::test]
async fn the_first_file_that_knows_the_registry_decides() {
    let (dir, environment) = home();
    write(
        &dir,
        "docker/config.json",
        &format!(r#"{{"auths":{{"q.io":{{"auth":"{A}"}},"r.io":{{"auth":"{A}"}}}}}}"#),
    );
    write(&dir, "config/containers/auth.json", &format!(r#"{{"auths":{{"q.io":{{"auth":"{B}"}}}}}}"#));
    write(&dir, "run/containers/auth.json", r#"{"auths":{"s.io":{"auth":"Yzoz"}}}"#);
    let keychain = Keychain::new(&environment, None);
    assert_eq!(look(&keychain, "q.io", "x").await, Some(password("b", "2")));
    assert_eq!(look(&keychain, "r.io", "x").await, Some(password("a", "1")));
    assert_eq!(look(&keychain, "s.io", "x").await, Some(password("c", "3")));
    assert_eq!(look(&keychain, "t.io", "x").await, None);
}

#[tokio::test]
async fn a_named_file_is_the_only_one_and_must_exist() {
    let (dir, environment) = home();
    write(&dir, "docker/config.json", &format!(r#"{{"auths":{{"q.io":{{"auth":"{A}"}}}}}}"#));
    let named = write(&dir, "named.json", "{}");
    assert_eq!(look(&Keychain::new(&environment, Some(named)), "q.io", "x").await, None);
    let missing = Keychain::new(&environment, Some(dir.path().join("none")));
    assert!(matches!(missing.find("q.io", "x").await, Err(AuthFileError::Read { .. })));
}

#[tokio::test]
async fn the_longest_namespace_wins_and_ends_at_a_slash() {
    let (dir, environment) = home();
    let text = format!(
        r#"{{"auths":{{"q.io":{{"auth":"{A}"}},"q.io/team":{{"auth":"{B}"}},"q.io/team/app":{{"auth":"{C}"}}}}}}"#
    );
    write(&dir, "docker/config.json", &text);
    let keychain = Keychain::new(&environment, None);
    assert_eq!(look(&keychain, "q.io", "team/app").await, Some(password("c", "3")));
    assert_eq!(look(&keychain, "q.io", "team/app/sub").await, Some(password("c", "3")));
    assert_eq!(look(&keychain, "q.io", "team/application").await, Some(password("b", "2")));
    assert_eq!(look(&keychain, "q.io", "teams").await, Some(password("a", "1")));
}

#[tokio::test]
async fn every_spelling_of_docker_io_is_found() {
    for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"] {
        let (dir, environment) = home();
        write(&dir, "docker/config.json", &format!(r#"{{"auths":{{"{key}":{{"auth":"{A}"}}}}}}"#));
        let found = look(&Keychain::new(&environment, None), "docker.io", "library/busybox").await;
        assert_eq!(found, Some(password("a", "1")), "{key}");
    }
}

#[tokio::test]
async fn an_identity_token_counts_even_beside_an_auth_without_a_password() {
    let (dir, environment) = home();
    let text = r#"{"auths":{"q.io":{"auth":"MDAwMA==","identitytoken":"refresh"}}}"#;
    write(&dir, "docker/config.json", text);
    let found = look(&Keychain::new(&environment, None), "q.io", "x").await;
    assert_eq!(found, Some(Credentials::IdentityToken(Secret::new("refresh"))));
}

#[tokio::test]
async fn a_broken_file_is_an_error_that_quotes_no_secret() {
    let (dir, environment) = home();
    write(&dir, "docker/config.json", r#"{"auths":{"q.io":{"auth":"c2VjcmV0" "#);
    let error = Keychain::new(&environment, None).find("q.io", "x").await.unwrap_err();
    assert!(matches!(error, AuthFileError::Malformed { .. }));
    assert!(!format!("{error:?}{error}").contains("c2VjcmV0"));
    write(&dir, "docker/config.json", r#"{"auths":{"q.io":{"auth":"c2VjcmV0"}}}"#);
    let error = Keychain::new(&environment, None).find("q.io", "x").await.unwrap_err();
    assert!(matches!(&error, AuthFileError::BrokenEntry { key, .. } if key == "q.io"));
}

fn helper(dir: &TempDir, suffix: &str, script: &str) {
    let path = write(dir, &format!("bin/docker-credential-{suffix}"), &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn with_helpers(dir: &TempDir, environment: &Environment) -> Keychain {
    Keychain::new(environment, None).with_helpers_in(dir.path().join("bin"))
}

#[tokio::test]
async fn a_registrys_helper_beats_its_entry_and_a_store_only_fills_gaps() {
    let (dir, environment) = home();
    helper(
        &dir,
        "one",
        r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$server\",\"Secret\":\"s\"}""#,
    );
    let text = format!(
        r#"{{"auths":{{"q.io":{{"auth":"{A}"}},"r.io":{{"auth":"{B}"}},"s.io":{{}}}},
        "credHelpers":{{"q.io":"one"}},"credsStore":"one"}}"#
    );
    write(&dir, "docker/config.json", &text);
    let keychain = with_helpers(&dir, &environment);
    assert_eq!(look(&keychain, "q.io", "x").await, Some(password("q.io", "s")));
    assert_eq!(look(&keychain, "r.io", "x").await, Some(password("b", "2")));
    assert_eq!(look(&keychain, "s.io", "x").await, Some(password("s.io", "s")));
    let docker = look(&keychain, "docker.io", "library/x").await;
    assert_eq!(docker, Some(password("https://index.docker.io/v1/", "s")));
}

#[tokio::test]
async fn a_helper_that_has_none_means_anonymous() {
    let (dir, environment) = home();
    helper(&dir, "none", "echo credentials not found in native keychain; exit 1");
    write(&dir, "docker/config.json", r#"{"credsStore":"none"}"#);
    assert_eq!(look(&with_helpers(&dir, &environment), "q.io", "x").await, None);
}

#[tokio::test]
async fn a_helper_that_fails_is_quoted() {
    let (dir, environment) = home();
    helper(&dir, "broken", "echo the keyring is locked; exit 3");
    write(&dir, "docker/config.json", r#"{"credsStore":"broken"}"#);
    let error = with_helpers(&dir, &environment).find("q.io", "x").await.unwrap_err();
    let AuthFileError::Helper { source, .. } = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("the keyring is locked"), "{source}");
}

#[tokio::test]
async fn a_helpers_token_user_marks_an_identity_token() {
    let (dir, environment) = home();
    helper(&dir, "token", r#"echo '{"Username":"<token>","Secret":"refresh"}'"#);
    write(&dir, "docker/config.json", r#"{"credHelpers":{"q.io":"token"}}"#);
    let found = look(&with_helpers(&dir, &environment), "q.io", "x").await;
    assert_eq!(found, Some(Credentials::IdentityToken(Secret::new("refresh"))));
}

#[tokio::test]
async fn a_helper_name_cannot_leave_its_directory() {
    let (dir, environment) = home();
    write(&dir, "docker/config.json", r#"{"credsStore":"../../bin/sh"}"#);
    let result = with_helpers(&dir, &environment).find("q.io", "x").await;
    assert!(matches!(result, Err(AuthFileError::Helper { .. })));
}

#[test]
fn a_path_after_a_scheme_is_no_namespace() {
    assert_eq!(normalise("https://q.io/v2/"), "q.io");
    assert_eq!(normalise("http://q.io:5000/team"), "q.io:5000");
    assert_eq!(normalise("q.io/team/"), "q.io/team");
    assert_eq!(normalise("q.io/v2/"), "q.io");
}
