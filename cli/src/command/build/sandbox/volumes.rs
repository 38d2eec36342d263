//! What of the host every RUN sees: `--volume` and `--mount`, as in Buildah.
//!
//! ```text
//! -v HOST:TARGET[:ro,rw,O,z,Z,…]
//! --mount type=bind,src=HOST,target=TARGET[,ro|rw]      --mount type=tmpfs,target=TARGET[,tmpfs-size=SIZE]
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oxbox_builder::exec::{Access, Mount, Source};
use oxbox_builder::op::run;

use super::limits;

/// What is accepted and changes nothing: labels of SELinux are not set, mounts are always private, and never
/// with setuid or devices of their own.
const NO_MATTER: [&str; 17] = [
    "z",
    "Z",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "private",
    "rprivate",
    "unbindable",
    "runbindable",
    "bind",
    "rbind",
    "exec",
    "suid",
    "nodev",
    "delegated",
    "cached",
];

/// Why something of the host cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// The text has not the parts that it needs.
    #[error("{text:?} is not {form}")]
    Form {
        /// As it was written, cut.
        text: String,
        /// What is wanted.
        form: &'static str,
    },
    /// An option is none.
    #[error("{option:?} cannot be said of a volume")]
    Option {
        /// As it was written, cut.
        option: String,
    },
    /// The place would cover all or nothing.
    #[error("{target:?} is no place for a volume: it must be absolute, and below the root")]
    Target {
        /// As it was written, cut.
        target: String,
    },
    /// Only a directory can have another above it.
    #[error("{} is no directory, and only one can be shown with :O", .path.display())]
    NoFolder {
        /// Where.
        path: PathBuf,
    },
    /// What is asked for would change the host's files.
    #[error(
        "{option:?} would change owners on this machine, for good: change them yourself, or leave it out"
    )]
    Owner {
        /// As it was written.
        option: String,
    },
    /// The host has nothing there.
    #[error("cannot show {} to RUN", .path.display())]
    Source {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Something of the host, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    target: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Bind { path: PathBuf, access: Access },
    Over { path: PathBuf },
    Tmpfs { size_bytes: Option<u64> },
}

impl Volume {
    /// Returns what RUN is to see, once its source is there.
    pub(super) fn open(&self) -> Result<run::Volume, VolumeError> {
        let target = self.target.clone();
        let source = match &self.what {
            What::Tmpfs { size_bytes } => Source::Tmpfs { size_bytes: *size_bytes },
            What::Bind { path, access } => Source::Bind { path: found(path)?, access: *access },
            What::Over { path } => return Ok(run::Volume::Over { path: found_folder(path)?, target }),
        };
        Ok(run::Volume::Mounted(Mount { target, source }))
    }
}

fn found(path: &Path) -> Result<PathBuf, VolumeError> {
    fs::canonicalize(path).map_err(|source| VolumeError::Source { path: path.to_owned(), source })
}

fn found_folder(path: &Path) -> Result<PathBuf, VolumeError> {
    let found = found(path)?;
    match found.is_dir() {
        true => Ok(found),
        false => Err(VolumeError::NoFolder { path: path.to_owned() }),
    }
}

/// Reads `HOST:TARGET[:OPTIONS]`.
pub(super) fn volume(text: &str) -> Result<Volume, VolumeError> {
    let form = "HOST:TARGET[:OPTIONS], with paths on this machine and in RUN";
    let wrong = || VolumeError::Form { text: cut(text), form };
    let mut parts = text.splitn(3, ':');
    let (Some(host), Some(target)) = (parts.next(), parts.next()) else { return Err(wrong()) };
    // A name without a slash would be one of Docker's own volumes.
    if !host.starts_with(['/', '.']) {
        return Err(wrong());
    }
    let path = PathBuf::from(host);
    let mut what = What::Bind { path: path.clone(), access: Access::ReadWrite };
    for option in parts.next().unwrap_or_default().split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => what = What::Bind { path: path.clone(), access: Access::ReadOnly },
            "rw" => what = What::Bind { path: path.clone(), access: Access::ReadWrite },
            "O" => what = What::Over { path: path.clone() },
            known if NO_MATTER.contains(&known) => {}
            "U" => return Err(VolumeError::Owner { option: option.to_owned() }),
            _ => return Err(VolumeError::Option { option: cut(option) }),
        }
    }
    Ok(Volume { target: place(target)?, what })
}

