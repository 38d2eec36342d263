//! /dev without a mount: devices if they may be made, else what comes closest.
//!
//! ```text
//! mknod allowed       null zero full random urandom tty     as everywhere
//! else  null          an empty file; what is written is cut off at once
//!       zero random urandom                                 pipes that never run dry: the init fills them
//!       full tty      not there
//! ```

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, fstat, ftruncate, makedev, mkdirat, mknodat, openat, symlinkat, unlinkat,
};
use rustix::process::umask;

use crate::exec::failure::{Failure, OrFail};

use super::super::devices::{DEVICES, LINKS};

/// What a pipe holds by default.
const PIECE_BYTES: usize = 64 << 10;

/// What the init must do so that stand-ins are like devices.
#[derive(Default)]
pub(super) struct Devices {
    /// A file that must stay empty, and who tells when it is not.
    null: Option<(OwnedFd, OwnedFd)>,
    /// Pipes to be kept full.
    pipes: Vec<(OwnedFd, Filling)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Filling {
    Zeros,
    Noise,
}

impl Devices {
    /// Fills an empty /dev.
    pub(super) fn make(dev: &OwnedFd) -> Result<Self, Failure> {
        let before = umask(Mode::empty());
        let made = Self::fill(dev);
        umask(before);
        made
    }

    fn fill(dev: &OwnedFd) -> Result<Self, Failure> {
        let mut devices = Self::default();
        for (name, major, minor) in DEVICES {
            if !make_device(dev, name, makedev(major, minor)) {
                devices.stand_in(dev, name)?;
            }
        }
        for (name, target) in LINKS {
            symlinkat(target, dev, name).or_fail("link /dev", name)?;
        }
        for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777)] {
            mkdirat(dev, name, Mode::from_raw_mode(mode)).or_fail("make /dev", name)?;
        }
        Ok(devices)
    }

    fn stand_in(&mut self, dev: &OwnedFd, name: &str) -> Result<(), Failure> {
        let filling = match name {
            "null" => return self.empty_file(dev, name),
            "zero" => Filling::Zeros,
            "random" | "urandom" => Filling::Noise,
            _ => return Ok(()),
        };
        mknodat(dev, name, FileType::Fifo, Mode::from_raw_mode(0o666), 0).or_fail("make /dev", name)?;
        // Both ends, so that nobody who opens it waits, and reading never ends.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        self.pipes.push((openat(dev, name, flags, Mode::empty()).or_fail("open /dev", name)?, filling));
        Ok(())
    }

    fn empty_file(&mut self, dev: &OwnedFd, name: &str) -> Result<(), Failure> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(dev, name, flags, Mode::from_raw_mode(0o666)).or_fail("make /dev", name)?;
        let watch =
            inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).or_fail("watch /dev", name)?;
        let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        inotify::add_watch(&watch, path, WatchFlags::MODIFY).or_fail("watch /dev", name)?;
        self.null = Some((file, watch));
        Ok(())
    }

    /// Returns what to wait for.
    pub(super) fn polls(&self) -> impl Iterator<Item = PollFd<'_>> {
        let null = self.null.iter().map(|(_, watch)| PollFd::new(watch, PollFlags::IN));
        null.chain(self.pipes.iter().map(|(pipe, _)| PollFd::new(pipe, PollFlags::OUT)))
    }

    /// Does what there is to do.
    pub(super) fn serve(&mut self) -> Result<(), Failure> {
        if let Some((file, watch)) = &self.null {
            let mut events = [0; 4096];
            while let Ok(1..) = rustix::io::read(watch, &mut events) {}
            // Cutting it is a change too, and would be told for ever.
            if fstat(file).is_ok_and(|found| found.st_size > 0) {
                ftruncate(file, 0).or_fail("empty", "/dev/null")?;
            }
        }
        for (pipe, filling) in &self.pipes {
            let mut piece = vec![0; PIECE_BYTES];
            if *filling == Filling::Noise {
                File::open("/dev/urandom")
                    .and_then(|mut noise| noise.read_exact(&mut piece))
                    .or_fail("read", "/dev/urandom")?;
            }
            // As much as there is room for; more once somebody read.
            let _ = rustix::io::write(pipe, &piece);
        }
        Ok(())
    }
}

/// Makes a device that can be opened; a filesystem or the container's rules may keep it shut.
fn make_device(dev: &OwnedFd, name: &str, device: u64) -> bool {
    if mknodat(dev, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device).is_err() {
        return false;
    }
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    // Without a terminal there is nobody's to open.
    let opens = name == "tty" || openat(dev, name, flags, Mode::empty()).is_ok();
    if !opens {
        let _ = unlinkat(dev, name, AtFlags::empty());
    }
    opens
}
