//! What a look takes over from what was known of files, and what it adds to that when it ends.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::PoisonError;

use super::{Listing, Look, locked, name};
use crate::context::known::{Record, Records};
use crate::context::listing::{self, Child, Detail};
use crate::context::state::{self, Time};
use crate::context::tree::{join, parent};

impl Look {
    /// Adds to files what is known of them in the states that they are in; returns whether something is
    /// known of others.
    pub(super) fn recall(
        &self,
        path: &[u8],
        directory: &OwnedFd,
        children: &mut [Child],
        before: Time,
    ) -> bool {
        let records = self.directory.known().records(path);
        let mut records = records.iter().peekable();
        let (mut mount, mut is_outdated) = (None, false);
        for child in children.iter_mut().filter(|child| child.is_file()) {
            while records.next_if(|record| *record.name < *child.name).is_some() {
                is_outdated = true;
            }
            let known = records.next_if(|record| *record.name == *child.name);
            let is_dependable = match mount {
                Some((mount, is_dependable)) if mount == child.mount => is_dependable,
                _ => self.is_dependable(child.mount, directory),
            };
            mount = Some((child.mount, is_dependable));
            let is_known = self.compare(child, path, known, is_dependable, before);
            is_outdated |= known.is_some() && !is_known;
        }
        is_outdated || records.peek().is_some()
    }

    /// Takes over what is known of a file if it is still in that state, `before` which it was looked at.
    pub(super) fn compare(
        &self,
        child: &mut Child,
        directory: &[u8],
        known: Option<Record<'_>>,
        is_dependable: bool,
        before: Time,
    ) -> bool {
        child.is_settled = is_dependable && child.state.is_settled(before);
        match known {
            Some(known) if is_dependable && known.state == child.state => {
                child.recall(known.content, known.capability);
                true
            }
            _ => {
                let capability = listing::capability(&self.host_path(&join(directory, &child.name)));
                if !capability.is_empty() {
                    child.detail = Detail::Capability(capability);
                }
                false
            }
        }
    }

    /// Whether the filesystem that is mounted there can be believed. Asked of each once, by a directory of
    /// it; a single file that something is mounted on is not worth it.
    pub(super) fn is_dependable(&self, mount: u64, directory: &OwnedFd) -> bool {
        if let Some(is_dependable) = locked(&self.mounts).get(&mount) {
            return *is_dependable;
        }
        if listing::mount(directory) != Ok(mount) {
            return false;
        }
        let found = rustix::fs::fstatfs(directory);
        let is_dependable = found.is_ok_and(|found| state::is_dependable(found.f_type));
        locked(&self.mounts).insert(mount, is_dependable);
        is_dependable
    }

    /// Makes known what this look has found out.
    pub(super) fn publish(&self) {
        let known = self.directory.known();
        let disproved = locked(&self.disproved);
        let is_disproved = |path: &[u8], child: &Child| {
            !disproved.is_empty() && disproved.contains(&join(path, &child.name))
        };
        let listings = self.listings.read().unwrap_or_else(PoisonError::into_inner);
        for (path, listing) in listings.iter() {
            let Some(Listing { children, is_outdated }) = listing.as_deref() else { continue };
            let is_news = |child: &Child| child.is_news() || is_disproved(path, child);
            if *is_outdated || children.iter().any(is_news) {
                let believed = children.iter().filter(|child| !is_disproved(path, child));
                known.learn(path, Records::of(believed.filter_map(record)));
            }
        }
        let alone = locked(&self.alone);
        let news = alone.iter().filter(|(_, child)| child.as_ref().is_some_and(|child| child.is_news()));
        for path in news.map(|(path, _)| path).chain(&*disproved) {
            let directory = parent(path);
            if listings.contains_key(directory) {
                continue;
            }
            let records = known.records(directory);
            let mut records: BTreeMap<_, _> = records.iter().map(|record| (record.name, record)).collect();
            records.remove(name(path));
            let child = alone.get(path).and_then(Option::as_deref).filter(|_| !disproved.contains(path));
            records.extend(child.and_then(record).map(|record| (record.name, record)));
            known.learn(directory, Records::of(records.into_values()));
        }
    }
}

fn record(child: &Child) -> Option<Record<'_>> {
    let capability = match &child.detail {
        Detail::Capability(value) => value,
        _ => &[][..],
    };
    let content = *child.content.get()?;
    Some(Record { name: &child.name, capability, state: child.state, content })
}
