//! Patterns of ignore files, `--exclude` and `--parents`: what is pruned holds nothing that is wanted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oxbox_builder::context::Ignore;
use oxbox_builder::context::glob::Glob;
use oxbox_builder::context::ignore::Matched;

// The patterns, a NUL, a path.
fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|&byte| byte == 0) else { return };
    let (text, path) = (String::from_utf8_lossy(&data[..end]), &data[end + 1..]);
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).take(8).collect();
    if parts.is_empty() || parts.iter().any(|part| matches!(*part, b"." | b"..")) {
        return;
    }
    if let Ok(ignore) = Ignore::parse(&text) {
        judge(&ignore, &parts);
    }
    let patterns: Vec<String> = text.lines().map(str::to_owned).collect();
    if let Ok(exclude) = Ignore::of_patterns(&patterns) {
        judge(&exclude, &parts);
    }
    for pattern in &patterns {
        let globs = [Glob::ignore_pattern(pattern), Glob::copy_pattern(pattern)];
        for glob in globs.into_iter().flatten() {
            for end in 1..=parts.len() {
                if glob.matches(&parts[..end].join(&b'/')) {
                    (1..end).for_each(|end| assert!(glob.may_match_below(&parts[..end].join(&b'/'))));
                }
            }
        }
    }
});

/// Folder by folder comes to the same as the whole path, and what is pruned stays excluded below.
fn judge(ignore: &Ignore, parts: &[&[u8]]) {
    let (mut matched, mut is_pruned) = (Matched::default(), false);
    for end in 1..=parts.len() {
        let path = parts[..end].join(&b'/');
        let is_excluded;
        (is_excluded, matched) = ignore.judge(&matched, &path);
        assert_eq!(is_excluded, ignore.excludes(&path));
        assert!(is_excluded || !is_pruned);
        is_pruned |= ignore.prunes(&path);
    }
}
