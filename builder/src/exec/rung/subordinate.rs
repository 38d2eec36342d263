//! Which ids a user namespace of this user may have.
//!
//! ```text
//! /etc/subuid   name-or-uid:first:count     ids that are the user's besides their own
//! inside        outside
//! 0             the user's own id           root in there is the user out here
//! 1 …           first …                     all ranges, one after the other
//! ```
//!
//! Whoever may set any id at all (root of a container) maps the ids that there are to themselves instead,
//! and needs no help. subuid(5), newuidmap(1), user_namespaces(7)

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::thread::{CapabilitySet, capabilities};

use super::{Obstacle, Rung};
use crate::exec::accounts;

/// newuidmap refuses more, as kernels before 4.15 did for all.
const MAX_RANGES: usize = 4;

/// How ids come into a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::exec) enum Mapping {
    /// The process's own id as root, and no other.
    Single,
    /// By the setuid programs, which know whose ids are whose.
    Helped {
        /// newuidmap and what it is told.
        users: Helper,
        /// newgidmap and what it is told.
        groups: Helper,
    },
    /// Every id that there is as itself.
    Direct {
        /// Of users.
        users: Vec<Ids>,
        /// Of groups.
        groups: Vec<Ids>,
    },
}

/// A setuid program that writes a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::exec) struct Helper {
    pub(in crate::exec) program: PathBuf,
    pub(in crate::exec) ids: Vec<Ids>,
}

/// A line of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::exec) struct Ids {
    pub(in crate::exec) inside: u32,
    pub(in crate::exec) outside: u32,
    pub(in crate::exec) count: u32,
}

impl Mapping {
    /// Finds many ids for this process.
    pub(in crate::exec) fn find() -> Result<Self, Obstacle> {
        if may_set_any_id() {
            let (users, groups) = (same("/proc/self/uid_map"), same("/proc/self/gid_map"));
            return Ok(Self::Direct { users, groups });
        }
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let name = name_of(uid);
        let helper = |program: &str, own: u32, list: &str| {
            let ids = with_own(own, &ranges(&read(list), name.as_deref(), uid));
            if ids.len() < 2 {
                let who = name.clone().unwrap_or_else(|| uid.to_string());
                let hint =
                    format!("as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who}");
                let reason = format!("{list} has no ids for user {who}");
                return Err(Obstacle::missing(Rung::Rootless, reason, &hint));
            }
            let missing = || {
                let hint = "install the package uidmap (shadow-utils, shadow-uidmap on other systems)";
                Obstacle::missing(
                    Rung::Rootless,
                    format!("{program} is not installed, or has no rights"),
                    hint,
                )
            };
            Ok(Helper { program: find_program(program).ok_or_else(missing)?, ids })
        };
        let users = helper("newuidmap", uid, "/etc/subuid")?;
        let groups = helper("newgidmap", gid, "/etc/subgid")?;
        Ok(Self::Helped { users, groups })
    }

    /// The process's own id alone.
    pub(in crate::exec) fn single() -> Self {
        Self::Single
    }
}

/// Whether this process may write any map: then it is root of something.
fn may_set_any_id() -> bool {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    capabilities(None).is_ok_and(|held| held.effective.contains(needed))
}

/// Every id that this process knows, as itself.
fn same(map: &str) -> Vec<Ids> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        let (inside, _outside, count): (u32, u32, u32) =
            (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Ids { inside, outside: inside, count })
    };
    read(map).lines().filter_map(line).collect()
}

fn with_own(own: u32, ranges: &[(u32, u32)]) -> Vec<Ids> {
    let mut ids = vec![Ids { inside: 0, outside: own, count: 1 }];
    let mut next = 1_u32;
    for &(first, count) in ranges {
        let count = count.min(u32::MAX - 1 - next);
        ids.push(Ids { inside: next, outside: first, count });
        next += count;
    }
    ids
}

/// Returns the ranges of a user, in the order of the file.
fn ranges(list: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        let is_theirs = name == Some(who) || who.parse() == Ok(uid);
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (is_theirs && count > 0).then_some((first, count))
    };
    list.lines().filter_map(line).take(MAX_RANGES).collect()
}

fn name_of(uid: u32) -> Option<String> {
    let passwd = read("/etc/passwd");
    accounts::users(&passwd).find(|account| account.uid == uid).map(|account| account.name.to_owned())
}

/// Finds a program that has more rights than who starts it: setuid, or with capabilities.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/usr/sbin", "/bin", "/usr/local/bin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).chain(usual);
    places.find_map(|folder| {
        let program = folder.join(OsStr::new(name));
        let mode = fs::metadata(&program).ok()?.permissions().mode();
        let has_capabilities =
            || rustix::fs::getxattr(&program, "security.capability", &mut [0; 64][..]).is_ok();
        (mode & 0o4000 != 0 || has_capabilities()).then_some(program)
    })
}

/// What cannot be read says nothing.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Ids, ranges, with_own};

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let list = "other:1:2\nme:100000:65536\n# me:7:7\n1000:300000:10\nme:broken\nme:9:0\n";
        assert_eq!(ranges(list, Some("me"), 1000), [(100_000, 65_536), (300_000, 10)]);
        assert_eq!(ranges(list, None, 1000), [(300_000, 10)]);
        assert_eq!(ranges("", Some("me"), 1000), []);
    }

    #[test]
    fn ranges_follow_each_other_inside() {
        let line = |inside, outside, count| Ids { inside, outside, count };
        assert_eq!(
            with_own(1000, &[(100_000, 65_536), (300_000, 10)]),
            [line(0, 1000, 1), line(1, 100_000, 65_536), line(65_537, 300_000, 10)]
        );
    }
}
