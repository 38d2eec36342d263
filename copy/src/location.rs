//! Locations: what a user writes to say where an image is.
//!
//! ```text
//! docker://host[:port]/path[:tag][@digest]     a registry; docker://…@@unknown-digest@@ pushes without a tag
//! oci:path[:name | :@N]                        a directory that is an OCI image layout
//! oci-archive:path[:name | :@N]                the same as one tar file
//! docker-archive:path[:reference | :@N]        what `docker save` writes and `docker load` reads
//! dir:path                                     skopeo's plain directory
//! store:reference        store:digest          oxbox's own store; `reference` alone means it too
//! ```
//!
//! The path of `oci:` and of the archives ends at the first colon. `@N` counts the images there from
//! zero, and is for reading. These are skopeo's rules, but for `tag@digest`, which skopeo refuses: here
//! the digest decides what is read, and both are written.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use oxbox_layers::oci::{Digest, Reference, ReferenceError};

/// Transports of other tools that are no locations here, each refused by its own name.
const FOREIGN: [&str; 8] =
    ["containers-storage", "docker-daemon", "docker", "sif", "ostree", "tarball", "atomic", "http"];

/// Stands for a digest that is not known before the push.
const UNKNOWN_DIGEST: &str = "@@unknown-digest@@";

/// Most characters of a name within a layout: no longer than a reference with its digest.
const MAX_NAME: usize = 512;

/// A place for one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `dir:path`
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// `docker-archive:path`
    DockerArchive {
        /// The tar file.
        path: PathBuf,
        /// Which image of it.
        image: Option<Pick<Reference>>,
    },
    /// `oci:path`
    Layout {
        /// The directory.
        path: PathBuf,
        /// Which image of it.
        image: Option<Pick<String>>,
    },
    /// `oci-archive:path`
    OciArchive {
        /// The tar file.
        path: PathBuf,
        /// Which image of it.
        image: Option<Pick<String>>,
    },
    /// `docker://…`; without tag and digest a push leaves the image without a name.
    Registry(Reference),
    /// `store:reference`
    Store(StoreName),
}

/// Which image of a place that holds several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick<N> {
    /// The one of that name.
    Named(N),
    /// The one at that position, from zero; only for reading.
    Position(usize),
}

/// An image in oxbox's own store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreName {
    /// By its manifest's digest; only for reading.
    Digest(Digest),
    /// By its whole name; never without tag or digest.
    Reference(Reference),
}

/// Why a text is not a location. `transports()` says which there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing was given.
    #[error("the location is empty")]
    Empty,
    /// The path before the first colon is empty.
    #[error("{text:?} names no path after {transport}:")]
    NoPath {
        /// The transport.
        transport: &'static str,
        /// The location, cut.
        text: String,
    },
    /// Another tool's transport.
    #[error("transport {transport:?} is not supported")]
    Unsupported {
        /// The transport.
        transport: String,
    },
    /// `docker:` is followed by something else than two slashes.
    #[error("{text:?} is not a registry's image: docker: must be followed by //")]
    NoSlashes {
        /// The location, cut.
        text: String,
    },
    /// What follows the path is no name for an image of a layout.
    #[error(
        "{name:?} cannot name an image in a layout (letters and digits, single . _ - : @ + or / between)"
    )]
    Name {
        /// The name, cut.
        name: String,
    },
    /// What follows the `@` is no number.
    #[error("{position:?} is not a position: @ is followed by a number, from 0")]
    Position {
        /// What followed the `@`, cut.
        position: String,
    },
    /// A docker-archive knows names and tags only.
    #[error("{text:?} has a digest, which a docker-archive cannot keep")]
    DigestInArchive {
        /// The reference, cut.
        text: String,
    },
    /// The image's name is none.
    #[error("{text:?} is not an image")]
    Reference {
        /// The reference, cut.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
}

impl Location {
    /// Returns the spellings of all transports, one to a line: the hint beside a [`LocationError`].
    pub fn transports() -> &'static str {
        "docker://host/path:tag\noci:path[:name]\noci-archive:path[:name]\ndocker-archive:path[:reference]\n\
         dir:path\nstore:reference (or the reference alone)"
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        let Some((transport, rest)) = text.split_once(':') else { return store(text) };
        match transport {
            "docker" => match rest.strip_prefix("//") {
                Some(name) => registry(name),
                None => Err(LocationError::NoSlashes { text: cut(text) }),
            },
            "oci" => {
                let (path, image) = path_and_pick("oci", rest, layout_name)?;
                Ok(Self::Layout { path, image })
            }
            "oci-archive" => {
                let (path, image) = path_and_pick("oci-archive", rest, layout_name)?;
                Ok(Self::OciArchive { path, image })
            }
            "docker-archive" => {
                let (path, image) = path_and_pick("docker-archive", rest, archive_reference)?;
                Ok(Self::DockerArchive { path, image })
            }
            "dir" if rest.is_empty() => Err(LocationError::NoPath { transport: "dir", text: cut(text) }),
            "dir" => Ok(Self::Directory { path: rest.into() }),
            "store" => store(rest),
            foreign if FOREIGN.contains(&foreign) || rest.starts_with("//") => {
                Err(LocationError::Unsupported { transport: cut(foreign) })
            }
            _ => store(text),
        }
    }
}

