//! `.dockerignore` and `--exclude`: which files of a tree nobody sees.
//!
//! ```text
//! # comment          node_modules          *.md          !README.md          docs/**/draft-*
//! ```
//!
//! The last pattern that matches a path or one of its parents decides; `!` takes back. Patterns are
//! cleaned like paths, `*` and `?` stop at slashes, `**` does not. gitignore is another language: there
//! a pattern without a slash matches at any depth, here it does not.
//!
//! A finer point, as in Docker's matcher: a pattern that had nothing to say of a directory, because what
//! it would say was so already, does not speak by that directory for what is below. `a`, `!a/b`, `a`
//! leaves `a/b` visible.
//!
//! Docker documentation, "Build context", section ".dockerignore files"

use super::glob::{Glob, GlobError};

/// Largest ignore file that is read. Real ones have a few kilobytes.
pub const MAX_IGNORE_BYTES: u64 = 1024 * 1024;

/// The patterns of one ignore file or of one instruction's `--exclude`, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    glob: Glob,
    takes_back: bool,
}

/// Which patterns matched a directory or one above it: where judging what is in it goes on.
#[derive(Debug, Clone, Default)]
pub struct Matched(Vec<bool>);

/// A line that is not a pattern.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the ignore file is not a pattern")]
pub struct IgnoreError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong with it.
    #[source]
    pub source: GlobError,
}

/// An `--exclude` that is not a pattern.
#[derive(Debug, thiserror::Error)]
#[error("{pattern:?} is not a pattern")]
pub struct ExcludeError {
    /// As written.
    pub pattern: String,
    /// What is wrong with it.
    #[source]
    pub source: GlobError,
}

impl Ignore {
    /// Reads an ignore file.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let rule = Rule::of_line(line.trim());
            rules.push(rule.map_err(|source| IgnoreError { line: number + 1, source })?);
        }
        Ok(Self { rules })
    }

    /// Reads the patterns of `--exclude`. An ignore file drops a slash at the start of a line; here it
    /// stays, as in BuildKit, and matches nothing.
    pub fn of_patterns(patterns: &[String]) -> Result<Self, ExcludeError> {
        let mut rules = Vec::new();
        for pattern in patterns.iter().filter(|pattern| !pattern.trim().is_empty()) {
            let rule = Rule::of_clean(&clean(pattern.trim()));
            rules.push(rule.map_err(|source| ExcludeError { pattern: pattern.clone(), source })?);
        }
        Ok(Self { rules })
    }

    /// Whether nothing at all is ignored.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the path (relative, clean) is ignored.
    pub fn excludes(&self, path: &[u8]) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let mut matched = Matched(vec![false; self.rules.len()]);
        let borders = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        borders.chain([path.len()]).fold(false, |_, end| self.go_on(&mut matched, &path[..end]))
    }

    /// Does as [`excludes`](Self::excludes) for a path right below a directory whose own `matched` is
    /// known (the default at the root), and returns the path's.
    pub fn judge(&self, matched: &Matched, path: &[u8]) -> (bool, Matched) {
        let mut matched = matched.clone();
        matched.0.resize(self.rules.len(), false);
        let is_excluded = self.go_on(&mut matched, path);
        (is_excluded, matched)
    }

    /// Returns which patterns match a directory or one above it, to [`judge`](Self::judge) what is in it.
    pub fn matched(&self, directory: &[u8]) -> Matched {
        let mut matched = Matched(vec![false; self.rules.len()]);
        let borders = directory.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in borders.chain([directory.len()]).filter(|end| *end > 0) {
            self.go_on(&mut matched, &directory[..end]);
        }
        matched
    }

    /// Whether nothing below an ignored directory can be taken back, so that it need not be read.
    pub fn prunes(&self, directory: &[u8]) -> bool {
        self.excludes(directory) && !self.may_take_back_below(directory)
    }

    /// Whether a pattern with `!` could match something below a directory; says yes too often, never no.
    pub fn may_take_back_below(&self, directory: &[u8]) -> bool {
        self.rules.iter().any(|rule| rule.takes_back && rule.glob.may_match_below(directory))
    }

    fn go_on(&self, matched: &mut Matched, path: &[u8]) -> bool {
        let mut is_excluded = false;
        for (rule, matched) in self.rules.iter().zip(&mut matched.0) {
            // What a pattern would say is asked only where it would change something.
            *matched = *matched || (rule.takes_back == is_excluded && rule.glob.matches(path));
            if *matched {
                is_excluded = !rule.takes_back;
            }
        }
        is_excluded
    }
}

