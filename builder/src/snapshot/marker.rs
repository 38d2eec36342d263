//! Whether a snapshot that is in its place can be believed.
//!
//! ```text
//! <hex>/unpacked      `<boot id>` or `synced`, newline,
//!                     `above <chain_id>`, newline,                        of what stands on another snapshot
//!                     `folded <chain_id> …`, newline,                     of what is linked to others
//!                     `own root` or `inherited root`, newline,
//!                     `noted <diff_id> [<chain_id of what is below>]`, newline,     if `contents` is beside
//!                     `small`, newline                                    if it has few entries
//! ```
//!
//! A snapshot is renamed into place whole, but not synced: that would cost more than unpacking. After a
//! crash of the machine the name may be on disk and the content not. So a snapshot is believed as long
//! as the machine runs that wrote it, and for good once a sweep has synced it, when the kernel has long
//! written it by itself and there is nothing left to wait for. Its mtime says when a step last stood on it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use oxbox_layers::oci::{ChainId, DiffId};

use super::{SnapshotError, io_error};

pub(super) const NAME: &str = "unpacked";
const SYNCED: &str = "synced";
const OWN: &str = "own root";
const INHERITED: &str = "inherited root";
const ABOVE: &str = "above ";
const NOTED: &str = "noted ";
const FOLDED: &str = "folded ";
const SMALL: &str = "small";

/// A layer of no more entries is a small one. To link so many takes half a millisecond; to make them, and to write
/// them down as a layer, took several.
const FEW_ENTRIES: usize = 128;

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    /// The boot in which it was written, or the word for "surely on disk".
    boot: String,
    pub(super) root: RootEntry,
    pub(super) form: Form,
    pub(super) size: Size,
}

/// What a snapshot's directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// All that the layer says.
    Whole,
    /// The same, and what is in it is noted: another layer's snapshot may be made above it.
    Noted {
        /// The layer.
        layer: DiffId,
        /// What lies below it.
        below: Option<ChainId>,
    },
    /// What the layer says otherwise than that of another snapshot, which is not of this form.
    Above {
        /// That snapshot.
        base: ChainId,
    },
    /// What several layers say together, with links to the files of their snapshots.
    Folded {
        /// Those snapshots, the lowest first.
        parts: Arc<[ChainId]>,
    },
}

impl Form {
    /// Returns the snapshots that are not to go before it.
    pub(super) fn stands_on(&self) -> &[ChainId] {
        match self {
            Self::Whole | Self::Noted { .. } => &[],
            Self::Above { base } => std::slice::from_ref(base),
            Self::Folded { parts } => parts,
        }
    }
}

/// How many entries there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// So few that they can as well be linked anew.
    Small,
    /// More, or nobody knows.
    Any,
}

impl Size {
    /// Judges a number of entries.
    pub(super) fn of(entries: usize) -> Self {
        if entries <= FEW_ENTRIES { Self::Small } else { Self::Any }
    }

    /// Judges entries by counting no more than it takes.
    pub(super) fn counted(entries: impl Iterator) -> Self {
        Self::of(entries.take(FEW_ENTRIES + 1).count())
    }
}

/// Where the attributes of the layer's root directory come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RootEntry {
    /// The layer has an entry for it.
    Own,
    /// The layer does not speak of it: they are those of the layers below.
    Inherited,
}

/// How far a snapshot can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is on disk.
    Synced,
    /// It was written since the machine started.
    ThisBoot,
    /// The machine went down since it was written.
    Lost,
}

impl Marker {
    /// Returns the marker of what is written now.
    pub(super) fn new(boot: &str, root: RootEntry, form: Form) -> Self {
        Self { boot: boot.to_owned(), root, form, size: Size::Any }
    }

    /// Says how large it is.
    pub(super) fn sized(self, size: Size) -> Self {
        Self { size, ..self }
    }

