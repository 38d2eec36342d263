//! `oxbox build --check` and `--call`, and what an ordinary build says of the same: codes, streams, formats.
//! What each check finds is the builder's to test.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;

use serde_json::Value;
use support::image::Picture;
use support::{Oxbox, Ran};

const FOUND: &str = "FROM scratch AS Base\nCOPY motd /\nCMD motd\n";
const CLEAN: &str = "FROM scratch AS base\nCOPY motd /\nCMD [\"motd\"]\n";

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

#[test]
fn a_clean_file_is_0_and_nothing_is_built() {
    let oxbox = Oxbox::new();
    let ran = oxbox.dockerfile(CLEAN).run(["build", "--check", "context"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "no findings\n", ""));
    assert!(!oxbox.root().exists());
}

#[test]
fn findings_are_1_and_are_shown_with_their_lines() {
    let oxbox = Oxbox::new();
    for flag in ["--check", "--call=check", "--call=check,format=text"] {
        let ran = oxbox.dockerfile(FOUND).run(["build", flag, "context"]);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert_eq!(ran.stderr, "error: checks of context/Dockerfile have 2 findings\n");
        for part in [
            "warning: StageNameCasing: stage name \"Base\" should be \"base\"",
            " --> context/Dockerfile:1:17",
            "3 | CMD motd\n  | ^^^^^^^^",
            "docs/lint/JSONArgsRecommended.md",
        ] {
            assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
        }
    }
    assert!(!oxbox.root().exists());
}

#[test]
fn a_file_that_cannot_be_parsed_is_2() {
    let oxbox = Oxbox::new();
    oxbox
        .dockerfile("FORM scratch\n")
        .run(["build", "--check", "context"])
        .fails(2, &["unknown instruction"]);
    let directive = oxbox.dockerfile("# check=skipp=all\nFROM scratch\n");
    for arguments in [&["build", "--check", "context"][..], &["build", "context"]] {
        directive.run(arguments).fails(2, &["there is no check option \"skipp\"", "Dockerfile:1:9"]);
    }
    oxbox.run(["build", "--call=lynt", "context"]).fails(2, &["check, outline or targets"]);
    oxbox
        .dockerfile(CLEAN)
        .run(["build", "--call=outline", "--target=bas", "context"])
        .fails(2, &["no stage \"bas\"", "did you mean base?"]);
}

#[test]
fn json_is_what_buildx_prints() {
    let oxbox = Oxbox::new();
    for flags in [&["--check", "--json"][..], &["--call=check,format=json"]] {
        let arguments = [&["build"], flags, &["context"]].concat();
        let ran = oxbox.dockerfile(FOUND).run(&arguments);
        assert_eq!(ran.code, Some(1));
        let warnings = ran.json()["warnings"].as_array().unwrap().clone();
        let rules: Vec<&str> = warnings.iter().map(|warning| warning["ruleName"].as_str().unwrap()).collect();
        assert_eq!(rules, ["StageNameCasing", "JSONArgsRecommended"]);
        assert_eq!(warnings[1]["location"]["ranges"][0]["start"]["line"], 3);
        assert_eq!(oxbox.dockerfile(CLEAN).run(&arguments).json()["warnings"], serde_json::json!([]));
    }
}

#[test]
fn sarif_names_the_file_and_the_rules() {
    let oxbox = Oxbox::new();
    let ran = oxbox.dockerfile(FOUND).run(["build", "--call=check,format=sarif", "context"]);
    assert_eq!(ran.code, Some(1));
    let sarif = ran.json();
    assert_eq!(sarif["version"], "2.1.0");
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "context/Dockerfile");
    assert_eq!(place["region"]["startColumn"], 17);
}

#[test]
fn the_ignore_file_and_images_of_the_store_are_consulted() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM localhost/base\nENV A=$USER_OF_BASE\nCOPY motd /\n");
    fs::write(oxbox.path("context/.dockerignore"), "motd\n").unwrap();
    let ran = oxbox.run(["build", "--check", "context"]);
    assert!(ran.stdout.contains("CopyIgnoredFile") && !ran.stdout.contains("UndefinedVar"), "{}", ran.stdout);
    assert!(ran.stderr.contains("base image \"localhost/base:latest\" is not at hand"), "{}", ran.stderr);
    oxbox.put("localhost/base:latest", &Picture::of("etc/motd", b"hello\n"));
    let ran = oxbox.run(["build", "--check", "context"]);
    assert!(ran.stdout.contains("variable \"USER_OF_BASE\" is not defined"), "{}", ran.stdout);
    assert!(!ran.stderr.contains("at hand"), "{}", ran.stderr);
}

#[test]
fn a_build_tells_the_same_in_a_line_each_and_succeeds() {
    let oxbox = Oxbox::new();
    let ran = oxbox.dockerfile(FOUND).run(["build", "context"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let told = "warning: 2 findings of checks (build --check shows the lines):\n \
                - StageNameCasing: stage name \"Base\" should be \"base\" (line 1)\n \
                - JSONArgsRecommended: ";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    assert!(!oxbox.dockerfile(CLEAN).run(["build", "context"]).stderr.contains("warning"));
}

#[test]
fn under_error_true_a_build_fails_before_anything_is_made() {
    let oxbox = Oxbox::new();
    let by_directive = oxbox.dockerfile(&format!("# check=error=true\n{FOUND}"));
    by_directive
        .run(["build", "-t", "app", "context"])
        .fails(1, &["checks failed: JSONArgsRecommended, StageNameCasing"]);
    let argument = "BUILDKIT_DOCKERFILE_CHECK=error=true;skip=StageNameCasing";
    let ran = oxbox.dockerfile(FOUND).run(["build", "-t", "app", "--build-arg", argument, "context"]);
    ran.fails(1, &["checks failed: JSONArgsRecommended\n"]);
    assert!(!ran.stderr.contains("COPY motd"), "{}", ran.stderr);
    assert_eq!(oxbox.json(["images", "--json"]), serde_json::json!([]));
}

#[test]
fn targets_and_outlines_are_tables_and_json() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile(
        "# VERSION what it says of itself\nARG VERSION=1\nFROM base:$VERSION AS lib\nRUN --mount=type=secret,id=k x\n\
         # app the program\nFROM lib AS app\n",
    );
    assert_eq!(
        oxbox.ok(["build", "--call=targets", "context"]),
        "TARGET          BASE            DESCRIPTION\n\
         lib             base:$VERSION\n\
         app (default)   lib             the program\n"
    );
    assert_eq!(
        oxbox.ok(["build", "--call=outline", "--build-arg=VERSION=2", "context"]),
        "TARGET: app\nDESCRIPTION: the program\n\n\
         BUILD ARG   VALUE   DESCRIPTION\nVERSION     2       what it says of itself\n\n\
         SECRET   REQUIRED\nk\n"
    );
    let targets = oxbox.json(["build", "--call=targets,format=json", "context"]);
    assert_eq!(targets["targets"][1]["default"], true);
    let outline = oxbox.json(["build", "--call=outline", "--json", "--target=lib", "context"]);
    assert_eq!((&outline["name"], &outline["args"][0]["value"]), (&"lib".into(), &"1".into()));
}
