/// Checks a parsed file and renders all that can be said of it.
fn exercise_lint(file: &dockerfile::File, text: &str) {
    let options = plan::Options::default();
    let ignore = context::Ignore::default();
    let base = |_: &oxbox_layers::oci::Reference, platform: &oxbox_layers::oci::Platform| {
        Some(oxbox_layers::oci::Config::scratch(platform))
    };
    for stages in [lint::Stages::All, lint::Stages::Target] {
        let context = lint::Context { options: &options, ignore: &ignore, base: &base, stages };
        let Ok(checked) = lint::check(file, &context) else { return };
        for finding in checked.findings.iter().take(20) {
            assert!(text.get(finding.span.range()).is_some());
            assert!(!finding.render("Dockerfile", text).is_empty());
        }
        assert_eq!(lint::report(&checked.findings, "Dockerfile", text).warnings.len(), checked.findings.len());
        lint::sarif(&checked.findings, "Dockerfile", text);
        lint::outline(file, "Dockerfile", text, &context).expect("because the default target is always there");
    }
    assert!(!lint::targets(file, "Dockerfile", text).targets.is_empty());
}
