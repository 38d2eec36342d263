//! Which Dockerfile and which ignore file a build means.
//!
//! ```text
//! folder of this machine      names are looked for where we are, then in the folder; links lead anywhere
//! brought from elsewhere      names are looked for in the folder alone, and links end at its root
//! ```

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxbox_layers::tar::Kind;

use super::Directory;
use super::ignore::{Ignore, IgnoreError, MAX_IGNORE_BYTES};
use super::tree::{FileTree as _, Last, resolve};

/// Largest Dockerfile that is read: the parser's own bound is smaller, and says so better.
const MAX_DOCKERFILE_BYTES: u64 = 16 << 20;

/// Names that are looked for in the context, in this order.
const DEFAULT_NAMES: [&str; 2] = ["Containerfile", "Dockerfile"];

/// Why there is no Dockerfile or ignore file to use.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The context has neither.
    #[error("there is no Containerfile or Dockerfile in {context}")]
    NoDockerfile {
        /// The context.
        context: String,
        /// The first names that it holds instead.
        there: Vec<String>,
    },
    /// The context does not have the one that was named.
    #[error("there is no {} in {context}", .name.display())]
    NotThere {
        /// Which.
        name: PathBuf,
        /// The context.
        context: String,
        /// The first names that it holds instead.
        there: Vec<String>,
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

/// How far the names of a build's own files reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// The context is a folder of this machine, whose owner asks.
    #[default]
    Machine,
    /// The context was brought here: whoever made it may see nothing else.
    Context,
}

/// Names that a message lists.
const MAX_LISTED: usize = 10;

/// Returns the Dockerfile's path: the named one, relative to the working directory or else to the
/// context, or the one that the context holds.
pub fn dockerfile(context: &Path, named: Option<&Path>, reach: Reach) -> Result<PathBuf, FindError> {
    let place = || match reach {
        Reach::Machine => context.display().to_string(),
        Reach::Context => "the context".to_owned(),
    };
    match (named, reach) {
        (Some(named), Reach::Machine) => {
            let candidates = [named.to_owned(), context.join(named)];
            Ok(candidates.iter().find(|path| path.exists()).unwrap_or(&candidates[0]).clone())
        }
        (Some(named), Reach::Context) if within(context, named).is_none() => {
            Err(FindError::NotThere { name: named.to_owned(), context: place(), there: list(context) })
        }
        (Some(named), Reach::Context) => Ok(context.join(named.strip_prefix("/").unwrap_or(named))),
        (None, _) => {
            let found = DEFAULT_NAMES.iter().map(|name| context.join(name));
            let found = found.into_iter().find(|path| seen(context, path, reach).is_some());
            found.ok_or_else(|| FindError::NoDockerfile { context: place(), there: list(context) })
        }
    }
}

/// Returns where a file is that is called so, if it is one.
fn seen(context: &Path, path: &Path, reach: Reach) -> Option<PathBuf> {
    match reach {
        Reach::Machine => path.is_file().then(|| path.to_owned()),
        Reach::Context => within(context, path.strip_prefix(context).ok()?),
    }
}

/// Returns the path of a file below a context without links on the way; none leads out.
fn within(context: &Path, name: &Path) -> Option<PathBuf> {
    let tree = Arc::new(Directory::open(context, Ignore::default()).ok()?).look();
    let path = resolve(&tree, name.as_os_str().as_bytes(), Last::Follow).ok()?;
    let node = tree.node(&path).ok()??;
    matches!(node.entry.kind, Kind::File { .. }).then(|| context.join(OsStr::from_bytes(&path)))
}

/// Returns the first names of a folder, in their order.
fn list(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names.truncate(MAX_LISTED);
    names
}

/// Reads the bytes of the Dockerfile at a path that [`dockerfile`] returned.
pub fn read_dockerfile(context: &Path, path: &Path, reach: Reach) -> Result<Vec<u8>, FindError> {
    let found = seen(context, path, reach);
    read(found.as_deref().unwrap_or(path), MAX_DOCKERFILE_BYTES)
}

/// Reads the ignore file of a build: the named one, else the Dockerfile's own, else the context's.
pub fn ignore(
    context: &Path,
    dockerfile: &Path,
    named: Option<&Path>,
    reach: Reach,
) -> Result<Ignore, FindError> {
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
        .find_map(|path| seen(context, &path, reach)),
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
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::{FindError, Reach, dockerfile, ignore, read_dockerfile};

    #[test]
    fn a_containerfile_comes_before_a_dockerfile() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            dockerfile(folder.path(), None, Reach::Machine),
            Err(FindError::NoDockerfile { .. })
        ));
        fs::write(folder.path().join("Dockerfile"), "").unwrap();
        assert!(dockerfile(folder.path(), None, Reach::Machine).unwrap().ends_with("Dockerfile"));
        fs::write(folder.path().join("Containerfile"), "").unwrap();
        assert!(dockerfile(folder.path(), None, Reach::Machine).unwrap().ends_with("Containerfile"));
    }

    #[test]
    fn a_named_file_may_be_relative_to_the_context() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("other"), "").unwrap();
        assert_eq!(
            dockerfile(folder.path(), Some(Path::new("other")), Reach::Machine).unwrap(),
            folder.path().join("other")
        );
    }

    #[test]
    fn the_dockerfiles_own_ignore_file_comes_before_the_contexts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.Dockerfile");
        let excludes =
            |path: &[u8]| ignore(folder.path(), &file, None, Reach::Machine).unwrap().excludes(path);
        assert!(!excludes(b"a"));
        fs::write(folder.path().join(".dockerignore"), "a").unwrap();
        assert!(excludes(b"a"));
        fs::write(folder.path().join("app.Dockerfile.dockerignore"), "b").unwrap();
        assert!(excludes(b"b") && !excludes(b"a"));
    }

    #[test]
    fn a_context_from_elsewhere_shows_nothing_of_this_machine() {
        let (folder, secret) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        fs::write(secret.path(), "FROM secret").unwrap();
        let (context, at) = (folder.path(), |name: &str| folder.path().join(name));
        symlink(secret.path(), at("Dockerfile")).unwrap();
        symlink(secret.path(), at(".dockerignore")).unwrap();
        let found = |named: Option<&Path>| dockerfile(context, named, Reach::Context);
        let Err(FindError::NoDockerfile { there, .. }) = found(None) else { panic!() };
        assert_eq!(there, [".dockerignore", "Dockerfile"]);
        for named in [secret.path(), Path::new("../x"), Path::new("Dockerfile")] {
            assert!(matches!(found(Some(named)), Err(FindError::NotThere { .. })), "{named:?}");
        }
        let excludes = ignore(context, &at("Dockerfile"), None, Reach::Context).unwrap();
        assert!(!excludes.excludes(b"FROM secret"));
        // Links within it are what they are.
        fs::create_dir(at("docker")).unwrap();
        fs::write(at("docker/real"), "FROM scratch").unwrap();
        symlink("/docker/real", at("Containerfile")).unwrap();
        let path = found(None).unwrap();
        assert_eq!(read_dockerfile(context, &path, Reach::Context).unwrap(), b"FROM scratch");
        let path = found(Some(Path::new("./docker/../docker/real"))).unwrap();
        assert_eq!(read_dockerfile(context, &path, Reach::Context).unwrap(), b"FROM scratch");
    }
}