impl Rule {
    fn of_line(line: &str) -> Result<Self, GlobError> {
        let (takes_back, pattern) = match line.strip_prefix('!') {
            Some("") => return Err(GlobError::Empty),
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        let clean = clean(pattern);
        let relative = clean.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&clean);
        Ok(Self { glob: Glob::ignore_pattern(relative)?, takes_back })
    }

    fn of_clean(pattern: &str) -> Result<Self, GlobError> {
        let (takes_back, pattern) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        Ok(Self { glob: Glob::ignore_pattern(pattern)?, takes_back })
    }
}

/// What Go's `filepath.Clean` makes of a path.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::{Ignore, Matched, clean};

    fn excluded(patterns: &[&str], path: &str) -> bool {
        Ignore::parse(&patterns.join("\n")).unwrap().excludes(path.as_bytes())
    }

    #[test]
    fn patterns_match_as_documented() {
        for (pattern, path, expected) in [
            ("a", "a", true),
            ("a", "b/a", false),
            ("a", "a/b/c", true),
            ("/a", "a", true),
            ("a/", "a", true),
            ("./a//b/", "a/b", true),
            ("x/../a", "a", true),
            ("*", "a", true),
            ("*", ".hidden", true),
            ("*/b", "a/b", true),
            ("*/b", "a/c/b", false),
            ("a?", "ab", true),
            ("a?", "a/", false),
            ("*.md", "x.md", true),
            ("*.md", "d/x.md", false),
            ("**.md", "d/e/x.md", true),
            ("**/*.md", "x.md", true),
            ("**/*.md", "d/e/x.md", true),
            ("**/b", "b", true),
            ("**/b", "ab", false),
            ("a/**", "a/b", true),
            ("a/**", "a", false),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**/c", "ac", false),
            ("a**/c", "ab/d/c", true),
            ("a**/c", "ac", true),
            ("**", "a/b", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a.b", "axb", false),
            ("a$b", "a$b", true),
            // The matcher's own oddities: a class may be a slash, and ** before a name means any end of
            // a path only if nothing else is special behind it.
            ("a[/]b", "a/b", true),
            ("a[^x]b", "a/b", true),
            ("**.m?", "x.md", false),
            ("**.m?", ".md", true),
            ("**.m?", "x/.md", true),
            ("**b", "ab", true),
            ("**b*", "ab", false),
            ("**b*", "d/bc", true),
        ] {
            assert_eq!(excluded(&[pattern], path), expected, "{pattern:?} on {path:?}");
        }
    }

    #[test]
    fn a_name_is_judged_alike_alone_and_below_its_directory() {
        let patterns = ["*", "!a", "a/b/*.log", "!a/**/keep.log", "**/x", "!**/x/y", "é*", "[^a]/b"];
        for length in 0..=patterns.len() {
            let ignore = Ignore::parse(&patterns[..length].join("\n")).unwrap();
            for path in
                ["a", "b", "a/b", "a/b/c.log", "a/b/keep.log", "a/x", "a/x/y", "a/x/z", "x/y", "é/b", "b/b"]
            {
                let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                let (below, _) = ignore.judge(&ignore.matched(directory.as_bytes()), path.as_bytes());
                assert_eq!(below, ignore.excludes(path.as_bytes()), "{path} with {length}");
            }
        }
    }

    #[test]
    fn the_last_match_decides() {
        let patterns = ["*", "!keep", "keep/secret"];
        assert!(excluded(&patterns, "other"));
        assert!(!excluded(&patterns, "keep/file"));
        assert!(excluded(&patterns, "keep/secret"));
        assert!(excluded(&["!a", "a"], "a"));
    }

    #[test]
    fn a_pattern_that_was_not_asked_about_a_folder_does_not_speak_by_it() {
        assert!(!excluded(&["a", "!a/b", "a"], "a/b"));
        assert!(excluded(&["a", "!a/b", "a/b"], "a/b"));
        assert!(!excluded(&["!a", "a/b", "!a"], "a/c"));
    }

    #[test]
    fn judging_folder_by_folder_is_judging_the_whole_path() {
        for patterns in [&["a", "!a/b", "a"][..], &["*", "!a", "a/*/c"], &["**/c", "!**/b/c"], &[]] {
            let ignore = Ignore::parse(&patterns.join("\n")).unwrap();
            let mut matched = Matched::default();
            for path in ["a", "a/b", "a/b/c"] {
                let excluded;
                (excluded, matched) = ignore.judge(&matched, path.as_bytes());
                assert_eq!(excluded, ignore.excludes(path.as_bytes()), "{patterns:?} on {path}");
            }
        }
    }

    #[test]
    fn an_excludes_leading_slash_matches_nothing_and_its_end_is_cleaned() {
        let excludes = |pattern: &str, path: &str| {
            Ignore::of_patterns(&[pattern.to_owned()]).unwrap().excludes(path.as_bytes())
        };
        assert!(!excludes("/a", "a"));
        assert!(excludes(" ./a/ ", "a/b"));
        assert!(!excludes("#a", "a") && excludes("#a", "#a"));
        assert!(!excludes("", "a"));
        for broken in ["[", "!", "a\\"] {
            let error = Ignore::of_patterns(&[broken.to_owned()]).unwrap_err();
            assert_eq!(error.pattern, broken);
        }
    }

    #[test]
    fn what_is_below_an_ignored_folder_can_be_taken_back() {
        let patterns = ["node_modules", "!node_modules/keep"];
        assert!(excluded(&patterns, "node_modules/x"));
        assert!(!excluded(&patterns, "node_modules/keep/y"));
    }

    #[test]
    fn a_folder_is_pruned_only_if_nothing_below_can_come_back() {
        let ignore = |text: &str| Ignore::parse(text).unwrap();
        assert!(ignore("a").prunes(b"a"));
        assert!(ignore("a\n!b/c").prunes(b"a"));
        assert!(!ignore("a\n!a/b").prunes(b"a"));
        assert!(!ignore("a\n!**/b").prunes(b"a"));
        assert!(!ignore("a\n!*/b").prunes(b"a"));
        assert!(!ignore("b").prunes(b"a"));
    }

    #[test]
    fn comments_blanks_and_a_byte_order_mark_are_skipped() {
        let text = "\u{feff}# first\n\n  \n  a  \r\n #b\n";
        let ignore = Ignore::parse(text).unwrap();
        assert!(ignore.excludes(b"a"));
        assert!(ignore.excludes(b"#b"));
        assert!(!ignore.excludes(b"# first"));
    }

    #[test]
    fn a_broken_pattern_says_its_line() {
        assert_eq!(Ignore::parse("a\n[").unwrap_err().line, 2);
        assert_eq!(Ignore::parse("!").unwrap_err().line, 1);
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, expected) in
            [("", "."), ("a/./b/../c", "a/c"), ("../a", "../a"), ("/../a", "/a"), ("a//", "a"), ("/", "/")]
        {
            assert_eq!(clean(path), expected, "{path:?}");
        }
    }
}
