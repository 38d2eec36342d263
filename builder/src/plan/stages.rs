//! The stages of a file as it is written, and how they are found by name.
//!
//! Names are looked up in lowercase. Two stages may share one: the later hides the earlier from what
//! follows. What a stage stands on and which stages are needed is in `resolve.rs`.

use std::collections::HashMap;

use super::error::{Meant, PlanError, PlanErrorKind};
use crate::dockerfile::ast::{Arg, From};
use crate::dockerfile::{File, Instruction, ParseErrorKind, Statement, suggest};

/// A FROM and what follows it.
#[derive(Debug)]
pub(crate) struct Stage<'f> {
    pub(crate) from: &'f From,
    /// What follows, up to the next FROM.
    pub(crate) body: &'f [Statement],
    /// In lowercase.
    pub(crate) name: Option<String>,
}

/// A file cut at its FROMs.
#[derive(Debug)]
pub(crate) struct Outline<'f> {
    /// The ARGs before the first FROM.
    pub(crate) globals: Vec<&'f Arg>,
    pub(crate) stages: Vec<Stage<'f>>,
    /// Numbers of the stages of each name, ascending.
    by_name: HashMap<String, Vec<usize>>,
}

/// Cuts a file at its FROMs.
pub(crate) fn outline(file: &File) -> Outline<'_> {
    let mut statements = file.statements.as_slice();
    let mut globals = Vec::new();
    while let [statement, rest @ ..] = statements {
        match &statement.instruction {
            Instruction::From(_) => break,
            Instruction::Arg(arg) => globals.push(arg),
            // The parser lets nothing else stand there.
            _ => {}
        }
        statements = rest;
    }
    let mut stages = Vec::new();
    while let [statement, rest @ ..] = statements {
        let Instruction::From(from) = &statement.instruction else { break };
        let is_from = |statement: &Statement| matches!(statement.instruction, Instruction::From(_));
        let (body, next) = rest.split_at(rest.iter().position(is_from).unwrap_or(rest.len()));
        stages.push(Stage { from, body, name: from.stage_name() });
        statements = next;
    }
    let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
    for (number, stage) in stages.iter().enumerate() {
        if let Some(name) = &stage.name {
            by_name.entry(name.clone()).or_default().push(number);
        }
    }
    Outline { globals, stages, by_name }
}

impl Outline<'_> {
    /// Returns which stage is to be built.
    pub(crate) fn target(&self, target: Option<&str>) -> Result<usize, PlanErrorKind> {
        let count = self.stages.len();
        let Some(target) = target else {
            return count.checked_sub(1).ok_or(PlanErrorKind::Parse(ParseErrorKind::NoStage));
        };
        if let Some(stage) = self.find(target, count) {
            return Ok(stage);
        }
        if let Ok(number) = target.parse::<usize>()
            && number < count
        {
            return Ok(number);
        }
        Err(PlanErrorKind::UnknownTarget { target: target.to_owned(), meant: self.meant(target) })
    }

    /// Returns the last stage of this name among the first `before` ones.
    pub(crate) fn find(&self, name: &str, before: usize) -> Option<usize> {
        let numbers = self.by_name.get(&name.to_lowercase())?;
        let earlier = numbers.partition_point(|&number| number < before);
        numbers[..earlier].last().copied()
    }

    /// Returns the stage that was perhaps meant by a name that means nothing.
    pub(crate) fn meant(&self, name: &str) -> Option<Meant> {
        if self.find(name, self.stages.len()).is_some() {
            return Some(Meant::Later(name.to_lowercase()));
        }
        let names: Vec<&str> = self.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
        suggest::nearest(name, &names).map(|similar| Meant::Similar(similar.to_owned()))
    }

    /// Returns what TARGETSTAGE says.
    pub(crate) fn target_name(&self, target: Option<&str>) -> String {
        let last = || self.stages.last().and_then(|stage| stage.name.clone());
        target.map(str::to_owned).or_else(last).unwrap_or_else(|| "default".to_owned())
    }

    /// Returns what stands before the numbers in titles; nothing if there is only one stage.
    pub(crate) fn label(&self, stage: usize) -> Option<String> {
        let number = || format!("stage-{stage}");
        (self.stages.len() > 1).then(|| self.stages[stage].name.clone().unwrap_or_else(number))
    }
}

impl Stage<'_> {
    pub(crate) fn error(&self, kind: PlanErrorKind) -> PlanError {
        kind.at(self.from.image.span)
    }
}
