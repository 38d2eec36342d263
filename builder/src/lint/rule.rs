//! The checks by name. What each finds is in `rules/`; what it is for is in `docs/lint/<Rule>.md`.
//!
//! Names are those of BuildKit's build checks, so that one `# check=skip=` serves both.
//! <https://docs.docker.com/reference/build-checks/>

use std::fmt;

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "`summary` says what each is")]
pub enum Rule {
    ConsistentInstructionCasing,
    CopyIgnoredFile,
    DuplicateStageName,
    ExposeInvalidFormat,
    ExposeProtoCasing,
    FromAsCasing,
    FromPlatformFlagConstDisallowed,
    InvalidBaseImagePlatform,
    InvalidDefaultArgInFrom,
    InvalidDefinitionDescription,
    JSONArgsRecommended,
    LegacyKeyValueFormat,
    MaintainerDeprecated,
    MultipleInstructionsDisallowed,
    NoEmptyContinuation,
    RedundantTargetPlatform,
    ReservedStageName,
    SecretsUsedInArgOrEnv,
    StageNameCasing,
    UndefinedArgInFrom,
    UndefinedVar,
    WorkdirRelativePath,
}

impl Rule {
    /// Every rule, in alphabetical order.
    pub const ALL: [Rule; 22] = [
        Rule::ConsistentInstructionCasing,
        Rule::CopyIgnoredFile,
        Rule::DuplicateStageName,
        Rule::ExposeInvalidFormat,
        Rule::ExposeProtoCasing,
        Rule::FromAsCasing,
        Rule::FromPlatformFlagConstDisallowed,
        Rule::InvalidBaseImagePlatform,
        Rule::InvalidDefaultArgInFrom,
        Rule::InvalidDefinitionDescription,
        Rule::JSONArgsRecommended,
        Rule::LegacyKeyValueFormat,
        Rule::MaintainerDeprecated,
        Rule::MultipleInstructionsDisallowed,
        Rule::NoEmptyContinuation,
        Rule::RedundantTargetPlatform,
        Rule::ReservedStageName,
        Rule::SecretsUsedInArgOrEnv,
        Rule::StageNameCasing,
        Rule::UndefinedArgInFrom,
        Rule::UndefinedVar,
        Rule::WorkdirRelativePath,
    ];

    /// Returns the rule of this name; names are compared letter by letter, as BuildKit does.
    pub fn named(name: &str) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Rule::ConsistentInstructionCasing => "ConsistentInstructionCasing",
            Rule::CopyIgnoredFile => "CopyIgnoredFile",
            Rule::DuplicateStageName => "DuplicateStageName",
            Rule::ExposeInvalidFormat => "ExposeInvalidFormat",
            Rule::ExposeProtoCasing => "ExposeProtoCasing",
            Rule::FromAsCasing => "FromAsCasing",
            Rule::FromPlatformFlagConstDisallowed => "FromPlatformFlagConstDisallowed",
            Rule::InvalidBaseImagePlatform => "InvalidBaseImagePlatform",
            Rule::InvalidDefaultArgInFrom => "InvalidDefaultArgInFrom",
            Rule::InvalidDefinitionDescription => "InvalidDefinitionDescription",
            Rule::JSONArgsRecommended => "JSONArgsRecommended",
            Rule::LegacyKeyValueFormat => "LegacyKeyValueFormat",
            Rule::MaintainerDeprecated => "MaintainerDeprecated",
            Rule::MultipleInstructionsDisallowed => "MultipleInstructionsDisallowed",
            Rule::NoEmptyContinuation => "NoEmptyContinuation",
            Rule::RedundantTargetPlatform => "RedundantTargetPlatform",
            Rule::ReservedStageName => "ReservedStageName",
            Rule::SecretsUsedInArgOrEnv => "SecretsUsedInArgOrEnv",
            Rule::StageNameCasing => "StageNameCasing",
            Rule::UndefinedArgInFrom => "UndefinedArgInFrom",
            Rule::UndefinedVar => "UndefinedVar",
            Rule::WorkdirRelativePath => "WorkdirRelativePath",
        }
    }

    /// Returns what it asks for, in a sentence without a full stop.
    pub fn summary(self) -> &'static str {
        match self {
            Rule::ConsistentInstructionCasing => "instructions are all in capitals, or all in lowercase",
            Rule::CopyIgnoredFile => "what COPY and ADD name is not excluded by the ignore file",
            Rule::DuplicateStageName => "each stage has a name of its own",
            Rule::ExposeInvalidFormat => "EXPOSE names ports, neither addresses nor mappings",
            Rule::ExposeProtoCasing => "protocols of EXPOSE are in lowercase",
            Rule::FromAsCasing => "AS is written in the case of its FROM",
            Rule::FromPlatformFlagConstDisallowed => "FROM --platform is not a constant",
            Rule::InvalidBaseImagePlatform => "base images are for the platform that is built for",
            Rule::InvalidDefaultArgInFrom => "FROM is valid without any --build-arg",
            Rule::InvalidDefinitionDescription => "a comment directly above a stage or an ARG describes it",
            Rule::JSONArgsRecommended => "CMD and ENTRYPOINT are in JSON form, which passes signals on",
            Rule::LegacyKeyValueFormat => "ENV and LABEL are written name=value",
            Rule::MaintainerDeprecated => "the author is a label, not a MAINTAINER",
            Rule::MultipleInstructionsDisallowed => "a stage has one CMD, ENTRYPOINT and HEALTHCHECK at most",
            Rule::NoEmptyContinuation => "continued instructions have no empty lines",
            Rule::RedundantTargetPlatform => "FROM --platform does not repeat the default",
            Rule::ReservedStageName => "no stage is called scratch or context",
            Rule::SecretsUsedInArgOrEnv => "secrets are in neither ARG nor ENV",
            Rule::StageNameCasing => "names of stages are in lowercase",
            Rule::UndefinedArgInFrom => "what FROM uses is declared by an ARG above it",
            Rule::UndefinedVar => "variables are defined before they are used",
            Rule::WorkdirRelativePath => "the first WORKDIR of a stage is absolute",
        }
    }

    /// Returns the address of its page.
    pub fn url(self) -> String {
        format!("{}/blob/main/docs/lint/{self}.md", env!("CARGO_PKG_REPOSITORY"))
    }

    /// Whether it must be asked for by `# check=experimental=`.
    pub fn is_experimental(self) -> bool {
        self == Rule::InvalidDefinitionDescription
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Rule;

    #[test]
    fn all_rules_are_listed_once_in_alphabetical_order() {
        let names = Rule::ALL.map(Rule::name);
        assert!(names.is_sorted() && Rule::ALL.is_sorted());
        assert_eq!(Rule::ALL.map(|rule| rule as usize).to_vec(), (0..22).collect::<Vec<_>>());
        assert_eq!(names.map(|name| Rule::named(name).unwrap()), Rule::ALL);
    }
}
