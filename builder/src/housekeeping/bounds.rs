//! How much of what can be rebuilt may stay, in BuildKit's words.
//!
//! ```text
//! 0 ─────── reserved ──────────────── max used ─────▶ bytes of the cache
//!  never asked  │  asked if the disk has less │ asked
//!  for          │  than `min free` left       │
//! ```
//!
//! What goes is what was of use the longest ago, and nothing more than it takes. Without any bound all of it
//! goes. BuildKit documentation, "Build garbage collection"; `reservedSpace`, `maxUsedSpace`, `minFreeSpace`,
//! `keepDuration` there.

use std::path::Path;
use std::time::Duration;

/// An amount of space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// So much of the disk.
    Percent(u8),
    /// So much of the disk, but no more bytes than that.
    AtMost {
        /// Of the disk.
        percent: u8,
        /// The most.
        bytes: u64,
    },
}

/// The filesystem that the state is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that can be had.
    pub free: u64,
}

/// What may stay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Only things of this kind go, and only they count.
    pub kind: Option<Kind>,
    /// Only what was of no use for so long goes.
    pub unused_for: Option<Duration>,
    /// So much stays in any case, but no more than `max_used`.
    pub reserved: Option<Amount>,
    /// No more than that stays.
    pub max_used: Option<Amount>,
    /// The disk shall have so much left.
    pub min_free: Option<Amount>,
}

/// Kinds of things that may go, as BuildKit tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `exec.cachemount`: a directory that RUNs mount.
    CacheMount,
    /// `regular`: what an instruction made, as a blob or unpacked.
    Regular,
}

/// Something that may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<T> {
    /// What.
    pub what: T,
    /// Bytes that it takes.
    pub bytes: u64,
    /// When it was last of use, in seconds since 1970.
    pub used: i64,
}

impl Bounds {
    /// What holds if nobody says otherwise: BuildKit's defaults for its whole cache.
    pub const USUAL: Self = Self {
        kind: None,
        unused_for: None,
        reserved: Some(Amount::AtMost { percent: 10, bytes: 10_000_000_000 }),
        max_used: Some(Amount::AtMost { percent: 80, bytes: 100_000_000_000 }),
        min_free: Some(Amount::Percent(20)),
    };

    /// Returns how many of `used` bytes may stay.
    pub fn keeps(&self, used: u64, disk: Disk) -> u64 {
        let amount = |amount: Option<Amount>| amount.map(|amount| amount.of(disk));
        let mut keeps = match (amount(self.max_used), self.min_free) {
            (Some(max), _) => max,
            (None, Some(_)) => used,
            (None, None) => 0,
        };
        if let Some(min_free) = amount(self.min_free) {
            keeps = keeps.min(used.saturating_sub(min_free.saturating_sub(disk.free)));
        }
        let most = amount(self.max_used).unwrap_or(u64::MAX);
        keeps.max(amount(self.reserved).unwrap_or(0).min(most))
    }

    /// Returns what goes, the least recently used first.
    pub fn choose<T>(&self, mut candidates: Vec<Candidate<T>>, now: i64, disk: Disk) -> Vec<Candidate<T>> {
        candidates.sort_by_key(|candidate| candidate.used);
        let mut left: u64 = candidates.iter().map(|candidate| candidate.bytes).sum();
        let keeps = self.keeps(left, disk);
        let is_bounded = self.reserved.is_some() || self.max_used.is_some() || self.min_free.is_some();
        let age = self.unused_for.map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        let is_old = |used: i64| self.unused_for.is_none() || used <= now.saturating_sub(age);
        let goes = candidates.into_iter().take_while(|candidate| {
            let goes = is_old(candidate.used) && !(is_bounded && left <= keeps);
            left -= if goes { candidate.bytes } else { 0 };
            goes
        });
        goes.collect()
    }
}

impl Amount {
    /// Returns the bytes that it is on a disk.
    pub fn of(self, disk: Disk) -> u64 {
        let percent = |percent: u8| {
            let bytes = u128::from(disk.total) * u128::from(percent) / 100;
            u64::try_from(bytes).unwrap_or(u64::MAX)
        };
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(part) => percent(part),
            Self::AtMost { percent: part, bytes } => percent(part).min(bytes),
        }
    }
}

