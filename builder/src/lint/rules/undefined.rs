//! Variables that nothing sets. They are empty, which is seldom what was meant.
//!
//! The words of an instruction that the builder expands: not the commands of RUN, CMD and ENTRYPOINT, where
//! variables are the shell's. `${x:-y}` says what an unset variable is, and is not told.

use std::collections::BTreeSet;

use super::super::Rule;
use super::super::finding::Sink;
use super::super::variables::{Variables, place_of};
use super::super::walk::{Base, State, Walk};
use crate::dockerfile::ast::Source;
use crate::dockerfile::mount::MountKey;
use crate::dockerfile::{Instruction, Statement, Word, quote};

/// A base image that is not at hand may set anything: then nothing is told.
pub(super) fn of_statement(walk: &mut Walk<'_, '_>, state: &State<'_>, statement: &Statement) {
    if state.base == Base::Unknown || !walk.sink.wants(Rule::UndefinedVar, statement) {
        return;
    }
    let variables = Variables { scope: &state.scope, escape: walk.escape, work: walk.work };
    let sink = &mut *walk.sink;
    if let Instruction::Arg(arg) = &statement.instruction {
        let mut earlier = BTreeSet::new();
        for declaration in &arg.declarations {
            if let Some(default) = &declaration.default {
                let undefined = variables.expand(&default.text).map(|expanded| expanded.undefined);
                let undefined = undefined.unwrap_or_default().difference(&earlier).cloned().collect();
                tell(sink, statement, (default, undefined), &variables);
            }
            earlier.insert(declaration.name.text.clone());
        }
        return;
    }
    for word in words(&statement.instruction) {
        if let Some(expanded) = variables.expand(&word.text) {
            tell(sink, statement, (word, expanded.undefined), &variables);
        }
    }
    for (word, undefined) in others(&statement.instruction, &variables) {
        tell(sink, statement, (&word, undefined), &variables);
    }
}

/// Reports what a word looked up in vain.
pub(super) fn tell(
    sink: &mut Sink,
    statement: &Statement,
    (word, undefined): (&Word, BTreeSet<String>),
    variables: &Variables<'_>,
) {
    for name in variables.missing(&word.text, undefined) {
        // Before a name that was perhaps meant is looked for, which takes longer than all else.
        if !sink.wants(Rule::UndefinedVar, statement) {
            return;
        }
        let message = format!("variable {} is not defined{}", quote(&name), variables.meant(&name));
        sink.report(Rule::UndefinedVar, statement, place_of(word, &name), message);
    }
}

/// Returns the words of an instruction that are expanded into one value, or several.
fn words(instruction: &Instruction) -> Vec<&Word> {
    fn paths(sources: &[Source]) -> impl Iterator<Item = &Word> {
        sources.iter().filter_map(|source| match source {
            Source::Path(word) => Some(word),
            Source::Heredoc(_) => None,
        })
    }
    match instruction {
        Instruction::Add(add) => {
            let flags = [&add.checksum, &add.chmod, &add.chown].into_iter().flatten();
            flags.chain(paths(&add.sources)).chain([&add.destination]).collect()
        }
        Instruction::Copy(copy) => {
            let flags = [&copy.chmod, &copy.chown].into_iter().flatten();
            flags.chain(paths(&copy.sources)).chain([&copy.destination]).collect()
        }
        Instruction::Env(env) => env.pairs.iter().flat_map(|pair| [&pair.key, &pair.value]).collect(),
        Instruction::Label(label) => label.pairs.iter().flat_map(|pair| [&pair.key, &pair.value]).collect(),
        Instruction::Expose(expose) => expose.ports.iter().collect(),
        Instruction::Stopsignal(stopsignal) => vec![&stopsignal.signal],
        Instruction::User(user) => vec![&user.user],
        Instruction::Volume(volume) => volume.paths.iter().collect(),
        Instruction::Workdir(workdir) => vec![&workdir.path],
        _ => Vec::new(),
    }
}

/// Returns what else is expanded: contents of heredocs, shown at their markers, and options of mounts.
fn others(instruction: &Instruction, variables: &Variables<'_>) -> Vec<(Word, BTreeSet<String>)> {
    let mut found = Vec::new();
    let (Instruction::Add(_) | Instruction::Copy(_) | Instruction::Run(_)) = instruction else {
        return found;
    };
    if let Instruction::Run(run) = instruction {
        for mount in &run.mounts {
            let values = mount.options.iter().filter(|option| option.key != MountKey::From);
            let undefined = values
                .filter_map(|option| Some(variables.expand(option.value.as_deref()?)?.undefined))
                .flatten()
                .collect();
            found.push((mount.text.clone(), undefined));
        }
        // The heredocs of RUN are the shell's.
        return found;
    }
    for heredoc in instruction.heredocs().into_iter().filter(|heredoc| heredoc.expand) {
        let word = Word { text: heredoc.content(), span: heredoc.span };
        let undefined = variables.expand_raw(&word.text).map(|expanded| expanded.undefined);
        found.push((word, undefined.unwrap_or_default()));
    }
    found
}
