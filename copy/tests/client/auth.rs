use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oxbox_copy::client::{
    Access, AuthError, Client, ClientError, Credentials, Secret, Settings, TagOrDigest, Trouble,
};
use oxbox_copy::config::Environment;

use crate::scripted::{Reply, Scripted, Seen};
use crate::setting::{Jumping, client, client_as, pulling, pushing, reference, settings, user};

const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

fn tags() -> Reply {
    Reply::new(200).body(r#"{"name":"team/app","tags":["v1"]}"#)
}

/// A token server: remembers nothing, answers `token` to all.
async fn token_server(token: &'static str) -> Scripted {
    Scripted::start(move |_| Reply::new(200).body(format!(r#"{{"token":"{token}","expires_in":300}}"#))).await
}

/// Answers only to `authorization`, and challenges everybody else.
fn guarded(challenge: String, authorization: &'static str) -> impl Fn(&Seen) -> Reply + Send + Sync {
    move |seen| match seen.authorization() == authorization {
        true => tags(),
        false => Reply::error(401, "UNAUTHORIZED", "who are you").header("www-authenticate", &challenge),
    }
}

fn bearer(realm: &Scripted) -> String {
    let url = realm.url("/token?own=1");
    format!(r#"Bearer realm="{url}",service="reg",scope="repository:team/app:pull""#)
}

#[tokio::test]
async fn a_password_is_shown_when_asked_for() {
    let registry = Scripted::start(guarded("Basic realm=\"x\"".to_owned(), BASIC)).await;
    let client = client_as(&registry.domain(), user("user:secret"));
    assert_eq!(pulling(&client, &registry.domain()).tags().await.unwrap().unwrap(), ["v1"]);
}

#[tokio::test]
async fn credentials_for_one_registry_are_not_shown_to_another() {
    let registry = Scripted::start(guarded("Basic realm=\"x\"".to_owned(), BASIC)).await;
    let client = client_as("elsewhere.example.com", user("user:secret"));
    let error = pulling(&client, &registry.domain()).tags().await.unwrap_err();
    assert!(matches!(&error, ClientError::Auth(error) if matches!(**error, AuthError::NoCredentials { .. })));
    assert_eq!(
        error.to_string(),
        format!(
            "{} wants credentials and none are known for it: UNAUTHORIZED \"who are you\"",
            registry.domain()
        )
    );
    assert!(registry.seen().iter().all(|seen| seen.authorization().is_empty()));
}

#[tokio::test]
async fn a_stranger_gets_a_token_too() {
    let tokens = token_server("t1").await;
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1")).await;
    assert!(pulling(&client(), &registry.domain()).tags().await.is_ok());
    let asked = tokens.last();
    assert_eq!(asked.authorization(), "");
    assert_eq!(asked.parameters("scope"), ["repository:team/app:pull"]);
    assert_eq!(
        (asked.parameters("service"), asked.parameters("own")),
        (vec!["reg".to_owned()], vec!["1".to_owned()])
    );
}

#[tokio::test]
async fn a_password_goes_to_the_token_server_and_never_to_the_registry() {
    let tokens = token_server("t1").await;
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1")).await;
    let client = client_as(&registry.domain(), user("user:secret"));
    assert!(pulling(&client, &registry.domain()).tags().await.is_ok());
    assert_eq!(tokens.last().authorization(), BASIC);
    assert_eq!(tokens.last().parameters("account"), ["user"]);
    assert!(registry.seen().iter().all(|seen| seen.authorization() != BASIC));
}

#[tokio::test]
async fn concurrent_requests_fetch_one_token() {
    let tokens = token_server("t1").await;
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1")).await;
    let repository = pulling(&client(), &registry.domain());
    let all = (0..16).map(|_| repository.tags());
    for result in futures_util::future::join_all(all).await {
        assert!(result.is_ok());
    }
    assert_eq!(tokens.seen().len(), 1);
}

#[tokio::test]
async fn a_refused_login_is_tried_once_and_says_whose_it_was() {
    let tokens = Scripted::start(|_| Reply::error(401, "UNAUTHORIZED", "wrong password")).await;
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1")).await;
    let client = client_as(&registry.domain(), user("user:secret"));
    let repository = pulling(&client, &registry.domain());
    for result in futures_util::future::join_all((0..8).map(|_| repository.tags())).await {
        let error = result.unwrap_err();
        let expected = format!(
            "token server {} refuses the credentials from --creds with 401 Unauthorized: \
             UNAUTHORIZED \"wrong password\"",
            tokens.url("/token")
        );
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.trouble(), Trouble::Denied);
        assert!(!format!("{error:?}").contains("secret"));
    }
    assert_eq!(tokens.seen().len(), 1);
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_again() {
    let registry = Scripted::start(guarded("Basic realm=\"x\"".to_owned(), "nothing")).await;
    let client = client_as(&registry.domain(), user("user:secret"));
    let error = pulling(&client, &registry.domain()).tags().await.unwrap_err();
    assert!(error.to_string().contains("refuses the credentials from --creds"), "{error}");
    assert_eq!(registry.seen().iter().filter(|seen| seen.authorization() == BASIC).count(), 1);
}

#[tokio::test]
async fn a_token_that_the_registry_forgot_is_replaced() {
    let issued = Arc::new(AtomicUsize::new(0));
    let counter = issued.clone();
    let tokens = Scripted::start(move |_| {
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        Reply::new(200).body(format!(r#"{{"access_token":"t{number}"}}"#))
    })
    .await;
    let (challenge, valid) = (bearer(&tokens), Arc::new(AtomicUsize::new(1)));
    let now_valid = valid.clone();
    let registry = Scripted::start(move |seen| {
        match seen.authorization() == format!("Bearer t{}", now_valid.load(Ordering::SeqCst)) {
            true => tags(),
            false => Reply::new(401).header("www-authenticate", &challenge),
        }
    })
    .await;
    let repository = pulling(&client(), &registry.domain());
    assert!(repository.tags().await.is_ok());
    valid.store(2, Ordering::SeqCst);
    assert!(repository.tags().await.is_ok());
    assert_eq!(issued.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_is_replaced_before_it_ends() {
    let tokens = token_server("t1").await;
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1")).await;
    let clock = Jumping::new();
    let client = Client::new(&Environment::default(), settings(&clock));
    let repository = pulling(&client, &registry.domain());
    for (passed, fetched) in [(0, 1), (280, 1), (11, 2)] {
        clock.pass(std::time::Duration::from_secs(passed));
        assert!(repository.tags().await.is_ok());
        assert_eq!(tokens.seen().len(), fetched, "after {passed} s more");
    }
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_a_form() {
    let tokens = token_server("t1").await;
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1")).await;
    let client = client_as(&registry.domain(), Credentials::IdentityToken(Secret::new("refresh me")));
    assert!(pulling(&client, &registry.domain()).tags().await.is_ok());
    let asked = tokens.last();
    assert_eq!(asked.line(), "POST /token");
    assert_eq!(
        asked.body,
        "grant_type=refresh_token&service=reg&client_id=oxbox&scope=repository%3Ateam%2Fapp%3Apull\
         &refresh_token=refresh+me"
    );
}

#[tokio::test]
async fn an_identity_token_does_not_follow_a_redirect_to_another_host() {
    let other = token_server("t1").await;
    let to = other.url("/token");
    let tokens = Scripted::start(move |_| Reply::new(307).header("location", &to)).await;
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1")).await;
    let client = client_as(&registry.domain(), Credentials::IdentityToken(Secret::new("refresh")));
    assert!(pulling(&client, &registry.domain()).tags().await.is_err());
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test]
async fn a_given_token_is_sent_as_it_is() {
    let registry =
        Scripted::start(guarded("Bearer realm=\"http://127.0.0.1:1/\"".to_owned(), "Bearer own")).await;
    let client = client_as(&registry.domain(), Credentials::RegistryToken(Secret::new("own")));
    assert!(pulling(&client, &registry.domain()).tags().await.is_ok());
}

#[tokio::test]
async fn a_registry_that_challenges_only_pings_is_understood() {
    let registry = Scripted::start(|seen| match (seen.path.as_str(), seen.authorization()) {
        (_, BASIC) => tags(),
        ("/v2/", _) => Reply::new(401).header("www-authenticate", "Basic realm=\"x\""),
        _ => Reply::new(401),
    })
    .await;
    let client = client_as(&registry.domain(), user("user:secret"));
    assert!(pulling(&client, &registry.domain()).tags().await.is_ok());
}

#[tokio::test]
async fn a_mount_asks_for_both_repositories_in_one_token() {
    let tokens = token_server("t1").await;
    let challenge = bearer(&tokens);
    let registry = Scripted::start(move |seen| match seen.authorization() {
        "Bearer t1" => Reply::new(201),
        _ => Reply::new(401).header("www-authenticate", &challenge),
    })
    .await;
    let digest = oxbox_layers::oci::Digest::sha256(b"x");
    pushing(&client(), &registry.domain()).mount_blob(&digest, "other/base").await.unwrap();
    let scopes = tokens.last().parameters("scope");
    assert_eq!(scopes, ["repository:team/app:pull,push", "repository:other/base:pull"]);
    assert_eq!(registry.last().parameters("from"), ["other/base"]);
}

#[tokio::test]
async fn a_token_learned_for_one_repository_is_not_asked_for_another() {
    let tokens = token_server("t1").await;
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1")).await;
    let client = client();
    assert!(pulling(&client, &registry.domain()).tags().await.is_ok());
    let other = client.repository(&reference(&registry.domain(), "other"), Access::Pull);
    assert!(other.tags().await.is_ok());
    assert_eq!(tokens.last().parameters("scope"), ["repository:other:pull"]);
}

#[tokio::test]
async fn a_busy_token_server_is_asked_again() {
    let asked = AtomicUsize::new(0);
    let tokens = Scripted::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(503),
        _ => Reply::new(200).body(r#"{"token":"t1"}"#),
    })
    .await;
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1")).await;
    assert!(pulling(&client(), &registry.domain()).tags().await.is_ok());
}

#[tokio::test]
async fn a_registry_that_hides_what_strangers_may_not_see_is_asked_as_a_friend() {
    let registry = Scripted::start(|seen| match (seen.path.as_str(), seen.authorization()) {
        (_, BASIC) => tags(),
        ("/v2/", _) => Reply::new(401).header("www-authenticate", "Basic realm=\"x\""),
        _ => Reply::error(404, "NAME_UNKNOWN", "?"),
    })
    .await;
    let client = client_as(&registry.domain(), user("user:secret"));
    assert!(pulling(&client, &registry.domain()).tags().await.unwrap().is_some());
}

#[tokio::test]
async fn credentials_come_from_the_file_that_settings_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("auth.json");
    let registry = Scripted::start(guarded("Basic realm=\"x\"".to_owned(), BASIC)).await;
    let text = format!(r#"{{"auths":{{"{}/team":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#, registry.domain());
    std::fs::write(&file, text).unwrap();
    let environment = Environment { auth_file: Some(file), ..Environment::default() };
    let client = Client::new(&environment, Settings::new(&environment));
    assert!(pulling(&client, &registry.domain()).tags().await.is_ok());
}

#[tokio::test]
async fn what_may_not_be_read_is_not_taken_for_missing() {
    let registry = Scripted::start(|_| Reply::error(403, "DENIED", "not yours")).await;
    let name = TagOrDigest::Tag("v1".to_owned());
    let error = pulling(&client(), &registry.domain()).fetch_manifest(&name).await.unwrap_err();
    assert_eq!(error.trouble(), Trouble::Denied);
    assert!(error.to_string().ends_with("403 Forbidden: DENIED \"not yours\""), "{error}");
}
