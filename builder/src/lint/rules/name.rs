//! Names of stages that mean something else already.

use std::collections::HashSet;

use super::super::Rule;
use super::super::finding::Sink;
use super::super::survey::Survey;
use crate::dockerfile::quote;

/// `scratch` is the empty image; `context` is the build context, in `--build-context` and elsewhere.
const RESERVED: [&str; 2] = ["context", "scratch"];

pub(super) fn of_stages(survey: &Survey<'_>, sink: &mut Sink) {
    let mut seen = HashSet::new();
    for site in &survey.sites {
        let (Some(alias), Some(name)) = (&site.from.alias, site.from.stage_name()) else { continue };
        let span = alias.name.span;
        if RESERVED.contains(&name.as_str()) {
            let message = format!("stage name {} is reserved", quote(&name));
            sink.report(Rule::ReservedStageName, site.statement, span, message);
        }
        if seen.contains(&name) {
            let message = format!("stage name {} is used before, and hides that stage", quote(&name));
            sink.report(Rule::DuplicateStageName, site.statement, span, message);
        }
        seen.insert(name);
    }
}
