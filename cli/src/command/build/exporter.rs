//! `-o`: what is made of the result, and where it goes.
//!
//! ```text
//! DIR                              type=local,dest=DIR
//! -                                type=tar,dest=-
//! type=KIND[,KEY=VALUE]…           as buildx has it; a field with commas stands in double quotes
//! ```
//!
//! <https://docs.docker.com/build/exporters/>

use std::path::PathBuf;
use std::str::FromStr;

use oxbox_builder::export::files::Files;
use oxbox_builder::export::form::{Annotated, Annotation};
use oxbox_layers::oci::{Platform, Reference};

use super::Format;
use crate::local;
use crate::suggest::similar;

/// One `-o`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exporter {
    pub(super) kind: Kind,
    /// What it says beside, in place of the options of the whole build.
    pub(super) wishes: Wishes,
}

/// What is made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A `docker load` archive.
    Docker(Sink),
    /// The plain filesystem.
    Files(Files),
    /// An OCI image layout: one file, or a folder.
    Oci(Sink, Shape),
    /// An image in registries, and nowhere else.
    Registry,
    /// An image in the local store, and in registries too if that is asked for.
    Store { push: bool },
}

/// Where one file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sink {
    Path(PathBuf),
    Stdout,
}

/// What an OCI layout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Archive,
    Folder,
}

/// What an exporter may say for itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Wishes {
    pub(super) names: Vec<Reference>,
    pub(super) format: Option<Format>,
    pub(super) level: Option<i32>,
    pub(super) force: Option<bool>,
    pub(super) oci: Option<bool>,
    pub(super) annotations: Vec<Annotation>,
}

/// Why a text is no exporter.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExporterError {
    #[error("{field:?} is not KEY=VALUE")]
    Field { field: String },
    #[error("there is no type {kind:?}{}", meant(.similar))]
    Kind { kind: String, similar: Vec<&'static str> },
    #[error("type={kind} knows no {key:?}{}", meant(.similar))]
    Key { kind: &'static str, key: String, similar: Vec<&'static str> },
    #[error("{key}={value:?} is not {wanted}")]
    Value { key: String, value: String, wanted: &'static str },
    #[error("type={kind} needs dest=FILE, or dest=- for standard output")]
    NoDestination { kind: &'static str },
    #[error("type=docker,context=… loads into a Docker daemon, which oxbox does not talk to: give dest=FILE")]
    Daemon,
    #[error("type=oci,tar=false makes a folder, which cannot go to standard output")]
    FolderToStdout,
    #[error("quotes do not end in {text:?}")]
    Quotes { text: String },
    #[error(
        "{key:?} cannot be understood: annotation[-manifest|-index|-manifest-descriptor|-index-descriptor][[PLATFORM]].KEY"
    )]
    Annotation { key: String },
    #[error(transparent)]
    Name(#[from] local::LocalError),
}

const KINDS: [&str; 6] = ["docker", "image", "local", "oci", "registry", "tar"];

/// Keys that all images know. The last ones are what oxbox does anyway.
const IMAGE_KEYS: [&str; 9] = [
    "name",
    "compression",
    "compression-level",
    "force-compression",
    "oci-mediatypes",
    "rewrite-timestamp",
    "store",
    "unpack",
    "name-canonical",
];

fn meant(similar: &[&str]) -> String {
    similar.first().map(|first| format!(": did you mean {first}?")).unwrap_or_default()
}

impl FromStr for Exporter {
    type Err = ExporterError;

    fn from_str(text: &str) -> Result<Self, ExporterError> {
        let fields = fields(text)?;
        if let [only] = fields.as_slice()
            && !only.contains('=')
        {
            let files = if only == "-" { Files::Stdout } else { Files::Folder(only.into()) };
            return Ok(Self { kind: Kind::Files(files), wishes: Wishes::default() });
        }
        let mut pairs = Vec::new();
        for field in fields {
            let pair =
                field.split_once('=').map(|(key, value)| (key.trim().to_lowercase(), value.to_owned()));
            pairs.push(pair.ok_or(ExporterError::Field { field })?);
        }
        Spec::read(pairs)?.exporter()
    }
}

/// Cuts at commas outside of double quotes; a field that is quoted whole loses them.
pub(super) fn fields(text: &str) -> Result<Vec<String>, ExporterError> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            character => field.push(character),
        }
    }
    if quoted {
        return Err(ExporterError::Quotes { text: text.chars().take(160).collect() });
    }
    fields.push(field);
    Ok(fields)
}

/// The fields, read one by one.
#[derive(Default)]
struct Spec {
    kind: &'static str,
    destination: Option<String>,
    tar: Option<bool>,
    push: bool,
    wishes: Wishes,
}

