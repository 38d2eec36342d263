/// Reads an ignore file, up to the first zero byte, and asks it about the path after that.
///
/// A folder that need not be looked into has nothing below it that is not ignored.
///
/// Included where `context` names the module under test.
fn exercise_ignore(bytes: &[u8]) {
    let (patterns, path) = match bytes.iter().position(|&byte| byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &b"a/b.md/c"[..]),
    };
    let Ok(text) = std::str::from_utf8(patterns) else { return };
    let Ok(ignore) = context::Ignore::parse(text) else { return };
    // Relative and clean, as a walk of the context makes them.
    let parts: Vec<&[u8]> = path
        .split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty() && *part != b"." && *part != b"..")
        .take(32)
        .collect();
    for length in 1..=parts.len() {
        let path = parts[..length].join(&b'/');
        for folder in 1..length {
            if ignore.prunes(&parts[..folder].join(&b'/')) {
                assert!(ignore.excludes(&path), "{path:?}");
            }
        }
        ignore.excludes(&path);
    }
}
