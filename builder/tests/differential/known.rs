//! Where the peers are meant to differ: each with the reason.

use crate::build::Outcome;
use crate::case::Case;
use crate::tree::{self, Special};

/// What is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// 1.28, of Debian 12.
    Buildah,
    /// Within Docker 20.10: BuildKit 0.8, of 2021.
    BuildKit,
}

/// Buildah takes set-id bits from what it copies: BuildKit does not, and neither do we. With `--chmod` 0.8
/// keeps the special bits of the source and drops those of the mode; later ones do as chmod(1).
pub(crate) fn special(case: &Case, who: Peer) -> Special {
    match who {
        Peer::Buildah => Special::Sticky,
        Peer::BuildKit if case.sets_modes() => Special::None,
        Peer::BuildKit => Special::All,
    }
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
    if leaves_made_directories_alone(case, ours, peer) {
        return Some("later ones give the directories that they make the permissions of --chmod");
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
        _ if case.may_put_several_onto_one_name() => {
            Some("several files onto one name: an error there, or a directory")
        }
        _ if case.adds_with_owner() => Some("it ignores --chown for what comes out of an archive"),
        _ if leaves_made_directories_alone(case, ours, peer) => {
            Some("--chmod is not for the directories that it makes")
        }
        _ if case.names_a_link_as_file() => Some("a link that is the destination becomes a directory there"),
        _ => None,
    }
}

fn leaves_made_directories_alone(case: &Case, ours: &Outcome, peer: &Outcome) -> bool {
    match (ours, peer) {
        (Outcome::Built(ours), Outcome::Built(peer)) => {
            case.sets_modes() && tree::differ_in_made_directories(ours, peer)
        }
        _ => false,
    }
}
