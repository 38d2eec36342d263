//! What an image is made like: the same vertices become images of several forms.

use std::collections::BTreeMap;

use oxbox_layers::compress::Compression;
use oxbox_layers::layer::Family;
use oxbox_layers::oci::Platform;

use crate::depot::Inline;

/// What an image is made like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// How new layers are compressed.
    pub compression: Compression,
    /// Which layers are made to be compressed so.
    pub recompress: Recompress,
    /// Which layers become one.
    pub squash: Squash,
    /// Whose media types it goes by.
    pub family: Family,
    /// What its documents say beside their content.
    pub annotations: Vec<Annotation>,
    /// Whether its config tells how it was made.
    pub history: Telling,
    /// Whether its config has the records of its layers, for builds elsewhere.
    pub inline: Inline,
}

/// Whether a config tells how its image was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Telling {
    /// It does, the base's part included.
    #[default]
    Full,
    /// It does not.
    Nothing,
}

/// Which layers are made to be compressed as the [`Form`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recompress {
    /// The base's too.
    All,
    /// Those that the build made; the base's stay as they are, and so do their digests.
    #[default]
    New,
}

/// Which layers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Squash {
    /// All of them: the base's too.
    All,
    /// Those that the build made.
    New,
    /// None.
    #[default]
    None,
}

/// A line that a document of the image carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Which document.
    pub of: Annotated,
    /// Only for this platform.
    pub platform: Option<Platform>,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Documents that carry annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Annotated {
    /// The index of several platforms.
    Index,
    /// The descriptor of the index, in a layout.
    IndexDescriptor,
    /// The image's manifest.
    Manifest,
    /// The manifest's descriptor, in an index or a layout.
    ManifestDescriptor,
}

impl Form {
    /// Returns the form that is asked for if nothing is: OCI, layers as they are.
    pub fn plain(compression: Compression) -> Self {
        Self {
            compression,
            recompress: Recompress::New,
            squash: Squash::None,
            family: Family::Oci,
            annotations: Vec::new(),
            history: Telling::Full,
            inline: Inline::No,
        }
    }

    /// Returns the lines of a document for a platform; the last of one key counts.
    pub fn annotations(&self, of: Annotated, platform: &Platform) -> BTreeMap<String, String> {
        let suits = |line: &&Annotation| {
            let wanted = line.platform.as_ref();
            line.of == of && wanted.is_none_or(|wanted| wanted.normalised() == platform.normalised())
        };
        let lines = self.annotations.iter().filter(suits);
        lines.map(|line| (line.key.clone(), line.value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use oxbox_layers::compress::Compression;

    use super::{Annotated, Annotation, Form};

    #[test]
    fn annotations_are_of_one_document_and_perhaps_of_one_platform() {
        let line = |of, platform: Option<&str>, value: &str| Annotation {
            of,
            platform: platform.map(|platform| platform.parse().unwrap()),
            key: "k".to_owned(),
            value: value.to_owned(),
        };
        let mut form = Form::plain(Compression::GZIP);
        form.annotations = vec![
            line(Annotated::Manifest, None, "all"),
            line(Annotated::Manifest, Some("linux/arm64/v8"), "arm"),
            line(Annotated::Index, None, "index"),
        ];
        let told = |of, platform: &str| form.annotations(of, &platform.parse().unwrap()).remove("k");
        assert_eq!(told(Annotated::Manifest, "linux/amd64").as_deref(), Some("all"));
        assert_eq!(told(Annotated::Manifest, "linux/arm64").as_deref(), Some("arm"));
        assert_eq!(told(Annotated::Index, "linux/arm64").as_deref(), Some("index"));
        assert_eq!(told(Annotated::IndexDescriptor, "linux/arm64"), None);
    }
}
