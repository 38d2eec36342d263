//! Two layers, file by file: what an image that was built twice differs in.
//!
//! ```text
//! tar ─▶ path ─▶ metadata, digest of the content ─┐
//! tar ─▶ path ─▶ metadata, digest of the content ─┴─▶ Difference, by path
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use crate::layer::{Layer, LayerError};
use crate::oci::{Algorithm, Digest, Hasher};
use crate::store::BlobStore;
use crate::tar::{Entry, Kind, Reader, TarError};

/// A path that two layers disagree about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path; an archive that holds it several times counts by its last.
    pub path: Vec<u8>,
    /// What they disagree about.
    pub what: What,
}

/// What two layers disagree about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Each of these is other in the second.
    Changed(Vec<Change>),
    /// Only the first one has it.
    OnlyFirst,
    /// Only the second one has it.
    OnlySecond,
}

/// One thing that is other, as a reader would write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `mode`, `owner`, `mtime`, `kind`, `size`, `content`, `xattrs` or `order`.
    pub of: &'static str,
    /// In the first.
    pub first: String,
    /// In the second.
    pub second: String,
}

/// Why layers cannot be compared.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant carries its own room's error")]
pub enum CompareError {
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error("cannot read the layer's tar")]
    Tar(#[from] TarError),
    #[error("cannot read {} in the layer", .path.escape_ascii())]
    Content { path: Vec<u8>, source: io::Error },
}

/// What is known of a path.
struct Known {
    place: usize,
    entry: Entry,
    content: Option<Digest>,
}

/// Compares two layers; an empty answer means that they hold the same in the same order.
pub fn compare(
    store: &dyn BlobStore,
    first: &Layer,
    second: &Layer,
) -> Result<Vec<Difference>, CompareError> {
    let (first, mut second) = (read(store, first)?, read(store, second)?);
    let mut differences = Vec::new();
    for (path, known) in first {
        let what = match second.remove(&path) {
            None => What::OnlyFirst,
            Some(other) => match changes(&known, &other) {
                changes if changes.is_empty() => continue,
                changes => What::Changed(changes),
            },
        };
        differences.push(Difference { path, what });
    }
    differences.extend(second.into_keys().map(|path| Difference { path, what: What::OnlySecond }));
    differences.sort_by(|a, b| a.path.cmp(&b.path));
    // Places are worth a word only if nothing else explains them.
    let is_order = |difference: &Difference| matches!(&difference.what, What::Changed(changes) if changes.iter().all(|change| change.of == "order"));
    if !differences.iter().all(is_order) {
        differences.retain(|difference| !is_order(difference));
    }
    Ok(differences)
}

fn read(store: &dyn BlobStore, layer: &Layer) -> Result<BTreeMap<Vec<u8>, Known>, CompareError> {
    let mut reader = Reader::new(layer.open_tar(store)?);
    let mut known = BTreeMap::new();
    let mut place = 0;
    while let Some(entry) = reader.next()? {
        let content = match entry.kind {
            Kind::File { size } if size > 0 => {
                let mut hasher = Hasher::new(Algorithm::Sha256);
                let failed = |source| CompareError::Content { path: entry.path.clone(), source };
                io::copy(&mut reader, &mut hasher).map_err(failed)?;
                Some(hasher.finish())
            }
            _ => None,
        };
        known.insert(entry.path.clone(), Known { place, entry, content });
        place += 1;
    }
    reader.into_inner().verify()?;
    Ok(known)
}

fn changes(first: &Known, second: &Known) -> Vec<Change> {
    let (a, b) = (&first.entry, &second.entry);
    let told: [(&'static str, String, String); 6] = [
        ("kind", kind(&a.kind), kind(&b.kind)),
        ("mode", format!("{:04o}", a.mode), format!("{:04o}", b.mode)),
        ("owner", format!("{}:{}", a.uid, a.gid), format!("{}:{}", b.uid, b.gid)),
        ("mtime", a.mtime.to_string(), b.mtime.to_string()),
        ("size", a.size().to_string(), b.size().to_string()),
        ("xattrs", xattrs(a), xattrs(b)),
    ];
    let mut told: Vec<_> = told.into_iter().collect();
    let digest = |content: &Option<Digest>| content.map(|digest| digest.to_string()).unwrap_or_default();
    told.push(("content", digest(&first.content), digest(&second.content)));
    told.push(("order", first.place.to_string(), second.place.to_string()));
    let other = told.into_iter().filter(|(_, first, second)| first != second);
    other.map(|(of, first, second)| Change { of, first, second }).collect()
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::File { .. } => "file".to_owned(),
        Kind::Directory => "directory".to_owned(),
        Kind::Symlink { target } => format!("link to {}", target.escape_ascii()),
        Kind::Hardlink { target } => format!("hard link to {}", target.escape_ascii()),
        Kind::CharacterDevice { major, minor } => format!("character device {major}:{minor}"),
        Kind::BlockDevice { major, minor } => format!("block device {major}:{minor}"),
        Kind::Fifo => "pipe".to_owned(),
    }
}

fn xattrs(entry: &Entry) -> String {
    let one =
        |(name, value): (&Vec<u8>, &Vec<u8>)| format!("{}={}", name.escape_ascii(), value.escape_ascii());
    entry.xattrs.iter().map(one).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}: ", self.path.escape_ascii())?;
        match &self.what {
            What::OnlyFirst => f.write_str("only the first time"),
            What::OnlySecond => f.write_str("only the second time"),
            What::Changed(changes) => {
                for (at, Change { of, first, second }) in changes.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(f, "{comma}{of} {first:?} → {second:?}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::compare;
    use crate::compress::Compression;
    use crate::layer::{Layer, LayerWriter};
    use crate::store::Memory;
    use crate::tar::{Entry, Kind};

    fn layer(store: &Memory, files: &[(&str, u32, &str)]) -> Layer {
        let mut writer = LayerWriter::new(store, Compression::GZIP, 1).unwrap();
        for (path, mode, content) in files {
            let entry = Entry::new(*path, Kind::File { size: content.len() as u64 }, *mode);
            writer.append(&entry, &mut content.as_bytes()).unwrap();
        }
        writer.finish().unwrap()
    }

    fn told(first: &[(&str, u32, &str)], second: &[(&str, u32, &str)]) -> Vec<String> {
        let store = Memory::new();
        let (first, second) = (layer(&store, first), layer(&store, second));
        compare(&store, &first, &second).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn equal_layers_differ_in_nothing() {
        assert!(told(&[("a", 0o644, "x")], &[("a", 0o644, "x")]).is_empty());
    }

    #[test]
    fn every_difference_is_named_by_path_and_kind() {
        let first = [("a", 0o644, "x"), ("b", 0o644, "same"), ("gone", 0o644, "")];
        let second = [("a", 0o755, "y"), ("b", 0o644, "same"), ("new", 0o644, "")];
        let told = told(&first, &second);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("/a: mode \"0644\" → \"0755\", content \"sha256:"), "{told:?}");
        assert_eq!(told[1..], ["/gone: only the first time", "/new: only the second time"]);
    }

    #[test]
    fn order_counts_when_it_is_all_that_differs() {
        let told = told(&[("a", 0o644, ""), ("b", 0o644, "")], &[("b", 0o644, ""), ("a", 0o644, "")]);
        assert_eq!(told, ["/a: order \"0\" → \"1\"", "/b: order \"1\" → \"0\""]);
    }
}
