//! Golden cases, the pages' examples, and properties. `BLESS=1` rewrites what golden cases expect.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use oxbox_layers::oci::{Config, Platform, Reference};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::{Checked, Context, Level, MAX_FINDINGS, Rule, Stages, check, outline, report, sarif, targets};
use crate::context::Ignore;
use crate::dockerfile::parse;
use crate::plan::{Options, PlanErrorKind};

fn options() -> Options {
    let amd64 = Platform::new("linux", "amd64", None);
    Options { platforms: vec![amd64.clone()], build_platform: amd64, ..Options::default() }
}

/// Images of `known/` and `arm64/` are at hand: with a variable, a SHELL in one and a trigger in another.
fn base(reference: &Reference, platform: &Platform) -> Option<Config> {
    let name = reference.familiar();
    let platform = match name.starts_with("arm64/") {
        true => Platform::new("linux", "arm64", None),
        false if name.starts_with("known/") => platform.clone(),
        false => return None,
    };
    let mut config = Config::scratch(&platform);
    let container = config.config.get_or_insert_default();
    container.env = Some(vec!["LANGUAGE_VERSION=3".to_owned()]);
    if name.contains("shell") {
        container.shell = Some(vec!["/bin/bash".to_owned(), "-c".to_owned()]);
    }
    if name.contains("onbuild") {
        container.on_build = Some(vec!["ENV TRIGGERED=1".to_owned()]);
    }
    Some(config)
}

fn checked_with(source: &str, ignore: &str, options: &Options, stages: Stages) -> Checked {
    let file = parse(source).unwrap_or_else(|errors| panic!("{}", errors.render("Dockerfile", source)));
    let ignore = Ignore::parse(ignore).unwrap();
    check(&file, &Context { options, ignore: &ignore, base: &base, stages }).unwrap()
}

fn checked(source: &str) -> Checked {
    checked_with(source, "", &options(), Stages::All)
}

