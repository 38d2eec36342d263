//! The names of a layout: what `index.json` lists, and how many processes change it at once.
//!
//! ```text
//! lock .oxbox/index.lock ─ read ─ change ─ write aside ─ fsync ─ rename over index.json ─ fsync directory
//! ```
//!
//! Readers take no lock: they see the index before a change or after it. A name is an annotation
//! (`org.opencontainers.image.ref.name`) of its entry; an entry may have none. Whatever else another
//! tool put into the index or into an entry survives a change. Tools that know no lock, skopeo for one,
//! may still lose a change of ours, or we one of theirs, if both write at the same moment.
//!
//! image-spec v1.1.1, image-layout.md#indexjson-file

use std::collections::HashSet;
use std::io::Read as _;

use rustix::fs::FlockOperation;
use serde_json::Value;

use super::disk::{self, cannot};
use super::layout::{Layout, write_file};
use super::{BlobStore as _, StoreError};
use crate::oci::{Descriptor, Digest, Index, annotation};

/// Fifty times what a document elsewhere may have: a mirror names 100 000 images in 40 MB.
const MAX_INDEX_BYTES: u64 = 200 * 1024 * 1024;

/// What an `index.json` lists, in its order, to be read or changed.
#[derive(Debug, Clone)]
pub struct Entries {
    document: Value,
    // The JSON beside its view: fields that the view does not know survive.
    entries: Vec<(Value, Descriptor)>,
    changed: bool,
}

impl Layout {
    /// Returns what the index lists, named or not.
    pub fn entries(&self) -> Result<Entries, StoreError> {
        Entries::parse(&self.read_index()?).map_err(|error| self.broken_index(&error))
    }

    /// Returns the names with what they name, in the order of the index.
    pub fn names(&self) -> Result<Vec<(String, Descriptor)>, StoreError> {
        let entries = self.entries()?;
        Ok(entries.iter().filter_map(|entry| Some((name_of(entry)?.to_owned(), entry.clone()))).collect())
    }

    /// Returns what a name names; see [`Entries::resolve`].
    pub fn resolve(&self, name: &str) -> Result<Option<Descriptor>, StoreError> {
        Ok(self.entries()?.resolve(name).cloned())
    }

    /// Gives a name; see [`Entries::tag`]. Blocks until it would survive a crash.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unlisted`] if the blob is not here.
    pub fn tag(&self, name: &str, descriptor: &Descriptor) -> Result<Option<Descriptor>, StoreError> {
        self.update(|entries| entries.tag(name, descriptor))
    }

    /// Takes a name away; returns what it named.
    pub fn untag(&self, name: &str) -> Result<Option<Descriptor>, StoreError> {
        self.update(|entries| entries.untag(name))
    }

    /// Changes the index as a whole: every reader sees all of the change or none of it.
    ///
    /// Keep it short, others wait. Names that are looked up and given in one change cannot miss each
    /// other. Nothing is written if nothing changed. Blocks until the change would survive a crash.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unlisted`] if a blob that was not listed before is not here; nothing is changed.
    pub fn update<R>(&self, change: impl FnOnce(&mut Entries) -> R) -> Result<R, StoreError> {
        let _lock = disk::lock(&self.disk.index_lock(), FlockOperation::LockExclusive)?;
        let mut entries = self.entries()?;
        let before: HashSet<Digest> = entries.iter().map(|entry| entry.digest).collect();
        let result = change(&mut entries);
        if !entries.changed {
            return Ok(result);
        }
        // Under the lock that a sweep shares: what is found here now stays, since it is listed next.
        for entry in entries.iter().filter(|entry| !before.contains(&entry.digest)) {
            if self.stat(&entry.digest)?.is_none() {
                return Err(StoreError::Unlisted { digest: entry.digest, path: self.disk.index() });
            }
        }
        self.write_entries(entries)?;
        Ok(result)
    }

    /// Writes the index anew unless nothing was changed. It must be locked.
    pub(super) fn write_entries(&self, entries: Entries) -> Result<(), StoreError> {
        match entries.changed {
            true => write_file(&self.disk, &self.disk.index(), &entries.into_bytes()),
            false => Ok(()),
        }
    }

    fn read_index(&self) -> Result<Vec<u8>, StoreError> {
        let path = self.disk.index();
        let not_a_layout = |reason| StoreError::NotALayout { path: self.root().to_owned(), reason };
        let Some((file, metadata)) = disk::open(&path)? else {
            return Err(not_a_layout("it holds no index.json".to_owned()));
        };
        let size = metadata.len();
        if size > MAX_INDEX_BYTES {
            return Err(not_a_layout(format!("index.json has {size} bytes of {MAX_INDEX_BYTES} allowed")));
        }
        let mut text = Vec::with_capacity(size as usize);
        file.take(MAX_INDEX_BYTES).read_to_end(&mut text).map_err(cannot("read", &path))?;
        Ok(text)
    }

    fn broken_index(&self, error: &serde_json::Error) -> StoreError {
        StoreError::NotALayout { path: self.root().to_owned(), reason: format!("index.json: {error}") }
    }
}

