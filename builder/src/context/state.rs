//! What the system says of a file without opening it, and when that tells its content.
//!
//! ```text
//! device inode size mtime ctime mode      equal, and settled when it was seen ⇒ the same content
//! ```
//!
//! The kernel sets a file's ctime on every change of its content, its mode or its attributes, and nobody
//! can set it back as they can an mtime. But it does so by a clock that stands still for some milliseconds:
//! two changes within one tick leave the same ctime. So a state says nothing unless its ctime was older
//! than the clock when it was looked at, as in git's "racy" rule: then whatever changes later shows.
//!
//! What no ctime shows: stores through a writable mapping of the file that was written to before, until
//! the kernel writes the page back; and changes made beneath the filesystem.

use rustix::fs::{FsWord, Statx, StatxFlags};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The longest tick of the clock that stamps inodes: `CONFIG_HZ=100`. The kernel's finer "multigrain"
/// stamps are never older than that clock either.
const TICK_NANOSECONDS: i128 = 10_000_000;

/// Times without nanoseconds are of a filesystem that keeps none, such as an ext4 with 128-byte inodes; FAT
/// has two seconds, the longest there is. An exact second by chance makes a file be read again, once.
const COARSE_NANOSECONDS: i128 = 2_000_000_000;

/// A moment, as inodes have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

impl Time {
    /// Returns the time by the clock that the kernel stamps inodes with, not by the finer one that programs
    /// usually ask: a stamp made now is never older than this.
    pub(super) fn now() -> Self {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::RealtimeCoarse);
        Self { seconds: tv_sec, nanoseconds: u32::try_from(tv_nsec).unwrap_or(0) }
    }

    fn since_epoch(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }
}

/// What names the content of a file as long as it stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
    /// Type and permissions.
    pub(super) mode: u32,
}

impl State {
    /// What must be asked of the system, and of a look at a directory besides.
    pub(super) const WANTED: StatxFlags = StatxFlags::TYPE
        .union(StatxFlags::MODE)
        .union(StatxFlags::NLINK)
        .union(StatxFlags::INO)
        .union(StatxFlags::SIZE)
        .union(StatxFlags::MTIME)
        .union(StatxFlags::CTIME)
        .union(StatxFlags::MNT_ID);

    pub(super) fn of(found: &Statx) -> Self {
        let time = |seconds, nanoseconds| Time { seconds, nanoseconds };
        Self {
            device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            size: found.stx_size,
            mtime: time(found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
            ctime: time(found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
            mode: found.stx_mode.into(),
        }
    }

    /// Whether any change after `before`, a moment before this was looked at, must show in the ctime.
    ///
    /// A ctime in the future, of a clock that was set back, is not settled until the clock has passed it.
    pub(super) fn is_settled(&self, before: Time) -> bool {
        let granule = if self.ctime.nanoseconds == 0 { COARSE_NANOSECONDS } else { TICK_NANOSECONDS };
        self.ctime.since_epoch() + granule < before.since_epoch()
    }
}

/// Filesystems of this kernel that keep inode numbers and ctimes by its own clock.
///
/// Not among them: FAT (no ctime, no inodes), NFS, SMB, 9p, FUSE and virtiofs, where another machine or
/// program stamps the files and a look may be answered from memory. Files there are read each time.
const DEPENDABLE: [u64; 7] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
    0x794c_7630, // overlayfs: the times and, as far as it can, the inodes of the layer that has the file
    0xf2f5_2010, // F2FS
    0x2fc1_2fc1, // ZFS
];

/// Whether a filesystem of this type can be believed.
pub(super) fn is_dependable(filesystem: FsWord) -> bool {
    // The word is signed on some machines, and the numbers are of 32 bits.
    DEPENDABLE.contains(&(filesystem as u64 & 0xffff_ffff))
}

#[cfg(test)]
mod tests {
    use super::{State, Time};

    fn time(seconds: i64, nanoseconds: u32) -> Time {
        Time { seconds, nanoseconds }
    }

    fn state(ctime: Time) -> State {
        State { device: 1, inode: 2, size: 3, mtime: time(9_999_999, 5), ctime, mode: 0o100_644 }
    }

    #[test]
    fn a_change_within_the_tick_of_the_look_may_not_show() {
        let changed = state(time(100, 20_000_000));
        assert!(!changed.is_settled(time(100, 20_000_000)), "the same tick");
        assert!(!changed.is_settled(time(100, 30_000_000)), "perhaps the same tick");
        assert!(changed.is_settled(time(100, 30_000_001)));
        assert!(changed.is_settled(time(101, 0)));
    }

    #[test]
    fn a_filesystem_with_whole_seconds_is_believed_two_seconds_later() {
        let changed = state(time(100, 0));
        assert!(!changed.is_settled(time(100, 999_999_999)), "one second");
        assert!(!changed.is_settled(time(101, 999_999_999)), "two seconds");
        assert!(!changed.is_settled(time(102, 0)));
        assert!(changed.is_settled(time(102, 1)));
    }

    #[test]
    fn after_the_clock_went_back_files_of_the_future_are_not_settled() {
        assert!(!state(time(100, 7)).is_settled(time(40, 0)));
        assert!(!state(time(i64::MAX, 7)).is_settled(time(40, 0)));
    }

    #[test]
    fn an_mtime_that_somebody_set_does_not_matter() {
        assert!(state(time(100, 7)).is_settled(time(200, 0)), "its mtime is in the future");
    }

    #[test]
    fn the_clock_of_inodes_never_runs_ahead_of_them() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        for number in 0..200 {
            let before = Time::now();
            let path = folder.path().join(number.to_string());
            std::fs::write(&path, "x").unwrap();
            let made = std::fs::metadata(&path).unwrap();
            let ctime = time(made.ctime(), u32::try_from(made.ctime_nsec()).unwrap());
            assert!(ctime >= before, "{ctime:?} {before:?}");
        }
    }
}
