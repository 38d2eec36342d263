//! What each check looks for, by family.
//!
//! | file | checks |
//! |---|---|
//! | `casing` | ConsistentInstructionCasing, FromAsCasing, StageNameCasing |
//! | `command` | JSONArgsRecommended, MultipleInstructionsDisallowed |
//! | `copy` | CopyIgnoredFile |
//! | `description` | InvalidDefinitionDescription |
//! | `expose` | ExposeInvalidFormat, ExposeProtoCasing |
//! | `form` | LegacyKeyValueFormat, MaintainerDeprecated, NoEmptyContinuation |
//! | `from` | InvalidDefaultArgInFrom, UndefinedArgInFrom |
//! | `name` | DuplicateStageName, ReservedStageName |
//! | `platform` | FromPlatformFlagConstDisallowed, InvalidBaseImagePlatform, RedundantTargetPlatform |
//! | `secret` | SecretsUsedInArgOrEnv |
//! | `undefined` | UndefinedVar |
//! | `workdir` | WorkdirRelativePath |

mod casing;
mod command;
mod copy;
mod description;
mod expose;
mod form;
mod from;
mod name;
pub(super) mod platform;
pub(crate) mod secret;
mod undefined;
mod workdir;

use super::finding::Sink;
use super::survey::Survey;
use super::walk::{State, Walk};
use crate::dockerfile::{File, Instruction, Statement};

/// Checks that need nothing but the text.
pub(super) fn of_file(file: &File, sink: &mut Sink) {
    casing::of_instructions(file, sink);
    form::of_continuations(file, sink);
    for statement in &file.statements {
        form::of_statement(statement, sink);
        description::of_statement(statement, sink);
        secret::of_statement(statement, sink);
    }
}

/// Checks of FROM lines.
pub(super) fn of_stages(survey: &Survey<'_>, sink: &mut Sink) {
    name::of_stages(survey, sink);
    for site in &survey.sites {
        casing::of_from(site, sink);
        platform::of_from(site, sink);
    }
    from::of_stages(survey, sink);
}

/// Checks that need to know what holds when an instruction is reached.
pub(super) fn of_statement<'f>(walk: &mut Walk<'_, 'f>, state: &mut State<'f>, statement: &'f Statement) {
    undefined::of_statement(walk, state, statement);
    command::of_statement(walk, state, statement);
    match &statement.instruction {
        Instruction::Add(_) | Instruction::Copy(_) => copy::of_statement(walk, state, statement),
        Instruction::Expose(ports) => expose::of_statement(walk, state, statement, ports),
        Instruction::Workdir(workdir) => workdir::of_statement(walk, state, statement, workdir),
        _ => {}
    }
}
