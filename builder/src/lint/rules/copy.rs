//! COPY and ADD of files that the ignore file hides: the build would not find them.

use super::super::Rule;
use super::super::walk::{State, Walk};
use crate::context::ignore::clean;
use crate::dockerfile::ast::Source;
use crate::dockerfile::{Instruction, Statement, quote};

pub(super) fn of_statement(walk: &mut Walk<'_, '_>, state: &State<'_>, statement: &Statement) {
    let sources = match &statement.instruction {
        Instruction::Add(add) => &add.sources,
        Instruction::Copy(copy) if copy.from.as_ref().is_none_or(|from| from.text.is_empty()) => {
            &copy.sources
        }
        _ => return,
    };
    let keyword = statement.instruction.keyword();
    for source in sources {
        let Source::Path(word) = source else { continue };
        let Some(path) = walk.variables(state).expand(&word.text).map(|expanded| expanded.text) else {
            continue;
        };
        if !is_remote(&path) && is_hidden(walk, &path) {
            let message = format!("{keyword} names {}, which the ignore file excludes", quote(&path));
            walk.sink.report(Rule::CopyIgnoredFile, statement, word.span, message);
        }
    }
}

fn is_remote(source: &str) -> bool {
    source.contains("://") || source.starts_with("git@")
}

/// A folder is hidden if nothing below it can be taken back, a pattern if that holds of its folder.
fn is_hidden(walk: &Walk<'_, '_>, source: &str) -> bool {
    let path = clean(&format!("/{source}"));
    let path = path.trim_start_matches('/');
    let fixed = match path.find(['*', '?', '[', '\\']) {
        Some(pattern) => path[..pattern].rsplit_once('/').map_or("", |(folder, _)| folder),
        None => path,
    };
    !fixed.is_empty() && walk.context.ignore.prunes(fixed.as_bytes())
}
