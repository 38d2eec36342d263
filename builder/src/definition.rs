//! The Dockerfile of a build, read and parsed, with the ignore file that goes with it.
//!
//! What it means is the plan's, and what deserves a look in it the lint's.

use std::path::{Path, PathBuf};

use crate::build::BuildError;
use crate::context::Ignore;
use crate::context::find::{self, Reach};
use crate::dockerfile::{self, File};

/// A Dockerfile and its ignore file.
#[derive(Debug)]
pub struct Definition {
    /// Where the Dockerfile is.
    pub path: PathBuf,
    /// What messages call it.
    pub name: String,
    /// Its text.
    pub text: String,
    /// What it says.
    pub file: File,
    /// What nobody sees of the context.
    pub ignore: Ignore,
}

/// What is special about where a definition comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// How far names reach.
    pub reach: Reach,
    /// A Dockerfile that neither the context nor the machine knows by name: from standard input, from a URL.
    pub given: Option<Given>,
}

/// A Dockerfile that was set aside.
#[derive(Debug, Clone)]
pub struct Given {
    /// Where it is now.
    pub path: PathBuf,
    /// What messages call it.
    pub name: String,
}

impl Definition {
    /// Reads the named Dockerfile, or that of the context, and its ignore file, named or not.
    ///
    /// # Errors
    ///
    /// [`Find`](BuildError::Find) if a file is missing or unreadable, [`Dockerfile`](BuildError::Dockerfile)
    /// if it cannot be parsed.
    pub fn read(
        context: &Path,
        named: Option<&Path>,
        ignore: Option<&Path>,
        origin: &Origin,
    ) -> Result<Definition, BuildError> {
        let reach = origin.reach;
        let (path, name, bytes) = match &origin.given {
            Some(Given { path, name }) => {
                (path.clone(), name.clone(), find::read_dockerfile(context, path, Reach::Machine)?)
            }
            None => {
                let path = find::dockerfile(context, named, reach)?;
                let shown = match reach {
                    Reach::Machine => path.as_path(),
                    Reach::Context => path.strip_prefix(context).unwrap_or(&path),
                };
                let name = shown.display().to_string();
                let bytes = find::read_dockerfile(context, &path, reach)?;
                (path, name, bytes)
            }
        };
        let ignore = find::ignore(context, &path, ignore, reach)?;
        let text = dockerfile::decode(&bytes).map_err(|error| BuildError::Dockerfile {
            rendered: error.render(&name, &String::from_utf8_lossy(&bytes)),
        })?;
        let file = dockerfile::parse(text)
            .map_err(|errors| BuildError::Dockerfile { rendered: errors.render(&name, text) })?;
        Ok(Definition { path, name, text: text.to_owned(), file, ignore })
    }
}
