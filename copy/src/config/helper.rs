//! Credential helpers: programs named `docker-credential-<suffix>`.
//!
//! ```text
//! docker-credential-pass get
//!   stdin   quay.io
//!   stdout  {"ServerURL":"quay.io","Username":"me","Secret":"…"}        exit 0
//!   stdout  credentials not found in native keychain                    exit 1
//! ```
//!
//! A user of `<token>` says that the secret is an identity token. Only `get` is spoken here.
//!
//! docker/docker-credential-helpers, README.md

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::client::{Credentials, Secret};

/// Most bytes of an answer: one user and one token.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;
/// How long a helper may take: it may ask a person for a passphrase, or a cloud for a token.
const PATIENCE: Duration = Duration::from_secs(120);
/// What every helper says when it has nothing, and what some add to it.
const NOT_FOUND: &str = "credentials not found";

/// One helper program.
#[derive(Debug, Clone)]
pub struct Helper {
    program: PathBuf,
    name: String,
}

/// Why a helper gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The suffix would name a program elsewhere.
    #[error("{suffix:?} is not the name of a credential helper")]
    Name {
        /// What the file says, cut.
        suffix: String,
    },
    /// The program could not be run or talked to.
    #[error("cannot run credential helper {name}")]
    Run {
        /// Program.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The program failed.
    #[error("credential helper {name} failed: {message:?}")]
    Failed {
        /// Program.
        name: String,
        /// What it printed, cut.
        message: String,
    },
    /// The program took too long.
    #[error("credential helper {name} gave no answer for {} s", .patience.as_secs())]
    Stalled {
        /// Program.
        name: String,
        /// How long it was given.
        patience: Duration,
    },
    /// The program printed something else than the JSON it should.
    #[error("credential helper {name} printed no credentials")]
    Malformed {
        /// Program.
        name: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

impl Helper {
    /// Names a helper in `directory`, or wherever `PATH` has it.
    pub fn new(suffix: &str, directory: Option<&Path>) -> Result<Self, HelperError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if suffix.is_empty() || !suffix.bytes().all(plain) {
            return Err(HelperError::Name { suffix: suffix.chars().take(80).collect() });
        }
        let name = format!("docker-credential-{suffix}");
        let program = directory.map_or_else(|| PathBuf::from(&name), |directory| directory.join(&name));
        Ok(Self { program, name })
    }

    /// Returns the program's name.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Asks for the credentials of a server; `None` if the helper has none.
    pub async fn get(&self, server: &str) -> Result<Option<Credentials>, HelperError> {
        let stalled = |_| HelperError::Stalled { name: self.name.clone(), patience: PATIENCE };
        let (success, printed) = tokio::time::timeout(PATIENCE, self.run(server))
            .await
            .map_err(stalled)?
            .map_err(|source| HelperError::Run { name: self.name.clone(), source })?;
        if success {
            return self.read(&printed);
        }
        let message = String::from_utf8_lossy(&printed).trim().chars().take(200).collect::<String>();
        if message.to_ascii_lowercase().contains(NOT_FOUND) {
            return Ok(None);
        }
        Err(HelperError::Failed { name: self.name.clone(), message })
    }

    fn read(&self, printed: &[u8]) -> Result<Option<Credentials>, HelperError> {
        // The parser's own error is dropped: it could quote the secret.
        let answer: Answer = serde_json::from_slice(printed)
            .map_err(|_| HelperError::Malformed { name: self.name.clone() })?;
        Ok(match answer {
            Answer { username, secret } if username == "<token>" => Some(Credentials::IdentityToken(secret)),
            Answer { username, secret } if username.is_empty() && secret.expose().is_empty() => None,
            Answer { username, secret } => Some(Credentials::Password { username, password: secret }),
        })
    }

    /// Runs `get` and returns whether it succeeded and what it printed.
    async fn run(&self, server: &str) -> io::Result<(bool, Vec<u8>)> {
        let mut child = Command::new(&self.program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        write_server(&mut child, server).await?;
        let mut printed = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_ANSWER_BYTES).read_to_end(&mut printed).await?;
        }
        Ok((child.wait().await?.success(), printed))
    }
}

async fn write_server(child: &mut Child, server: &str) -> io::Result<()> {
    let Some(mut stdin) = child.stdin.take() else { return Ok(()) };
    let line = format!("{server}\n");
    match stdin.write_all(line.as_bytes()).await {
        // The helper did not need to read; its answer tells the rest.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
