//! Variables of FROM: only an ARG above the first FROM gives them a value.

use std::collections::BTreeMap;

use oxbox_layers::oci::Reference;

use super::super::Rule;
use super::super::finding::Sink;
use super::super::survey::{Site, Survey};
use super::super::variables::{Variables, place_of};
use super::undefined;
use crate::dockerfile::{Instruction, Word, quote};
use crate::plan::Options;
use crate::plan::arguments::{automatic, is_predefined};
use crate::plan::scope::Scope;

pub(super) fn of_stages(survey: &Survey<'_>, sink: &mut Sink) {
    let variables = survey.variables(&survey.globals);
    let defaults = Options { build_args: BTreeMap::new(), ..survey.options.clone() };
    let defaults = survey.globals_with(&defaults);
    for site in &survey.sites {
        undeclared(site, &site.from.image, &variables, sink);
        if let Some(platform) = &site.from.platform {
            undeclared(site, platform, &variables, sink);
        }
        invalid_default(site, survey, &survey.variables(&defaults), sink);
    }
    global_defaults(survey, sink);
}

fn undeclared(site: &Site<'_>, word: &Word, variables: &Variables<'_>, sink: &mut Sink) {
    let Some(expanded) = variables.expand(&word.text) else { return };
    for name in variables.missing(&word.text, expanded.undefined) {
        if is_predefined(&name) || !sink.wants(Rule::UndefinedArgInFrom, site.statement) {
            continue;
        }
        let message =
            format!("FROM uses {}, which no ARG above it declares{}", quote(&name), variables.meant(&name));
        sink.report(Rule::UndefinedArgInFrom, site.statement, place_of(word, &name), message);
    }
}

/// Without any `--build-arg`, is this an image, or an earlier stage?
fn invalid_default(site: &Site<'_>, survey: &Survey<'_>, defaults: &Variables<'_>, sink: &mut Sink) {
    let word = &site.from.image;
    if !word.text.contains('$') {
        return;
    }
    let Some(expanded) = defaults.expand(&word.text) else { return };
    let image = expanded.text;
    if survey.outline.find(&image, site.number).is_none() && image.parse::<Reference>().is_err() {
        let message =
            format!("{} is {}, and no image, without --build-arg", quote(&word.text), quote(&image));
        sink.report(Rule::InvalidDefaultArgInFrom, site.statement, word.span, message);
    }
}

/// Defaults of the ARGs above the first FROM; what they use must be declared further up.
fn global_defaults(survey: &Survey<'_>, sink: &mut Sink) {
    let mut scope = Scope::default();
    for (name, value) in automatic(survey.options, "") {
        scope.set(&name, &value);
    }
    for statement in &survey.file.statements {
        let Instruction::Arg(arg) = &statement.instruction else { break };
        for declaration in &arg.declarations {
            let variables = survey.variables(&scope);
            if let Some(default) = &declaration.default
                && let Some(expanded) = variables.expand(&default.text)
            {
                let undefined = expanded.undefined.into_iter().filter(|name| !is_predefined(name)).collect();
                undefined::tell(sink, statement, (default, undefined), &variables);
            }
            let name = &declaration.name.text;
            scope.declare(name);
            if let Some(value) = survey.globals.get(name) {
                survey.work.spend(value.len());
                scope.set(name, value);
            }
        }
        if survey.work.is_done() {
            return;
        }
    }
}
