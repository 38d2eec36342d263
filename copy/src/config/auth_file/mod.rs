//! `auth.json` and Docker's `config.json`: credentials by registry and namespace.
//!
//! ```json
//! { "auths": { "quay.io/team": { "auth": "dXNlcjpwYXNz" },
//!              "https://index.docker.io/v1/": { "identitytoken": "…" } },
//!   "credHelpers": { "gcr.io": "gcloud" }, "credsStore": "pass" }
//! ```
//!
//! Files are asked in this order, and the first that knows the registry decides:
//!
//! ```text
//! --authfile, else REGISTRY_AUTH_FILE                     then nothing else
//! $XDG_RUNTIME_DIR/containers/auth.json                   /run/containers/<uid>/auth.json without it
//! $XDG_CONFIG_HOME/containers/auth.json                   $HOME/.config by default
//! $DOCKER_CONFIG/config.json                              $HOME/.docker by default
//! ```
//!
//! Within a file: `credHelpers` of the registry, then `auths` by the longest key, then `credsStore`.
//! The legacy `.dockercfg` is not read.
//!
//! containers-auth.json(5)

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde::Deserialize;

use crate::client::{Credentials, Found, Secret};
use crate::config::Environment;
use crate::config::helper::{Helper, HelperError};

/// Largest file that is read: thousands of registries fit.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Where credentials are looked for.
#[derive(Debug, Clone)]
pub struct Keychain {
    files: Vec<PathBuf>,
    /// Whether a file that does not exist is an error: it was asked for by name.
    required: bool,
    helper_path: Option<PathBuf>,
}

/// Why credentials could not be looked up. Not having any is no error.
#[derive(Debug, thiserror::Error)]
pub enum AuthFileError {
    /// The file cannot be read.
    #[error("cannot read credentials from {path}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is larger than any that is honest.
    #[error("credentials file {path} is larger than {limit} bytes", path = .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        limit: u64,
    },
    /// The file is no such JSON.
    #[error("{path} is not a credentials file", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line and column. The text itself is not quoted: it holds secrets.
        #[source]
        source: Place,
    },
    /// An entry's `auth` is not base64 of `user:password`.
    #[error("entry {key:?} of {path} has a broken `auth` (base64 of user:password)", path = .path.display())]
    BrokenEntry {
        /// The file.
        path: PathBuf,
        /// The entry's key.
        key: String,
    },
    /// A helper failed.
    #[error("credentials of {path} could not be had", path = .path.display())]
    Helper {
        /// The file that names the helper.
        path: PathBuf,
        /// What the helper said.
        #[source]
        source: HelperError,
    },
}

/// Where a JSON reader stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("JSON is broken at line {line} column {column}")]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AuthFile {
    auths: Option<BTreeMap<String, Entry>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
struct Entry {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
    registrytoken: Option<Secret>,
}

impl Keychain {
    /// Looks into `--authfile` if one was given, else where the environment says.
    pub fn new(environment: &Environment, auth_file: Option<PathBuf>) -> Self {
        if let Some(only) = auth_file.or_else(|| environment.auth_file.clone()) {
            return Self { files: vec![only], required: true, helper_path: None };
        }
        let session = environment.session_auth_file.clone();
        let user = environment.config.as_ref().map(|dir| dir.join("containers/auth.json"));
        let docker = environment.docker.as_ref().map(|dir| dir.join("config.json"));
        let files = [session, user, docker].into_iter().flatten().collect();
        Self { files, required: false, helper_path: None }
    }

    /// Looks nowhere.
    pub fn empty() -> Self {
        Self { files: Vec::new(), required: false, helper_path: None }
    }

    /// Runs helpers from this directory instead of `PATH`.
    #[must_use]
    pub fn with_helpers_in(mut self, directory: impl Into<PathBuf>) -> Self {
        self.helper_path = Some(directory.into());
        self
    }

