//! Capitals and lowercase: of instructions, of AS, of stages' names.

use super::super::Rule;
use super::super::finding::Sink;
use super::super::survey::Site;
use crate::dockerfile::{File, quote};

/// How a keyword is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Mixed,
    Upper,
}

impl Case {
    fn of(text: &str) -> Case {
        let any = |test: fn(&char) -> bool| text.chars().any(|c| test(&c));
        match (any(char::is_ascii_lowercase), any(char::is_ascii_uppercase)) {
            (true, false) => Case::Lower,
            (true, true) => Case::Mixed,
            _ => Case::Upper,
        }
    }

    fn write(self, text: &str) -> String {
        if self == Case::Lower { text.to_ascii_lowercase() } else { text.to_ascii_uppercase() }
    }
}

/// The majority decides; capitals do if there is none.
pub(super) fn of_instructions(file: &File, sink: &mut Sink) {
    let count = |case| file.statements.iter().filter(|one| Case::of(&one.keyword.text) == case).count();
    let usual = if count(Case::Lower) > count(Case::Upper) { Case::Lower } else { Case::Upper };
    for statement in &file.statements {
        let keyword = &statement.keyword;
        if Case::of(&keyword.text) != usual {
            let (written, wanted) = (quote(&keyword.text), quote(&usual.write(&keyword.text)));
            let message = format!("instruction {written} should be {wanted}, like most of the file");
            sink.report(Rule::ConsistentInstructionCasing, statement, keyword.span, message);
        }
    }
}

/// AS, and the name after it.
pub(super) fn of_from(site: &Site<'_>, sink: &mut Sink) {
    let Some(alias) = &site.from.alias else { return };
    let (from, r#as) = (&site.statement.keyword, &alias.keyword);
    let wanted = match Case::of(&from.text) {
        Case::Lower => "as",
        // Of a FROM that is itself mixed, the other check has its say.
        Case::Mixed | Case::Upper => "AS",
    };
    if r#as.text != wanted {
        let message = format!("{} should be {}, in the case of its FROM", quote(&r#as.text), quote(wanted));
        sink.report(Rule::FromAsCasing, site.statement, r#as.span, message);
    }
    let name = &alias.name;
    if name.text.chars().any(char::is_uppercase) {
        let message =
            format!("stage name {} should be {}", quote(&name.text), quote(&name.text.to_lowercase()));
        sink.report(Rule::StageNameCasing, site.statement, name.span, message);
    }
}
