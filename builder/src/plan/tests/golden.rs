//! Golden cases: `testdata/plan/<case>/Dockerfile`, perhaps with `options.json`, and the plan, or what is
//! wrong, in `plan.txt`. `BLESS=1` rewrites what is expected; review the difference.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::graph::Network;
use super::super::{Context, Entitlement, Options, plan};
use super::dump::dump;
use super::{bases, options};
use crate::dockerfile::parse;

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/plan");
    let mut cases: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// Reads a case's options: as on the command line.
fn options_of(case: &Path) -> Options {
    let mut options = options();
    let Ok(text) = fs::read_to_string(case.join("options.json")) else { return options };
    let value: Value = serde_json::from_str(&text).unwrap();
    let map = |value: &Value| -> Vec<(String, String)> {
        let string = |value: &Value| value.as_str().unwrap().to_owned();
        value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), string(value))).collect()
    };
    for (key, value) in value.as_object().unwrap() {
        let text = value.as_str().unwrap_or_default();
        match key.as_str() {
            "build-arg" => options.build_args.extend(map(value)),
            "allow" => options.allow.extend(text.split(',').map(|word| word.parse::<Entitlement>().unwrap())),
            "build-context" => options.contexts.extend(map(value).into_iter().map(|(name, text)| {
                let context = Context::parse(&text).unwrap();
                (name, context.unwrap_or(Context::Folder))
            })),
            "context-epoch" => options.context_epoch = value.as_i64(),
            "emulated" => options.emulated.extend(text.split(',').map(str::to_owned)),
            "build-platform" => options.build_platform = text.parse().unwrap(),
            "env" => options.edits.env.extend(map(value)),
            "from" => options.first_base = Some(text.to_owned()),
            "inherit-labels" => options.edits.drops_base_labels = *value == Value::Bool(false),
            "label" => options.edits.labels.extend(map(value)),
            "network" if text == "none" => options.network = Network::None,
            "platform" => options.platforms = text.split(',').map(|one| one.parse().unwrap()).collect(),
            "target" => options.target = Some(text.to_owned()),
            "unsetenv" => options.edits.unset_env = text.split(',').map(str::to_owned).collect(),
            "unsetlabel" => options.edits.unset_labels = text.split(',').map(str::to_owned).collect(),
            _ => panic!("{}: unknown option {key}", case.display()),
        }
    }
    options
}

#[test]
fn every_case_is_planned_as_recorded() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let text = fs::read_to_string(case.join("Dockerfile")).unwrap();
        let file = parse(&text).unwrap_or_else(|errors| panic!("{}", errors.render("Dockerfile", &text)));
        let found = match plan(&file, &text, &options_of(&case), &mut bases()) {
            Ok(plan) => dump(&plan, &text),
            Err(error) => error.render("Dockerfile", &text) + "\n",
        };
        let recorded = case.join("plan.txt");
        if bless {
            fs::write(recorded, found).unwrap();
        } else if fs::read_to_string(recorded).ok().as_deref() != Some(&found) {
            wrong.push(format!("{}: found\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
#[test]
fn there_are_cases_of_both_kinds() {
    let is_error = |case: &PathBuf| fs::read_to_string(case.join("plan.txt")).unwrap().starts_with("error");
    let (errors, plans): (Vec<_>, Vec<_>) = cases().into_iter().partition(is_error);
    assert!(plans.len() >= 30 && errors.len() >= 20, "{} and {}", plans.len(), errors.len());
}