fn registry(text: &str) -> Result<Location, LocationError> {
    if let Some(name) = text.strip_suffix(UNKNOWN_DIGEST) {
        let reference = reference(name)?;
        return match (&reference.tag, &reference.digest) {
            (None, None) => Ok(Location::Registry(reference)),
            _ => Err(LocationError::Reference {
                text: cut(text),
                source: ReferenceError::Tag { tag: UNKNOWN_DIGEST.to_owned() },
            }),
        };
    }
    Ok(Location::Registry(reference(text)?.or_latest()))
}

fn store(text: &str) -> Result<Location, LocationError> {
    // Before the grammar of references, to which `sha256:<hex>` is a repository with a tag.
    if let Ok(digest) = text.parse::<Digest>() {
        return Ok(Location::Store(StoreName::Digest(digest)));
    }
    Ok(Location::Store(StoreName::Reference(reference(text)?.or_latest())))
}

fn reference(text: &str) -> Result<Reference, LocationError> {
    text.parse().map_err(|source| LocationError::Reference { text: cut(text), source })
}

fn path_and_pick<N>(
    transport: &'static str,
    rest: &str,
    name: fn(&str) -> Result<Option<N>, LocationError>,
) -> Result<(PathBuf, Option<Pick<N>>), LocationError> {
    let (path, pick) = match rest.split_once(':') {
        Some((path, pick)) => (path, Some(pick)),
        None => (rest, None),
    };
    if path.is_empty() {
        return Err(LocationError::NoPath { transport, text: cut(&format!("{transport}:{rest}")) });
    }
    let pick = match pick.map(|pick| (pick, pick.strip_prefix('@'))) {
        None => None,
        Some((_, Some(position))) => Some(Pick::Position(parse_position(position)?)),
        Some((text, None)) => name(text)?.map(Pick::Named),
    };
    Ok((path.into(), pick))
}

/// Digits only: `parse` would take a sign.
fn parse_position(text: &str) -> Result<usize, LocationError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(position) if digits => Ok(position),
        _ => Err(LocationError::Position { position: cut(text) }),
    }
}

/// A colon with nothing after it names nothing, as in skopeo.
fn layout_name(text: &str) -> Result<Option<String>, LocationError> {
    match text {
        "" => Ok(None),
        name if is_layout_name(name) => Ok(Some(name.to_owned())),
        name => Err(LocationError::Name { name: cut(name) }),
    }
}

fn archive_reference(text: &str) -> Result<Option<Reference>, LocationError> {
    let reference = reference(text)?;
    if reference.digest.is_some() {
        return Err(LocationError::DigestInArchive { text: cut(text) });
    }
    Ok(Some(reference.or_latest()))
}

/// `component(/component)*`, where a component is `[A-Za-z0-9]+((?:[-._:@+]|--)[A-Za-z0-9]+)*`
/// (image-spec v1.1.1, annotations.md, `org.opencontainers.image.ref.name`).
fn is_layout_name(text: &str) -> bool {
    text.len() <= MAX_NAME && text.split('/').all(is_layout_component)
}

fn is_layout_component(text: &str) -> bool {
    let mut rest = text;
    loop {
        let word = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.strip_prefix("--").or_else(|| rest.strip_prefix(['-', '.', '_', ':', '@', '+']));
        let Some(after) = separator else { return false };
        rest = after;
    }
}

/// Text from outside, short enough for an error line.
fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path } => write!(f, "dir:{}", path.display()),
            Self::DockerArchive { path, image } => {
                write!(f, "docker-archive:{}{}", path.display(), suffix(image.as_ref()))
            }
            Self::Layout { path, image } => write!(f, "oci:{}{}", path.display(), suffix(image.as_ref())),
            Self::OciArchive { path, image } => {
                write!(f, "oci-archive:{}{}", path.display(), suffix(image.as_ref()))
            }
            Self::Registry(reference) if reference.tag.is_none() && reference.digest.is_none() => {
                write!(f, "docker://{reference}{UNKNOWN_DIGEST}")
            }
            Self::Registry(reference) => write!(f, "docker://{reference}"),
            Self::Store(StoreName::Digest(digest)) => write!(f, "store:{digest}"),
            Self::Store(StoreName::Reference(reference)) => write!(f, "store:{}", reference.familiar()),
        }
    }
}

