/// Runs all that reads a Dockerfile over `bytes` and checks what must always hold.
///
/// Included, with `lint.rs` and `plan.rs`, where `context`, `dockerfile`, `lint` and `plan` name the modules under test.
fn exercise(bytes: &[u8]) {
    let Ok(text) = dockerfile::decode(bytes) else { return };
    match dockerfile::parse(text) {
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            assert!(!errors.render("Dockerfile", text).is_empty());
        }
        Ok(file) => {
            exercise_plan(&file, text);
            exercise_lint(&file, text);
            let printed = dockerfile::print(&file);
            // A printed file may be larger than its source, and then too large to be read.
            if printed.len() <= dockerfile::MAX_FILE_BYTES {
                let again = dockerfile::parse(&printed).expect("because what is printed parses");
                assert_eq!(dockerfile::print(&again), printed);
            }
            for statement in &file.statements {
                assert!(text.get(statement.span.range()).is_some());
                assert!(text.get(statement.keyword.span.range()).is_some());
                // A trigger is recorded as text and must then be readable as one.
                if let dockerfile::Instruction::Onbuild(onbuild) = &statement.instruction
                    && file.directives.escape == dockerfile::ast::Escape::Backslash
                {
                    let _ = dockerfile::parse_trigger(&onbuild.trigger.expression());
                }
            }
        }
    }
    let lookup = |name: &str| if name.len().is_multiple_of(2) { Some("a b/c") } else { None };
    for escape in [dockerfile::ast::Escape::Backslash, dockerfile::ast::Escape::Backtick] {
        for result in [
            dockerfile::word::expand(text, escape, &lookup).err(),
            dockerfile::word::expand_raw(text, &lookup).err(),
            dockerfile::word::expand_words(text, escape, &lookup).err(),
        ] {
            assert!(result.is_none_or(|error| text.get(error.at).is_some()));
        }
    }
}
