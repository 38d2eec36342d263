//! Errors as people see them, and the only place that prints one.
//!
//! ```text
//! error: image bsuybox:latest is not in the local store
//!   cause: …                                    one line for each error beneath, outermost first
//!   hint: there is busybox:latest               how to mend it, where that is known
//! ```
//!
//! Exit codes: 1 failed, 2 not understood, 130 interrupted.

mod chain;
mod hint;

use std::io::{Write as _, stderr};
use std::process::ExitCode;

use oxbox_builder::BuildError;

use crate::command::Irreproducible;
use crate::output::clean;

/// Prints an error, its causes and its hint; returns the exit code that it stands for.
pub(crate) fn print(error: &anyhow::Error) -> ExitCode {
    // Whoever closed standard error does not want to know.
    let _ = stderr().lock().write_all(render(error).as_bytes());
    ExitCode::from(hint::code(error))
}

/// Returns an error and its causes as one line, for those who have room for no more.
pub(crate) fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    let mut links: Vec<String> = chain::links(error).map(ToString::to_string).collect();
    links.dedup();
    clean(&links.join(": "))
}

fn render(error: &anyhow::Error) -> String {
    // The builder has shown these in their place already, with causes and hints.
    if let Some(BuildError::Dockerfile { rendered } | BuildError::Base { rendered }) = error.downcast_ref() {
        return rendered.lines().map(|line| format!("{}\n", clean(line))).collect();
    }
    if let Some(Irreproducible { lines }) = error.downcast_ref() {
        let lines = lines.iter().map(|line| format!("  {}\n", clean(line)));
        return format!("error: {error}\n{}", lines.collect::<String>());
    }
    let mut lines = Vec::new();
    for (depth, layer) in chain::links(error.as_ref()).enumerate() {
        let label = if depth == 0 { "error: " } else { "  cause: " };
        let text = format!("{label}{}\n", clean(&layer.to_string()));
        // Errors that pass another one on say the same twice.
        if lines.last().is_none_or(|last: &String| words(last) != words(&text)) {
            lines.push(text);
        }
    }
    for hint in hint::of(error) {
        let indented = hint.lines().collect::<Vec<_>>().join("\n        ");
        lines.push(format!("  hint: {indented}\n"));
    }
    lines.concat()
}

fn words(line: &str) -> &str {
    line.split_once(": ").map_or(line, |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::Reference;

    use super::render;
    use crate::local::LocalError;

    #[test]
    fn causes_follow_the_error_and_hints_come_last() {
        let source = "a/../b".parse::<Reference>().unwrap_err();
        let error = anyhow::Error::from(LocalError::Name { text: "a/../b".to_owned(), source });
        assert_eq!(
            render(&error),
            "error: \"a/../b\" is not the name of an image\n  cause: \"a/../b\" is not a repository name \
             (lowercase letters, digits and single . _ - between them)\n"
        );
    }

    #[test]
    fn similar_names_are_a_hint() {
        let similar = vec!["busybox:latest".to_owned()];
        let error = anyhow::Error::from(LocalError::Missing { name: "bsuybox:latest".to_owned(), similar });
        assert!(render(&error).ends_with("\n  hint: there is busybox:latest\n"), "{}", render(&error));
    }
}
