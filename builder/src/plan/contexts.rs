//! Named contexts: what stands in the place of an image or a stage.
//!
//! ```text
//! --build-context NAME=docker-image://alpine:3            another image
//!                      oci-layout://folder[:tag|@digest]  an image in a folder
//!                      target:stage                       another stage of the file
//!                      anything else                      a folder, once the caller has it
//! ```
//!
//! What has to be brought in first, repositories and archives, the caller turns into folders.

use std::path::PathBuf;

use oxbox_layers::oci::{Digest, Reference, ReferenceError};

/// What a named context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// A folder, which the caller has under the context's name.
    Folder,
    /// An image.
    Image(Reference),
    /// An image in an OCI layout.
    Layout(LayoutImage),
    /// A stage of the file.
    Stage(String),
}

/// An image in an OCI layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutImage {
    /// The layout's folder.
    pub folder: PathBuf,
    /// Which of its images; if absent the one that it has.
    pub pick: Option<LayoutPick>,
}

/// Which image of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutPick {
    /// By digest.
    Digest(Digest),
    /// By its name in the layout, `org.opencontainers.image.ref.name`.
    Name(String),
}

/// A text that is no context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// What follows `docker-image://` is no image.
    #[error("{text:?} does not name an image")]
    Image {
        /// What was read, cut.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// What follows `oci-layout://` names no folder, or has a broken digest.
    #[error("{text:?} does not name an image of a layout (oci-layout://folder[:tag|@digest])")]
    Layout {
        /// What was read, cut.
        text: String,
    },
    /// Nothing follows `target:`.
    #[error("target: does not name a stage")]
    Stage,
}

impl Context {
    /// Reads what `--build-context` says; nothing if it is a path, or must be brought in first.
    ///
    /// # Errors
    ///
    /// A text with one of the known beginnings, and nonsense after it.
    pub fn parse(text: &str) -> Result<Option<Self>, ContextError> {
        let cut = |text: &str| text.chars().take(160).collect::<String>();
        if let Some(image) = text.strip_prefix("docker-image://") {
            let parsed = image.parse::<Reference>();
            let parsed = parsed.map_err(|source| ContextError::Image { text: cut(image), source })?;
            return Ok(Some(Self::Image(parsed.or_latest())));
        }
        if let Some(layout) = text.strip_prefix("oci-layout://") {
            let parsed = LayoutImage::parse(layout);
            return Ok(Some(Self::Layout(parsed.ok_or_else(|| ContextError::Layout { text: cut(layout) })?)));
        }
        match text.strip_prefix("target:") {
            Some("") => Err(ContextError::Stage),
            Some(stage) => Ok(Some(Self::Stage(stage.to_owned()))),
            None => Ok(None),
        }
    }
}

impl LayoutImage {
    fn parse(text: &str) -> Option<Self> {
        let (folder, pick) = if let Some((folder, digest)) = text.rsplit_once('@') {
            // A tag beside a digest says nothing more.
            let folder = split_tag(folder).map_or(folder, |(folder, _)| folder);
            (folder, Some(LayoutPick::Digest(digest.parse().ok()?)))
        } else {
            match split_tag(text) {
                Some((folder, tag)) => (folder, Some(LayoutPick::Name(tag.to_owned()))),
                None => (text, None),
            }
        };
        (!folder.is_empty()).then(|| Self { folder: folder.into(), pick })
    }
}

/// Splits at the last colon, unless it is part of the path.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(':').filter(|(_, tag)| !tag.is_empty() && !tag.contains('/'))
}

/// Returns the one spelling by which names of contexts are compared.
pub(super) fn normalised(name: &str) -> String {
    let lower = name.to_lowercase();
    match lower.parse::<Reference>() {
        Ok(reference) => {
            let familiar = reference.familiar();
            familiar.strip_suffix(":latest").map_or(familiar.clone(), str::to_owned)
        }
        Err(_) => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::{Context, ContextError, LayoutPick};

    fn layout(text: &str) -> (String, Option<LayoutPick>) {
        match Context::parse(&format!("oci-layout://{text}")).unwrap().unwrap() {
            Context::Layout(image) => (image.folder.display().to_string(), image.pick),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_image_a_stage_and_a_folder_are_told_apart() {
        let Some(Context::Image(image)) = Context::parse("docker-image://alpine").unwrap() else { panic!() };
        assert_eq!(image.to_string(), "docker.io/library/alpine:latest");
        assert_eq!(Context::parse("target:base").unwrap(), Some(Context::Stage("base".to_owned())));
        for other in ["dir", "./docker-image", "https://h/x.tar", "/a:b"] {
            assert_eq!(Context::parse(other).unwrap(), None, "{other}");
        }
    }

    #[test]
    fn a_layout_has_a_folder_and_perhaps_a_name_or_a_digest() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let by_digest = Some(LayoutPick::Digest(digest.parse().unwrap()));
        assert_eq!(layout("a/b"), ("a/b".to_owned(), None));
        assert_eq!(layout("a/b:v1"), ("a/b".to_owned(), Some(LayoutPick::Name("v1".to_owned()))));
        assert_eq!(layout("a:1/b"), ("a:1/b".to_owned(), None));
        assert_eq!(layout(&format!("a/b@{digest}")), ("a/b".to_owned(), by_digest.clone()));
        assert_eq!(layout(&format!("a/b:v1@{digest}")), ("a/b".to_owned(), by_digest));
    }

    #[test]
    fn nonsense_after_a_known_beginning_is_an_error() {
        assert!(matches!(Context::parse("docker-image://A B"), Err(ContextError::Image { .. })));
        assert_eq!(Context::parse("target:"), Err(ContextError::Stage));
        for text in ["oci-layout://", "oci-layout://a@sha256:1", "oci-layout://:v1"] {
            assert!(matches!(Context::parse(text), Err(ContextError::Layout { .. })), "{text}");
        }
    }
}
