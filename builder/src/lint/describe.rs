//! Comments that describe what stands below them.
//!
//! ```text
//! # release builds the stripped binary
//! FROM base AS release
//! # VERSION what the binary says of itself
//! ARG VERSION=dev
//! ```

/// Returns what a comment line that begins with this name says of it.
pub(super) fn description(comments: &[String], name: &str) -> Option<String> {
    comments.iter().find_map(|comment| {
        let said = comment.strip_prefix(name)?.strip_prefix(char::is_whitespace)?.trim();
        (!said.is_empty()).then(|| said.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::description;

    #[test]
    fn a_comment_describes_what_it_begins_with() {
        let comments = ["other thing".to_owned(), "a  what it is ".to_owned()];
        assert_eq!(description(&comments, "a").as_deref(), Some("what it is"));
        assert_eq!(description(&comments, "oth"), None);
        assert_eq!(description(&["a".to_owned()], "a"), None);
    }
}