impl Spec {
    fn read(pairs: Vec<(String, String)>) -> Result<Self, ExporterError> {
        let mut spec = Self::default();
        let kind = pairs.iter().find(|(key, _)| key == "type").map_or("", |(_, kind)| kind);
        let found = KINDS.into_iter().find(|known| *known == kind);
        spec.kind = found
            .ok_or_else(|| ExporterError::Kind { kind: kind.to_owned(), similar: similar(kind, KINDS) })?;
        for (key, value) in pairs {
            spec.set(&key, value)?;
        }
        Ok(spec)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), ExporterError> {
        if let Some(rest) = key.strip_prefix("annotation") {
            let (of, platform, key) =
                annotation_key(rest, '.').ok_or_else(|| ExporterError::Annotation { key: key.to_owned() })?;
            self.wishes.annotations.push(Annotation { of, platform, key, value });
            return Ok(());
        }
        let wishes = &mut self.wishes;
        match key {
            "type" => {}
            "dest" if !matches!(self.kind, "image" | "registry") => self.destination = Some(value),
            "tar" if matches!(self.kind, "oci" | "docker") => self.tar = Some(boolean(key, &value)?),
            "push" if self.kind == "image" => self.push = boolean(key, &value)?,
            "context" if self.kind == "docker" => return Err(ExporterError::Daemon),
            _ if matches!(self.kind, "local" | "tar") => return Err(self.unknown(key)),
            "name" => {
                for name in value.split(',').filter(|name| !name.is_empty()) {
                    wishes.names.push(local::parse_new(name)?);
                }
            }
            "compression" => wishes.format = Some(format(key, &value)?),
            "compression-level" => {
                let wanted = "a number";
                let level = value.parse().map_err(|_| wrong(key, &value, wanted))?;
                wishes.level = Some(level);
            }
            "force-compression" => wishes.force = Some(boolean(key, &value)?),
            "oci-mediatypes" => wishes.oci = Some(boolean(key, &value)?),
            // What oxbox does anyway: see the documentation of times.
            "rewrite-timestamp" | "store" | "unpack" | "name-canonical" => drop(boolean(key, &value)?),
            _ => return Err(self.unknown(key)),
        }
        Ok(())
    }

    fn unknown(&self, key: &str) -> ExporterError {
        let own: &[&str] = match self.kind {
            "local" | "tar" => &["dest"],
            "image" => &["push"],
            "registry" => &[],
            _ => &["dest", "tar"],
        };
        let shared = if matches!(self.kind, "local" | "tar") { &[][..] } else { &IMAGE_KEYS };
        let known = own.iter().chain(shared).copied();
        ExporterError::Key { kind: self.kind, key: key.to_owned(), similar: similar(key, known) }
    }

    fn exporter(self) -> Result<Exporter, ExporterError> {
        let Self { kind, destination, tar, push, mut wishes } = self;
        let destination = destination.map(|to| if to == "-" { Sink::Stdout } else { Sink::Path(to.into()) });
        let needed = || destination.clone().ok_or(ExporterError::NoDestination { kind });
        let kind = match kind {
            "registry" => Kind::Registry,
            "image" => Kind::Store { push },
            "local" => match needed()? {
                Sink::Path(path) => Kind::Files(Files::Folder(path)),
                Sink::Stdout => return Err(wrong("dest", "-", "a folder")),
            },
            "tar" => Kind::Files(match needed()? {
                Sink::Path(path) => Files::Tar(path),
                Sink::Stdout => Files::Stdout,
            }),
            "oci" => match (needed()?, tar) {
                (Sink::Stdout, Some(false)) => return Err(ExporterError::FolderToStdout),
                (sink, Some(false)) => Kind::Oci(sink, Shape::Folder),
                (sink, _) => Kind::Oci(sink, Shape::Archive),
            },
            _ => {
                // Docker before 25 knows no other.
                wishes.oci.get_or_insert(false);
                Kind::Docker(needed()?)
            }
        };
        Ok(Exporter { kind, wishes })
    }
}

pub(super) fn wrong(key: &str, value: &str, wanted: &'static str) -> ExporterError {
    ExporterError::Value { key: key.to_owned(), value: value.chars().take(160).collect(), wanted }
}

pub(super) fn boolean(key: &str, value: &str) -> Result<bool, ExporterError> {
    match value.to_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(wrong(key, value, "true or false")),
    }
}

pub(super) fn format(key: &str, value: &str) -> Result<Format, ExporterError> {
    match value {
        "gzip" => Ok(Format::Gzip),
        "zstd" => Ok(Format::Zstd),
        "uncompressed" | "none" => Ok(Format::None),
        _ => Err(wrong(key, value, "gzip, zstd or uncompressed")),
    }
}

/// Reads what follows `annotation`: `[-DOCUMENT][[PLATFORM]]`, a separator, the key.
fn annotation_key(text: &str, separator: char) -> Option<(Annotated, Option<Platform>, String)> {
    let (document, rest) = match text.strip_prefix('-') {
        None => ("manifest", text),
        Some(text) => text.split_at(text.find(['[', separator])?),
    };
    let of = annotated(document)?;
    let (platform, rest) = match rest.strip_prefix('[') {
        None => (None, rest),
        Some(rest) => {
            let (platform, rest) = rest.split_once(']')?;
            (Some(platform.parse().ok()?), rest)
        }
    };
    let key = rest.strip_prefix(separator)?;
    (!key.is_empty()).then(|| (of, platform, key.to_owned()))
}

