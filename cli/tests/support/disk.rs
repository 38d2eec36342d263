//! A small disk of its own, which can run full.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A small filesystem, unmounted when dropped.
pub(crate) struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Mounts one, on a folder that is made for it; `None` without the right to mount.
    pub(crate) fn mount(root: PathBuf, mebibytes: usize) -> Option<Self> {
        fs::create_dir_all(&root).unwrap();
        let size = CString::new(format!("size={mebibytes}m")).unwrap();
        match mount("tmpfs", &root, "tmpfs", MountFlags::empty(), size.as_c_str()) {
            Ok(()) => Some(Self { root }),
            Err(error) => {
                eprintln!("SKIPPED: cannot mount a small filesystem: {error}");
                None
            }
        }
    }

    /// Mounts an ext4 in a file beside the folder, by a loop device, as disks are; needs root and mkfs.ext4.
    pub(crate) fn of_blocks(root: PathBuf, mebibytes: u64) -> Self {
        let image = root.with_extension("img");
        fs::create_dir_all(&root).unwrap();
        fs::File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
        let run = |program: &str, arguments: &[&Path]| {
            let output = Command::new(program).args(arguments).output().unwrap();
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run("mkfs.ext4", &["-q".as_ref(), "-m".as_ref(), "0".as_ref(), &image]);
        run("mount", &["-o".as_ref(), "loop".as_ref(), &image, &root]);
        Self { root }
    }

    /// Takes whatever room is left.
    pub(crate) fn fill(&self) {
        let error = fs::write(self.filler(), vec![1; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    /// Gives back what was filled.
    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// Returns how many bytes are left.
    pub(crate) fn left(&self) -> u64 {
        let filesystem = rustix::fs::statvfs(&self.root).unwrap();
        filesystem.f_bavail * filesystem.f_frsize
    }

    fn filler(&self) -> PathBuf {
        self.root.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is still open there goes with its last descriptor.
        let _ = unmount(&self.root, UnmountFlags::DETACH);
    }
}

/// Writes a file that no compression makes smaller.
pub(crate) fn write_noise(path: &Path, bytes: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    fs::write(path, noise.take(bytes / 8).flatten().collect::<Vec<u8>>()).unwrap();
}
