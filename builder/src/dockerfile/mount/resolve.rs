//! From expanded options to a typed mount.
//!
//! What BuildKit refuses is refused. Some options that a type gives no meaning it ignores, and so do we.

use super::value::{boolean, size};
use super::{
    BindMount, CacheMount, FileOwner, Mount, MountErrorKind, MountKey, SecretMount, Sharing, SshMount,
    TmpfsMount,
};

/// The options read so far, checked one by one but not yet against each other.
#[derive(Default)]
struct Values {
    env: Option<String>,
    from: Option<String>,
    id: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: Option<bool>,
    required: bool,
    sharing: Sharing,
    size: Option<u64>,
    owner: FileOwner,
}

/// Returns the mount that `options` describe; the last of repeated options counts.
pub(super) fn mount(options: Vec<(MountKey, Option<String>)>) -> Result<Mount, MountErrorKind> {
    let kind = kind(&options)?;
    let mut values = Values::default();
    for (key, value) in options {
        if !kind.allows(key) {
            return Err(MountErrorKind::NotForType { key: key.name(), kind: kind.name() });
        }
        values.set(key, value)?;
    }
    values.mount(kind)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bind,
    Cache,
    Secret,
    Ssh,
    Tmpfs,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Bind => "bind",
            Kind::Cache => "cache",
            Kind::Secret => "secret",
            Kind::Ssh => "ssh",
            Kind::Tmpfs => "tmpfs",
        }
    }

    fn allows(self, key: MountKey) -> bool {
        match key {
            MountKey::Env
            | MountKey::Id
            | MountKey::ReadOnly
            | MountKey::ReadWrite
            | MountKey::Target
            | MountKey::Type => true,
            MountKey::From => self != Kind::Secret,
            MountKey::Source => self != Kind::Ssh,
            MountKey::Gid | MountKey::Mode | MountKey::Uid => {
                matches!(self, Kind::Cache | Kind::Secret | Kind::Ssh)
            }
            MountKey::Required => matches!(self, Kind::Secret | Kind::Ssh),
            MountKey::Sharing => self == Kind::Cache,
            MountKey::Size => self == Kind::Tmpfs,
        }
    }
}

/// Options may come in any order, so the type is found first. Without one it is a bind mount.
fn kind(options: &[(MountKey, Option<String>)]) -> Result<Kind, MountErrorKind> {
    let named = options.iter().rev().find(|(key, _)| *key == MountKey::Type);
    let Some(name) = named.and_then(|(_, value)| value.as_deref()) else { return Ok(Kind::Bind) };
    let known = [Kind::Bind, Kind::Cache, Kind::Secret, Kind::Ssh, Kind::Tmpfs];
    known.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name)).ok_or(
        MountErrorKind::InvalidValue {
            key: "type",
            value: name.to_owned(),
            expected: "bind, cache, secret, ssh or tmpfs",
        },
    )
}

impl Values {
    fn set(&mut self, key: MountKey, value: Option<String>) -> Result<(), MountErrorKind> {
        let text = value.as_deref();
        let number = |radix, expected| text.map(|text| integer(key, text, radix, expected)).transpose();
        let truth = || text.map_or(Ok(true), |text| checked(key, text, boolean(text), "true or false"));
        match key {
            MountKey::Type => {}
            MountKey::ReadOnly => self.read_only = Some(truth()?),
            MountKey::ReadWrite => self.read_only = Some(!truth()?),
            MountKey::Required => self.required = truth()?,
            MountKey::Gid => self.owner.gid = number(10, "a number")?,
            MountKey::Mode => self.owner.mode = number(8, "an octal number")?,
            MountKey::Uid => self.owner.uid = number(10, "a number")?,
            MountKey::Sharing => self.sharing = sharing(text.unwrap_or_default())?,
            MountKey::Size => {
                let read = |text| checked(key, text, size(text), "a size such as 64m");
                self.size = text.map(read).transpose()?;
            }
            MountKey::Env => self.env = filled(value),
            MountKey::From => self.from = filled(value),
            MountKey::Id => self.id = filled(value),
            MountKey::Source => self.source = filled(value),
            MountKey::Target => self.target = filled(value),
        }
        Ok(())
    }

    fn mount(self, kind: Kind) -> Result<Mount, MountErrorKind> {
        // Without a target a mount is at the working directory, as in BuildKit.
        let needed = |target: Option<String>| target.unwrap_or_default();
        let Values { env, from, id, source, target, read_only, required, sharing, size, owner } = self;
        Ok(match kind {
            Kind::Bind => {
                let (target, read_only) = (needed(target), read_only.unwrap_or(true));
                Mount::Bind(BindMount { target, from, source, read_only })
            }
            Kind::Cache => {
                let (target, read_only) = (needed(target), read_only.unwrap_or(false));
                Mount::Cache(CacheMount { target, id, from, source, read_only, sharing, owner })
            }
            Kind::Secret => {
                if id.is_some() && source.is_some() {
                    return Err(MountErrorKind::BothIdAndSource);
                }
                let file_name =
                    target.as_deref().and_then(|target| target.rsplit('/').find(|part| !part.is_empty()));
                let id =
                    id.or(source).or(file_name.map(str::to_owned)).ok_or(MountErrorKind::UnnamedSecret)?;
                Mount::Secret(SecretMount { id, target, env, required, owner })
            }
            Kind::Ssh => Mount::Ssh(SshMount { id, target, required, owner }),
            Kind::Tmpfs => Mount::Tmpfs(TmpfsMount { target: needed(target), size }),
        })
    }
}

/// An empty value is as good as none.
fn filled(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

fn sharing(text: &str) -> Result<Sharing, MountErrorKind> {
    let known = match text.to_ascii_lowercase().as_str() {
        "shared" => Some(Sharing::Shared),
        "private" => Some(Sharing::Private),
        "locked" => Some(Sharing::Locked),
        _ => None,
    };
    checked(MountKey::Sharing, text, known, "shared, private or locked")
}

fn integer(key: MountKey, text: &str, radix: u32, expected: &'static str) -> Result<u32, MountErrorKind> {
    // `from_str_radix` takes a sign; a mode or id has none.
    let digits = text.chars().all(|c| c.is_digit(radix));
    checked(key, text, u32::from_str_radix(text, radix).ok().filter(|_| digits), expected)
}

fn checked<T>(
    key: MountKey,
    text: &str,
    found: Option<T>,
    expected: &'static str,
) -> Result<T, MountErrorKind> {
    found.ok_or_else(|| MountErrorKind::InvalidValue { key: key.name(), value: text.to_owned(), expected })
}