/// Reads `type=bind,src=…,target=…` and `type=tmpfs,target=…`.
pub(super) fn mount(text: &str) -> Result<Volume, VolumeError> {
    let form = "type=bind,src=HOST,target=TARGET or type=tmpfs,target=TARGET";
    let wrong = || VolumeError::Form { text: cut(text), form };
    let (mut kind, mut source, mut target, mut size) = ("bind", None, None, None);
    // As in a RUN, a bind cannot be written to unless it is said.
    let mut access = Access::ReadOnly;
    for part in text.split(',') {
        let (name, value) = part.split_once('=').unwrap_or((part, "true"));
        match name {
            "type" => kind = value,
            "src" | "source" => source = Some(PathBuf::from(value)),
            "dst" | "destination" | "target" => target = Some(place(value)?),
            "tmpfs-size" | "size" => size = Some(limits::bytes(value).map_err(|_| wrong())?),
            "ro" | "readonly" => {
                access = said(value, Access::ReadOnly, Access::ReadWrite).ok_or_else(wrong)?
            }
            "rw" | "readwrite" => {
                access = said(value, Access::ReadWrite, Access::ReadOnly).ok_or_else(wrong)?
            }
            "bind-propagation" | "relabel" | "z" | "Z" => {}
            _ => return Err(VolumeError::Option { option: cut(part) }),
        }
    }
    let target = target.ok_or_else(wrong)?;
    let what = match (kind, source) {
        ("bind", Some(path)) => What::Bind { path, access },
        ("tmpfs", None) => What::Tmpfs { size_bytes: size },
        _ => return Err(wrong()),
    };
    Ok(Volume { target, what })
}

fn said(value: &str, yes: Access, no: Access) -> Option<Access> {
    match value {
        "true" | "1" => Some(yes),
        "false" | "0" => Some(no),
        _ => None,
    }
}

fn place(target: &str) -> Result<String, VolumeError> {
    let path = Path::new(target);
    let is_below = path.is_absolute() && path.components().nth(1).is_some();
    match is_below && !target.contains('\0') {
        true => Ok(target.to_owned()),
        false => Err(VolumeError::Target { target: cut(target) }),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::{Access, Volume, What, mount, volume};

    fn bind(host: &str, target: &str, access: Access) -> Volume {
        Volume { target: target.to_owned(), what: What::Bind { path: host.into(), access } }
    }

    #[test]
    fn a_volume_can_be_written_to_unless_it_is_said() {
        assert_eq!(volume("/a:/b").unwrap(), bind("/a", "/b", Access::ReadWrite));
        assert_eq!(volume("./a:/b:ro,Z").unwrap(), bind("./a", "/b", Access::ReadOnly));
        let over = Volume { target: "/b".to_owned(), what: What::Over { path: "/a".into() } };
        assert_eq!(volume("/a:/b:O").unwrap(), over);
    }

    #[test]
    fn a_mount_cannot_unless_it_is_said() {
        assert_eq!(mount("type=bind,src=/a,target=/b").unwrap(), bind("/a", "/b", Access::ReadOnly));
        assert_eq!(mount("source=/a,dst=/b,rw").unwrap(), bind("/a", "/b", Access::ReadWrite));
        let memory = Volume { target: "/t".to_owned(), what: What::Tmpfs { size_bytes: Some(1 << 20) } };
        assert_eq!(mount("type=tmpfs,target=/t,tmpfs-size=1m").unwrap(), memory);
    }

    #[test]
    fn what_is_no_volume_is_said() {
        for text in ["", "/a", "name:/b", "/a:b", "/a:/", "/a:/b:U", "/a:/b:what"] {
            assert!(volume(text).is_err(), "{text}");
        }
        for text in
            ["type=bind,target=/b", "type=cache,target=/b", "type=tmpfs", "type=tmpfs,target=/t,ro=x", "x=y"]
        {
            assert!(mount(text).is_err(), "{text}");
        }
    }
}