    /// Reads the marker in `directory`; `None` without one.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, SnapshotError> {
        let path = directory.join(NAME);
        match fs::read(&path) {
            Ok(text) => Ok(Some(Self::parse(&String::from_utf8_lossy(&text)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Writes it into a directory that nobody else sees yet.
    pub(super) fn write(&self, directory: &Path) -> Result<(), SnapshotError> {
        let path = directory.join(NAME);
        fs::write(&path, self.text()).map_err(io_error("write", &path))
    }

    /// Writes it anew into a directory that others are reading, as surely on disk. Others may be doing
    /// the same, or removing it: what is gone needs no marker.
    pub(super) fn write_synced(&self, directory: &Path) -> Result<(), SnapshotError> {
        match self.try_write_synced(directory) {
            Err(SnapshotError::Io { .. }) if !directory.exists() => Ok(()),
            result => result,
        }
    }

    fn try_write_synced(&self, directory: &Path) -> Result<(), SnapshotError> {
        let path = directory.join(NAME);
        let synced = Self { boot: SYNCED.to_owned(), ..self.clone() };
        let mut aside = tempfile::Builder::new()
            .prefix("unpacked.")
            .tempfile_in(directory)
            .map_err(io_error("write in", directory))?;
        aside.write_all(synced.text().as_bytes()).map_err(io_error("write", aside.path()))?;
        if let Some(used) = Self::used(directory) {
            let _ = aside.as_file().set_modified(used);
        }
        aside.persist(&path).map(drop).map_err(|error| io_error("publish", &path)(error.error))
    }

    /// Notes that a step stands on the snapshot now.
    pub(super) fn touch(directory: &Path) {
        // Without it the snapshot only goes earlier.
        let _ = File::open(directory.join(NAME)).and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Returns when a step last stood on the snapshot; `None` without one.
    pub(super) fn used(directory: &Path) -> Option<SystemTime> {
        fs::metadata(directory.join(NAME)).and_then(|found| found.modified()).ok()
    }

    /// Returns how far it can be believed in the boot named `boot`.
    pub(super) fn trust(&self, boot: &str) -> Trust {
        match self.boot.as_str() {
            SYNCED => Trust::Synced,
            own if own == boot && !own.is_empty() => Trust::ThisBoot,
            // A torn marker is empty or holds zeros; neither names this boot.
            _ => Trust::Lost,
        }
    }

    fn parse(text: &str) -> Self {
        // Torn, or of a version that knows more.
        Self::try_parse(text).unwrap_or(Self {
            boot: String::new(),
            root: RootEntry::Inherited,
            form: Form::Whole,
            size: Size::Any,
        })
    }

    fn try_parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let boot = lines.next()?.to_owned();
        let mut line = lines.next()?;
        let mut form = Form::Whole;
        // Before the root, so that a version that does not know of it believes no such snapshot.
        if let Some(base) = line.strip_prefix(ABOVE) {
            form = Form::Above { base: ChainId(base.parse().ok()?) };
            line = lines.next()?;
        } else if let Some(parts) = line.strip_prefix(FOLDED) {
            let parts = parts.split(' ').map(|part| part.parse().map(ChainId).ok());
            form = Form::Folded { parts: parts.collect::<Option<_>>()? };
            line = lines.next()?;
        }
        let root = match line {
            OWN => RootEntry::Own,
            INHERITED => RootEntry::Inherited,
            _ => return None,
        };
        let mut next = lines.next();
        if let (Some(line), Form::Whole) = (next.filter(|line| line.starts_with(NOTED)), &form) {
            form = noted(line)?;
            next = lines.next();
        }
        let size = match next {
            None => Size::Any,
            Some(SMALL) => Size::Small,
            Some(_) => return None,
        };
        lines.next().is_none().then_some(Self { boot, root, form, size })
    }

    fn text(&self) -> String {
        let root = match self.root {
            RootEntry::Own => OWN,
            RootEntry::Inherited => INHERITED,
        };
        let boot = &self.boot;
        let mut text = match &self.form {
            Form::Whole => format!("{boot}\n{root}\n"),
            Form::Noted { layer, below: None } => format!("{boot}\n{root}\n{NOTED}{layer}\n"),
            Form::Noted { layer, below: Some(below) } => {
                format!("{boot}\n{root}\n{NOTED}{layer} {}\n", below.0)
            }
            Form::Above { base } => format!("{boot}\n{ABOVE}{}\n{root}\n", base.0),
            Form::Folded { parts } => {
                let parts: Vec<String> = parts.iter().map(|part| part.0.to_string()).collect();
                format!("{boot}\n{FOLDED}{}\n{root}\n", parts.join(" "))
            }
        };
        if self.size == Size::Small {
            text.push_str(SMALL);
            text.push('\n');
        }
        text
    }
}

fn noted(line: &str) -> Option<Form> {
    let mut words = line.strip_prefix(NOTED)?.split(' ');
    let layer = DiffId(words.next()?.parse().ok()?);
    let below = match words.next() {
        Some(word) => Some(ChainId(word.parse().ok()?)),
        None => None,
    };
    words.next().is_none().then_some(Form::Noted { layer, below })
}

/// Returns what names this boot of the machine; containers see their host's.
pub(super) fn boot_id() -> Result<String, SnapshotError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = fs::read_to_string(path).map_err(io_error("read", path))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::{ChainId, DiffId, Digest};

    use super::{Form, Marker, RootEntry, Size, Trust};

    #[test]
    fn a_snapshot_is_believed_in_the_boot_that_wrote_it() {
        let marker = Marker::new("a", RootEntry::Own, Form::Whole);
        assert_eq!((marker.trust("a"), marker.trust("b")), (Trust::ThisBoot, Trust::Lost));
    }

    #[test]
    fn a_synced_snapshot_is_believed_for_good() {
        let directory = tempfile::tempdir().unwrap();
        Marker::new("a", RootEntry::Own, Form::Whole).write_synced(directory.path()).unwrap();
        let marker = Marker::read(directory.path()).unwrap().unwrap();
        assert_eq!((marker.trust("b"), marker.root), (Trust::Synced, RootEntry::Own));
    }

    #[test]
    fn a_snapshot_that_many_sync_at_once_is_believed_all_the_while() {
        let directory = tempfile::tempdir().unwrap();
        let marker = Marker::new("a", RootEntry::Own, Form::Whole);
        marker.write(directory.path()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        marker.write_synced(directory.path()).unwrap();
                        let read = Marker::read(directory.path()).unwrap().unwrap();
                        assert_eq!(read.trust("b"), Trust::Synced);
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        let gone = directory.path().join("gone");
        marker.write_synced(&gone).unwrap();
    }

    #[test]
    fn a_torn_marker_is_not_believed() {
        for text in ["", "\0\0\0\0", "\n", "a\n", "synced\n\0\0"] {
            assert_eq!(Marker::parse(text).trust("a"), Trust::Lost, "{text:?}");
            assert_eq!(Marker::parse(text).trust(""), Trust::Lost, "{text:?}");
        }
    }

    #[test]
    fn a_marker_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Marker::read(directory.path()).unwrap(), None);
        let (layer, chain) = (DiffId(Digest::sha256(b"layer")), ChainId(Digest::sha256(b"chain")));
        let forms = [
            Form::Whole,
            Form::Noted { layer, below: None },
            Form::Noted { layer, below: Some(chain) },
            Form::Above { base: chain },
            Form::Folded { parts: [chain, ChainId(layer.0)].into() },
        ];
        for form in forms {
            for size in [Size::Small, Size::Any] {
                let marker = Marker::new("a", RootEntry::Inherited, form.clone()).sized(size);
                marker.write(directory.path()).unwrap();
                assert_eq!(Marker::read(directory.path()).unwrap(), Some(marker));
            }
        }
    }

    #[test]
    fn what_is_said_beyond_the_known_is_not_believed() {
        let text =
            Marker::new("a", RootEntry::Own, Form::Above { base: ChainId(Digest::sha256(b"x")) }).text();
        for text in [format!("{text}more\n"), "a\nown root\nabout it\n".to_owned()] {
            assert_eq!(Marker::parse(&text).trust("a"), Trust::Lost, "{text:?}");
        }
    }
}
