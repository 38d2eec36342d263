//! Where the peers are meant to differ: each with the reason.

use crate::build::Outcome;
use crate::case::Case;

/// What is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// 1.28, of Debian 12.
    Buildah,
    /// Within Docker 20.10: BuildKit 0.8, of 2021.
    BuildKit,
}

/// Returns why two outcomes may differ.
pub(crate) fn reason(case: &Case, ours: &Outcome, peer: &Outcome, who: Peer) -> Option<&'static str> {
    match who {
        Peer::Buildah => buildah(case, ours, peer),
        Peer::BuildKit => buildkit(case, ours, peer),
    }
}

fn buildkit(case: &Case, ours: &Outcome, peer: &Outcome) -> Option<&'static str> {
    let error = match (ours, peer) {
        (Outcome::Failed(error), _) | (_, Outcome::Failed(error)) => error.as_str(),
        _ => "",
    };
    let has = |text: &str| case.dockerfile.contains(text);
    if has("--chmod") {
        return Some(
            "0.8 keeps the set-id bits and leaves made parents alone; later ones apply the mode to all",
        );
    }
    if case.adds_with_owner() {
        return Some("0.8 ignores --chown for what comes out of an archive, against the documentation");
    }
    if error.contains("PROTOCOL_ERROR") || error.contains("error from sender") {
        return Some("0.8 cannot send such a context");
    }
    if case.ignore.is_some() {
        return Some("0.8 has the old matcher: it keeps empty directories, and ** after ! is not understood");
    }
    if case.globs_to_a_file() && error.contains("directory") {
        return Some("several files onto one name: here the destination becomes a directory");
    }
    None
}

fn buildah(case: &Case, ours: &Outcome, peer: &Outcome) -> Option<&'static str> {
    match (ours, peer) {
        (Outcome::Failed(error), Outcome::Built(_)) if error.contains("directory") => {
            Some("it replaces directories by files and files by directories")
        }
        (Outcome::Built(_), Outcome::Failed(error))
            if case.has_wildcard() && error.contains("no such file") =>
        {
            Some("a wildcard that matches nothing is an error there")
        }
        _ if case.adds_with_owner() => Some("it ignores --chown for what comes out of an archive"),
        _ if case.sets_the_mode_of_made_parents() => {
            Some("it leaves the mode of parents that it makes alone")
        }
        _ if case.names_a_link_as_file() => Some("a link that is the destination becomes a directory there"),
        _ => None,
    }
}
