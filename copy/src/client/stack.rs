//! The process's HTTP stack: connection pools, one for each way of trusting the other side.
//!
//! ```text
//! plain HTTP                 one pool
//! HTTPS, certs.d directory   one pool for each directory, one without, and the same unverified
//! ```
//!
//! Pools are made when they are first needed: a machine without any certificates (a container from
//! scratch) still speaks plain HTTP to its own registry. HTTP/2 is used where TLS offers it.
//! Redirects are never followed here, and nothing is decompressed: bytes are what digests are of.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Identity};
use url::Url;

use super::hosts::{Trust, is_loopback};
use crate::config::certs::{CertDirs, Certs, CertsError};

/// How long a connection may take to come up.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);

/// Connections, shared by every registry client of the process.
pub struct Stack {
    cert_dirs: CertDirs,
    clients: Mutex<HashMap<Class, Client>>,
}

/// What connections must have in common to be shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Class {
    tls: Tls,
    way: Way,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Tls {
    Plain,
    Verified(Option<PathBuf>),
    Unverified(Option<PathBuf>),
}

/// How connections get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    /// No proxy reaches our own machine, whatever the variables say.
    Direct,
    /// As `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.
    AsConfigured,
}

/// Why connections of a kind cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A certs.d directory is unusable.
    #[error(transparent)]
    Certs(#[from] CertsError),
    /// A file in a certs.d directory is not the PEM it should be.
    #[error("{path} holds a certificate or key that cannot be read", path = .path.display())]
    BrokenCertificate {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: reqwest::Error,
    },
    /// The machine trusts nobody, so no certificate could be good.
    #[error(
        "no certificate authorities are installed, so {host} cannot be verified (install ca-certificates, or name a bundle in SSL_CERT_FILE)"
    )]
    NoAuthorities {
        /// Whom we wanted to talk to.
        host: String,
        /// What the verifier said.
        #[source]
        source: reqwest::Error,
    },
    /// The client could not be made for another reason.
    #[error("cannot set up connections to {host}")]
    Setup {
        /// Whom we wanted to talk to.
        host: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
}

/// Chooses ring for all TLS of the process. May be called often; the first call decides.
pub fn install_crypto_provider() {
    // An error says that a provider was installed before, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Stack {
    /// Makes a stack without connections, which looks for certificates in `cert_dirs`.
    pub fn new(cert_dirs: CertDirs) -> Self {
        install_crypto_provider();
        Self { cert_dirs, clients: Mutex::default() }
    }

    /// Returns the pool for an address. `own_certs` replaces the search for its certs.d directory.
    pub(crate) fn client(
        &self,
        url: &Url,
        trust: Trust,
        own_certs: Option<&Path>,
    ) -> Result<Client, StackError> {
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let class = self.class(url, authority, trust, own_certs);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&class) {
            return Ok(client.clone());
        }
        let client = build(&class, authority)?;
        clients.insert(class, client.clone());
        Ok(client)
    }

    fn class(&self, url: &Url, authority: &str, trust: Trust, own_certs: Option<&Path>) -> Class {
        let way = match url.host_str().is_some_and(is_loopback) {
            true => Way::Direct,
            false => Way::AsConfigured,
        };
        if url.scheme() != "https" {
            return Class { tls: Tls::Plain, way };
        }
        // certs.d knows Docker Hub by the name that people write.
        let spelled = if authority == "registry-1.docker.io" { "docker.io" } else { authority };
        let dir = own_certs.map(Path::to_owned).or_else(|| self.cert_dirs.find(spelled));
        let tls = match trust {
            Trust::Unverified => Tls::Unverified(dir),
            Trust::Verified | Trust::Strict => Tls::Verified(dir),
        };
        Class { tls, way }
    }
}

fn build(class: &Class, host: &str) -> Result<Client, StackError> {
    let builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_PATIENCE)
        .user_agent(concat!("oxbox/", env!("CARGO_PKG_VERSION")));
    let builder = match class.way {
        Way::Direct => builder.no_proxy(),
        Way::AsConfigured => builder,
    };
    let (builder, verified) = match &class.tls {
        // No authorities at all: the pool speaks no TLS, and must not need any installed.
        Tls::Plain => (builder.tls_certs_only([]), false),
        Tls::Verified(dir) => (with_certs(builder, dir.as_deref())?, true),
        Tls::Unverified(dir) => {
            (with_certs(builder, dir.as_deref())?.tls_danger_accept_invalid_certs(true), false)
        }
    };
    builder.build().map_err(|source| match verified && is_for_lack_of_authorities(&source) {
        true => StackError::NoAuthorities { host: host.to_owned(), source },
        false => StackError::Setup { host: host.to_owned(), source },
    })
}

fn with_certs(mut builder: ClientBuilder, dir: Option<&Path>) -> Result<ClientBuilder, StackError> {
    let Some(dir) = dir else { return Ok(builder) };
    let broken = |source| StackError::BrokenCertificate { path: dir.to_owned(), source };
    let certs = Certs::read(dir)?;
    for pem in &certs.authorities {
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem).map_err(broken)?);
    }
    match &certs.identity {
        Some(pem) => Ok(builder.identity(Identity::from_pem(pem).map_err(broken)?)),
        None => Ok(builder),
    }
}

/// The verifier has no error type of its own for this.
fn is_for_lack_of_authorities(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.to_string().contains("No CA certificates") {
            return true;
        }
        source = error.source();
    }
    false
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stack")
    }
}