fn suffix<N: fmt::Display>(pick: Option<&Pick<N>>) -> String {
    match pick {
        None => String::new(),
        Some(Pick::Named(name)) => format!(":{name}"),
        Some(Pick::Position(position)) => format!(":@{position}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Location, LocationError, Pick, StoreName};
    use oxbox_layers::oci::{Digest, Reference};

    fn parse(text: &str) -> Location {
        text.parse().unwrap()
    }

    fn named(name: &str) -> Option<Pick<String>> {
        Some(Pick::Named(name.to_owned()))
    }

    #[test]
    fn a_registry_image_without_tag_is_latest() {
        let Location::Registry(reference) = parse("docker://localhost:5000/a/b") else { panic!() };
        assert_eq!(reference.to_string(), "localhost:5000/a/b:latest");
    }

    #[test]
    fn an_unknown_digest_is_no_tag_at_all() {
        let Location::Registry(reference) = parse("docker://quay.io/a@@unknown-digest@@") else { panic!() };
        assert_eq!((reference.tag, reference.digest), (None, None));
        assert!("docker://quay.io/a:v1@@unknown-digest@@".parse::<Location>().is_err());
    }

    #[test]
    fn docker_wants_two_slashes() {
        for text in ["docker:busybox", "docker:/busybox", "docker:"] {
            assert!(matches!(text.parse::<Location>(), Err(LocationError::NoSlashes { .. })), "{text}");
        }
    }

    #[test]
    fn a_layouts_path_ends_at_the_first_colon() {
        let location = parse("oci:some/path:quay.io/app:v1@x");
        assert_eq!(location, Location::Layout { path: "some/path".into(), image: named("quay.io/app:v1@x") });
    }

    #[test]
    fn a_position_counts_from_zero() {
        let image = Some(Pick::Position(0));
        assert_eq!(parse("oci:p:@0"), Location::Layout { path: "p".into(), image });
        for text in ["oci:p:@", "oci:p:@-1", "oci:p:@+1", "docker-archive:p:@x"] {
            assert!(matches!(text.parse::<Location>(), Err(LocationError::Position { .. })), "{text}");
        }
    }

    #[test]
    fn names_in_a_layout_follow_the_spec() {
        for name in ["a", "1.2.3", "a--b", "a/b/c", "A+b", "sha256:abc"] {
            assert_eq!(
                parse(&format!("oci:p:{name}")),
                Location::Layout { path: "p".into(), image: named(name) }
            );
        }
        for name in ["-a", "a-", "a---b", "a..b", "a//b", "/a", "a b", "a__b"] {
            let result = format!("oci-archive:p:{name}").parse::<Location>();
            assert!(matches!(result, Err(LocationError::Name { .. })), "{name}");
        }
    }

    #[test]
    fn an_empty_name_in_a_layout_is_none() {
        assert_eq!(parse("oci:p:"), Location::Layout { path: "p".into(), image: None });
    }

    #[test]
    fn an_empty_path_is_refused() {
        for text in ["oci:", "oci::name", "oci-archive:", "docker-archive::a", "dir:"] {
            assert!(matches!(text.parse::<Location>(), Err(LocationError::NoPath { .. })), "{text}");
        }
    }

    #[test]
    fn a_docker_archive_names_a_tag_and_never_a_digest() {
        let Location::DockerArchive { image: Some(Pick::Named(reference)), .. } =
            parse("docker-archive:/tmp/x.tar:busybox")
        else {
            panic!()
        };
        assert_eq!(reference.to_string(), "docker.io/library/busybox:latest");
        let text = format!("docker-archive:x:busybox@{}", Digest::sha256(b""));
        assert!(matches!(text.parse::<Location>(), Err(LocationError::DigestInArchive { .. })));
    }

    #[test]
    fn a_directory_may_hold_colons() {
        assert_eq!(parse("dir:/a:b"), Location::Directory { path: "/a:b".into() });
    }

    #[test]
    fn a_reference_alone_is_in_the_store() {
        let reference: Reference = "busybox:1.36".parse().unwrap();
        let location = Location::Store(StoreName::Reference(reference));
        assert_eq!(parse("busybox:1.36"), location);
        assert_eq!(parse("store:busybox:1.36"), location);
        assert_eq!(location.to_string(), "store:busybox:1.36");
    }

    #[test]
    fn a_digest_in_the_store_is_not_a_repository() {
        let digest = Digest::sha256(b"");
        assert_eq!(parse(&format!("store:{digest}")), Location::Store(StoreName::Digest(digest)));
    }

    #[test]
    fn transports_of_other_tools_are_refused_by_name() {
        for text in ["containers-storage:busybox", "docker-daemon:busybox:1", "https://quay.io/a"] {
            let result = text.parse::<Location>();
            assert!(matches!(result, Err(LocationError::Unsupported { .. })), "{text}: {result:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(
            text in "(docker://q\\.io/a(:v1)?|oci:[a-z/]{1,9}(:[a-z0-9]{1,5}|:@[0-9])?|oci-archive:a(:b)?|docker-archive:a(:[a-z]{1,9}:v)?|dir:[a-z:]{1,9}|store:[a-z]{1,9}(:v)?|[a-z]{9})"
        ) {
            let location: Location = text.parse().unwrap();
            prop_assert_eq!(location.to_string().parse::<Location>().unwrap(), location);
        }

        #[test]
        fn nothing_panics(text in "(docker://|oci:|docker-archive:|dir:|store:)?\\PC{0,60}") {
            let _ = text.parse::<Location>();
        }
    }
}
