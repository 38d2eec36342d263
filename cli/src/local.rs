//! The store of this machine as commands use it: opened, and names found in it.
//!
//! An image's name in the store is its whole reference, `docker.io/library/busybox:1.36`; people type
//! and read the familiar form of it.

use oxbox_copy::location::StoreName;
use oxbox_layers::oci::{Descriptor, Digest, Reference, ReferenceError};
use oxbox_layers::store::{Entries, Layout, StoreError};

use crate::settings::Root;
use crate::suggest::similar;

/// Why an image of the store cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    /// The text is no name.
    #[error("{text:?} is not the name of an image")]
    Name {
        /// What was typed, cut.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// A name with a digest says what it names, and cannot be given to anything.
    #[error("{name} has a digest and cannot be given as a name")]
    DigestInName {
        /// What was typed.
        name: String,
    },
    /// There is no such image.
    #[error("image {name} is not in the local store")]
    Missing {
        /// The familiar name.
        name: String,
        /// Names that are there and look alike.
        similar: Vec<String>,
    },
}

/// Opens the store to read, `None` if nothing was ever written there.
pub(crate) fn open(root: &Root) -> Result<Option<Layout>, StoreError> {
    let path = root.store();
    // Asked of the folder, not of the layout: a folder that is no layout is an error worth telling.
    match path.try_exists() {
        Ok(false) => Ok(None),
        _ => Layout::open(path).map(Some),
    }
}

/// Reads a name as it is typed.
pub(crate) fn parse(text: &str) -> Result<StoreName, LocalError> {
    // Before the grammar of references, to which `sha256:<hex>` is a repository with a tag.
    if let Ok(digest) = text.parse() {
        return Ok(StoreName::Digest(digest));
    }
    let reference: Reference =
        text.parse().map_err(|source| LocalError::Name { text: text.chars().take(160).collect(), source })?;
    Ok(StoreName::Reference(reference.or_latest()))
}

/// Reads a name that is to be given.
pub(crate) fn parse_new(text: &str) -> Result<Reference, LocalError> {
    match parse(text)? {
        StoreName::Reference(reference) if reference.digest.is_none() => Ok(reference),
        _ => Err(LocalError::DigestInName { name: text.to_owned() }),
    }
}

/// Finds what a name names.
pub(crate) fn find(entries: &Entries, name: &StoreName) -> Result<Descriptor, LocalError> {
    let by_digest = |digest: &Digest| entries.iter().find(|entry| entry.digest == *digest);
    let found = match name {
        StoreName::Digest(digest) => by_digest(digest),
        StoreName::Reference(reference) => match &reference.digest {
            Some(digest) => by_digest(digest),
            None => entries.resolve(&reference.to_string()),
        },
    };
    found.cloned().ok_or_else(|| missing(entries, name))
}

/// Returns the error of a name that is not there, with those that may have been meant.
pub(crate) fn missing(entries: &Entries, name: &StoreName) -> LocalError {
    let name = match name {
        StoreName::Digest(digest) => digest.to_string(),
        StoreName::Reference(reference) => reference.familiar(),
    };
    let there: Vec<String> =
        entries.iter().filter_map(oxbox_layers::store::names::name_of).map(familiar).collect();
    let similar = similar(&name, there.iter().map(String::as_str)).into_iter().map(str::to_owned).collect();
    LocalError::Missing { name, similar }
}

/// Returns the error of a name in a store that does not exist yet.
pub(crate) fn missing_everywhere(name: &StoreName) -> LocalError {
    match name {
        StoreName::Digest(digest) => LocalError::Missing { name: digest.to_string(), similar: Vec::new() },
        StoreName::Reference(reference) => {
            LocalError::Missing { name: reference.familiar(), similar: Vec::new() }
        }
    }
}

/// Returns a name of the store as people write it.
pub(crate) fn familiar(name: &str) -> String {
    name.parse::<Reference>().map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

#[cfg(test)]
mod tests {
    use oxbox_copy::location::StoreName;
    use oxbox_layers::oci::Digest;

    use super::{LocalError, familiar, parse, parse_new};

    #[test]
    fn a_digest_is_not_a_repository_with_a_tag() {
        let digest = Digest::sha256(b"x");
        assert_eq!(parse(&digest.to_string()).unwrap(), StoreName::Digest(digest));
    }

    #[test]
    fn a_name_without_a_tag_is_latest() {
        let StoreName::Reference(reference) = parse("busybox").unwrap() else { panic!() };
        assert_eq!(reference.to_string(), "docker.io/library/busybox:latest");
        assert_eq!(familiar(&reference.to_string()), "busybox:latest");
    }

    #[test]
    fn a_name_with_a_digest_cannot_be_given() {
        let text = format!("app@{}", Digest::sha256(b"x"));
        assert!(matches!(parse_new(&text), Err(LocalError::DigestInName { .. })));
    }
}
