//! What an `index.json` lists, and which of it a user means: the same for a directory and an archive.

use oxbox_layers::oci::{Descriptor, annotation};
use oxbox_layers::store::names::name_of;

use super::{EndpointError, Subject};
use crate::location::Pick;

/// The entries of one place.
#[derive(Debug)]
pub(super) struct Listing {
    place: String,
    entries: Vec<Descriptor>,
}

/// What was picked.
#[derive(Debug, PartialEq)]
pub(super) enum Picked {
    /// One of the entries.
    Entry(Box<Descriptor>),
    /// The index itself: all its entries are of one image.
    WholeIndex,
}

impl Listing {
    pub(super) fn new(place: &str, entries: Vec<Descriptor>) -> Self {
        Self { place: place.to_owned(), entries }
    }

    pub(super) fn entries(&self) -> &[Descriptor] {
        &self.entries
    }

    /// Picks an image to read.
    ///
    /// # Errors
    ///
    /// [`EndpointError::Absent`] and [`EndpointError::Ambiguous`].
    pub(super) fn pick(&self, image: Option<&Pick<String>>) -> Result<Picked, EndpointError> {
        let found = match image {
            None => return self.only(),
            Some(Pick::Position(position)) => self.entries.get(*position),
            Some(Pick::Named(name)) => self.resolve(name),
        };
        found.cloned().map(|entry| Picked::Entry(Box::new(entry))).ok_or_else(|| self.absent())
    }

    /// Returns the entry of a name: of ref.name, else of containerd's image name, since BuildKit
    /// writes the tag alone into the former and the whole reference into the latter.
    pub(super) fn resolve(&self, name: &str) -> Option<&Descriptor> {
        let by =
            |key: &'static str| self.entries.iter().find(move |entry| entry.annotation(key) == Some(name));
        by(annotation::REF_NAME).or_else(|| by(annotation::CONTAINERD_IMAGE_NAME))
    }

    /// The only image; or the index itself, where it has several entries, each of a platform and none
    /// with a name: some builders write their multi-platform index so.
    fn only(&self) -> Result<Picked, EndpointError> {
        // Signatures and SBOMs are listed beside what they refer to, and are no images.
        let is_image = |entry: &&Descriptor| entry.artifact_type.is_none();
        let images: Vec<&Descriptor> = self.entries.iter().filter(is_image).collect();
        let is_part = |entry: &&Descriptor| entry.platform.is_some() && name_of(entry).is_none();
        match (images.as_slice(), self.entries.as_slice()) {
            (&[entry], _) | ([], [entry]) => Ok(Picked::Entry(Box::new(entry.clone()))),
            ([], []) => Err(self.absent()),
            (_, all) if all.iter().all(|entry| is_part(&entry)) => Ok(Picked::WholeIndex),
            (_, all) => Err(EndpointError::Ambiguous {
                place: self.place.clone(),
                count: all.len(),
                names: self.names(),
            }),
        }
    }

    /// The error of an image that is not there, with what is.
    pub(super) fn absent(&self) -> EndpointError {
        let names = self.names();
        let details = match names.as_str() {
            "" => "nothing there has a name".to_owned(),
            names => format!("there is {names}"),
        };
        EndpointError::Absent { subject: Subject::Image, place: self.place.clone(), details }
    }

    /// The first names, for an error line.
    fn names(&self) -> String {
        const SHOWN: usize = 5;
        let mut names = self.entries.iter().filter_map(name_of);
        let shown: Vec<String> =
            names.by_ref().take(SHOWN).map(|name| name.chars().take(160).collect()).collect();
        let more = if names.next().is_some() { ", …" } else { "" };
        format!("{}{more}", shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::{Descriptor, MediaType, annotation};

    use super::{Listing, Picked};
    use crate::endpoint::EndpointError;
    use crate::location::Pick;

    fn entry(content: &[u8], name: Option<&str>, platform: Option<&str>) -> Descriptor {
        let mut entry = Descriptor::of(MediaType::OCI_MANIFEST, content);
        if let Some(name) = name {
            entry.annotate(annotation::REF_NAME, name);
        }
        entry.platform = platform.map(|platform| platform.parse().unwrap());
        entry
    }

    fn listing(entries: &[Descriptor]) -> Listing {
        Listing::new("oci:x", entries.to_vec())
    }

    #[test]
    fn the_only_image_needs_no_name() {
        let one = entry(b"1", Some("a"), None);
        assert_eq!(listing(std::slice::from_ref(&one)).pick(None).unwrap(), Picked::Entry(Box::new(one)));
    }

    #[test]
    fn several_images_need_a_name_and_are_listed() {
        let images = listing(&[entry(b"1", Some("a"), None), entry(b"2", Some("b"), None)]);
        let error = images.pick(None).unwrap_err();
        assert_eq!(error.to_string(), "oci:x holds 2 images; name one of a, b");
        assert!(matches!(images.pick(Some(&Pick::Position(1))), Ok(Picked::Entry(_))));
        assert!(matches!(images.pick(Some(&Pick::Position(2))), Err(EndpointError::Absent { .. })));
    }

    #[test]
    fn an_index_of_platforms_without_names_is_one_image() {
        let parts = [entry(b"1", None, Some("linux/amd64")), entry(b"2", None, Some("linux/arm64"))];
        assert_eq!(listing(&parts).pick(None).unwrap(), Picked::WholeIndex);
    }

    #[test]
    fn a_signature_beside_the_image_is_not_a_second_one() {
        let image = entry(b"1", None, None);
        let mut signature = entry(b"2", None, None);
        signature.artifact_type = Some("application/vnd.example.signature".to_owned());
        assert_eq!(listing(&[signature, image.clone()]).pick(None).unwrap(), Picked::Entry(Box::new(image)));
    }

    #[test]
    fn an_empty_index_has_no_image() {
        assert!(matches!(listing(&[]).pick(None), Err(EndpointError::Absent { .. })));
    }

    #[test]
    fn a_missing_name_says_which_there_are() {
        let error =
            listing(&[entry(b"1", Some("a"), None)]).pick(Some(&Pick::Named("b".to_owned()))).unwrap_err();
        assert_eq!(error.to_string(), "the image is not in oci:x (there is a)");
    }
}