fn rules(source: &str) -> Vec<Rule> {
    checked(source).findings.iter().map(|finding| finding.rule).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_case_finds_what_is_recorded() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut cases: Vec<PathBuf> =
        fs::read_dir(root().join("testdata/lint")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 30, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let source = fs::read_to_string(case.join("Dockerfile")).unwrap();
        let ignore = fs::read_to_string(case.join(".dockerignore")).unwrap_or_default();
        let checked = checked_with(&source, &ignore, &options(), Stages::All);
        let notes = checked
            .notes
            .iter()
            .map(|note| note.render("Dockerfile", &source).replacen("warning", "note", 1));
        let findings = checked.findings.iter().map(|finding| finding.render("Dockerfile", &source));
        let found: String = findings.chain(notes).map(|text| text + "\n\n").collect();
        let expected = case.join("findings.txt");
        if bless {
            fs::write(expected, found).unwrap();
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(&found) {
            wrong.push(format!("{}:\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The fenced blocks of a page below a heading.
fn blocks<'p>(page: &'p str, fence: &str) -> Vec<&'p str> {
    let opening = format!("```{fence}\n");
    page.split(&opening).skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
}

#[test]
fn every_rule_has_a_page_whose_bad_example_it_finds_and_whose_good_example_is_clean() {
    for rule in Rule::ALL {
        let page = fs::read_to_string(root().join(format!("docs/lint/{rule}.md"))).unwrap();
        assert!(page.starts_with(&format!("# {rule}\n")), "{rule}");
        let ignore = blocks(&page, "ignore").concat();
        let [bad, good] = blocks(&page, "dockerfile")[..] else { panic!("{rule} has not two examples") };
        let found = |source| checked_with(source, &ignore, &options(), Stages::All).findings;
        let bad = found(bad);
        assert!(!bad.is_empty() && bad.iter().all(|finding| finding.rule == rule), "{rule}: {bad:?}");
        assert_eq!(found(good), [], "{rule}");
    }
}

#[test]
fn the_index_lists_every_page_and_there_is_no_other() {
    let index = fs::read_to_string(root().join("docs/lint/README.md")).unwrap();
    let mut pages: Vec<String> = fs::read_dir(root().join("docs/lint"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    pages.sort();
    assert_eq!(pages, Rule::ALL.map(|rule| format!("{rule}.md")));
    for rule in Rule::ALL {
        assert!(index.contains(&format!("[{rule}]({rule}.md)")), "{rule}");
    }
}

#[test]
fn a_build_looks_at_needed_stages_and_a_check_at_all() {
    let source =
        "FROM scratch AS a\nWORKDIR x\nFROM scratch AS b\nWORKDIR y\nFROM scratch\nCOPY --from=a / /\n";
    let found = |stages| checked_with(source, "", &options(), stages).findings.len();
    assert_eq!((found(Stages::All), found(Stages::Target)), (2, 1));
}

#[test]
fn a_build_argument_takes_the_place_of_the_directive() {
    let source = "# check=skip=all\nFROM scratch AS A\n";
    assert_eq!(rules(source), []);
    let mut options = options();
    options.build_args = BTreeMap::from([("BUILDKIT_DOCKERFILE_CHECK".to_owned(), "error=true".to_owned())]);
    let checked = checked_with(source, "", &options, Stages::All);
    assert_eq!(checked.errors(), [Rule::StageNameCasing]);
    assert_eq!(checked.findings[0].level, Level::Error);
}

#[test]
fn a_directive_that_cannot_be_understood_is_shown_in_its_place() {
    let source = "# check=skipp=all\nFROM scratch\n";
    let file = parse(source).unwrap();
    let (options, ignore) = (options(), Ignore::default());
    let context = Context { options: &options, ignore: &ignore, base: &base, stages: Stages::All };
    let error = check(&file, &context).unwrap_err();
    assert!(error.render("Dockerfile", source).contains("1 | # check=skipp=all\n  |         ^^^^^^^^^"));
}

#[test]
fn a_platform_argument_needs_no_arg_in_from_and_needs_one_in_a_stage() {
    assert_eq!(rules("FROM --platform=$BUILDPLATFORM known/a:$TARGETARCH$TARGETVARIANT\n"), []);
    assert_eq!(rules("FROM known/a\nLABEL a=$TARGETARCH\n"), [Rule::UndefinedVar]);
    assert_eq!(rules("FROM known/a\nARG TARGETVARIANT\nLABEL a=$TARGETVARIANT\n"), []);
}

#[test]
fn what_a_trigger_sets_is_known() {
    assert_eq!(rules("FROM known/onbuild\nLABEL a=$TRIGGERED b=$LANGUAGE_VERSION\n"), []);
    assert_eq!(rules("FROM scratch AS a\nONBUILD ARG X=1\nFROM a\nLABEL x=$X\n"), []);
    assert_eq!(rules("FROM scratch AS a\nONBUILD ARG X=1\nLABEL x=$X\n"), [Rule::UndefinedVar]);
}

#[test]
fn findings_end_somewhere_and_say_so() {
    let found = checked(&format!("FROM known/a\n{}", "LABEL a=$x\n".repeat(MAX_FINDINGS + 5)));
    assert_eq!(found.findings.len(), MAX_FINDINGS);
    assert!(found.notes.iter().any(|note| note.message.contains("only the first")));
}

#[test]
fn values_that_double_with_every_line_are_followed_only_so_far() {
    let source = format!("FROM known/a\nENV a=xxxxxxxx\n{}", "ENV a=$a$a b=$a\n".repeat(20_000));
    assert!(checked(&source).notes.iter().any(|note| note.message.contains("too large to follow")));
    let stages: String = (0..20_000).map(|n| format!("ENV v{n}=1\nFROM s{n} AS s{}\n", n + 1)).collect();
    assert!(
        checked(&format!("FROM scratch AS s0\n{stages}"))
            .notes
            .iter()
            .any(|note| note.message.contains("too large to follow"))
    );
}

#[test]
fn a_very_long_line_is_named_and_not_shown() {
    let source = format!("FROM scratch\nEXPOSE {}80/TCP\n", "80 ".repeat(10_000));
    let rendered = checked(&source).findings[0].render("Dockerfile", &source);
    let shown = "warning: ExposeProtoCasing: protocol \"TCP\" should be \"tcp\"\n --> Dockerfile:2:30008\n  hint: see";
    assert!(rendered.starts_with(shown), "{rendered}");
}

#[test]
fn json_has_buildx_fields() {
    let source = "FROM scratch\nWORKDIR a\n";
    let json = serde_json::to_value(report(&checked(source).findings, "d/Dockerfile", source)).unwrap();
    let warning = &json["warnings"][0];
    assert_eq!(warning["ruleName"], "WorkdirRelativePath");
    assert_eq!(warning["url"], Rule::WorkdirRelativePath.url());
    let start = serde_json::json!({ "line": 2, "character": 8 });
    assert_eq!(warning["location"]["ranges"][0]["start"], start);
    assert_eq!(json["sources"][0]["filename"], "d/Dockerfile");
    let none = serde_json::to_value(report(&[], "Dockerfile", "")).unwrap();
    assert_eq!(none["warnings"], serde_json::json!([]));
}

/// What the schema demands of the parts that are used.
#[test]
fn sarif_is_as_its_schema_demands() {
    let source = "# check=error=true\nFROM scratch AS A\nWORKDIR \\\n  né\nCMD \\\n\n x\n";
    let checked = checked(source);
    assert!(checked.findings.len() >= 4);
    let sarif = sarif(&checked.findings, "a b/Dockerfile", source);
    assert_eq!(sarif["version"], "2.1.0");
    assert!(sarif["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let [run] = sarif["runs"].as_array().unwrap().as_slice() else { panic!() };
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "oxbox");
    let rules = driver["rules"].as_array().unwrap();
    assert!(
        rules.iter().all(|rule| rule["shortDescription"]["text"].is_string() && rule["helpUri"].is_string())
    );
    let number = |value: &Value| value.as_u64().unwrap();
    for result in run["results"].as_array().unwrap() {
        assert_eq!(rules[usize::try_from(number(&result["ruleIndex"])).unwrap()]["id"], result["ruleId"]);
        assert_eq!(result["level"], "error");
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b/Dockerfile");
        let region = &place["region"];
        let [line, column, end_line, end_column] =
            ["startLine", "startColumn", "endLine", "endColumn"].map(|key| number(&region[key]));
        assert!(line >= 1 && column >= 1 && (line, column) <= (end_line, end_column), "{region}");
    }
}

#[test]
fn targets_are_listed_with_what_their_comments_say() {
    let source = "# base what all stand on\nFROM --platform=$BUILDPLATFORM debian AS Base\n# base what all stand on\nFROM debian AS base\nFROM base\n";
    let file = parse(source).unwrap();
    let json = serde_json::to_value(targets(&file, "Dockerfile", source)).unwrap();
    let [first, second, last] = json["targets"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!((first["name"].as_str(), first["base"].as_str()), (Some("base"), Some("debian")));
    assert_eq!((first["platform"].as_str(), first["description"].as_str()), (Some("$BUILDPLATFORM"), None));
    assert_eq!(second["description"], "what all stand on");
    assert_eq!((last["default"].as_bool(), last.get("name")), (Some(true), None));
}

fn outlined(source: &str, options: &Options) -> Value {
    let file = parse(source).unwrap();
    let ignore = Ignore::default();
    let context = Context { options, ignore: &ignore, base: &base, stages: Stages::All };
    serde_json::to_value(outline(&file, "Dockerfile", source, &context).unwrap()).unwrap()
}

#[test]
fn an_outline_has_what_the_target_can_be_given() {
    let source = "\
# TAG of debian
ARG TAG=12
ARG MIRROR=example.org
ARG IMAGE=$MIRROR/debian
ARG UNUSED=1
FROM $IMAGE:$TAG AS build
# JOBS how many at once
ARG JOBS=4
ARG MODE
RUN --mount=type=secret,id=key-$JOBS,required --mount=type=cache,target=/c --mount=type=ssh make
FROM scratch AS other
ARG OTHER
# final what is shipped
FROM scratch AS final
COPY --from=build /app /
";
    let mut options = options();
    options.build_args.insert("MODE".to_owned(), "fast".to_owned());
    let json = outlined(source, &options);
    assert_eq!(
        (json["name"].as_str(), json["description"].as_str()),
        (Some("final"), Some("what is shipped"))
    );
    let row =
        |arg: &Value| ["name", "value", "description"].map(|key| arg[key].as_str().unwrap_or("-").to_owned());
    let args: Vec<_> = json["args"].as_array().unwrap().iter().map(row).collect();
    assert_eq!(
        args,
        [
            ["TAG", "12", "of debian"],
            ["MIRROR", "example.org", "-"],
            ["IMAGE", "example.org/debian", "-"],
            ["JOBS", "4", "how many at once"],
            ["MODE", "fast", "-"],
        ]
    );
    assert_eq!(
        (&json["secrets"][0]["name"], &json["secrets"][0]["required"]),
        (&"key-4".into(), &true.into())
    );
    assert_eq!((&json["cache"][0]["id"], &json["ssh"][0]["name"]), (&"/c".into(), &"default".into()));
}

#[test]
fn an_outline_of_no_target_is_refused() {
    let source = "FROM scratch AS a\n";
    let options = Options { target: Some("b".to_owned()), ..options() };
    let ignore = Ignore::default();
    let context = Context { options: &options, ignore: &ignore, base: &base, stages: Stages::All };
    let error = outline(&parse(source).unwrap(), "Dockerfile", source, &context).unwrap_err();
    assert!(matches!(error.kind, PlanErrorKind::UnknownTarget { .. }));
}

/// Lines that parse, most of them with something to find.
fn line() -> impl Strategy<Value = &'static str> {
    select(vec![
        "FROM known/a AS One",
        "FROM one as two",
        "FROM $A AS scratch",
        "from --platform=$TARGETPLATFORM known/shell",
        "FROM --platform=linux/arm64 arm64/x AS one",
        "FROM known/onbuild AS two",
        "# check=skip=UndefinedVar;error=1",
        "# A what it is",
        "#",
        "",
        "ARG A",
        "ARG A=$B C=$A TOKEN",
        "ENV A ${B:-x}$C\\\n\n$D",
        "env KEY=$TOKEN",
        "WORKDIR w$A",
        "COPY $A <<E /d/\n$A$E\nE",
        "COPY --from=two hidden /",
        "ADD hidden/x h*/y https://a/b /",
        "RUN --mount=type=cache,target=/$Z --mount=type=secret,id=$A x $y",
        "CMD x",
        "SHELL [\"x\"]",
        "HEALTHCHECK NONE",
        "EXPOSE 1:$A 80/TCP",
        "ONBUILD ENV Q=$A",
        "MAINTAINER né",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_file_makes_the_checks_panic_and_findings_are_in_order(lines in prop::collection::vec(line(), 0..24)) {
        let source = format!("# check=experimental=all\n\nARG A=0\nFROM known/a\n{}\n", lines.join("\n"));
        if parse(&source).is_ok() {
            let checked = checked_with(&source, "hidden", &options(), Stages::All);
            prop_assert!(checked.findings.is_sorted_by_key(|finding| finding.span.start));
            for finding in &checked.findings {
                prop_assert!(source.get(finding.span.range()).is_some());
                prop_assert!(finding.render("Dockerfile", &source).contains(finding.rule.name()));
            }
            let fewer = checked_with(&source, "hidden", &options(), Stages::Target);
            prop_assert!(fewer.findings.iter().all(|finding| checked.findings.contains(finding)));
            outlined(&source, &options());
        }
    }
}
