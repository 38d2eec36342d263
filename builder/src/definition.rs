//! The Dockerfile of a build, read and parsed, with the ignore file that goes with it.
//!
//! What it means is the plan's, and what deserves a look in it the lint's.

use std::path::{Path, PathBuf};

use crate::build::BuildError;
use crate::context::{Ignore, find};
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
    ) -> Result<Definition, BuildError> {
        let path = find::dockerfile(context, named)?;
        let ignore = find::ignore(context, &path, ignore)?;
        let name = path.display().to_string();
        let bytes = find::read_dockerfile(&path)?;
        let text = dockerfile::decode(&bytes).map_err(|error| BuildError::Dockerfile {
            rendered: error.render(&name, &String::from_utf8_lossy(&bytes)),
        })?;
        let file = dockerfile::parse(text)
            .map_err(|errors| BuildError::Dockerfile { rendered: errors.render(&name, text) })?;
        Ok(Definition { path, name, text: text.to_owned(), file, ignore })
    }
}