impl Entries {
    /// Returns the entries in order.
    pub fn iter(&self) -> impl Iterator<Item = &Descriptor> {
        self.entries.iter().map(|(_, descriptor)| descriptor)
    }

    /// Returns what a name names, the first of several.
    ///
    /// Where no entry has the name, the one that containerd gave it as an image name: BuildKit writes
    /// the tag alone as ref.name and the whole reference there.
    pub fn resolve(&self, name: &str) -> Option<&Descriptor> {
        let by = |key: &'static str| self.iter().find(move |entry| entry.annotation(key) == Some(name));
        by(annotation::REF_NAME).or_else(|| by(annotation::CONTAINERD_IMAGE_NAME))
    }

    /// Gives a name, which moves if it was given before; returns what it named until then.
    ///
    /// The entry that had the name goes. An entry without a name of the same digest gets it, and keeps
    /// what else it says; [`Entries::add`] what was returned to keep that listed without a name.
    pub fn tag(&mut self, name: &str, descriptor: &Descriptor) -> Option<Descriptor> {
        let mut named = descriptor.clone();
        named.annotate(annotation::REF_NAME, name);
        // A build that came out as before costs no write.
        if self.iter().any(|entry| *entry == named) {
            return Some(named);
        }
        let displaced = self.untag(name);
        let unnamed = |entry: &Descriptor| entry.digest == descriptor.digest && name_of(entry).is_none();
        match self.entries.iter().position(|(_, entry)| unnamed(entry)) {
            Some(at) => {
                let (value, entry) = &mut self.entries[at];
                entry.annotate(annotation::REF_NAME, name);
                annotate(value, name);
            }
            None => self.push(named),
        }
        self.changed = true;
        displaced
    }

    /// Takes a name away with its entries; returns what it named.
    pub fn untag(&mut self, name: &str) -> Option<Descriptor> {
        let old = self.iter().find(|entry| name_of(entry) == Some(name)).cloned();
        self.retain(|entry| name_of(entry) != Some(name));
        old
    }

    /// Lists a blob without a name; one that is listed already stays as it is.
    pub fn add(&mut self, descriptor: &Descriptor) {
        if self.iter().all(|entry| entry.digest != descriptor.digest) {
            let mut unnamed = descriptor.clone();
            if let Some(annotations) = &mut unnamed.annotations {
                annotations.remove(annotation::REF_NAME);
            }
            unnamed.annotations = unnamed.annotations.filter(|annotations| !annotations.is_empty());
            self.push(unnamed);
        }
    }

    /// Removes every entry of a digest, names and all; returns how many there were.
    pub fn remove(&mut self, digest: &Digest) -> usize {
        self.retain(|entry| entry.digest != *digest)
    }

    /// Keeps only the entries that `keep` accepts; returns how many went.
    pub fn retain(&mut self, mut keep: impl FnMut(&Descriptor) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|(_, entry)| keep(entry));
        let removed = before - self.entries.len();
        self.changed |= removed > 0;
        removed
    }

    fn push(&mut self, descriptor: Descriptor) {
        let value =
            serde_json::to_value(&descriptor).expect("because a descriptor's maps have keys that are text");
        self.entries.push((value, descriptor));
        self.changed = true;
    }

    fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        // The typed view also refuses keys that stand twice, of which a Value would keep one.
        let view: Index = serde_json::from_slice(text)?;
        let mut document: Value = serde_json::from_slice(text)?;
        let values = match document.get_mut("manifests").map(Value::take) {
            Some(Value::Array(values)) => values,
            _ => Vec::new(),
        };
        Ok(Self { document, entries: values.into_iter().zip(view.manifests).collect(), changed: false })
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.document["manifests"] = self.entries.into_iter().map(|(value, _)| value).collect();
        serde_json::to_vec(&self.document).expect("because a JSON value can always be printed")
    }
}

/// Returns the name that an entry has in its index.
pub fn name_of(entry: &Descriptor) -> Option<&str> {
    entry.annotation(annotation::REF_NAME)
}

