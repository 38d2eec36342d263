//! The registry client: one HTTP stack for the process, and what the distribution protocol needs on it.
//!
//! ```text
//! Client ─▶ Repository ─▶ blob upload manifest tags referrers delete       one file per resource
//!        ├▶ Registry ───▶ catalog, ping
//!        └▶ web           a file of any web server
//!                 │
//!               host        waits, repeats, meets challenges; what was learned of the registry
//!               contact     HTTPS or plain HTTP
//!               auth        challenges and tokens           credentials, config/: who to be
//!               exchange    one request: redirects, patience         redirect: where an answer may lead
//!               stack       connections: TLS, certs.d, HTTP/2
//! ```
//!
//! What is not there is `None`, never an error; what a failure means to the caller is
//! [`ClientError::trouble`]. Digests are computed here from the bytes that came, whatever headers say.
//!
//! distribution-spec v1.1.1

mod answer;
mod auth;
mod blob;
mod call;
mod catalog;
mod contact;
mod credentials;
mod delete;
mod download;
mod error;
mod exchange;
mod host;
mod hosts;
mod manifest;
mod page;
mod payload;
mod read;
mod redirect;
mod referrers;
pub mod retry;
mod secret;
mod stack;
mod tags;
mod upload;
mod web;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oxbox_layers::oci::Reference;
use url::{Position, Url};

pub use self::answer::Said;
pub use self::auth::{Access, AuthError};
pub use self::catalog::Registry;
pub use self::credentials::{Choice, Credentials, CredentialsError, Found};
pub use self::download::Download;
pub use self::error::{ClientError, Trouble};
pub use self::exchange::ExchangeError;
pub use self::hosts::Trust;
pub use self::manifest::{Fetched, Put, TagOrDigest};
pub use self::redirect::RedirectError;
pub use self::secret::Secret;
pub use self::stack::{Stack, StackError, install_crypto_provider};
pub use self::upload::{Mounted, Session};
pub use self::web::{Validators, Wanted, WebAnswer, WebBody};

use self::auth::Scope;
use self::exchange::Route;
use self::host::{Host, HostParts};
use self::hosts::api_authority;
use self::retry::{Clock, Policy, SystemClock};
use crate::config::Environment;
use crate::config::auth_file::Keychain;
use crate::config::certs::CertDirs;

/// How one side of a copy talks to registries.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How far registries are checked.
    pub trust: Trust,
    /// `--cert-dir`: certificates for the registry, in place of certs.d.
    pub cert_dir: Option<PathBuf>,
    /// Who to be.
    pub credentials: Choice,
    /// Where credentials are looked for.
    pub keychain: Arc<Keychain>,
    /// How often requests are repeated.
    pub policy: Policy,
    /// Longest silence of a registry before a request is given up.
    pub patience: Duration,
    /// Time, which tests replace.
    pub clock: Arc<dyn Clock>,
}

/// Longest silence by default: registries on object stores assemble large blobs before they answer.
const PATIENCE: Duration = Duration::from_secs(180);

impl Settings {
    /// Returns the defaults in an environment: verified TLS, credentials from the usual files.
    pub fn new(environment: &Environment) -> Self {
        Self {
            trust: Trust::default(),
            cert_dir: None,
            credentials: Choice::default(),
            keychain: Arc::new(Keychain::new(environment, None)),
            policy: Policy::default(),
            patience: PATIENCE,
            clock: Arc::new(SystemClock),
        }
    }
}

/// A client of any number of registries. Cheap to clone; clones share connections, tokens and all else.
#[derive(Debug, Clone)]
pub struct Client {
    stack: Arc<Stack>,
    settings: Arc<Settings>,
    hosts: Arc<Mutex<HashMap<String, Arc<Host>>>>,
}

/// A repository, and what we mean to do there: tokens are asked for accordingly.
#[derive(Debug, Clone)]
pub struct Repository {
    host: Arc<Host>,
    path: String,
    access: Access,
}

impl Client {
    /// Makes a client with connections of its own.
    pub fn new(environment: &Environment, settings: Settings) -> Self {
        Self::on(Arc::new(Stack::new(CertDirs::new(environment))), settings)
    }

    /// Makes a client on connections that it shares with others.
    pub fn on(stack: Arc<Stack>, settings: Settings) -> Self {
        Self { stack, settings: Arc::new(settings), hosts: Arc::default() }
    }

    /// Returns a client with other settings, for the other side of a copy. Connections are shared;
    /// credentials and what was learned with them are not.
    #[must_use]
    pub fn with(&self, settings: Settings) -> Self {
        Self::on(self.stack.clone(), settings)
    }

    /// Returns the repository of a reference; its tag and digest are left aside.
    pub fn repository(&self, reference: &Reference, access: Access) -> Repository {
        Repository { host: self.host(reference.domain()), path: reference.path().to_owned(), access }
    }

    /// Returns a registry, by host and port.
    pub fn registry(&self, domain: &str) -> Registry {
        Registry::new(self.host(domain))
    }

    fn host(&self, domain: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Host::new(self.parts(domain)));
        hosts.entry(domain.to_owned()).or_insert_with(make).clone()
    }

    fn parts(&self, domain: &str) -> HostParts {
        let settings = &self.settings;
        let own_certs = settings.cert_dir.clone().map(|dir| (as_urls_write(api_authority(domain)), dir));
        HostParts {
            domain: domain.to_owned(),
            route: Route {
                stack: self.stack.clone(),
                trust: settings.trust,
                cert_dir: own_certs,
                patience: settings.patience,
            },
            policy: settings.policy.clone(),
            clock: settings.clock.clone(),
            choice: settings.credentials.clone(),
            keychain: settings.keychain.clone(),
        }
    }
}

/// Host and port as URLs write them: lowercase, and without the port that HTTPS has anyway.
fn as_urls_write(authority: &str) -> String {
    let url = format!("https://{authority}/").parse::<Url>();
    url.map_or_else(|_| authority.to_owned(), |url| url[Position::BeforeHost..Position::AfterPort].to_owned())
}

impl Repository {
    /// Returns the registry's host and port.
    pub fn domain(&self) -> &str {
        &self.host.domain
    }

    /// Returns the path within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn scopes(&self) -> Vec<Scope> {
        vec![Scope::repository(&self.path, self.access)]
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Client, Settings, StackError};
    use crate::config::Environment;

    #[test]
    fn a_cert_dir_is_the_registrys_however_its_host_and_port_are_spelled() {
        let dir = tempfile::tempdir().unwrap();
        // Who looks at this one notices.
        fs::write(dir.path().join("half.key"), "").unwrap();
        let nobody = Environment::default();
        let settings = Settings { cert_dir: Some(dir.path().to_owned()), ..Settings::new(&nobody) };
        let client = Client::new(&nobody, settings);
        for domain in ["q.io", "q.io:443", "Q.io", "q.io:5000", "[::1]:443", "docker.io"] {
            let route = client.parts(domain).route;
            let api = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
            let pool = route.client(&format!("https://{api}/v2/").parse().unwrap());
            assert!(matches!(pool, Err(StackError::Certs(_))), "{domain}");
            assert!(route.client(&"https://cdn.io/blob".parse().unwrap()).is_ok(), "{domain}");
        }
    }
}
