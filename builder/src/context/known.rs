//! What is known of a context's files: which state of which path held what. The stat cache.
//!
//! ```text
//! stat/<blake3 of the context's path>   blake3 of the rest (32 bytes) ‖ "oxst" version ‖ written ‖ context ‖ directory …
//!   written                             time: i64 seconds, u32 nanoseconds
//!   context                             u32 length, path
//!   directory                           u32 length, path ‖ u32 length, records
//!   record                              u16 length, name ‖ u8 length, capability ‖ device inode size (u64 each)
//!                                       ‖ mtime ctime (times) ‖ u32 mode ‖ blake3 of the content (32 bytes)
//! ```
//!
//! Little endian; the records of a directory in byte order of their names. Only files in settled states
//! are in here (`state.rs`). The file is written aside and renamed, and only if there is news. Of several
//! builds at once the last one's stays, whole; what the others learned is read again. A file that is
//! missing, damaged or of another version is nothing known; so is one from the future: the clock was set
//! back, and a file that changed since may bear an old time again.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use super::state::{State, Time};

const HASH: usize = 32;
const MAGIC: &[u8; 5] = b"oxst\x01";

/// Most that is kept of one context: some two and a half million files.
const MAX_BYTES: u64 = 256 << 20;

/// Use is noted this often: enough for pruning by age, and no write for every build.
const NOTED_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known of the files of one context. Shared by threads.
#[derive(Default)]
pub(super) struct Known {
    /// Where it is kept, if anywhere.
    file: Option<PathBuf>,
    /// The context's path.
    context: PathBuf,
    loaded: Records,
    directories: HashMap<Vec<u8>, Range<usize>>,
    /// What this process found out.
    news: RwLock<BTreeMap<Vec<u8>, Records>>,
}

/// The records of one directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
}

/// What is known of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) name: &'a [u8],
    /// Empty without.
    pub(super) capability: &'a [u8],
    pub(super) state: State,
    pub(super) content: [u8; 32],
}

impl Known {
    /// Reads what a folder holds about a context.
    pub(super) fn load(folder: &Path, context: &Path) -> Self {
        let empty = Self::forgotten(folder, context);
        let bytes = empty.file.as_deref().and_then(read);
        match bytes.and_then(|bytes| Self::parse(bytes, &empty.context, Time::now())) {
            Some(loaded) => Self { file: empty.file, context: empty.context, ..loaded },
            None => empty,
        }
    }

    /// Knows nothing of a context, but where to note what will be.
    pub(super) fn forgotten(folder: &Path, context: &Path) -> Self {
        let Ok(context) = fs::canonicalize(context) else { return Self::default() };
        let name = blake3::hash(context.as_os_str().as_bytes()).to_hex();
        Self { file: Some(folder.join(name.as_str())), context, ..Self::default() }
    }

    fn parse(bytes: Vec<u8>, context: &Path, now: Time) -> Option<Self> {
        let mut at = Cursor { rest: &bytes };
        let hash = at.take(HASH)?;
        if blake3::hash(at.rest).as_bytes() != hash || at.take(MAGIC.len())? != MAGIC || at.time()? > now {
            return None;
        }
        if at.long()? != context.as_os_str().as_bytes() {
            return None;
        }
        let mut directories = HashMap::new();
        while !at.rest.is_empty() {
            let path = at.long()?.to_vec();
            let records = at.long()?;
            let end = bytes.len() - at.rest.len();
            directories.insert(path, end - records.len()..end);
        }
        let loaded = Records { range: 0..bytes.len(), bytes: Arc::new(bytes) };
        Some(Self { loaded, directories, ..Self::default() })
    }

    /// Returns what is known of the files in a directory.
    pub(super) fn records(&self, directory: &[u8]) -> Records {
        let news = self.news.read().unwrap_or_else(PoisonError::into_inner).get(directory).cloned();
        news.unwrap_or_else(|| match self.directories.get(directory) {
            Some(range) => Records { bytes: Arc::clone(&self.loaded.bytes), range: range.clone() },
            None => Records::default(),
        })
    }

    /// Replaces what is known of the files in a directory.
    pub(super) fn learn(&self, directory: &[u8], records: Records) {
        let mut news = self.news.write().unwrap_or_else(PoisonError::into_inner);
        news.insert(directory.to_vec(), records);
    }