fn annotate(entry: &mut Value, name: &str) {
    match &mut entry["annotations"] {
        Value::Object(annotations) => {
            annotations.insert(annotation::REF_NAME.to_owned(), name.into());
        }
        absent => *absent = serde_json::json!({ annotation::REF_NAME: name }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Entries;
    use crate::oci::{Descriptor, Digest, MediaType};
    use crate::store::{BlobStore as _, Layout, StoreError};

    fn commit(layout: &Layout, content: &[u8]) -> Descriptor {
        let mut writer = layout.writer(crate::oci::Algorithm::Sha256).unwrap();
        std::io::Write::write_all(&mut writer, content).unwrap();
        writer.commit().unwrap();
        Descriptor::of(MediaType::OCI_MANIFEST, content)
    }

    fn entries(document: &Value) -> Entries {
        Entries::parse(document.to_string().as_bytes()).unwrap()
    }

    fn entry(content: &[u8], name: Option<&str>) -> Value {
        let mut value = json!({
            "mediaType": MediaType::OCI_MANIFEST, "digest": Digest::sha256(content), "size": content.len(),
            "x-mine": true,
        });
        if let Some(name) = name {
            value["annotations"] = json!({ "k": "v", "org.opencontainers.image.ref.name": name });
        }
        value
    }

    #[test]
    fn a_name_that_moves_takes_its_old_entry_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        let (old, new) = (commit(&layout, b"old"), commit(&layout, b"new"));
        assert_eq!(layout.tag("app", &old).unwrap(), None);
        assert_eq!(layout.tag("app", &new).unwrap().unwrap().digest, old.digest);
        assert_eq!(layout.resolve("app").unwrap().unwrap().digest, new.digest);
        assert_eq!(layout.entries().unwrap().iter().count(), 1);
    }

    #[test]
    fn two_names_of_one_image_come_and_go_alone() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        let image = commit(&layout, b"image");
        layout.tag("a", &image).unwrap();
        layout.tag("b", &image).unwrap();
        assert_eq!(layout.untag("a").unwrap().unwrap().digest, image.digest);
        assert_eq!(layout.untag("a").unwrap(), None);
        let names: Vec<String> = layout.names().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b"]);
    }

    #[test]
    fn a_blob_that_is_not_here_is_not_named() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        let missing = Descriptor::of(MediaType::OCI_MANIFEST, b"missing");
        let before = std::fs::read(directory.path().join("index.json")).unwrap();
        assert!(matches!(layout.tag("app", &missing), Err(StoreError::Unlisted { .. })));
        assert_eq!(std::fs::read(directory.path().join("index.json")).unwrap(), before);
    }

    #[test]
    fn unknown_fields_survive_a_change() {
        let mut entries = entries(&json!({
            "schemaVersion": 2, "x-top": {"b": 1, "a": 2},
            "manifests": [entry(b"one", Some("one")), entry(b"two", None)], "x-last": null,
        }));
        entries.tag("two", &Descriptor::of(MediaType::OCI_MANIFEST, b"two"));
        let text = String::from_utf8(entries.into_bytes()).unwrap();
        let mut two = entry(b"two", None);
        two["annotations"] = json!({ "org.opencontainers.image.ref.name": "two" });
        let expected = json!({
            "schemaVersion": 2, "x-top": {"b": 1, "a": 2},
            "manifests": [entry(b"one", Some("one")), two], "x-last": null,
        });
        assert_eq!(text, expected.to_string());
    }

    #[test]
    fn adding_what_is_listed_changes_nothing() {
        let mut entries = entries(&json!({ "schemaVersion": 2, "manifests": [entry(b"one", Some("one"))] }));
        entries.add(&Descriptor::of(MediaType::OCI_MANIFEST, b"one"));
        assert_eq!(entries.iter().count(), 1);
        assert!(entries.resolve("one").is_some());
    }

    #[test]
    fn a_displaced_image_is_kept_without_its_name_if_added() {
        let mut entries = entries(&json!({ "schemaVersion": 2, "manifests": [entry(b"old", Some("app"))] }));
        let old = entries.tag("app", &Descriptor::of(MediaType::OCI_MANIFEST, b"new")).unwrap();
        entries.add(&old);
        assert_eq!(entries.iter().count(), 2);
        assert_eq!(entries.resolve("app").unwrap().digest, Digest::sha256(b"new"));
    }

    #[test]
    fn removing_a_digest_takes_all_its_names() {
        let mut entries = entries(&json!({
            "schemaVersion": 2, "manifests": [entry(b"x", Some("a")), entry(b"x", None), entry(b"y", Some("b"))],
        }));
        assert_eq!(entries.remove(&Digest::sha256(b"x")), 2);
        assert_eq!(entries.iter().count(), 1);
    }

    #[test]
    fn containerds_name_is_found_where_no_ref_name_is() {
        let mut by_containerd = entry(b"x", Some("1.0"));
        by_containerd["annotations"]["io.containerd.image.name"] = json!("docker.io/library/x:1.0");
        let entries = entries(&json!({ "schemaVersion": 2, "manifests": [by_containerd] }));
        assert!(entries.resolve("docker.io/library/x:1.0").is_some());
        assert!(entries.resolve("1.0").is_some());
        assert!(entries.resolve("x").is_none());
    }

    #[test]
    fn an_index_that_does_not_parse_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        let image = commit(&layout, b"image");
        std::fs::write(directory.path().join("index.json"), b"{\"schemaVersion\":2,").unwrap();
        assert!(matches!(layout.tag("app", &image), Err(StoreError::NotALayout { .. })));
        let text = std::fs::read(directory.path().join("index.json")).unwrap();
        assert_eq!(text, b"{\"schemaVersion\":2,");
    }

    #[test]
    fn a_change_that_changes_nothing_writes_nothing() {
        use std::os::unix::fs::MetadataExt as _;
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        let inode = || std::fs::metadata(directory.path().join("index.json")).unwrap().ino();
        let before = inode();
        layout.untag("nobody").unwrap();
        assert_eq!(inode(), before);
        let image = commit(&layout, b"image");
        layout.tag("app", &image).unwrap();
        assert_ne!(inode(), before);
    }
}
