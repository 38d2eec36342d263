//! Golden cases: `testdata/dockerfile/<case>/Dockerfile` with the tree in `ast.txt` or the errors in
//! `error.txt`. `BLESS=1` rewrites what is expected; review the difference.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{SourceFile, parse, print};
use super::dump::dump;

/// The cases' folders, in order.
pub(super) fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/dockerfile");
    let mut cases: Vec<_> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

#[test]
fn every_case_parses_as_recorded() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let source = fs::read_to_string(case.join("Dockerfile")).unwrap();
        let (name, found) = match parse(&source) {
            Ok(file) => ("ast.txt", dump(&file, &SourceFile::new("Dockerfile", source.as_str()))),
            Err(errors) => ("error.txt", errors.render("Dockerfile", &source) + "\n"),
        };
        if bless {
            for stale in ["ast.txt", "error.txt"] {
                let _ = fs::remove_file(case.join(stale));
            }
            fs::write(case.join(name), found).unwrap();
        } else if fs::read_to_string(case.join(name)).ok().as_deref() != Some(&found) {
            wrong.push(format!("{}: found as {name}:\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_cases_of_both_kinds() {
    let with = |name: &str| cases().iter().filter(|case| case.join(name).exists()).count();
    assert!(with("ast.txt") >= 40 && with("error.txt") >= 20);
}

#[test]
fn printing_a_case_twice_changes_nothing() {
    for case in cases() {
        let source = fs::read_to_string(case.join("Dockerfile")).unwrap();
        let Ok(file) = parse(&source) else { continue };
        let printed = print(&file);
        let again = parse(&printed)
            .unwrap_or_else(|errors| panic!("{}\n{}", case.display(), errors.render("-", &printed)));
        assert_eq!(super::roundtrip::meaning(&again), super::roundtrip::meaning(&file), "{}", case.display());
        assert_eq!(print(&again), printed, "{}", case.display());
    }
}
