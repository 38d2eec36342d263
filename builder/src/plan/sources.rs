//! Sources of COPY and ADD: paths, heredocs, and for ADD what is elsewhere.

use oxbox_layers::oci::Digest;

use super::error::{PlanError, PlanErrorKind};
use super::graph::{CopyInstruction, Git, Http, Op, Source, VertexId};
use super::grow::Added;
use super::lower::Planner;
use super::remote::{self, Remote, Repository};
use super::run::check_name;
use super::state::State;
use super::step::Step;
use crate::dockerfile::ast::{self, Word};
use crate::fetch::{shown, without_users};

/// What the sources of an instruction are, before expansion.
pub(super) struct Sources<'s> {
    pub(super) instruction: CopyInstruction,
    pub(super) written: &'s [ast::Source],
    /// Whose files plain paths are.
    pub(super) tree: Tree,
    pub(super) checksum: Option<&'s Word>,
    pub(super) keep_git_dir: Option<bool>,
}

/// Whose files plain paths are.
pub(super) enum Tree {
    Context(Option<String>),
    Vertex(VertexId),
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) sources: Vec<Source>,
    /// How the history calls them: paths first, then heredocs.
    pub(super) names: Vec<String>,
    /// What brings those that are elsewhere.
    pub(super) vertices: Vec<Added>,
}

/// What flags say of sources that are elsewhere.
struct Wanted {
    /// `--checksum`, unless it is blank.
    checksum: Option<String>,
    keep_git_dir: Option<bool>,
}

impl Planner<'_> {
    pub(super) fn sources(
        &mut self,
        state: &State,
        step: &Step<'_>,
        sources: &Sources<'_>,
    ) -> Result<Found, PlanError> {
        let mut found = Found::default();
        let words: Vec<&Word> = sources.written.iter().filter_map(path_of).collect();
        let checksum = self.expander(state, step).optional(sources.checksum)?;
        let wanted = Wanted {
            checksum: checksum.filter(|checksum| !checksum.is_empty()),
            keep_git_dir: sources.keep_git_dir,
        };
        if let (Some(flag), Some(_), [] | [_, _, ..]) = (sources.checksum, &wanted.checksum, words.as_slice())
        {
            let kind = match words.len() {
                0 => PlanErrorKind::ChecksumOfLocalFile,
                sources => PlanErrorKind::ChecksumOfSeveral { sources },
            };
            return Err(step.place.error(kind, flag.span));
        }
        for word in words {
            let text = self.expander(state, step).word(word)?;
            let remote = remote::parse(&text);
            let remote = remote.map_err(|source| step.place.error(unfetched(&text, source), word.span))?;
            let source = match (remote, sources.instruction) {
                (None, _) => {
                    if let (Some(flag), Some(_)) = (sources.checksum, &wanted.checksum) {
                        return Err(step.place.error(PlanErrorKind::ChecksumOfLocalFile, flag.span));
                    }
                    local(&sources.tree, text.clone())
                }
                (Some(_), CopyInstruction::Copy) => {
                    let kind = PlanErrorKind::RemoteCopy { source_text: text };
                    return Err(step.place.error(kind, word.span));
                }
                (Some(remote), CopyInstruction::Add) => {
                    let span = sources.checksum.map_or(word.span, |flag| flag.span);
                    let (op, pattern) =
                        fetched(remote, &text, &wanted).map_err(|kind| step.place.error(kind, span))?;
                    let title = match &op {
                        Op::Http(http) => format!("FETCH {}", shown(&http.url)),
                        _ => format!("FETCH {}", without_users(&text)),
                    };
                    let vertex = self.part(step, op, title)?;
                    found.vertices.push(vertex);
                    Source::Vertex { vertex: vertex.id(), pattern }
                }
            };
            found.names.push(without_users(&text));
            found.sources.push(source);
        }
        for source in sources.written {
            let ast::Source::Heredoc(heredoc) = source else { continue };
            check_name(step, Some(heredoc), &heredoc.name)?;
            let content = self.expander(state, step).heredoc(heredoc)?;
            found.names.push(format!("<<{}", heredoc.name));
            found.sources.push(Source::Inline { name: heredoc.name.clone(), content });
        }
        Ok(found)
    }
}

fn local(tree: &Tree, pattern: String) -> Source {
    match tree {
        Tree::Context(name) => Source::Context { name: name.clone(), pattern },
        Tree::Vertex(vertex) => Source::Vertex { vertex: *vertex, pattern },
    }
}

/// Returns what brings a source, and which of what it brings is copied.
fn fetched(remote: Remote, text: &str, wanted: &Wanted) -> Result<(Op, String), PlanErrorKind> {
    match remote {
        Remote::Http { url, name } => {
            let digest = wanted.checksum.as_deref().map(|checksum| {
                let text = checksum.to_owned();
                checksum.parse::<Digest>().map_err(|source| PlanErrorKind::InvalidDigest { text, source })
            });
            let pattern = literal(&name);
            Ok((Op::Http(Http { url, name, checksum: digest.transpose()? }), pattern))
        }
        Remote::Git(repository) => Ok((Op::Git(git(repository, text, wanted)?), "/".to_owned())),
    }
}

/// Returns what a repository's address and the flags say together.
fn git(repository: Repository, text: &str, wanted: &Wanted) -> Result<Git, PlanErrorKind> {
    let Repository { remote, reference, folder, commit, keep_git_dir, submodules } = repository;
    if let (Some(flag), Some(address)) = (wanted.keep_git_dir, keep_git_dir)
        && flag != address
    {
        return Err(PlanErrorKind::TwoGitDirs { flag, address });
    }
    let flag = wanted.checksum.as_deref().map(remote::commit).transpose();
    let commit = match (flag.map_err(|source| unfetched(text, source))?, commit) {
        (Some(flag), Some(address)) if flag != address => {
            return Err(PlanErrorKind::TwoChecksums { flag, address });
        }
        (flag, address) => flag.or(address),
    };
    Ok(Git {
        remote,
        reference,
        folder,
        commit,
        keep_git_dir: keep_git_dir.or(wanted.keep_git_dir).unwrap_or(false),
        without_submodules: submodules == Some(false),
    })
}

fn unfetched(text: &str, source: remote::RemoteError) -> PlanErrorKind {
    PlanErrorKind::Remote { source_text: text.to_owned(), source }
}

/// Returns a pattern that this name alone matches.
fn literal(name: &str) -> String {
    let mut pattern = String::new();
    for c in name.chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

fn path_of(source: &ast::Source) -> Option<&Word> {
    match source {
        ast::Source::Path(word) => Some(word),
        ast::Source::Heredoc(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn a_name_with_wildcards_is_taken_by_its_letters() {
        assert_eq!(literal("a*b[1]?\\"), "a\\*b\\[1]\\?\\\\");
    }
}
