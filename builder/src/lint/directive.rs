//! `# check=`: which checks run, and whether what they find is an error.
//!
//! ```text
//! # check=skip=JSONArgsRecommended,StageNameCasing;error=true        at the top: the whole file
//! # check=skip=all;experimental=all                                  every experimental check, and no other
//! # check=skip=UndefinedVar                                          above an instruction: that instruction
//! ```
//!
//! `--build-arg BUILDKIT_DOCKERFILE_CHECK=…` says the same, and takes the place of the one at the top.
//! <https://docs.docker.com/build/checks/>

use std::collections::BTreeSet;

use super::rule::Rule;
use crate::dockerfile::report::{Report, Severity};
use crate::dockerfile::{Span, quote, suggest};

/// What a `# check=` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checks {
    skip: Set,
    experimental: Set,
    /// Whether a finding fails the build.
    pub(super) error: bool,
    /// Names that are no rule's.
    pub(super) unknown: Vec<String>,
}

/// Some of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Set {
    all: bool,
    rules: BTreeSet<Rule>,
}

/// Why a `# check=` cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct DirectiveError {
    /// What is wrong.
    pub kind: DirectiveErrorKind,
    /// Where; nowhere if it came by `--build-arg`.
    pub span: Option<Span>,
}

/// What is wrong with a `# check=`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DirectiveErrorKind {
    #[error("there is no check option {}", quote(.option))]
    UnknownOption { option: String },
    #[error("check option error is true or false, not {}", quote(.value))]
    NotABoolean { value: String },
}

impl DirectiveError {
    /// Renders the error with its place; plain text, no line end at the end.
    pub fn render(&self, file_name: &str, source: &str) -> String {
        let hint = match self.kind {
            DirectiveErrorKind::UnknownOption { .. } => "write skip=RULE,RULE;error=true;experimental=RULE",
            DirectiveErrorKind::NotABoolean { .. } => "write error=true",
        };
        let (message, hint) = (self.to_string(), Some(hint.to_owned()));
        Report { severity: Severity::Error, message, causes: Vec::new(), hint }
            .render(self.span, file_name, source)
    }
}

impl Checks {
    /// Reads what follows `check=`.
    pub(super) fn parse(text: &str) -> Result<Checks, DirectiveErrorKind> {
        let mut checks = Checks::default();
        for option in text.split(';').map(str::trim).filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let value = value.trim();
            match key.trim() {
                "skip" => checks.skip = checks.set(value),
                "experimental" => checks.experimental = checks.set(value),
                "error" => {
                    let not_a_boolean = || DirectiveErrorKind::NotABoolean { value: value.to_owned() };
                    checks.error = boolean(value).ok_or_else(not_a_boolean)?;
                }
                _ => return Err(DirectiveErrorKind::UnknownOption { option: key.trim().to_owned() }),
            }
        }
        Ok(checks)
    }

    fn set(&mut self, value: &str) -> Set {
        let mut set = Set { all: value == "all", rules: BTreeSet::new() };
        for name in value.split(',').map(str::trim).filter(|name| !name.is_empty() && !set.all) {
            match Rule::named(name) {
                Some(rule) => {
                    set.rules.insert(rule);
                }
                None => self.unknown.push(name.to_owned()),
            }
        }
        set
    }

    /// Whether a rule runs. What is experimental runs if it was asked for, skipped or not.
    pub(super) fn runs(&self, rule: Rule) -> bool {
        if rule.is_experimental() { self.experimental.has(rule) } else { !self.skip.has(rule) }
    }

    /// Whether a rule runs where both say so.
    pub(super) fn runs_with(&self, other: &Checks, rule: Rule) -> bool {
        if rule.is_experimental() {
            self.runs(rule) || other.runs(rule)
        } else {
            self.runs(rule) && other.runs(rule)
        }
    }
}

impl Set {
    fn has(&self, rule: Rule) -> bool {
        self.all || self.rules.contains(&rule)
    }
}

/// Returns the text of a `check=` comment that stands above an instruction.
pub(super) fn in_comment(comment: &str) -> Option<&str> {
    let (key, value) = comment.split_once('=')?;
    key.trim().eq_ignore_ascii_case("check").then_some(value.trim())
}

/// Says that a name is no rule's.
pub(super) fn unknown_rule(name: &str) -> String {
    let hint = match suggest::nearest(name, &Rule::ALL.map(Rule::name)) {
        Some(meant) => format!(", did you mean {meant}?"),
        None => String::new(),
    };
    format!("there is no check {}{hint}", quote(name))
}

/// What Go reads as a boolean, as BuildKit does.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Checks, DirectiveErrorKind, in_comment, unknown_rule};
    use crate::lint::Rule;

    #[test]
    fn rules_are_skipped_by_name_and_all_at_once() {
        let checks = Checks::parse("skip = JSONArgsRecommended , UndefinedVar ; error=true").unwrap();
        assert!(!checks.runs(Rule::JSONArgsRecommended) && !checks.runs(Rule::UndefinedVar));
        assert!(checks.runs(Rule::StageNameCasing) && checks.error);
        assert!(!Checks::parse("skip=all").unwrap().runs(Rule::StageNameCasing));
    }

    #[test]
    fn an_experimental_rule_runs_if_asked_for_even_if_skipped() {
        let rule = Rule::InvalidDefinitionDescription;
        assert!(!Checks::default().runs(rule));
        for text in ["experimental=all", "skip=all;experimental=InvalidDefinitionDescription"] {
            assert!(Checks::parse(text).unwrap().runs(rule), "{text}");
        }
    }

    #[test]
    fn an_instruction_may_skip_more_than_the_file() {
        let file = Checks::parse("skip=UndefinedVar").unwrap();
        let own = Checks::parse("skip=StageNameCasing").unwrap();
        assert!(!file.runs_with(&own, Rule::UndefinedVar) && !file.runs_with(&own, Rule::StageNameCasing));
        assert!(file.runs_with(&own, Rule::FromAsCasing));
    }

    #[test]
    fn what_cannot_be_understood_is_an_error_and_an_unknown_name_is_not() {
        let kind = |text| Checks::parse(text).unwrap_err();
        assert_eq!(kind("ship=all"), DirectiveErrorKind::UnknownOption { option: "ship".into() });
        assert_eq!(kind("error=yes"), DirectiveErrorKind::NotABoolean { value: "yes".into() });
        assert_eq!(Checks::parse("skip=UndefinedVars,All").unwrap().unknown, ["UndefinedVars", "All"]);
        assert_eq!(
            unknown_rule("UndefinedVars"),
            "there is no check \"UndefinedVars\", did you mean UndefinedVar?"
        );
    }

    #[test]
    fn only_a_check_comment_is_one() {
        assert_eq!(in_comment("check = skip=all"), Some("skip=all"));
        assert_eq!(in_comment("checks that a=b"), None);
        assert_eq!(in_comment("check this"), None);
    }
}
