//! `--secret`: what RUN may see and nothing keeps.
//!
//! ```text
//! id=token,src=FILE     id=token,env=VARIABLE     id=token              VARIABLE token, else the FILE token
//! id=token,type=env     id=token,type=env,src=VARIABLE                  as in buildx and buildah
//! ```
//!
//! Values are read once, when the build begins. A variable that is not set is a secret that was not given; a
//! file that is not there is an error, as in buildx.

use std::env;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use oxbox_builder::dockerfile::mount::fields;
use oxbox_builder::lent::{Secret, Secrets};

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    id: String,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Variable(String),
    /// The variable of the secret's own name, else the file.
    Own,
}

/// Why a secret cannot be used. Never says what it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The option has a part that is none.
    #[error("--secret has no {part:?} (id, src, env and type=file|env are its parts)")]
    Part {
        /// Its name, cut.
        part: String,
    },
    /// The option cannot be taken apart.
    #[error("--secret is not id=NAME,src=FILE or id=NAME,env=VARIABLE")]
    Form,
    /// The type is none.
    #[error("--secret cannot be of type {kind:?} (file and env can)")]
    Kind {
        /// The type, cut.
        kind: String,
    },
    /// There is nothing to know it by.
    #[error("--secret has no id")]
    Nameless,
    /// The file cannot be read.
    #[error("cannot read the secret {id:?} from {}", .path.display())]
    Read {
        /// Of which secret.
        id: String,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is too large.
    #[error("the secret {id:?} is larger than {limit} bytes")]
    Size {
        /// Which.
        id: String,
        /// How large it may be.
        limit: usize,
    },
}

/// Reads an option.
pub(super) fn parse(text: &str) -> Result<Given, SecretError> {
    let (mut id, mut source, mut variable, mut kind) = (None, None, None, None);
    for field in fields(text).ok_or(SecretError::Form)? {
        let (name, value) = field.split_once('=').ok_or(SecretError::Form)?;
        let value = Some(value.to_owned()).filter(|value| !value.is_empty());
        match name.to_ascii_lowercase().as_str() {
            "id" => id = value,
            "src" | "source" => source = value,
            "env" => variable = value,
            "type" => kind = value,
            _ => return Err(SecretError::Part { part: name.chars().take(40).collect() }),
        }
    }
    let id = id.ok_or(SecretError::Nameless)?;
    let place = match (kind.as_deref(), source, variable) {
        (None | Some("env"), _, Some(variable)) | (Some("env"), Some(variable), None) => {
            Place::Variable(variable)
        }
        (Some("env"), None, None) => Place::Variable(id.clone()),
        (None | Some("file"), Some(path), _) => Place::File(path.into()),
        (Some("file"), None, _) => Place::File(id.clone().into()),
        (None, None, None) => Place::Own,
        (Some(kind), _, _) => return Err(SecretError::Kind { kind: kind.chars().take(40).collect() }),
    };
    Ok(Given { id, place })
}

/// Reads the secrets themselves.
pub(super) fn read(given: &[Given]) -> Result<Secrets, SecretError> {
    let mut secrets = Vec::new();
    for Given { id, place } in given {
        let value = match place {
            Place::File(path) => Some(file(id, path)?),
            Place::Variable(name) => env::var_os(name).map(|value| value.into_vec()),
            Place::Own => match env::var_os(id) {
                Some(value) => Some(value.into_vec()),
                None => Some(file(id, &PathBuf::from(id))?),
            },
        };
        let Some(value) = value else { continue };
        if value.len() > Secret::MAX_BYTES {
            return Err(SecretError::Size { id: id.clone(), limit: Secret::MAX_BYTES });
        }
        secrets.push((id.clone(), Secret::new(value)));
    }
    Ok(secrets.into_iter().collect())
}

fn file(id: &str, path: &PathBuf) -> Result<Vec<u8>, SecretError> {
    let mut value = Vec::new();
    // One more than may be: then it is seen to be too large.
    let limit = Secret::MAX_BYTES as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut value));
    read.map_err(|source| SecretError::Read { id: id.to_owned(), path: path.clone(), source })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::{Given, Place, SecretError, parse, read};

    fn place(text: &str) -> Place {
        let Given { id, place } = parse(text).unwrap();
        assert_eq!(id, "t");
        place
    }

    #[test]
    fn secrets_are_written_as_in_buildx_and_buildah() {
        let variable = |name: &str| Place::Variable(name.to_owned());
        for (text, expected) in [
            ("id=t,src=/f", Place::File("/f".into())),
            ("type=file,id=t,source=f", Place::File("f".into())),
            ("id=t,type=file", Place::File("t".into())),
            ("\"id=t\",\"src=a,b\"", Place::File("a,b".into())),
            ("id=t,env=E", variable("E")),
            ("id=t,type=env,env=E", variable("E")),
            ("id=t,type=env,src=E", variable("E")),
            ("id=t,type=env", variable("t")),
            ("ID=t", Place::Own),
        ] {
            assert_eq!(place(text), expected, "{text}");
        }
    }

    #[test]
    fn nonsense_is_told_without_its_values() {
        for text in ["", "t", "id=", "src=/f", "id=t,sauce=hunter2", "id=t,type=hunter", "\"id=t"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_not_given_and_a_missing_file_is_an_error() {
        let unset = parse("id=t,env=OXBOX_SURELY_NOT_SET").unwrap();
        assert_eq!(read(&[unset]).unwrap().get("t"), None);
        let missing = parse("id=t,src=/surely/not/there").unwrap();
        assert!(matches!(read(&[missing]), Err(SecretError::Read { .. })));
        // Endless, so too large.
        let large = parse("id=t,src=/dev/zero").unwrap();
        assert!(matches!(read(&[large]), Err(SecretError::Size { .. })));
    }
}
