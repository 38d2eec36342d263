/// Reads an address as ADD and as a context do.
///
/// What is fetched has no fragment left, and a file's name leads nowhere else.
///
/// Included where `plan` names the module under test.
fn exercise_remote(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for found in [plan::remote::parse(text), plan::remote::parse_context(text)] {
        match found {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(None) => {}
            Ok(Some(plan::remote::Remote::Http { name, .. })) => {
                assert!(!name.contains(['/', '\0']) && !matches!(name.as_str(), "" | "." | ".."));
            }
            Ok(Some(plan::remote::Remote::Git(repository))) => {
                assert!(!repository.remote.contains(['#', '?']));
                let folder = repository.folder.unwrap_or_default();
                assert!(folder.split('/').all(|part| part != ".."));
                assert!(repository.reference.is_none_or(|reference| !reference.is_empty()));
            }
        }
    }
}