    /// Writes down what is known, if there is news.
    pub(super) fn save(&self) -> io::Result<()> {
        let news = self.news.read().unwrap_or_else(PoisonError::into_inner);
        let (Some(file), false) = (&self.file, news.is_empty()) else { return Ok(()) };
        let mut directories: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
        for (path, range) in &self.directories {
            // One that no build looked at may be gone, and would stay here forever.
            let place = self.context.join(std::ffi::OsStr::from_bytes(path));
            if !news.contains_key(path) && fs::symlink_metadata(place).is_ok_and(|found| found.is_dir()) {
                directories.insert(path, &self.loaded.bytes[range.clone()]);
            }
        }
        directories.extend(news.iter().map(|(path, records)| (&path[..], records.as_bytes())));
        directories.retain(|_, records| !records.is_empty());
        let bytes = self.pack(&directories, Time::now());
        if bytes.len() as u64 > MAX_BYTES {
            return Ok(());
        }
        write(file, &bytes)
    }

    fn pack(&self, directories: &BTreeMap<&[u8], &[u8]>, now: Time) -> Vec<u8> {
        let mut bytes = vec![0; HASH];
        bytes.extend(MAGIC);
        put_time(&mut bytes, now);
        put_long(&mut bytes, self.context.as_os_str().as_bytes());
        for (path, records) in directories {
            put_long(&mut bytes, path);
            put_long(&mut bytes, records);
        }
        let hash = blake3::hash(&bytes[HASH..]);
        bytes[..HASH].copy_from_slice(hash.as_bytes());
        bytes
    }
}

impl Records {
    /// Packs records, which come in byte order of their names.
    pub(super) fn of<'a>(records: impl Iterator<Item = Record<'a>>) -> Self {
        let mut bytes = Vec::new();
        records.for_each(|record| record.put(&mut bytes));
        Self { range: 0..bytes.len(), bytes: Arc::new(bytes) }
    }

    /// Returns the records in byte order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let mut at = Cursor { rest: self.as_bytes() };
        // What is sealed is whole, so that this ends at the end.
        std::iter::from_fn(move || Record::take(&mut at))
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

impl<'a> Record<'a> {
    fn take(at: &mut Cursor<'a>) -> Option<Self> {
        let name = at.take(2).map(|length| u16::from_le_bytes([length[0], length[1]]));
        let name = at.take(name?.into())?;
        let capability = at.take(1)?[0];
        let capability = at.take(capability.into())?;
        let (device, inode, size) = (at.number()?, at.number()?, at.number()?);
        let (mtime, ctime, mode) = (at.time()?, at.time()?, at.short()?);
        let state = State { device, inode, size, mtime, ctime, mode };
        let content = *at.take(HASH)?.first_chunk()?;
        Some(Self { name, capability, state, content })
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        let State { device, inode, size, mtime, ctime, mode } = self.state;
        // No name of a dependable filesystem has more than 255 bytes, and no capability more than 64.
        let (Ok(name), Ok(capability)) =
            (u16::try_from(self.name.len()), u8::try_from(self.capability.len()))
        else {
            return;
        };
        bytes.extend(name.to_le_bytes());
        bytes.extend(self.name);
        bytes.push(capability);
        bytes.extend(self.capability);
        [device, inode, size].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        [mtime, ctime].iter().for_each(|time| put_time(bytes, *time));
        bytes.extend(mode.to_le_bytes());
        bytes.extend(self.content);
    }
}

/// Returns a file's bytes, and notes that it was of use; `None` if it is not to be had.
fn read(path: &Path) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if metadata.len() > MAX_BYTES {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).ok()? + 1);
    (&file).take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    let used = metadata.modified().ok()?;
    if used.elapsed().is_ok_and(|age| age > NOTED_EVERY) {
        // It only ages faster if this fails.
        let _ = file.set_modified(SystemTime::now());
    }
    Some(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("because it was joined to a folder");
    fs::create_dir_all(folder)?;
    let mut aside = tempfile::NamedTempFile::new_in(folder)?;
    aside.write_all(bytes)?;
    // Not synced: after a power cut the hash tells what is not whole.
    aside.persist(path)?;
    Ok(())
}

fn put_time(bytes: &mut Vec<u8>, time: Time) {
    bytes.extend(time.seconds.to_le_bytes());
    bytes.extend(time.nanoseconds.to_le_bytes());
}

fn put_long(bytes: &mut Vec<u8>, value: &[u8]) {
    // Longer than that is nothing: the whole has 256 MiB at most.
    bytes.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(value);
}

