//! A folder of this machine as a build context, behind an ignore file.
//!
//! What is ignored does not exist: COPY of an ignored file fails as for a missing one, with a hint. An
//! ignored folder exists only if something below it was taken back. Owners are dropped (everything is
//! root's) and so are extended attributes but file capabilities, as BuildKit does when it takes a
//! context in: who owns a checkout must not decide about the image.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use oxbox_layers::tar::{Entry, Kind};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{FileContents, FileTree, Ignore, Node, TreeError};

/// The attribute that holds file capabilities; copies lose `setcap` without it.
const CAPABILITY: &str = "security.capability";
/// A capability value has 24 bytes at most (version 3); anything longer is none.
const MAX_CAPABILITY: usize = 64;

/// A folder and what is ignored in it.
pub struct Directory {
    root: PathBuf,
    ignore: Ignore,
}

impl Directory {
    /// Opens a folder.
    ///
    /// # Errors
    ///
    /// [`TreeError::Io`] if it is not there or no folder.
    pub fn open(root: &Path, ignore: Ignore) -> Result<Self, TreeError> {
        let error = |source| TreeError::Io { verb: "open build context", path: root.to_owned(), source };
        let metadata = fs::metadata(root).map_err(error)?;
        if !metadata.is_dir() {
            return Err(error(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        Ok(Self { root: root.to_owned(), ignore })
    }

    /// Returns where it is, as it was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the path, clean and without links on the way, is there and only the ignore file hides it.
    pub fn hides(&self, path: &[u8]) -> bool {
        matches!(self.metadata(path), Ok(Some(_))) && matches!(self.node(path), Ok(None))
    }

    fn host_path(&self, path: &[u8]) -> PathBuf {
        self.root.join(Path::new(std::ffi::OsStr::from_bytes(path)))
    }

    fn metadata(&self, path: &[u8]) -> Result<Option<Metadata>, TreeError> {
        let host_path = self.host_path(path);
        match fs::symlink_metadata(&host_path) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(source) => Err(TreeError::Io { verb: "look at", path: host_path, source }),
        }
    }

    fn reader(&self, path: &[u8]) -> Result<Box<dyn Read>, TreeError> {
        let host_path = self.host_path(path);
        // What was a file a moment ago may be a link out of the context by now, or a pipe that nobody
        // ever writes to.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(&host_path, flags, Mode::empty()) {
            Ok(file) => Ok(Box::new(File::from(file))),
            // A socket: see `kind`.
            Err(Errno::NXIO) => Ok(Box::new(io::empty())),
            Err(errno) => Err(TreeError::Io { verb: "read", path: host_path, source: errno.into() }),
        }
    }

    /// Whether the ignore file lets the path be seen.
    fn is_visible(&self, path: &[u8], is_directory: bool) -> Result<bool, TreeError> {
        if path.is_empty() || !self.ignore.excludes(path) {
            return Ok(true);
        }
        if !is_directory || self.ignore.prunes(path) {
            return Ok(false);
        }
        Ok(!self.children(path)?.is_empty())
    }

    fn kind(&self, path: &[u8], metadata: &Metadata) -> Result<Kind, TreeError> {
        let file_type = metadata.file_type();
        let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        Ok(if file_type.is_dir() {
            Kind::Directory
        } else if file_type.is_symlink() {
            let host_path = self.host_path(path);
            let target = fs::read_link(&host_path).map_err(|source| TreeError::Io {
                verb: "read link",
                path: host_path,
                source,
            })?;
            Kind::Symlink { target: target.into_os_string().into_vec() }
        } else if file_type.is_fifo() {
            Kind::Fifo
        } else if file_type.is_char_device() {
            Kind::CharacterDevice { major, minor }
        } else if file_type.is_block_device() {
            Kind::BlockDevice { major, minor }
        } else if file_type.is_socket() {
            // BuildKit's transfer of a context makes an empty file of a socket, and so do we.
            Kind::File { size: 0 }
        } else {
            Kind::File { size: metadata.len() }
        })
    }

    fn xattrs(&self, path: &[u8], kind: &Kind) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut value = [0; MAX_CAPABILITY];
        if !matches!(kind, Kind::File { .. }) {
            return BTreeMap::new();
        }
        // No such attribute, or a filesystem without them: both mean there is none.
        match rustix::fs::lgetxattr(self.host_path(path), CAPABILITY, &mut value) {
            Ok(length) => BTreeMap::from([(CAPABILITY.into(), value[..length].to_vec())]),
            Err(_) => BTreeMap::new(),
        }
    }
}

