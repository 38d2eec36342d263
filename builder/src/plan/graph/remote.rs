//! Sources from elsewhere in the graph: each makes one layer of what it brings.

use oxbox_layers::oci::Digest;

/// A file from an HTTP server: ADD of a URL.
///
/// Makes a layer with that one file at its root: mode 0600, owned by root, with the server's
/// Last-Modified as its time, or 1970.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Http {
    /// Where.
    pub url: String,
    /// What the file is called: the last component of the URL's path, or `__unnamed__`.
    pub name: String,
    /// What it must be, if that was said. Then the server is not asked when it is at hand.
    pub checksum: Option<Digest>,
}

/// A commit of a git repository: ADD of a repository, or a context.
///
/// Makes a layer of its files, owned by root, modes 0644 and 0755.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Git {
    /// Where, without fragment and query: `https://host/path.git`, `user@host:path`, …
    pub remote: String,
    /// Branch, tag or commit; the remote's HEAD if absent.
    pub reference: Option<String>,
    /// Which folder of it; all if absent.
    pub folder: Option<String>,
    /// Start of the commit's id, which must come out.
    pub commit: Option<String>,
    /// Whether `.git` is kept.
    pub keep_git_dir: bool,
    /// Whether submodules are left out.
    pub without_submodules: bool,
}

/// A named context as a filesystem: FROM of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Local {
    /// The context's name.
    pub name: String,
}
