//! Checks of a Dockerfile that would build: BuildKit's build checks, by the same names.
//!
//! ```text
//! File ─survey▶ stages ─walk▶ each instruction, with what is known there ─rules▶ Finding
//!      └─ rules that look at the text alone ───────────────────────────────┘     │ obeying # check=
//!                                                              report: text, JSON, SARIF
//! ```
//!
//! | room | holds |
//! |---|---|
//! | `rule` | the checks by name; their pages are in `docs/lint` |
//! | `directive` | `# check=` |
//! | `finding` | what was found, and the place where it is gathered |
//! | `survey` | stages, what they stand on, which are needed |
//! | `walk`, `variables` | what is known at each instruction |
//! | `rules` | what each check looks for |
//! | `describe` | comments that describe stages and arguments |
//! | `outline`, `targets` | `--call=outline` and `--call=targets` |
//! | `report` | findings as JSON and SARIF |
//!
//! Pure: no files, no network. Whoever calls knows the ignore file and configs of base images, or does not;
//! then what needs them is not checked. Whether a file can be built at all is the plan's to say.

mod describe;
mod directive;
mod finding;
mod outline;
mod report;
mod rule;
mod rules;
mod survey;
mod targets;
#[cfg(test)]
mod tests;
mod variables;
mod walk;

use oxbox_layers::oci::{Config, Platform, Reference};

pub(crate) use rules::secret::sounds_secret;

pub use directive::{DirectiveError, DirectiveErrorKind};
pub use finding::{Finding, Level, MAX_FINDINGS};
pub use outline::{Argument, CacheMount, Outline, Secret, Ssh, outline};
pub use report::{Location, Place, Range, Report, Source, Warning, report, sarif};
pub use rule::Rule;
pub use targets::{Target, Targets, targets};

use crate::context::Ignore;
use crate::dockerfile::File;
use crate::plan::Options;
use finding::Sink;
use survey::Survey;
use variables::Work;

/// The build argument that takes the place of `# check=` at the top of a file.
const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What the checks may know besides the file.
pub struct Context<'c> {
    /// What the build is given.
    pub options: &'c Options,
    /// The ignore file of the main context.
    pub ignore: &'c Ignore,
    /// Returns the config of a base image for a platform, if it is at hand.
    pub base: &'c dyn Fn(&Reference, &Platform) -> Option<Config>,
    /// Which stages are looked at.
    pub stages: Stages,
}

/// Which stages are looked at. What needs only the text is looked at in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stages {
    /// Every one.
    All,
    /// The target, and what it needs.
    Target,
}

/// What the checks came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What was found, in the order of the file; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// What is wrong with the checks themselves, and what they could not look at.
    pub notes: Vec<crate::plan::Warning>,
}

impl Checked {
    /// Returns the rules of the findings that fail a build, each once, in alphabetical order.
    pub fn errors(&self) -> Vec<Rule> {
        let errors = self.findings.iter().filter(|finding| finding.level == Level::Error);
        let rules: std::collections::BTreeSet<Rule> = errors.map(|finding| finding.rule).collect();
        rules.into_iter().collect()
    }
}

/// Checks a file.
///
/// # Errors
///
/// A `# check=` that cannot be understood; as in BuildKit, it stops a build too.
pub fn check(file: &File, context: &Context<'_>) -> Result<Checked, DirectiveError> {
    let given = context.options.build_args.get(CHECK_ARGUMENT);
    let mut sink = Sink::new(file, given.map(String::as_str))?;
    let work = Work::new();
    let survey = Survey::of(file, context.options, &work);
    rules::of_file(file, &mut sink);
    rules::of_stages(&survey, &mut sink);
    walk::walk(context, &survey, &mut sink, &mut rules::of_statement);
    let (findings, notes) = sink.finish();
    Ok(Checked { findings, notes })
}
