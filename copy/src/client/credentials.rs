//! Who to be at a registry, and where that was found.
//!
//! Finding it in files and helpers is `config/auth_file.rs`'s and `config/helper.rs`'s; turning it into
//! a header is `auth`'s.

use oxbox_layers::oci::Reference;

use super::Secret;
use crate::config::auth_file::{AuthFileError, Keychain};

/// What a registry or its token server is shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// A user and a password.
    Password {
        /// User.
        username: String,
        /// Password.
        password: Secret,
    },
    /// A refresh token, exchanged for access tokens at the token server.
    IdentityToken(Secret),
    /// An access token, sent as it is.
    RegistryToken(Secret),
}

/// Credentials and the place they came from, which errors name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Found {
    /// The credentials.
    pub credentials: Credentials,
    /// A file, a helper or an option.
    pub origin: String,
}

/// Which credentials one side of a copy uses.
#[derive(Debug, Clone, Default)]
pub enum Choice {
    /// Those that files and helpers hold for the registry.
    #[default]
    Search,
    /// None, whatever the files hold.
    Anonymous,
    /// These, at this one registry; elsewhere those that files and helpers hold.
    Given {
        /// Registry, as [`Reference::domain`] spells it.
        domain: String,
        /// What was given.
        found: Found,
    },
}

/// Why `user:password` was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("credentials are written user:password, with a user before the first colon")]
pub struct CredentialsError;

impl Credentials {
    /// Reads `user:password` or `user`, as `--creds` takes it. The password may hold colons.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let (username, password) = text.split_once(':').unwrap_or((text, ""));
        if username.is_empty() {
            return Err(CredentialsError);
        }
        Ok(Self::Password { username: username.to_owned(), password: Secret::new(password) })
    }
}

impl Choice {
    /// Returns the choice of credentials that an option gave for the registry of `reference`.
    pub fn given(reference: &Reference, credentials: Credentials, option: &str) -> Self {
        let found = Found { credentials, origin: option.to_owned() };
        Self::Given { domain: reference.domain().to_owned(), found }
    }

    /// Returns the credentials for a repository, by this choice.
    pub(crate) async fn find(
        &self,
        keychain: &Keychain,
        domain: &str,
        path: &str,
    ) -> Result<Option<Found>, AuthFileError> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Given { domain: only, found } if only == domain => Ok(Some(found.clone())),
            Self::Given { .. } | Self::Search => keychain.find(domain, path).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Credentials, CredentialsError, Secret};

    #[test]
    fn a_password_may_hold_colons() {
        let expected = Credentials::Password { username: "u".to_owned(), password: Secret::new("a:b") };
        assert_eq!(Credentials::parse("u:a:b"), Ok(expected));
    }

    #[test]
    fn a_user_is_needed() {
        assert_eq!(Credentials::parse(":secret"), Err(CredentialsError));
        assert_eq!(Credentials::parse(""), Err(CredentialsError));
    }
}
