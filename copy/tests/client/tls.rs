use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oxbox_copy::client::{
    Client, ClientError, ExchangeError, Settings, StackError, Trust, install_crypto_provider,
};
use oxbox_copy::config::Environment;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::scripted::{Reply, Scripted};
use crate::setting::{Jumping, pulling, settings};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    install_crypto_provider();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(authority: &Authority) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

fn server(authority: &Authority, clients_of: Option<&Authority>) -> ServerConfig {
    let (certificate, key) = leaf(authority);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = ServerConfig::builder();
    let builder = match clients_of {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

fn tags() -> Reply {
    Reply::new(200).body(r#"{"tags":["v1"]}"#)
}

/// A user whose certs.d knows the registry.
fn certs_d(dir: &Path, domain: &str, authority: &Authority) -> Environment {
    let certs = dir.join("containers/certs.d").join(domain);
    fs::create_dir_all(&certs).unwrap();
    fs::write(certs.join("ca.crt"), authority.pem()).unwrap();
    Environment { config: Some(dir.to_owned()), ..Environment::default() }
}

fn client(environment: &Environment, trust: Trust) -> Client {
    Client::new(environment, Settings { trust, ..settings(&Jumping::new()) })
}

#[tokio::test]
async fn an_authority_in_certs_d_is_trusted_for_its_registry() {
    let authority = authority();
    let registry = Scripted::start_tls(|_| tags(), server(&authority, None)).await;
    let dir = TempDir::new().unwrap();
    let environment = certs_d(dir.path(), &registry.domain(), &authority);
    assert!(pulling(&client(&environment, Trust::Strict), &registry.domain()).tags().await.is_ok());
}

#[tokio::test]
async fn http_2_is_spoken_where_tls_offers_it() {
    let registry = Scripted::start_tls(|_| tags(), server(&authority(), None)).await;
    let client = client(&Environment::default(), Trust::Unverified);
    assert!(pulling(&client, &registry.domain()).tags().await.is_ok());
    assert_eq!(registry.last().version, http::Version::HTTP_2);
}

#[tokio::test]
async fn a_given_directory_of_certificates_is_used() {
    let authority = authority();
    let registry = Scripted::start_tls(|_| tags(), server(&authority, None)).await;
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("ca.crt"), authority.pem()).unwrap();
    let cert_dir = Some(dir.path().to_owned());
    let settings = Settings { trust: Trust::Strict, cert_dir, ..settings(&Jumping::new()) };
    let client = Client::new(&Environment::default(), settings);
    assert!(pulling(&client, &registry.domain()).tags().await.is_ok());
}

#[tokio::test]
async fn an_unknown_authority_is_refused_and_plain_http_not_tried() {
    let registry = Scripted::start_tls(|_| tags(), server(&authority(), None)).await;
    for trust in [Trust::Verified, Trust::Strict] {
        let client = client(&Environment::default(), trust);
        let error = pulling(&client, &registry.domain()).tags().await.unwrap_err();
        assert!(error.to_string().starts_with("cannot reach https://"), "{error}");
        assert!(!error.is_transient());
    }
    assert!(registry.seen().is_empty());
}

#[tokio::test]
async fn an_unknown_authority_is_taken_where_nothing_is_verified() {
    let registry = Scripted::start_tls(|_| tags(), server(&authority(), None)).await;
    let client = client(&Environment::default(), Trust::Unverified);
    assert!(pulling(&client, &registry.domain()).tags().await.is_ok());
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let authority = authority();
    let registry = Scripted::start_tls(|_| tags(), server(&authority, Some(&authority))).await;
    let dir = TempDir::new().unwrap();
    let environment = certs_d(dir.path(), &registry.domain(), &authority);
    let without = client(&environment, Trust::Strict);
    assert!(pulling(&without, &registry.domain()).tags().await.is_err());
    let (certificate, key) = leaf(&authority);
    let certs = dir.path().join("containers/certs.d").join(registry.domain());
    fs::write(certs.join("me.cert"), certificate.pem()).unwrap();
    fs::write(certs.join("me.key"), key.serialize_pem()).unwrap();
    let with = client(&environment, Trust::Strict);
    assert!(pulling(&with, &registry.domain()).tags().await.is_ok());
}

#[tokio::test]
async fn a_token_server_on_plain_http_gets_no_password_of_an_https_registry() {
    let tokens = Scripted::start(|_| Reply::new(200).body(r#"{"token":"t"}"#)).await;
    let challenge = format!("Bearer realm=\"{}\"", tokens.url("/token"));
    let authority = authority();
    let script = move |_: &_| Reply::new(401).header("www-authenticate", &challenge);
    let registry = Scripted::start_tls(script, server(&authority, None)).await;
    let dir = TempDir::new().unwrap();
    let environment = certs_d(dir.path(), &registry.domain(), &authority);
    let error = pulling(&client(&environment, Trust::Strict), &registry.domain()).tags().await.unwrap_err();
    assert!(error.to_string().contains("is on plain HTTP while the registry is on HTTPS"), "{error}");
    assert!(tokens.seen().is_empty());
}

#[tokio::test]
async fn plain_http_is_found_at_a_loopback_host_and_refused_where_tls_is_demanded() {
    let registry = Scripted::start(|_| tags()).await;
    let usual = client(&Environment::default(), Trust::Verified);
    assert!(pulling(&usual, &registry.domain()).tags().await.is_ok());
    let strict = client(&Environment::default(), Trust::Strict);
    let error = pulling(&strict, &registry.domain()).tags().await.unwrap_err();
    assert!(error.to_string().starts_with("cannot reach https://"), "{error}");
}

#[tokio::test]
async fn a_port_that_answers_tls_with_plain_http_is_not_asked_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let domain = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            // As Go's and nginx's servers do, once they have read the hello.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        }
    });
    let strict = client(&Environment::default(), Trust::Strict);
    let error = pulling(&strict, &domain).tags().await.unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn localhost_resolves_without_the_systems_library() {
    let registry = Scripted::start(|_| tags()).await;
    let domain = format!("localhost:{}", registry.address.port());
    let client = client(&Environment::default(), Trust::Verified);
    assert!(pulling(&client, &domain).tags().await.is_ok());
}

#[tokio::test]
async fn nobody_at_the_port_is_said_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let domain = listener.local_addr().unwrap().to_string();
    drop(listener);
    let client = client(&Environment::default(), Trust::Verified);
    let error = pulling(&client, &domain).tags().await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach https://{domain}/v2/"));
    assert!(error.is_transient());
}

/// The authorities are the process's, so a machine without any is a process of its own.
#[test]
fn a_machine_without_authorities_is_told_what_it_lacks() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tls::without_authorities", "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", "/dev/null")
        .env("SSL_CERT_DIR", "/nonexistent")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

#[tokio::test]
#[ignore = "run by a_machine_without_authorities_is_told_what_it_lacks, in a process without any"]
async fn without_authorities() {
    let registry = Scripted::start(|_| tags()).await;
    let usual = client(&Environment::default(), Trust::Verified);
    assert!(pulling(&usual, &registry.domain()).tags().await.is_ok(), "plain HTTP needs none");
    let strict = client(&Environment::default(), Trust::Strict);
    let error = pulling(&strict, &registry.domain()).tags().await.unwrap_err();
    let lacking =
        matches!(&error, ClientError::Exchange(ExchangeError::Stack(StackError::NoAuthorities { .. })));
    assert!(lacking, "{error:?}");
    assert!(error.to_string().contains("install ca-certificates"), "{error}");
}