/// Bytes that are still to be read.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn number(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn time(&mut self) -> Option<Time> {
        let seconds = self.take(8)?.first_chunk().map(|bytes| i64::from_le_bytes(*bytes))?;
        Some(Time { seconds, nanoseconds: self.short()? })
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.short()?;
        self.take(usize::try_from(length).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::{Known, Record, Records, State, Time};

    fn time(seconds: i64) -> Time {
        Time { seconds, nanoseconds: 1 }
    }

    fn record<'a>(name: &'a [u8], capability: &'a [u8]) -> Record<'a> {
        let (device, inode, size, mode) = (1, u64::MAX, 3, 0o100_644);
        let state = State { device, inode, size, mtime: time(-4), ctime: time(5), mode };
        Record { name, capability, state, content: [7; 32] }
    }

    /// A context with one folder, and what is known of it.
    fn saved() -> (tempfile::TempDir, Known) {
        let folder = tempfile::tempdir().unwrap();
        let context = folder.path().join("context");
        fs::create_dir_all(context.join("src")).unwrap();
        let known = Known::load(&folder.path().join("stat"), &context);
        known.learn(b"src", Records::of([record(b"a", b""), record(b"b", b"cap")].into_iter()));
        known.learn(b"", Records::of([record(b"top", b"")].into_iter()));
        known.save().unwrap();
        let again = Known::load(&folder.path().join("stat"), &context);
        (folder, again)
    }

    fn file(known: &Known) -> &Path {
        known.file.as_deref().unwrap()
    }

    fn names(known: &Known, directory: &str) -> Vec<String> {
        let records = known.records(directory.as_bytes());
        records.iter().map(|record| String::from_utf8(record.name.to_vec()).unwrap()).collect()
    }

    #[test]
    fn what_was_saved_is_known_again() {
        let (_folder, known) = saved();
        let records = known.records(b"src");
        assert_eq!(records.iter().collect::<Vec<_>>(), [record(b"a", b""), record(b"b", b"cap")]);
        assert_eq!(names(&known, ""), ["top"]);
        assert_eq!(names(&known, "none"), [""; 0]);
    }

    #[test]
    fn without_news_nothing_is_written() {
        let (_folder, known) = saved();
        fs::remove_file(file(&known)).unwrap();
        known.save().unwrap();
        assert!(!file(&known).exists());
    }

    #[test]
    fn a_folder_that_is_gone_is_forgotten_with_the_next_news() {
        let (folder, known) = saved();
        fs::remove_dir(folder.path().join("context/src")).unwrap();
        known.learn(b"", Records::of([record(b"other", b"")].into_iter()));
        known.save().unwrap();
        let again = Known::load(&folder.path().join("stat"), &folder.path().join("context"));
        assert_eq!((names(&again, ""), names(&again, "src")), (vec!["other".to_owned()], Vec::new()));
    }

    #[test]
    fn a_flipped_bit_or_a_cut_anywhere_is_nothing_known() {
        let (_folder, known) = saved();
        let whole = fs::read(file(&known)).unwrap();
        let parse = |bytes: Vec<u8>| Known::parse(bytes, &known.context, Time::now());
        assert!(parse(whole.clone()).is_some());
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(parse(bytes).is_none(), "bit {at}");
            assert!(parse(whole[..at].to_vec()).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn what_was_written_in_the_future_is_nothing_known() {
        let (_folder, known) = saved();
        let parse = |now: i64| {
            let bytes = known.pack(&BTreeMap::new(), time(100));
            Known::parse(bytes, &known.context, time(now)).is_some()
        };
        assert_eq!((parse(99), parse(100), parse(101)), (false, true, true));
    }

    #[test]
    fn what_is_known_of_another_context_is_not_taken() {
        let (_folder, known) = saved();
        let bytes = fs::read(file(&known)).unwrap();
        assert!(Known::parse(bytes, Path::new("/elsewhere"), Time::now()).is_none());
    }

    #[test]
    fn the_last_of_several_builds_at_once_wins() {
        let (folder, first) = saved();
        let context = folder.path().join("context");
        let second = Known::load(&folder.path().join("stat"), &context);
        first.learn(b"src", Records::of([record(b"first", b"")].into_iter()));
        second.learn(b"src", Records::of([record(b"second", b"")].into_iter()));
        first.save().unwrap();
        second.save().unwrap();
        assert_eq!(names(&Known::load(&folder.path().join("stat"), &context), "src"), ["second"]);
        assert_eq!(fs::read_dir(folder.path().join("stat")).unwrap().count(), 1);
    }
}
