//! Instructions whose arguments are plain text or plain words: EXPOSE, VOLUME, and those with one argument.

use super::super::ast::{Expose, Volume, Word};
use super::super::error::{ParseError, ParseErrorKind};
use super::super::json;
use super::super::lines::Slice;
use super::statement::Parts;

/// The rest of the line as one argument: MAINTAINER, STOPSIGNAL, USER, WORKDIR.
pub(super) fn text(parts: &Parts<'_>) -> Result<Word, ParseError> {
    if parts.args.text().is_empty() {
        return Err(parts.missing(ParseErrorKind::NoArgument { instruction: parts.keyword }));
    }
    Ok(parts.args.word())
}

pub(super) fn expose(parts: &Parts<'_>) -> Result<Expose, ParseError> {
    let ports: Vec<Word> = parts.args.words().into_iter().map(Slice::word).collect();
    if ports.is_empty() {
        return Err(parts.missing(ParseErrorKind::NoArguments { instruction: "EXPOSE" }));
    }
    Ok(Expose { ports })
}

pub(super) fn volume(parts: &Parts<'_>) -> Result<Volume, ParseError> {
    let words = match json::strings(parts.args)? {
        Some(strings) => strings,
        None => parts.args.words().into_iter().map(Slice::word).collect(),
    };
    if words.is_empty() {
        return Err(parts.missing(ParseErrorKind::NoArguments { instruction: "VOLUME" }));
    }
    let trimmed = words.into_iter().map(|Word { text, span }| match text.trim() {
        "" => Err(ParseErrorKind::BlankVolume.at(span)),
        path => Ok(Word { text: path.to_owned(), span }),
    });
    Ok(Volume { paths: trimmed.collect::<Result<_, _>>()? })
}