    /// Returns the credentials for the repository `path` of registry `domain`; may run a helper.
    pub async fn find(&self, domain: &str, path: &str) -> Result<Option<Found>, AuthFileError> {
        for file in &self.files {
            let Some(parsed) = read(file, self.required)? else { continue };
            if let Some(found) = self.find_in(&parsed, file, domain, path).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn find_in(
        &self,
        parsed: &AuthFile,
        file: &Path,
        domain: &str,
        path: &str,
    ) -> Result<Option<Found>, AuthFileError> {
        // Helpers know hosts, never namespaces, and beat what the file itself holds.
        let helpers = parsed.cred_helpers.iter().flatten();
        for (_, suffix) in helpers.filter(|(key, _)| normalise(key) == domain) {
            if let Some(found) = self.ask_helper(suffix, file, domain).await? {
                return Ok(Some(found));
            }
        }
        if let Some((key, entry)) = longest(parsed, domain, path)
            && let Some(credentials) = entry.credentials(file, key)?
        {
            return Ok(Some(Found { credentials, origin: file.display().to_string() }));
        }
        match parsed.creds_store.as_deref() {
            None | Some("") => Ok(None),
            Some(suffix) => self.ask_helper(suffix, file, domain).await,
        }
    }

    async fn ask_helper(
        &self,
        suffix: &str,
        file: &Path,
        domain: &str,
    ) -> Result<Option<Found>, AuthFileError> {
        let failed = |source| AuthFileError::Helper { path: file.to_owned(), source };
        let helper = Helper::new(suffix, self.helper_path.as_deref()).map_err(failed)?;
        let credentials = helper.get(server_key(domain)).await.map_err(failed)?;
        Ok(credentials.map(|credentials| Found { credentials, origin: helper.name() }))
    }
}

impl Entry {
    /// An entry without content is a note that a helper knows: `None`.
    fn credentials(&self, path: &Path, key: &str) -> Result<Option<Credentials>, AuthFileError> {
        let filled = |secret: &Option<Secret>| secret.clone().filter(|secret| !secret.expose().is_empty());
        if let Some(token) = filled(&self.registrytoken) {
            return Ok(Some(Credentials::RegistryToken(token)));
        }
        // Before `auth`: an entry with an identity token often has an `auth` without a password.
        if let Some(token) = filled(&self.identitytoken) {
            return Ok(Some(Credentials::IdentityToken(token)));
        }
        if let Some(auth) = filled(&self.auth) {
            let broken = || AuthFileError::BrokenEntry { path: path.to_owned(), key: cut(key) };
            return decode(&auth).map(Some).ok_or_else(broken);
        }
        let username = self.username.clone().filter(|name| !name.is_empty());
        Ok(username
            .zip(self.password.clone())
            .map(|(username, password)| Credentials::Password { username, password }))
    }
}

fn decode(auth: &Secret) -> Option<Credentials> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(auth.expose().trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    // Old versions of Docker padded the password with zeroes.
    let (username, password) = text.split_once(':')?;
    let password = Secret::new(password.trim_matches('\0'));
    Some(Credentials::Password { username: username.to_owned(), password })
}

fn read(path: &Path, required: bool) -> Result<Option<AuthFile>, AuthFileError> {
    let failed = |source| AuthFileError::Read { path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if !required && is_missing(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(AuthFileError::TooLarge { path: path.to_owned(), limit: MAX_FILE_BYTES });
    }
    // `podman login` leaves an empty file behind when it is interrupted.
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| AuthFileError::Malformed {
        path: path.to_owned(),
        source: Place { line: error.line(), column: error.column() },
    })
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Returns the entry whose key is the longest that holds the repository.
fn longest<'a>(parsed: &'a AuthFile, domain: &str, path: &str) -> Option<(&'a str, &'a Entry)> {
    let name = format!("{domain}/{path}");
    let holds = |key: &str| {
        let rest = name.strip_prefix(key);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let entries = parsed.auths.iter().flatten();
    let keyed = entries.map(|(key, entry)| (normalise(key), key, entry));
    let held = keyed.filter(|(normal, _, _)| holds(normal));
    held.max_by_key(|(normal, _, _)| normal.len()).map(|(_, key, entry)| (key.as_str(), entry))
}

/// Returns a key as `host[:port][/namespace]`, with docker.io's spellings made one.
///
/// A key with a scheme is Docker's own, and its path (`/v1/`, `/v2/`) no namespace.
fn normalise(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, path) = match bare {
        Some(bare) => (bare.split('/').next().unwrap_or(bare), ""),
        None => key.split_once('/').unwrap_or((key, "")),
    };
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    match path.trim_end_matches('/') {
        "" | "v1" | "v2" => host.to_owned(),
        path => format!("{host}/{path}"),
    }
}

/// The name by which helpers know a registry.
fn server_key(domain: &str) -> &str {
    if domain == "docker.io" { "https://index.docker.io/v1/" } else { domain }
}

fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests;
