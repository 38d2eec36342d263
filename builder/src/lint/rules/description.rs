//! Comments directly above a stage or an ARG are read as descriptions: `# name what it is`.

use super::super::Rule;
use super::super::directive::in_comment;
use super::super::finding::Sink;
use crate::dockerfile::{Instruction, Statement, quote};

/// The last comment line counts: an empty one, or an empty line, says that none was meant.
pub(super) fn of_statement(statement: &Statement, sink: &mut Sink) {
    let Some(comment) = statement.comments.last().filter(|comment| !comment.is_empty()) else { return };
    if in_comment(comment).is_some() {
        return;
    }
    let (what, names): (_, Vec<&str>) = match &statement.instruction {
        Instruction::Arg(arg) => {
            ("ARG", arg.declarations.iter().map(|declaration| declaration.name.text.as_str()).collect())
        }
        Instruction::From(from) => {
            ("stage", from.alias.iter().map(|alias| alias.name.text.as_str()).collect())
        }
        _ => return,
    };
    let Some(name) = names.first() else { return };
    if !names.contains(&comment.split(char::is_whitespace).next().unwrap_or_default()) {
        let message = format!("comment above {what} {} does not begin with that name", quote(name));
        sink.report(Rule::InvalidDefinitionDescription, statement, statement.keyword.span, message);
    }
}