impl FileTree for Directory {
    fn node(&self, path: &[u8]) -> Result<Option<Node>, TreeError> {
        let Some(metadata) = self.metadata(path)? else { return Ok(None) };
        if !self.is_visible(path, metadata.is_dir())? {
            return Ok(None);
        }
        let kind = self.kind(path, &metadata)?;
        let is_linked = metadata.nlink() > 1 && matches!(kind, Kind::File { .. });
        let entry = Entry {
            path: path.to_vec(),
            mode: metadata.mode() & 0o7777,
            uid: 0,
            gid: 0,
            mtime: metadata.mtime(),
            xattrs: self.xattrs(path, &kind),
            kind,
        };
        Ok(Some(Node { entry, identity: is_linked.then(|| (metadata.dev(), metadata.ino())) }))
    }

    fn children(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, TreeError> {
        let host_path = self.host_path(path);
        let error = |source| TreeError::Io { verb: "list", path: host_path.clone(), source };
        // The system would follow a link out of the context.
        if !self.metadata(path)?.is_some_and(|metadata| metadata.is_dir()) {
            return Ok(Vec::new());
        }
        let listing = fs::read_dir(&host_path).map_err(error)?;
        let mut names = Vec::new();
        for item in listing {
            let item = item.map_err(error)?;
            let name = item.file_name().into_vec();
            let is_directory = item.file_type().map_err(error)?.is_dir();
            if self.is_visible(&super::tree::join(path, &name), is_directory)? {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The blake3 hash and, for whoever reads it again, the length.
    fn fingerprint(&self, path: &[u8]) -> Result<Vec<u8>, TreeError> {
        let mut hasher = blake3::Hasher::new();
        let reader = self.reader(path)?;
        hasher.update_reader(reader).map_err(|source| TreeError::Io {
            verb: "read",
            path: self.host_path(path),
            source,
        })?;
        Ok([hasher.finalize().as_bytes(), &hasher.count().to_le_bytes()[..]].concat())
    }

    fn contents(&self, _paths: &[Vec<u8>]) -> Result<Box<dyn FileContents + '_>, TreeError> {
        Ok(Box::new(self))
    }
}

impl FileContents for &Directory {
    fn open(&mut self, path: &[u8], fingerprint: Option<&[u8]>) -> Result<Box<dyn Read + '_>, TreeError> {
        let reader = self.reader(path)?;
        Ok(match fingerprint {
            Some(seen) => Box::new(Unchanged { reader, seen: seen.to_vec(), hasher: blake3::Hasher::new() }),
            None => reader,
        })
    }
}

/// A file that must still be what its key was taken of, or the cache would hold something else under
/// that key. The read that would end another content fails.
struct Unchanged<R> {
    reader: R,
    /// As [`Directory::fingerprint`] returns it.
    seen: Vec<u8>,
    hasher: blake3::Hasher,
}

impl<R> Unchanged<R> {
    fn is_whole(&self) -> bool {
        let size = self.seen.last_chunk().map_or(0, |size| u64::from_le_bytes(*size));
        self.hasher.count() >= size
    }
}

impl<R: Read> Read for Unchanged<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        let is_end = (length == 0 && !buffer.is_empty()) || (length > 0 && self.is_whole());
        if is_end && !self.seen.starts_with(self.hasher.finalize().as_bytes()) {
            return Err(io::Error::other("the file changed during the build"));
        }
        Ok(length)
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use oxbox_layers::tar::Kind;

    use super::{Directory, FileTree as _, Ignore};

    fn context(ignore: &str) -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("src/deep")).unwrap();
        fs::write(root.join("src/main.c"), "int main;").unwrap();
        fs::write(root.join("src/deep/x.o"), "o").unwrap();
        fs::write(root.join("README.md"), "read").unwrap();
        symlink("src/main.c", root.join("link")).unwrap();
        fs::hard_link(root.join("README.md"), root.join("COPY.md")).unwrap();
        fs::set_permissions(root.join("src/main.c"), fs::Permissions::from_mode(0o4755)).unwrap();
        let directory = Directory::open(root, Ignore::parse(ignore).unwrap()).unwrap();
        (folder, directory)
    }

    #[test]
    fn nodes_carry_kind_and_mode_but_no_owner() {
        let (_folder, context) = context("");
        let node = context.node(b"src/main.c").unwrap().unwrap();
        assert_eq!(node.entry.kind, Kind::File { size: 9 });
        assert_eq!((node.entry.mode, node.entry.uid, node.entry.gid), (0o4755, 0, 0));
        let link = context.node(b"link").unwrap().unwrap();
        assert_eq!(link.entry.kind, Kind::Symlink { target: b"src/main.c".to_vec() });
        assert_eq!(context.node(b"none").unwrap(), None);
        assert_eq!(context.node(b"README.md/below").unwrap(), None);
    }

    #[test]
    fn a_link_to_a_folder_holds_nothing() {
        let (folder, context) = context("");
        symlink("/", folder.path().join("out")).unwrap();
        assert_eq!(context.children(b"out").unwrap(), [b""; 0]);
        assert_eq!(context.children(b"README.md").unwrap(), [b""; 0]);
    }

    #[test]
    fn what_became_a_link_or_a_pipe_is_neither_followed_nor_waited_for() {
        let (folder, context) = context("");
        assert!(context.fingerprint(b"link").is_err());
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
        context.fingerprint(b"pipe").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        assert_eq!(context.fingerprint(b"socket").unwrap(), context.fingerprint(b"pipe").unwrap());
    }

    #[test]
    fn two_names_of_one_file_are_recognised() {
        let (_folder, context) = context("");
        let identity = |path: &[u8]| context.node(path).unwrap().unwrap().identity;
        assert_eq!(identity(b"README.md"), identity(b"COPY.md"));
        assert!(identity(b"README.md").is_some());
        assert_eq!(identity(b"src/main.c"), None);
    }

    #[test]
    fn what_is_ignored_does_not_exist() {
        let (_folder, context) = context("src/deep\n*.md\n!README.md");
        assert_eq!(context.children(b"").unwrap(), [&b"README.md"[..], b"link", b"src"]);
        assert_eq!(context.children(b"src").unwrap(), [b"main.c"]);
        assert_eq!(context.node(b"src/deep/x.o").unwrap(), None);
        assert!(context.hides(b"src/deep/x.o"));
        assert!(!context.hides(b"nowhere"));
    }

    #[test]
    fn a_file_that_changed_since_its_key_was_taken_cannot_be_read() {
        let (folder, context) = context("");
        let path = b"src/main.c".to_vec();
        let read = |fingerprint: &[u8]| {
            let mut text = String::new();
            let mut contents = context.contents(std::slice::from_ref(&path)).unwrap();
            contents.open(&path, Some(fingerprint)).unwrap().read_to_string(&mut text).map(|_| text)
        };
        let before = context.fingerprint(&path).unwrap();
        assert_eq!(read(&before).unwrap(), "int main;");
        fs::write(folder.path().join("src/main.c"), "int mine;").unwrap();
        // That another step of the build took it as it is now does not make it what it was.
        let after = context.fingerprint(&path).unwrap();
        assert_ne!(after, before);
        assert!(read(&before).unwrap_err().to_string().contains("changed"));
        assert_eq!(read(&after).unwrap(), "int mine;");
        for other in ["int mine", "int mine;;", ""] {
            fs::write(folder.path().join("src/main.c"), other).unwrap();
            assert!(read(&after).unwrap_err().to_string().contains("changed"), "{other:?}");
        }
    }

    #[test]
    fn an_ignored_folder_is_there_only_for_what_was_taken_back() {
        let (_folder, context) = context("*\n!src/main.c");
        assert_eq!(context.children(b"").unwrap(), [b"src"]);
        assert_eq!(context.children(b"src").unwrap(), [b"main.c"]);
    }
}
