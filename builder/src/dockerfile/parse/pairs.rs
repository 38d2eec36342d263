//! Names and values: ARG, ENV, LABEL.
//!
//! Words keep their quotes here: `ENV a="x y" b=$c` is two words, and what they are worth is expanded later.

use super::super::ast::{Arg, Declaration, Env, Label, Pair, PairForm};
use super::super::error::{ParseError, ParseErrorKind};
use super::super::lines::Slice;
use super::Context;
use super::statement::Parts;

pub(super) fn arg(parts: &Parts<'_>, context: &Context) -> Result<Arg, ParseError> {
    let words = quoted_words(parts.args, context.escape.char());
    if words.is_empty() {
        return Err(parts.missing(ParseErrorKind::NoArguments { instruction: "ARG" }));
    }
    let declarations = words.into_iter().map(|word| match halves(word) {
        Some((name, _)) if name.text().is_empty() => {
            Err(ParseErrorKind::BlankName { instruction: "ARG" }.at(word.span()))
        }
        Some((name, default)) => Ok(Declaration { name: name.word(), default: Some(default.word()) }),
        None => Ok(Declaration { name: word.word(), default: None }),
    });
    Ok(Arg { declarations: declarations.collect::<Result<_, _>>()? })
}

pub(super) fn env(parts: &Parts<'_>, context: &Context) -> Result<Env, ParseError> {
    pairs(parts, context).map(|(pairs, form)| Env { pairs, form })
}

pub(super) fn label(parts: &Parts<'_>, context: &Context) -> Result<Label, ParseError> {
    pairs(parts, context).map(|(pairs, form)| Label { pairs, form })
}

/// The first word decides: with `=` all words are pairs, without it the rest of the line is one value.
fn pairs(parts: &Parts<'_>, context: &Context) -> Result<(Vec<Pair>, PairForm), ParseError> {
    let instruction = parts.keyword;
    let words = quoted_words(parts.args, context.escape.char());
    let Some(first) = words.first() else {
        return Err(parts.missing(ParseErrorKind::NoArguments { instruction }));
    };
    if !first.text().contains('=') {
        let (key, value) = parts.args.split_first();
        if value.text().is_empty() {
            let name = key.text().to_owned();
            return Err(ParseErrorKind::MissingValue { instruction, name }.at(key.span()));
        }
        return Ok((vec![Pair { key: key.word(), value: value.word() }], PairForm::Legacy));
    }
    let pairs = words.into_iter().map(|word| match halves(word) {
        None => Err(ParseErrorKind::MissingEquals { word: word.text().to_owned() }.at(word.span())),
        Some((key, _)) if key.text().is_empty() => {
            Err(ParseErrorKind::BlankName { instruction }.at(word.span()))
        }
        Some((key, value)) => Ok(Pair { key: key.word(), value: value.word() }),
    });
    Ok((pairs.collect::<Result<_, _>>()?, PairForm::Equals))
}

/// Splits at the first `=`, quoted or not.
fn halves(word: Slice<'_>) -> Option<(Slice<'_>, Slice<'_>)> {
    let equals = word.text().find('=')?;
    Some((word.part(0, equals), word.from(equals + 1)))
}

/// Cuts text at blanks outside quotes; quotes and escapes stay in the words.
///
/// A quote that never closes runs to the end; the expansion reports it.
fn quoted_words(text: Slice<'_>, escape: char) -> Vec<Slice<'_>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = text.text().char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(start.take().map(|start| text.part(start, at)));
            continue;
        }
        start.get_or_insert(at);
        match quote {
            Some(open) if open == c => quote = None,
            // In single quotes an escape is text.
            Some('\'') => {}
            _ if c == escape => {
                chars.next();
            }
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
    }
    words.extend(start.map(|start| text.from(start)));
    words
}
