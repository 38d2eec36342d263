//! `--chown`, and USER for what WORKDIR makes: names become numbers by the passwd and group files of the
//! image.
//!
//! Unlike the USER of a RUN, a number is never looked up: alone it is the user and the group.
//!
//! An unknown name is an error. BuildKit silently takes root for it, against its own documentation; an
//! image whose files belong to the wrong user is worse than a build that says so.

use crate::exec::accounts::{self, is_digits};

/// Who owns what is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// Numeric user.
    pub uid: u64,
    /// Numeric group.
    pub gid: u64,
}

/// Why an owner is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// `user:group:more`, or nothing at all.
    #[error("{text:?} is not an owner (user, user:group, or numbers)")]
    Malformed {
        /// As it was written.
        text: String,
    },
    /// The image's `/etc/passwd` does not have the name.
    #[error("user {name:?} is not in /etc/passwd of the image")]
    UnknownUser {
        /// The name.
        name: String,
    },
    /// The image's `/etc/group` does not have the name.
    #[error("group {name:?} is not in /etc/group of the image")]
    UnknownGroup {
        /// The name.
        name: String,
    },
}

/// The image's files that know names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// `/etc/passwd`, empty if the image has none.
    pub passwd: Vec<u8>,
    /// `/etc/group`, empty if the image has none.
    pub group: Vec<u8>,
}

impl Owner {
    /// Whether reading `text` needs [`Names`] at all.
    pub fn needs_names(text: &str) -> bool {
        text.split(':').any(|part| !is_digits(part) && part != "root" && !part.is_empty())
    }

    /// Reads `user[:group]`.
    ///
    /// A number alone is user and group; a name alone brings its primary group; `root` is 0 without
    /// any look-up.
    pub fn read(text: &str, names: &Names) -> Result<Self, OwnerError> {
        let malformed = || OwnerError::Malformed { text: text.chars().take(160).collect() };
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return Err(malformed());
        }
        let (uid, primary) = match number(user) {
            Some(uid) => (uid, uid),
            None if is_digits(user) => return Err(malformed()),
            None => find_user(user, &names.passwd)?,
        };
        let gid = match group {
            None => primary,
            Some(group) => match number(group) {
                Some(gid) => gid,
                None if is_digits(group) => return Err(malformed()),
                None => find_group(group, &names.group)?,
            },
        };
        Ok(Self { uid, gid })
    }
}

fn number(text: &str) -> Option<u64> {
    accounts::number(text).map(u64::from)
}

fn find_user(name: &str, passwd: &[u8]) -> Result<(u64, u64), OwnerError> {
    let found = accounts::users(&String::from_utf8_lossy(passwd))
        .find(|user| user.name == name)
        .map(|user| (user.uid.into(), user.gid.into()));
    found
        .or((name == "root").then_some((0, 0)))
        .ok_or_else(|| OwnerError::UnknownUser { name: name.chars().take(160).collect() })
}

fn find_group(name: &str, group: &[u8]) -> Result<u64, OwnerError> {
    let found = accounts::groups(&String::from_utf8_lossy(group))
        .find(|group| group.name == name)
        .map(|group| group.gid.into());
    found
        .or((name == "root").then_some(0))
        .ok_or_else(|| OwnerError::UnknownGroup { name: name.chars().take(160).collect() })
}

#[cfg(test)]
mod tests {
    use super::{Names, Owner, OwnerError};

    fn read(text: &str) -> Result<(u64, u64), OwnerError> {
        let names = Names {
            passwd: b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:\n".to_vec(),
            group: b"root:x:0:\nstaff:x:50:app\n".to_vec(),
        };
        Owner::read(text, &names).map(|owner| (owner.uid, owner.gid))
    }

    #[test]
    fn names_and_numbers_are_read() {
        for (text, expected) in [
            ("app", (1000, 1001)),
            ("app:staff", (1000, 50)),
            ("app:7", (1000, 7)),
            ("33", (33, 33)),
            ("33:staff", (33, 50)),
            ("0:0", (0, 0)),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn root_needs_no_files() {
        assert_eq!(Owner::read("root:root", &Names::default()), Ok(Owner { uid: 0, gid: 0 }));
        assert!(!Owner::needs_names("root:0"));
        assert!(Owner::needs_names("app:0"));
    }

    #[test]
    fn an_unknown_name_is_an_error_and_not_root() {
        assert_eq!(read("nosuch"), Err(OwnerError::UnknownUser { name: "nosuch".into() }));
        assert_eq!(read("app:nosuch"), Err(OwnerError::UnknownGroup { name: "nosuch".into() }));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", ":", "app:", "a:b:c", "4294967295", "99999999999"] {
            assert!(matches!(read(text), Err(OwnerError::Malformed { .. })), "{text:?}");
        }
    }
}
