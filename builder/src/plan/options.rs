//! What the caller says of a build.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use oxbox_layers::oci::Platform;

use super::contexts::{self, Context};
use super::edits::Edits;
use super::graph::{Machine, Network};

/// What the caller says of a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Name or number of the stage to build; the last one if absent.
    pub target: Option<String>,
    /// Values for ARGs. A bare `--build-arg NAME` has been looked up already.
    pub build_args: BTreeMap<String, String>,
    /// What becomes of the result's config whatever the file says.
    pub edits: Edits,
    /// What the first FROM stands on, instead of what it names.
    pub first_base: Option<String>,
    /// Platforms to build for. None: `build_platform` is asked for, and the base decides what it is.
    pub platforms: Vec<Platform>,
    /// Platform of this machine.
    pub build_platform: Platform,
    /// Architectures besides this machine's whose programs run here: see [`emulated`](super::emulated).
    pub emulated: BTreeSet<String>,
    /// Network of a RUN that does not say which.
    pub network: Network,
    /// What RUN finds its machine called; else what `BUILDKIT_SANDBOX_HOSTNAME` says.
    pub hostname: Option<String>,
    /// What else RUN finds of its machine.
    pub machine: Machine,
    /// The contexts besides the main one, by the names that FROM and `--from` call them.
    pub contexts: BTreeMap<String, Context>,
    /// What the file may ask for beyond the usual.
    pub allow: BTreeSet<Entitlement>,
    /// Time of the main context, if it has one: that of its commit. `SOURCE_DATE_EPOCH=context` asks for it.
    pub context_epoch: Option<i64>,
}

/// What a file may ask for only if the caller allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `network.host`: RUN on the host's network, though the build's is another.
    NetworkHost,
    /// `security.insecure`: RUN `--security=insecure`.
    SecurityInsecure,
}

/// A word that is no entitlement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot be allowed (network.host and security.insecure can)")]
pub struct EntitlementError {
    /// As it was written, cut.
    pub text: String,
}

impl FromStr for Entitlement {
    type Err = EntitlementError;

    fn from_str(text: &str) -> Result<Self, EntitlementError> {
        match text {
            "network.host" => Ok(Self::NetworkHost),
            "security.insecure" => Ok(Self::SecurityInsecure),
            _ => Err(EntitlementError { text: text.chars().take(160).collect() }),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: None,
            build_args: BTreeMap::new(),
            edits: Edits::default(),
            first_base: None,
            platforms: Vec::new(),
            build_platform: Platform::host(),
            emulated: BTreeSet::new(),
            network: Network::default(),
            hostname: None,
            machine: Machine::default(),
            contexts: BTreeMap::new(),
            allow: BTreeSet::new(),
            context_epoch: None,
        }
    }
}

impl Options {
    /// Returns the platform that stages are for unless their FROM says otherwise; the first of several.
    pub fn target_platform(&self) -> &Platform {
        self.platforms.first().unwrap_or(&self.build_platform)
    }

    /// Returns the context that a FROM or `--from` of this name means, with its name as it was given.
    ///
    /// Names are compared as names of images are: `alpine` is `docker.io/library/alpine:latest`. As in
    /// BuildKit, nothing can be put in the place of `scratch`.
    pub fn context(&self, name: &str) -> Option<(&str, &Context)> {
        if self.contexts.is_empty() || ["scratch", "context"].iter().any(|own| name.eq_ignore_ascii_case(own))
        {
            return None;
        }
        let wanted = contexts::normalised(name);
        let mut contexts = self.contexts.iter();
        let found = contexts.find(|(given, _)| contexts::normalised(given) == wanted);
        found.map(|(given, context)| (given.as_str(), context))
    }

    /// Returns what the machine of RUN is called, if anybody says.
    pub(super) fn hostname(&self) -> Option<&str> {
        self.hostname
            .as_ref()
            .or_else(|| self.build_args.get("BUILDKIT_SANDBOX_HOSTNAME"))
            .map(String::as_str)
    }

    /// Whether `.git` is kept in a main context that is a repository: `BUILDKIT_CONTEXT_KEEP_GIT_DIR`.
    pub fn keeps_git_dir(&self) -> bool {
        self.says("BUILDKIT_CONTEXT_KEEP_GIT_DIR")
    }

    /// Whether the result is an index though it may be of one platform: `BUILDKIT_MULTI_PLATFORM`.
    pub(super) fn wants_index(&self) -> bool {
        self.platforms.len() > 1 || self.says("BUILDKIT_MULTI_PLATFORM")
    }

    /// Reads an argument that is true or false, in Go's spellings.
    fn says(&self, name: &str) -> bool {
        let value = self.build_args.get(name).map(String::as_str);
        matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
    }

    /// Returns the options of the build for one of the platforms.
    pub(super) fn only(&self, platform: Option<&Platform>) -> Self {
        Self { platforms: platform.into_iter().cloned().collect(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Context, Entitlement, Options};

    fn with(names: &[&str]) -> Options {
        let contexts = names.iter().map(|name| ((*name).to_owned(), Context::Folder));
        Options { contexts: contexts.collect(), ..Options::default() }
    }

    #[test]
    fn a_context_is_found_by_every_spelling_of_its_name() {
        for given in ["alpine", "alpine:latest", "docker.io/library/alpine", "Alpine"] {
            for asked in ["alpine", "docker.io/library/alpine:latest", "ALPINE"] {
                assert_eq!(with(&[given]).context(asked).unwrap().0, given, "{asked}");
            }
        }
        assert_eq!(with(&["alpine"]).context("alpine:3"), None);
        assert!(with(&["alpine:3"]).context("docker.io/alpine:3").is_some());
    }

    #[test]
    fn scratch_cannot_be_replaced() {
        assert_eq!(with(&["scratch"]).context("scratch"), None);
    }

    #[test]
    fn entitlements_have_docker_names() {
        assert_eq!("security.insecure".parse(), Ok(Entitlement::SecurityInsecure));
        assert!("device".parse::<Entitlement>().is_err());
    }
}