impl Disk {
    /// Looks at the disk that a folder is on; one without any bound if the system does not tell.
    pub fn of(folder: &Path) -> Self {
        match rustix::fs::statvfs(folder) {
            Ok(found) => {
                Self { total: found.f_blocks * found.f_frsize, free: found.f_bavail * found.f_frsize }
            }
            Err(_) => Self { total: u64::MAX, free: u64::MAX },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Amount, Bounds, Candidate, Disk};

    const DISK: Disk = Disk { total: 1000, free: 300 };

    fn bytes(bytes: u64) -> Option<Amount> {
        Some(Amount::Bytes(bytes))
    }

    /// Ten things of ten bytes, last used at 0, 10, …
    fn chosen(bounds: &Bounds, now: i64, disk: Disk) -> Vec<i64> {
        let candidates = (0..10).rev().map(|number| Candidate { what: (), bytes: 10, used: number * 10 });
        bounds.choose(candidates.collect(), now, disk).iter().map(|candidate| candidate.used).collect()
    }

    #[test]
    fn without_a_bound_everything_goes() {
        assert_eq!(chosen(&Bounds::default(), 100, DISK).len(), 10);
        let weightless = vec![Candidate { what: (), bytes: 0, used: 1 }];
        assert_eq!(Bounds::default().choose(weightless, 100, DISK).len(), 1);
    }

    #[test]
    fn the_least_recently_used_goes_until_the_rest_fits() {
        let bounds = Bounds { max_used: bytes(75), ..Bounds::default() };
        assert_eq!(chosen(&bounds, 100, DISK), [0, 10, 20]);
        assert_eq!(chosen(&Bounds { max_used: bytes(100), ..Bounds::default() }, 100, DISK), [0; 0]);
        assert_eq!(chosen(&Bounds { max_used: bytes(0), ..Bounds::default() }, 100, DISK).len(), 10);
    }

    #[test]
    fn what_was_of_use_lately_stays_even_beyond_the_bound() {
        let bounds = Bounds { unused_for: Some(Duration::from_secs(85)), ..Bounds::default() };
        assert_eq!(chosen(&bounds, 100, DISK), [0, 10]);
        assert_eq!(chosen(&Bounds { max_used: bytes(0), ..bounds }, 100, DISK), [0, 10]);
    }

    #[test]
    fn a_full_disk_asks_for_what_it_lacks_but_not_for_what_is_reserved() {
        let bounds = Bounds { min_free: bytes(325), ..Bounds::default() };
        assert_eq!(chosen(&bounds, 100, DISK), [0, 10, 20]);
        assert_eq!(chosen(&bounds, 100, Disk { free: 400, ..DISK }), [0; 0]);
        assert_eq!(chosen(&Bounds { reserved: bytes(90), ..bounds }, 100, DISK), [0]);
        let both = Bounds { min_free: bytes(310), max_used: bytes(50), ..Bounds::default() };
        assert_eq!(chosen(&both, 100, DISK).len(), 5);
    }

    #[test]
    fn a_reserve_is_no_more_than_the_most() {
        let bounds = Bounds { reserved: bytes(90), max_used: bytes(50), ..Bounds::default() };
        assert_eq!(chosen(&bounds, 100, DISK).len(), 5);
    }

    #[test]
    fn only_a_reserve_is_what_is_kept() {
        assert_eq!(chosen(&Bounds { reserved: bytes(80), ..Bounds::default() }, 100, DISK), [0, 10]);
    }

    #[test]
    fn usual_bounds_depend_on_the_disk() {
        let gigabyte = 1_000_000_000;
        let small = Disk { total: 50 * gigabyte, free: 20 * gigabyte };
        assert_eq!(Bounds::USUAL.keeps(60 * gigabyte, small), 40 * gigabyte);
        let large = Disk { total: 1000 * gigabyte, free: 500 * gigabyte };
        assert_eq!(Bounds::USUAL.keeps(200 * gigabyte, large), 100 * gigabyte);
        let full = Disk { free: gigabyte, ..large };
        assert_eq!(Bounds::USUAL.keeps(30 * gigabyte, full), 10 * gigabyte);
        let unknown = Disk { total: u64::MAX, free: u64::MAX };
        assert_eq!(Bounds::USUAL.keeps(30 * gigabyte, unknown), 30 * gigabyte);
    }
}
