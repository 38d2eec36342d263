/// Reads a line as the arguments of every instruction that takes the JSON form.
///
/// What JSON takes for an array of strings is the exec form of those strings, and no other array is.
///
/// Included where `dockerfile` names the module under test.
fn exercise_json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // One line; a `\` at its end would continue it.
    let line = text.replace(['\n', '\r'], " ");
    let line = line.trim_end_matches(['\\', ' ', '\t']);
    for head in ["ADD", "CMD", "COPY", "ENTRYPOINT", "HEALTHCHECK CMD", "ONBUILD RUN", "SHELL", "VOLUME"] {
        let _ = dockerfile::parse(&format!("FROM a\n{head} {line}\n"));
    }
    let strings: Option<Vec<String>> =
        line.starts_with('[').then(|| serde_json::from_str(line).ok()).flatten();
    let source = format!("FROM a\nRUN {line}\n");
    let Ok(file) = dockerfile::parse(&source) else {
        assert!(strings.is_none(), "{source}");
        return;
    };
    let Some(dockerfile::Instruction::Run(run)) = file.statements.last().map(|last| &last.instruction) else {
        return;
    };
    match (&run.command, strings) {
        (dockerfile::ast::ShellOrExec::Exec(words), Some(strings)) => {
            assert!(words.iter().map(|word| &word.text).eq(&strings), "{source}");
        }
        (dockerfile::ast::ShellOrExec::Exec(words), None) => {
            assert!(words.iter().all(|word| source.get(word.span.range()).is_some()));
        }
        (dockerfile::ast::ShellOrExec::Shell(..), strings) => assert!(strings.is_none(), "{source}"),
    }
}
