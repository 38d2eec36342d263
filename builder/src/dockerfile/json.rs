//! The JSON form of arguments: an array of strings.
//!
//! BuildKit's rule: text that begins with `[` and is a JSON array is the JSON form, and then it must hold
//! strings only; any other text, almost-JSON such as `['a']` included, is the shell form.

use serde_json::Value;

use super::ast::Word;
use super::error::{ParseError, ParseErrorKind};
use super::lines::Slice;

/// Reads the JSON form; nothing if the text is not a JSON array.
///
/// # Errors
///
/// An array with something else than strings in it.
pub(super) fn strings(args: Slice<'_>) -> Result<Option<Vec<Word>>, ParseError> {
    let Some(values) = array(args) else { return Ok(None) };
    let strings = values.into_iter().map(|(value, slice)| match value {
        Value::String(text) => Ok(Word { text, span: slice.span() }),
        _ => Err(ParseErrorKind::NotAString.at(slice.span())),
    });
    strings.collect::<Result<_, _>>().map(Some)
}

/// Reads an array whose values know their place. Nothing but blanks may follow it.
fn array<'l>(args: Slice<'l>) -> Option<Vec<(Value, Slice<'l>)>> {
    let mut values = Vec::new();
    let mut rest = eat(args.trim(), '[')?;
    if let Some(after) = eat(rest, ']') {
        return after.trim().text().is_empty().then_some(values);
    }
    loop {
        rest = rest.trim();
        let mut stream = serde_json::Deserializer::from_str(rest.text()).into_iter::<Value>();
        let value = stream.next()?.ok()?;
        let end = stream.byte_offset();
        values.push((value, rest.part(0, end)));
        rest = rest.from(end);
        if let Some(after) = eat(rest, ',') {
            rest = after;
        } else {
            let after = eat(rest, ']')?;
            return after.trim().text().is_empty().then_some(values);
        }
    }
}

/// Cuts blanks and then `wanted`, if it comes next.
fn eat(text: Slice<'_>, wanted: char) -> Option<Slice<'_>> {
    let text = text.trim();
    text.text().starts_with(wanted).then(|| text.from(wanted.len_utf8()))
}
