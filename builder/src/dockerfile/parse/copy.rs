//! COPY and ADD.
//!
//! Their words are cut at blanks, quotes or not; a path with blanks takes the JSON form.

use super::super::ast::{Add, Copy, Source, Word};
use super::super::error::{ParseError, ParseErrorKind};
use super::super::lines::Slice;
use super::has_variable;
use super::statement::Parts;

pub(super) fn copy(parts: &mut Parts<'_>) -> Result<Copy, ParseError> {
    let chmod = parts.flags.one("chmod");
    let chown = parts.flags.one("chown");
    let exclude = parts.flags.all("exclude");
    let from = parts.flags.one("from");
    let link = parts.flags.switch("link").unwrap_or(false);
    let parents = parts.flags.switch("parents").unwrap_or(false);
    if let Some(from) = from.as_ref().filter(|from| has_variable(&from.text)) {
        return Err(ParseErrorKind::VariableInFrom.at(from.span));
    }
    let (sources, destination) = sources_and_destination(parts)?;
    Ok(Copy { chmod, chown, exclude, from, link, parents, sources, destination })
}

pub(super) fn add(parts: &mut Parts<'_>) -> Result<Add, ParseError> {
    let checksum = parts.flags.one("checksum");
    let chmod = parts.flags.one("chmod");
    let chown = parts.flags.one("chown");
    let exclude = parts.flags.all("exclude");
    let keep_git_dir = parts.flags.switch("keep-git-dir");
    let link = parts.flags.switch("link").unwrap_or(false);
    let unpack = parts.flags.switch("unpack");
    let (sources, destination) = sources_and_destination(parts)?;
    Ok(Add { checksum, chmod, chown, exclude, keep_git_dir, link, unpack, sources, destination })
}

fn sources_and_destination(parts: &mut Parts<'_>) -> Result<(Vec<Source>, Word), ParseError> {
    let mut sources = match parts.json.take() {
        Some(strings) => strings.into_iter().map(Source::Path).collect(),
        None => words(parts),
    };
    let instruction = parts.keyword;
    let destination = match sources.pop() {
        Some(Source::Path(destination)) if !sources.is_empty() => destination,
        Some(Source::Heredoc(heredoc)) if !sources.is_empty() => {
            return Err(ParseErrorKind::HeredocAsDestination { instruction }.at(heredoc.span));
        }
        _ => return Err(parts.missing(ParseErrorKind::NoDestination { instruction })),
    };
    Ok((sources, destination))
}

/// The words of the line; a heredoc's marker is one word even if its quotes hold blanks.
fn words(parts: &mut Parts<'_>) -> Vec<Source> {
    let mut words = Vec::new();
    let mut at = 0;
    for (marker, heredoc) in parts.heredocs.drain(..) {
        words.extend(paths(parts.args.part(at, marker.start)));
        words.push(Source::Heredoc(heredoc));
        at = marker.end;
    }
    words.extend(paths(parts.args.from(at)));
    words
}

fn paths(text: Slice<'_>) -> impl Iterator<Item = Source> {
    text.words().into_iter().map(|word| Source::Path(word.word()))
}
