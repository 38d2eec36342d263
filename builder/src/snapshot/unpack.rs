//! From a layer's tar to a directory that overlayfs can use, and from one back to a layer's entries.

use std::fs::{self, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use oxbox_layers::tar::{Entry, Reader};
use oxbox_layers::tree::apply::{ApplyError, Devices, Entries, Lower, Options, Ownership, Whiteouts};
use oxbox_layers::tree::overlay::{self, Namespace};
use oxbox_layers::tree::{Root, Stack, TreeError, Xattrs, untold};

use super::marker::{RootEntry, Size};
use super::{SnapshotError, io_error};
use crate::exec;

/// A guard against archives made to fill a disk; the largest real layers have some tens of gigabytes.
pub(super) const MAX_LAYER_BYTES: u64 = 1 << 40;

/// As many as a file system of that size has inodes by default.
pub(super) const MAX_LAYER_ENTRIES: u64 = 1 << 26;

/// The reader takes single blocks of 512 bytes.
pub(super) const READ_BYTES: usize = 256 << 10;

/// A mode that no layer gives its root, to see whether it gives one. Setuid means nothing on a directory.
const UNSPOKEN_MODE: u32 = 0o4700;

/// What was made of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unpacked {
    pub(super) root: RootEntry,
    pub(super) size: Size,
}

/// Unpacks a tar into an empty directory, above the layers in `lower`.
pub(super) fn unpack(
    directory: &Path,
    lower: Option<&dyn Lower>,
    tar: &mut dyn Read,
) -> Result<Unpacked, SnapshotError> {
    let mut archive = Reader::new(BufReader::with_capacity(READ_BYTES, tar));
    let unpacked = fill(directory, lower, |entries| {
        while let Some(entry) = archive.next()? {
            entries.apply(&entry, &mut archive)?;
        }
        Ok(())
    })?;
    drain(archive.into_inner()).map_err(io_error("read the end of the layer for", directory))?;
    Ok(unpacked)
}

/// Has entries applied to an empty directory, above the layers in `lower`.
pub(super) fn fill(
    directory: &Path,
    lower: Option<&dyn Lower>,
    work: impl FnOnce(&mut Entries<'_>) -> Result<(), ApplyError>,
) -> Result<Unpacked, SnapshotError> {
    let set_mode = |mode| {
        fs::set_permissions(directory, Permissions::from_mode(mode))
            .map_err(io_error("set the mode of", directory))
    };
    set_mode(UNSPOKEN_MODE)?;
    let (ownership, devices, namespace) = match exec::userns::is_entered() {
        // Few ids there, no devices, and no trusted attributes.
        true => (Ownership::KeepOrRecord, Devices::Recorded, Namespace::User),
        false => (Ownership::Keep, Devices::Required, Namespace::Trusted),
    };
    let options = Options {
        ownership,
        devices,
        whiteouts: Whiteouts::Overlay { namespace, lower },
        xattrs: Xattrs::CapabilityAndUser,
        max_bytes: MAX_LAYER_BYTES,
        max_entries: MAX_LAYER_ENTRIES,
    };
    let root = Root::open(directory)?;
    let apply = |mut entries: Entries<'_>| {
        work(&mut entries)?;
        entries.finish()
    };
    let applied = Entries::new(&root, &options)
        .and_then(apply)
        .map_err(|source| SnapshotError::Unpack { path: directory.to_owned(), source })?;
    for skipped in &applied.skipped {
        tracing::warn!(?skipped, "left out of a layer");
    }
    let mode = fs::metadata(directory).map_err(io_error("stat", directory))?.permissions().mode();
    let size = Size::of(usize::try_from(applied.entries).unwrap_or(usize::MAX));
    if mode & 0o7777 == UNSPOKEN_MODE {
        set_mode(0o755)?;
        return Ok(Unpacked { root: RootEntry::Inherited, size });
    }
    Ok(Unpacked { root: RootEntry::Own, size })
}

/// Reads what follows the end mark: a source that checks a sum does so at its end.
pub(super) fn drain(rest: impl Read) -> io::Result<()> {
    io::copy(&mut rest.take(MAX_LAYER_BYTES), &mut io::sink()).map(|_| ())
}

/// Returns what an upper directory changes over the layers below it. Directories that were touched and not changed
/// get back their times.
///
/// Of extended attributes only file capabilities are written down, as containerd and BuildKit do.
pub(super) fn changes(upper: &Path, below: &[PathBuf]) -> Result<Vec<Entry>, SnapshotError> {
    // Else what is below and has others would always seem changed.
    let below = stack_seeing(below, Xattrs::Capability)?;
    let root = Root::open(upper)?;
    let changed = overlay::changes(&root, &below, Xattrs::Capability)
        .map_err(|source| SnapshotError::Changes { path: upper.to_owned(), source })?;
    untold::restore_times(&root, &changed.untold)?;
    Ok(changed.entries)
}

pub(super) fn stack(layers: &[PathBuf]) -> Result<Stack, TreeError> {
    stack_seeing(layers, Xattrs::CapabilityAndUser)
}

fn stack_seeing(layers: &[PathBuf], xattrs: Xattrs) -> Result<Stack, TreeError> {
    let roots = layers.iter().map(|layer| Root::open(layer)).collect::<Result<_, _>>()?;
    Ok(Stack::new(roots, xattrs))
}
