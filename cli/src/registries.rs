//! How registries are reached: what the options of one side of a command mean to the client.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use oxbox_copy::client::{Choice, Client, Credentials, CredentialsError, Secret, Settings, Trust};
use oxbox_copy::config::Environment;
use oxbox_copy::config::auth_file::Keychain;
use oxbox_copy::location::Location;

/// Options of every command that talks to registries.
#[derive(Debug, Clone, Args)]
pub(crate) struct Registry {
    /// Credentials file [default: $REGISTRY_AUTH_FILE, then podman's and Docker's own]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Folder of certificates: *.crt for authorities, *.cert with *.key for this client.
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Require HTTPS and good certificates; `false` takes any certificate, and plain HTTP.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    tls_verify: Option<bool>,
}

/// Options of commands that talk to one registry.
#[derive(Debug, Clone, Args)]
pub(crate) struct Login {
    /// Credentials for the registry.
    #[arg(long, value_name = "USER[:PASSWORD]", value_parser = secret)]
    creds: Option<Secret>,
    /// Show the registry no credentials.
    #[arg(long, conflicts_with = "creds")]
    no_creds: bool,
}

/// One side of a command: who to be there, and how far to trust it.
#[derive(Debug)]
pub(crate) struct Side<'a> {
    /// Credentials that an option gave.
    pub(crate) creds: Option<&'a Secret>,
    /// That option.
    pub(crate) option: &'static str,
    /// Whether to show none at all.
    pub(crate) anonymous: bool,
    /// What was said of this side alone.
    pub(crate) tls_verify: Option<bool>,
}

impl Login {
    /// Returns the only side there is.
    pub(crate) fn side(&self) -> Side<'_> {
        let Self { creds, no_creds } = self;
        Side { creds: creds.as_ref(), option: "--creds", anonymous: *no_creds, tls_verify: None }
    }
}

impl Registry {
    /// Returns a client for files of web servers, trusted as far as registries are.
    pub(crate) fn web(&self) -> Client {
        let environment = Environment::of_process();
        let settings = Settings { trust: Trust::of_flag(self.tls_verify), ..Settings::new(&environment) };
        Client::new(&environment, settings)
    }

    /// Returns a client for what is at `location`.
    pub(crate) fn client(&self, side: &Side<'_>, location: &Location) -> Result<Client, CredentialsError> {
        let environment = Environment::of_process();
        let settings = Settings {
            trust: Trust::of_flag(side.tls_verify.or(self.tls_verify)),
            cert_dir: self.cert_dir.clone(),
            credentials: side.choice(location)?,
            keychain: Arc::new(Keychain::new(&environment, self.authfile.clone())),
            ..Settings::new(&environment)
        };
        Ok(Client::new(&environment, settings))
    }
}

impl Side<'_> {
    fn choice(&self, location: &Location) -> Result<Choice, CredentialsError> {
        match (self.creds, location) {
            (Some(creds), Location::Registry(reference)) => {
                let credentials = Credentials::parse(creds.expose())?;
                Ok(Choice::given(reference, credentials, self.option))
            }
            _ if self.anonymous => Ok(Choice::Anonymous),
            _ => Ok(Choice::Search),
        }
    }
}

/// Keeps what is typed from ever being printed.
pub(crate) fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}
