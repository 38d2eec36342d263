//! Reads `USER`: names and numbers by the image's own passwd and group files.

use super::Failure;
use super::accounts::{self, Account};

/// Whom a program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, the primary one among them.
    pub groups: Vec<u32>,
    /// Home directory; `/` for a user without an entry.
    pub home: String,
}

/// Finds the identity that `user` names.
///
/// With `user:group` the process has that one group; with `user` alone also every group that lists
/// the user. A number needs no entry; a name does. A user made of digits is looked up by name first,
/// as `useradd 1000` is legal. A number without an entry has group 0 and home `/`.
///
/// # Errors
///
/// [`Failure::UserSyntax`], [`Failure::UnknownUser`], [`Failure::UnknownGroup`].
pub fn find(user: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, Failure> {
    let (passwd, group) = (String::from_utf8_lossy(passwd), String::from_utf8_lossy(group));
    let (name, group_name) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    if group_name.is_some_and(|group| group.contains(':')) {
        return Err(Failure::UserSyntax { user: user.to_owned() });
    }
    let account = account(if name.is_empty() { "0" } else { name }, &passwd)?;
    let gid = match group_name {
        Some(wanted) => group_id(wanted, &group)?,
        None => account.gid,
    };
    let mut groups = vec![gid];
    if group_name.is_none() {
        let listed =
            accounts::groups(&group).filter(|group| !account.name.is_empty() && group.lists(account.name));
        groups.extend(listed.map(|group| group.gid).filter(|&listed| listed != gid));
    }
    Ok(Identity { uid: account.uid, gid, groups, home: account.home.to_owned() })
}

fn account<'a>(wanted: &str, passwd: &'a str) -> Result<Account<'a>, Failure> {
    if let Some(found) = accounts::users(passwd).find(|account| account.name == wanted) {
        return Ok(found);
    }
    // Root exists in every image, also in one without any files.
    let Some(uid) = accounts::number(wanted).or((wanted == "root").then_some(0)) else {
        return Err(Failure::UnknownUser { user: wanted.to_owned() });
    };
    let found = accounts::users(passwd).find(|account| account.uid == uid);
    // Root's home is /root even where the image has no passwd at all.
    let home = if uid == 0 { "/root" } else { "/" };
    Ok(found.unwrap_or(Account { name: "", uid, gid: 0, home }))
}

fn group_id(wanted: &str, group: &str) -> Result<u32, Failure> {
    accounts::groups(group)
        .find(|group| group.name == wanted)
        .map(|group| group.gid)
        .or_else(|| accounts::number(wanted))
        .or((wanted == "root").then_some(0))
        .ok_or_else(|| Failure::UnknownGroup { group: wanted.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{Identity, find};
    use crate::exec::Failure;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# a comment\n+::::::\nbroken\n\
        web:x:33:34:,,,:/var/www:/bin/false\n1000:x:7:8::/home/digits:\n";
    const GROUP: &[u8] = b"root:x:0:\nweb:x:34:\nlog:x:90:root,web\nssl:x:91:web\n";

    fn identity(uid: u32, gid: u32, groups: &[u32], home: &str) -> Identity {
        Identity { uid, gid, groups: groups.to_vec(), home: home.to_owned() }
    }

    #[test]
    fn a_name_brings_its_group_its_home_and_every_group_that_lists_it() {
        assert_eq!(find("web", PASSWD, GROUP), Ok(identity(33, 34, &[34, 90, 91], "/var/www")));
    }

    #[test]
    fn a_number_with_an_entry_is_that_user() {
        assert_eq!(find("33", PASSWD, GROUP), find("web", PASSWD, GROUP));
    }

    #[test]
    fn a_named_group_is_the_only_group() {
        assert_eq!(find("web:ssl", PASSWD, GROUP), Ok(identity(33, 91, &[91], "/var/www")));
        assert_eq!(find("web:77", PASSWD, GROUP), Ok(identity(33, 77, &[77], "/var/www")));
    }

    #[test]
    fn an_unknown_number_is_a_user_without_a_home() {
        assert_eq!(find("4711", PASSWD, GROUP), Ok(identity(4711, 0, &[0], "/")));
        assert_eq!(find("4711", b"", b""), Ok(identity(4711, 0, &[0], "/")));
    }

    #[test]
    fn root_needs_no_files() {
        assert_eq!(find("", b"", b""), Ok(identity(0, 0, &[0], "/root")));
        assert_eq!(find("root:root", b"", b""), Ok(identity(0, 0, &[0], "/root")));
        assert_eq!(find("0:0", b"", b""), Ok(identity(0, 0, &[0], "/root")));
    }

    #[test]
    fn a_user_named_by_digits_is_found_by_name_first() {
        assert_eq!(find("1000", PASSWD, GROUP), Ok(identity(7, 8, &[8], "/home/digits")));
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        assert_eq!(find("nobody", PASSWD, GROUP), Err(Failure::UnknownUser { user: "nobody".to_owned() }));
        assert_eq!(
            find("web:wheel", PASSWD, GROUP),
            Err(Failure::UnknownGroup { group: "wheel".to_owned() })
        );
    }

    #[test]
    fn numbers_that_no_user_can_have_are_unknown_users() {
        for user in ["-1", "4294967295", "99999999999", "+5"] {
            assert_eq!(find(user, b"", b""), Err(Failure::UnknownUser { user: user.to_owned() }));
        }
    }

    #[test]
    fn a_second_colon_is_an_error() {
        assert_eq!(find("a:b:c", b"", b""), Err(Failure::UserSyntax { user: "a:b:c".to_owned() }));
    }
}