fn annotated(document: &str) -> Option<Annotated> {
    match document {
        "index" => Some(Annotated::Index),
        "index-descriptor" => Some(Annotated::IndexDescriptor),
        "manifest" => Some(Annotated::Manifest),
        "manifest-descriptor" => Some(Annotated::ManifestDescriptor),
        _ => None,
    }
}

/// Reads `--annotation`: `[DOCUMENT[[PLATFORM]][,DOCUMENT…]:]KEY=VALUE`.
pub(super) fn annotations(text: &str) -> Option<Vec<Annotation>> {
    let (left, value) = text.split_once('=')?;
    let (documents, key) = match left.split_once(':') {
        Some((documents, key)) if documents.split(',').all(|document| read_document(document).is_some()) => {
            (documents, key)
        }
        _ => ("manifest", left),
    };
    if key.is_empty() {
        return None;
    }
    let line = |document| {
        let (of, platform) = read_document(document)?;
        Some(Annotation { of, platform, key: key.to_owned(), value: value.to_owned() })
    };
    documents.split(',').map(line).collect()
}

fn read_document(text: &str) -> Option<(Annotated, Option<Platform>)> {
    let Some((document, platform)) = text.split_once('[') else { return Some((annotated(text)?, None)) };
    Some((annotated(document)?, Some(platform.strip_suffix(']')?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use oxbox_builder::export::files::Files;
    use oxbox_builder::export::form::Annotated;

    use super::{Exporter, Kind, Shape, Sink, annotations};

    fn read(text: &str) -> Exporter {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_path_alone_is_a_folder_and_a_dash_a_tar() {
        assert_eq!(read("out").kind, Kind::Files(Files::Folder("out".into())));
        assert_eq!(read("-").kind, Kind::Files(Files::Stdout));
    }

    #[test]
    fn every_type_is_what_buildx_makes_of_it() {
        for (text, kind) in [
            ("type=local,dest=o", Kind::Files(Files::Folder("o".into()))),
            ("type=tar,dest=o.tar", Kind::Files(Files::Tar("o.tar".into()))),
            ("type=oci,dest=o.tar", Kind::Oci(Sink::Path("o.tar".into()), Shape::Archive)),
            ("type=oci,dest=o,tar=false", Kind::Oci(Sink::Path("o".into()), Shape::Folder)),
            ("type=docker,dest=-", Kind::Docker(Sink::Stdout)),
            ("type=registry,name=h/x", Kind::Registry),
            ("type=image,name=h/x,push=true", Kind::Store { push: true }),
        ] {
            assert_eq!(read(text).kind, kind, "{text}");
        }
    }

    #[test]
    fn names_with_commas_are_quoted() {
        let names = read("type=image,\"name=a,b:2\"").wishes.names;
        assert_eq!(names.iter().map(|name| name.familiar()).collect::<Vec<_>>(), ["a:latest", "b:2"]);
    }

    #[test]
    fn annotations_name_their_document_and_platform() {
        let exporter = read("type=oci,dest=-,annotation-index[linux/arm64].a.b=c=d,annotation.x=y");
        let lines = exporter.wishes.annotations;
        assert_eq!(
            (lines[0].of, lines[0].key.as_str(), lines[0].value.as_str()),
            (Annotated::Index, "a.b", "c=d")
        );
        assert_eq!(lines[0].platform, Some("linux/arm64".parse().unwrap()));
        assert_eq!((lines[1].of, lines[1].platform.as_ref()), (Annotated::Manifest, None));
        let lines = annotations("index,manifest[linux/amd64]:a:b=c").unwrap();
        assert_eq!(
            (lines[0].of, lines[1].of, lines[1].key.as_str()),
            (Annotated::Index, Annotated::Manifest, "a:b")
        );
        assert_eq!(annotations("a:b=c").unwrap()[0].key, "a:b");
        assert_eq!(annotations("nothing"), None);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (text, told) in [
            ("type=docker", "type=docker needs dest=FILE, or dest=- for standard output"),
            ("type=regitsry", "there is no type \"regitsry\": did you mean registry?"),
            (
                "type=oci,dest=x,compresion=gzip",
                "type=oci knows no \"compresion\": did you mean compression?",
            ),
            ("type=oci,dest=x,tar=maybe", "tar=\"maybe\" is not true or false"),
            (
                "type=oci,dest=-,tar=false",
                "type=oci,tar=false makes a folder, which cannot go to standard output",
            ),
            ("a,b", "\"a\" is not KEY=VALUE"),
            ("type=tar,dest=x,name=y", "type=tar knows no \"name\""),
        ] {
            assert_eq!(text.parse::<Exporter>().unwrap_err().to_string(), told);
        }
    }
}
