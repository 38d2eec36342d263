//! The crates form a star: `layers` in the middle, `cli` around it, and no sibling names another.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Who may depend on whom when the binary is built.
const EDGES: &[(&str, &[&str])] = &[
    ("oxbox", &["oxbox-builder", "oxbox-copy", "oxbox-layers", "oxbox-registry"]),
    ("oxbox-builder", &["oxbox-layers"]),
    ("oxbox-copy", &["oxbox-layers"]),
    ("oxbox-layers", &[]),
    ("oxbox-registry", &["oxbox-layers"]),
    ("oxbox-testdata", &[]),
];

/// What tests may name besides: fixtures, and the registry for the client that talks to it.
const DEV_EDGES: &[(&str, &[&str])] = &[
    ("oxbox", &["oxbox-testdata"]),
    ("oxbox-builder", &["oxbox-testdata"]),
    ("oxbox-copy", &["oxbox-registry", "oxbox-testdata"]),
    ("oxbox-layers", &["oxbox-testdata"]),
    ("oxbox-registry", &["oxbox-testdata"]),
    ("oxbox-testdata", &[]),
];

fn edges(kind: DependencyKind) -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().expect("because cargo runs this test");
    let ours: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let named = |package: &cargo_metadata::Package| {
        let dependencies = package.dependencies.iter();
        dependencies
            .filter(|dependency| dependency.kind == kind && ours.contains(&dependency.name))
            .map(|dependency| dependency.name.clone())
            .collect()
    };
    metadata.packages.iter().map(|package| (package.name.to_string(), named(package))).collect()
}

fn planned(plan: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    plan.iter()
        .map(|(name, named)| ((*name).to_owned(), named.iter().map(|&name| name.to_owned()).collect()))
        .collect()
}

#[test]
fn crates_depend_on_each_other_only_along_the_star() {
    assert_eq!(edges(DependencyKind::Normal), planned(EDGES));
    assert!(edges(DependencyKind::Build).values().all(BTreeSet::is_empty));
}

#[test]
fn tests_name_other_crates_only_where_it_is_planned() {
    assert_eq!(edges(DependencyKind::Development), planned(DEV_EDGES));
}
