//! WORKDIR: the first of a stage should not depend on that of the base image, which may change.

use super::super::Rule;
use super::super::walk::{Base, State, Walk};
use crate::dockerfile::ast::Workdir;
use crate::dockerfile::{Statement, quote};

/// Mending the first mends those after it, so only it is told.
pub(super) fn of_statement(
    walk: &mut Walk<'_, '_>,
    state: &State<'_>,
    statement: &Statement,
    workdir: &Workdir,
) {
    let word = &workdir.path;
    if state.has_workdir {
        return;
    }
    let Some(expanded) = walk.variables(state).expand(&word.text) else { return };
    // What a base that is not at hand says of a variable may begin with a slash.
    let is_guess = state.base == Base::Unknown && !expanded.undefined.is_empty();
    if !is_guess && !is_absolute(&expanded.text, &walk.context.options.target_platform().os) {
        let message = format!("relative WORKDIR {} depends on that of the base image", quote(&expanded.text));
        walk.sink.report(Rule::WorkdirRelativePath, statement, word.span, message);
    }
}

/// Windows has drives, and slashes that lean either way.
fn is_absolute(path: &str, os: &str) -> bool {
    let path = match path.as_bytes() {
        [drive, b':', ..] if os == "windows" && drive.is_ascii_alphabetic() => &path[2..],
        _ => path,
    };
    path.starts_with('/') || (os == "windows" && path.starts_with('\\'))
}

#[cfg(test)]
mod tests {
    use super::is_absolute;

    #[test]
    fn drives_are_windows_alone() {
        assert!(
            is_absolute("/a", "linux") && is_absolute("c:\\a", "windows") && is_absolute("/a", "windows")
        );
        assert!(
            !is_absolute("c:\\a", "linux") && !is_absolute("c:a", "windows") && !is_absolute("", "linux")
        );
    }
}
