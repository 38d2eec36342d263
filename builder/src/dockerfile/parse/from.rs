//! FROM.

use super::super::ast::{Alias, From};
use super::super::error::{ParseError, ParseErrorKind};
use super::super::lines::Slice;
use super::statement::Parts;

pub(super) fn from(parts: &mut Parts<'_>) -> Result<From, ParseError> {
    let platform = parts.flags.one("platform");
    let words = parts.args.words();
    let (image, alias) = match words.as_slice() {
        [] => return Err(parts.missing(ParseErrorKind::FromArguments)),
        [image] => (image, None),
        [image, keyword, name] if keyword.text().eq_ignore_ascii_case("as") => {
            (image, Some(alias(*keyword, *name)?))
        }
        [_, ..] => return Err(ParseErrorKind::FromArguments.at(parts.args.span())),
    };
    Ok(From { platform, image: image.word(), alias })
}

fn alias(keyword: Slice<'_>, name: Slice<'_>) -> Result<Alias, ParseError> {
    if !is_stage_name(&name.text().to_lowercase()) {
        return Err(ParseErrorKind::InvalidStageName { name: name.text().to_owned() }.at(name.span()));
    }
    Ok(Alias { keyword: keyword.word(), name: name.word() })
}

/// `[a-z][a-z0-9-_.]*`
fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'))
}
