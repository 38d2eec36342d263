//! Which Dockerfile and which ignore file a build means.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::ignore::{Ignore, IgnoreError, MAX_IGNORE_BYTES};

/// Largest Dockerfile that is read: the parser's own bound is smaller, and says so better.
const MAX_DOCKERFILE_BYTES: u64 = 16 << 20;

/// Names that are looked for in the context, in this order.
const DEFAULT_NAMES: [&str; 2] = ["Containerfile", "Dockerfile"];

/// Why there is no Dockerfile or ignore file to use.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The context has neither.
    #[error("there is no Containerfile or Dockerfile in {}", .context.display())]
    NoDockerfile {
        /// The context.
        context: PathBuf,
    },
    /// A pattern of the ignore file is none.
    #[error("cannot use {}", .path.display())]
    Ignore {
        /// Which file.
        path: PathBuf,
        /// Which line, and why.
        #[source]
        source: IgnoreError,
    },
    /// A file is too large to be one.
    #[error("{} is larger than {limit} bytes", .path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// What is allowed.
        limit: u64,
    },
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Returns the Dockerfile's path: the named one, relative to the working directory or else to the
/// context, or the one that the context holds.
pub fn dockerfile(context: &Path, named: Option<&Path>) -> Result<PathBuf, FindError> {
    let found = match named {
        Some(named) => {
            let candidates = [named.to_owned(), context.join(named)];
            return Ok(candidates.iter().find(|path| path.exists()).unwrap_or(&candidates[0]).clone());
        }
        None => DEFAULT_NAMES.iter().map(|name| context.join(name)).find(|path| path.is_file()),
    };
    found.ok_or_else(|| FindError::NoDockerfile { context: context.to_owned() })
}

/// Reads a Dockerfile's bytes.
pub fn read_dockerfile(path: &Path) -> Result<Vec<u8>, FindError> {
    read(path, MAX_DOCKERFILE_BYTES)
}

/// Reads the ignore file of a build: the named one, else the Dockerfile's own, else the context's.
pub fn ignore(context: &Path, dockerfile: &Path, named: Option<&Path>) -> Result<Ignore, FindError> {
    let beside = |suffix: &str| {
        let mut name = dockerfile.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let path = match named {
        Some(named) => Some(named.to_owned()),
        None => [
            beside(".containerignore"),
            beside(".dockerignore"),
            context.join(".containerignore"),
            context.join(".dockerignore"),
        ]
        .into_iter()
        .find(|path| path.is_file()),
    };
    let Some(path) = path else { return Ok(Ignore::default()) };
    let text = read(&path, MAX_IGNORE_BYTES)?;
    Ignore::parse(&String::from_utf8_lossy(&text)).map_err(|source| FindError::Ignore { path, source })
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FindError> {
    let error = |source| FindError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(error)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > limit {
        return Err(FindError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{FindError, dockerfile, ignore};

    #[test]
    fn a_containerfile_comes_before_a_dockerfile() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(dockerfile(folder.path(), None), Err(FindError::NoDockerfile { .. })));
        fs::write(folder.path().join("Dockerfile"), "").unwrap();
        assert!(dockerfile(folder.path(), None).unwrap().ends_with("Dockerfile"));
        fs::write(folder.path().join("Containerfile"), "").unwrap();
        assert!(dockerfile(folder.path(), None).unwrap().ends_with("Containerfile"));
    }

    #[test]
    fn a_named_file_may_be_relative_to_the_context() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("other"), "").unwrap();
        assert_eq!(dockerfile(folder.path(), Some(Path::new("other"))).unwrap(), folder.path().join("other"));
    }

    #[test]
    fn the_dockerfiles_own_ignore_file_comes_before_the_contexts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.Dockerfile");
        let excludes = |path: &[u8]| ignore(folder.path(), &file, None).unwrap().excludes(path);
        assert!(!excludes(b"a"));
        fs::write(folder.path().join(".dockerignore"), "a").unwrap();
        assert!(excludes(b"a"));
        fs::write(folder.path().join("app.Dockerfile.dockerignore"), "b").unwrap();
        assert!(excludes(b"b") && !excludes(b"a"));
    }
}
