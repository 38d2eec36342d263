//! Variables of FROM: only an ARG above the first FROM gives them a value.

use std::collections::BTreeMap;

use oxbox_layers::oci::Reference;

use super::super::Rule;
use super::super::finding::Sink;
use super::super::survey::{Site, Survey, globals};
use super::super::variables::{Variables, Work, place_of};
use super::undefined;
use crate::dockerfile::{File, Instruction, Word, quote};
use crate::plan::Options;
use crate::plan::arguments::{automatic, is_predefined};
use crate::plan::scope::Scope;

pub(super) fn of_file(file: &File, options: &Options, survey: &Survey<'_>, sink: &mut Sink, work: &Work) {
    let escape = file.directives.escape;
    let variables = Variables { scope: &survey.globals, escape, work };
    let bare = Options { build_args: BTreeMap::new(), ..options.clone() };
    let defaults = globals(file, &survey.outline, &bare, work);
    let defaults = Variables { scope: &defaults, escape, work };
    for (number, site) in survey.sites.iter().enumerate() {
        undeclared(site, &site.from.image, &variables, sink);
        if let Some(platform) = &site.from.platform {
            undeclared(site, platform, &variables, sink);
        }
        invalid_default(site, number, survey, &defaults, sink);
    }
    global_defaults(file, options, survey, sink, work);
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
fn invalid_default(
    site: &Site<'_>,
    number: usize,
    survey: &Survey<'_>,
    defaults: &Variables<'_>,
    sink: &mut Sink,
) {
    let word = &site.from.image;
    if !word.text.contains('$') {
        return;
    }
    let Some(expanded) = defaults.expand(&word.text) else { return };
    let image = expanded.text;
    if survey.outline.find(&image, number).is_none() && image.parse::<Reference>().is_err() {
        let message =
            format!("{} is {}, and no image, without --build-arg", quote(&word.text), quote(&image));
        sink.report(Rule::InvalidDefaultArgInFrom, site.statement, word.span, message);
    }
}

/// Defaults of the ARGs above the first FROM; what they use must be declared further up.
fn global_defaults(file: &File, options: &Options, survey: &Survey<'_>, sink: &mut Sink, work: &Work) {
    let mut scope = Scope::default();
    for (name, value) in automatic(options, "") {
        scope.set(&name, &value);
    }
    for statement in &file.statements {
        let Instruction::Arg(arg) = &statement.instruction else { break };
        for declaration in &arg.declarations {
            let variables = Variables { scope: &scope, escape: file.directives.escape, work };
            if let Some(default) = &declaration.default
                && let Some(expanded) = variables.expand(&default.text)
            {
                let undefined = expanded.undefined.into_iter().filter(|name| !is_predefined(name)).collect();
                undefined::tell(sink, statement, default, &variables, undefined);
            }
            let name = &declaration.name.text;
            scope.declare(name);
            if let Some(value) = survey.globals.get(name) {
                work.spend(value.len());
                scope.set(name, value);
            }
        }
        if work.is_done() {
            return;
        }
    }
}
