//! Who calls, and becoming that.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

/// Who a process is, as far as files go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Caller {
    /// The process that a thread belongs to.
    pub(super) process: i32,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    capabilities: u64,
}

impl Caller {
    /// Reads who a thread is.
    pub(super) fn read(proc: &OwnedFd, thread: i32) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mut text = String::new();
        File::from(openat(proc, format!("{thread}/status"), flags, Mode::empty())?)
            .read_to_string(&mut text)?;
        parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Of user and group ids the last are those that files go by. proc_pid_status(5)
fn parse(status: &str) -> Option<Caller> {
    let mut caller = Caller::default();
    for line in status.lines() {
        let Some((name, values)) = line.split_once(':') else { continue };
        let mut words = values.split_ascii_whitespace();
        match name {
            "Tgid" => caller.process = words.next()?.parse().ok()?,
            "Uid" => caller.uid = words.next_back()?.parse().ok()?,
            "Gid" => caller.gid = words.next_back()?.parse().ok()?,
            "Groups" => caller.groups = words.map(str::parse).collect::<Result<_, _>>().ok()?,
            "CapEff" => caller.capabilities = u64::from_str_radix(words.next()?, 16).ok()?,
            _ => {}
        }
    }
    (caller.process > 0).then_some(caller)
}

/// Who this process is for the moment: root, with all that it has, or somebody who called.
pub(super) struct Guise {
    all: CapabilitySet,
    worn: Option<Caller>,
}

impl Guise {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { all: capabilities(None)?.permitted, worn: None })
    }

    /// Becomes root again.
    pub(super) fn take_off(&mut self) -> io::Result<()> {
        if self.worn.take().is_some() {
            // The saved ids stayed root's.
            let (uid, gid) = (Uid::ROOT, Gid::ROOT);
            set_thread_res_uid(uid, uid, uid)?;
            self.limit(self.all)?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_groups(&[])?;
        }
        Ok(())
    }

    /// Becomes a caller, with no more rights than they have.
    pub(super) fn put_on(&mut self, caller: &Caller) -> io::Result<()> {
        let same = |worn: &Caller| Caller { process: worn.process, ..caller.clone() } == *worn;
        if self.worn.as_ref().is_some_and(same) {
            return Ok(());
        }
        self.take_off()?;
        // Before anything changes: what fails half-way is taken off as well.
        self.worn = Some(caller.clone());
        let groups: Vec<_> = caller.groups.iter().map(|&group| Gid::from_raw(group)).collect();
        set_thread_groups(&groups)?;
        let (uid, gid) = (Uid::from_raw(caller.uid), Gid::from_raw(caller.gid));
        set_thread_res_gid(gid, gid, Gid::ROOT)?;
        set_thread_res_uid(uid, uid, Uid::ROOT)?;
        self.limit(self.all.intersection(CapabilitySet::from_bits_retain(caller.capabilities)))
    }

    fn limit(&self, effective: CapabilitySet) -> io::Result<()> {
        let inheritable = CapabilitySet::empty();
        Ok(set_capabilities(None, CapabilitySets { effective, permitted: self.all, inheritable })?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Caller, parse};

    #[test]
    fn files_go_by_the_last_ids() {
        let status = "Name:\ta:b\nTgid:\t26\nPid:\t27\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n\
                      CapEff:\t00000000a80425fb\n";
        let expected = Caller { process: 26, uid: 4, gid: 8, groups: vec![9, 10], capabilities: 0xa804_25fb };
        assert_eq!(parse(status), Some(expected));
        assert_eq!(parse("Name:\tx\n"), None);
    }
}
