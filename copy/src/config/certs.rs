//! `certs.d`: which authorities a registry may be signed by, and which client certificate to show.
//!
//! ```text
//! $XDG_CONFIG_HOME/containers/certs.d/<host[:port]>/   the first directory that exists is the only one
//! /etc/containers/certs.d/<host[:port]>/
//! /etc/docker/certs.d/<host[:port]>/
//!     *.crt               authorities, trusted beside the system's
//!     name.cert name.key  a client certificate and its key, always in pairs
//! ```
//!
//! containers-certs.d(5)

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::Environment;

/// Largest certificate file: the whole bundle of a distribution is a quarter of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Where directories of certificates are looked for.
#[derive(Debug, Clone, Default)]
pub struct CertDirs {
    roots: Vec<PathBuf>,
}

/// What one directory holds.
#[derive(Debug, Default)]
pub struct Certs {
    /// PEM of each authority file.
    pub authorities: Vec<Vec<u8>>,
    /// PEM of the client certificate, with its key behind it.
    pub identity: Option<Vec<u8>>,
}

/// Why a directory of certificates is unusable.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// A file or the directory cannot be read.
    #[error("cannot read certificates from {path}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is too large to be a certificate.
    #[error("certificate file {path} is larger than {MAX_FILE_BYTES} bytes", path = .path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A certificate lacks its key, or a key its certificate.
    #[error("{path} lacks {missing}, its other half", path = .path.display())]
    Unpaired {
        /// The half that is there.
        path: PathBuf,
        /// The file that is not.
        missing: String,
    },
}

impl CertDirs {
    /// Looks where the environment says.
    pub fn new(environment: &Environment) -> Self {
        let user = environment.config.as_ref().map(|config| config.join("containers/certs.d"));
        let system = ["containers/certs.d", "docker/certs.d"].map(|name| environment.etc.join(name));
        Self { roots: user.into_iter().chain(system).collect() }
    }

    /// Returns the directory for `host[:port]`, as URLs write it: also one that is spelled with HTTPS's
    /// own port, as its reference may be.
    pub fn find(&self, authority: &str) -> Option<PathBuf> {
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let spelled = (!has_port).then(|| format!("{authority}:443"));
        let names = [Some(authority), spelled.as_deref()];
        let dirs =
            names.into_iter().flatten().flat_map(|name| self.roots.iter().map(move |root| root.join(name)));
        // What cannot be looked into is skipped: other users' directories are no concern of ours.
        dirs.into_iter().find(|dir: &PathBuf| dir.is_dir())
    }
}

impl Certs {
    /// Reads a directory. Of several client certificates the first by name is shown.
    pub fn read(directory: &Path) -> Result<Self, CertsError> {
        let failed = |source| CertsError::Read { path: directory.to_owned(), source };
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Self::default()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(failed)?.path());
        }
        names.sort();
        let mut certs = Self::default();
        for path in names {
            certs.take(&path)?;
        }
        Ok(certs)
    }

    fn take(&mut self, path: &Path) -> Result<(), CertsError> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => self.authorities.push(read_file(path)?),
            Some("cert") => {
                let key = other_half(path, "key")?;
                let pem = [read_file(path)?, b"\n".to_vec(), read_file(&key)?].concat();
                self.identity.get_or_insert(pem);
            }
            Some("key") => drop(other_half(path, "cert")?),
            _ => {}
        }
        Ok(())
    }
}

fn other_half(path: &Path, extension: &str) -> Result<PathBuf, CertsError> {
    let other = path.with_extension(extension);
    if other.exists() {
        return Ok(other);
    }
    let missing = other.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Err(CertsError::Unpaired { path: path.to_owned(), missing })
}

fn read_file(path: &Path) -> Result<Vec<u8>, CertsError> {
    let failed = |source| CertsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(CertsError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;

    use super::{CertDirs, Certs, CertsError};
    use crate::config::Environment;

    fn environment(dir: &Path) -> Environment {
        Environment { config: Some(dir.join("user")), etc: dir.join("etc"), ..Environment::default() }
    }

    #[test]
    fn the_first_directory_that_exists_is_the_only_one() {
        let dir = TempDir::new().unwrap();
        let docker = dir.path().join("etc/docker/certs.d/q.io:5000");
        let containers = dir.path().join("etc/containers/certs.d/q.io:5000");
        fs::create_dir_all(&docker).unwrap();
        let dirs = CertDirs::new(&environment(dir.path()));
        assert_eq!(dirs.find("q.io:5000"), Some(docker));
        fs::create_dir_all(&containers).unwrap();
        assert_eq!(dirs.find("q.io:5000"), Some(containers));
        assert_eq!(dirs.find("q.io"), None);
    }

    #[test]
    fn a_directory_may_be_spelled_with_the_port_that_https_has_anyway() {
        let dir = TempDir::new().unwrap();
        let [bare, spelled] =
            ["q.io", "q.io:443"].map(|name| dir.path().join("etc/docker/certs.d").join(name));
        fs::create_dir_all(&spelled).unwrap();
        let dirs = CertDirs::new(&environment(dir.path()));
        assert_eq!(dirs.find("q.io"), Some(spelled));
        fs::create_dir_all(&bare).unwrap();
        assert_eq!(dirs.find("q.io"), Some(bare));
        assert_eq!(dirs.find("[::1]"), None);
    }

    #[test]
    fn authorities_and_a_pair_are_read_and_the_rest_is_not() {
        let dir = TempDir::new().unwrap();
        for (name, text) in [("a.crt", "A"), ("b.crt", "B"), ("c.cert", "C"), ("c.key", "K"), ("x.txt", "X")]
        {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let certs = Certs::read(dir.path()).unwrap();
        assert_eq!(certs.authorities, [b"A", b"B"]);
        assert_eq!(certs.identity.as_deref(), Some(&b"C\nK"[..]));
    }

    #[test]
    fn half_a_pair_is_refused_by_name() {
        for (half, other) in [("c.cert", "c.key"), ("c.key", "c.cert")] {
            let dir = TempDir::new().unwrap();
            fs::write(dir.path().join(half), "").unwrap();
            let error = Certs::read(dir.path()).unwrap_err();
            assert!(matches!(&error, CertsError::Unpaired { missing, .. } if missing == other), "{error}");
        }
    }
}
