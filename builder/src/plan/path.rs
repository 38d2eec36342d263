//! Paths of an image as text: cleaned and joined without looking at any file.

/// Returns an absolute path without `.`, `..`, double or trailing slashes.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Returns `path` as seen from `directory`, absolute and clean.
pub(super) fn join(directory: &str, path: &str) -> String {
    if path.starts_with('/') { clean(path) } else { clean(&format!("{directory}/{path}")) }
}

/// Returns where a COPY goes: absolute and clean, but with a trailing slash if it means "into".
///
/// An empty destination is the working directory.
pub(super) fn destination(directory: &str, path: &str) -> String {
    let mut joined = join(directory, path);
    let into = matches!(path, "" | "." | "..") || ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    if into && joined != "/" {
        joined.push('/');
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::{clean, destination, join};

    #[test]
    fn nothing_leads_above_the_root() {
        assert_eq!(clean("/a/../../b//./c/"), "/b/c");
        assert_eq!(clean(""), "/");
    }

    #[test]
    fn a_relative_path_is_joined_and_an_absolute_one_is_not() {
        assert_eq!(join("/a", "b"), "/a/b");
        assert_eq!(join("/a", "/b/"), "/b");
        assert_eq!(join("/a", "../.."), "/");
    }

    #[test]
    fn a_destination_keeps_saying_into() {
        for (path, wanted) in
            [("b", "/a/b"), ("b/", "/a/b/"), (".", "/a/"), ("", "/a/"), ("/", "/"), ("/b/.", "/b/")]
        {
            assert_eq!(destination("/a", path), wanted, "{path:?}");
        }
    }
}
