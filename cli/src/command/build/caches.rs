//! `--cache-from` and `--cache-to`: which caches elsewhere a build asks, and which it makes.
//!
//! ```text
//! REF[,REF]…                       type=registry,ref=REF: also what Buildah writes
//! type=registry,ref=REF            as buildx has it; a field with commas stands in double quotes
//! type=local,src=DIR  dest=DIR
//! type=inline                      only to: the image carries its own records
//! ```
//!
//! <https://docs.docker.com/build/cache/backends/>

use std::path::PathBuf;
use std::str::FromStr;

use oxbox_builder::depot::{Asking, Failure, Giving, Mode, Mounts, Pick, Recompress, Source};
use oxbox_copy::location::{self, Location, StoreName};
use oxbox_layers::compress::{Compression, CompressionError};
use oxbox_layers::oci::{Digest, Reference};

use super::exporter::{ExporterError, boolean, fields, format, wrong};
use super::outputs::Format;
use crate::local;
use crate::suggest::similar;

/// What `index.json` of a folder calls a cache unless told otherwise: buildx's word.
const TAG: &str = "latest";

/// One `--cache-from`: a list, since bare references may be one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CacheFrom(pub(super) Vec<Asking>);

/// One `--cache-to`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CacheTo {
    /// The image has it.
    Inline,
    /// A manifest of its own.
    Apart {
        /// Where.
        to: Location,
        /// What.
        giving: Giving,
    },
}

/// Why a text names no cache.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheOptionError {
    #[error(transparent)]
    Field(#[from] ExporterError),
    #[error("there is no type {kind:?} of caches: there are registry, local and inline")]
    Kind { kind: String },
    #[error(
        "caches of type {kind} need a service that oxbox does not talk to: there are registry, local and inline"
    )]
    Service { kind: String },
    #[error("type=inline is for --cache-to: the image is named with type=registry,ref=")]
    InlineFrom,
    #[error("type={kind} knows no {key:?}{}", similar.first().map(|first| format!(": did you mean {first}?")).unwrap_or_default())]
    Key { kind: &'static str, key: String, similar: Vec<&'static str> },
    #[error("type={kind} needs {key}=")]
    Needs { kind: &'static str, key: &'static str },
    #[error("{key}=false cannot be had: a cache is an OCI image manifest")]
    Form { key: &'static str },
    #[error("{name:?} cannot be asked by its digest and its tag")]
    TagAndDigest { name: String },
    #[error(transparent)]
    Name(#[from] local::LocalError),
    #[error("compression-level={level:?} cannot be used")]
    Level {
        level: String,
        #[source]
        source: Option<CompressionError>,
    },
}

/// The types that are known, and the keys of each, from and to.
const KINDS: [(&str, &[&str], &[&str]); 3] = [
    ("registry", &["ref", "mounts"], &["ref"]),
    ("local", &["src", "tag", "digest", "mounts"], &["dest", "tag"]),
    ("inline", &[], &[]),
];

/// Keys of everything that makes a manifest of its own.
const APART: [&str; 8] = [
    "mode",
    "mounts",
    "compression",
    "compression-level",
    "force-compression",
    "oci-mediatypes",
    "image-manifest",
    "ignore-error",
];

/// Types of BuildKit's that want a service.
const SERVICES: [&str; 3] = ["gha", "s3", "azblob"];

/// What was written, field by field.
struct Spec {
    kind: &'static str,
    pairs: Vec<(String, String)>,
}

impl FromStr for CacheFrom {
    type Err = CacheOptionError;

    fn from_str(text: &str) -> Result<Self, CacheOptionError> {
        let fields = fields(text)?;
        if fields.iter().all(|field| !field.contains('=')) {
            let asking = |source| Asking { source, mounts: Mounts::Left };
            let sources = fields.iter().map(|field| Ok(asking(Source::Registry(reference(field)?))));
            return sources.collect::<Result<_, CacheOptionError>>().map(Self);
        }
        let spec = Spec::read(fields)?;
        let known = KINDS.iter().find(|(kind, ..)| *kind == spec.kind).map_or(&[][..], |(_, from, _)| from);
        spec.check(known, &[])?;
        let source = match spec.kind {
            "registry" => Source::Registry(reference(spec.needed("ref")?)?),
            "local" => Source::Folder { path: PathBuf::from(spec.needed("src")?), pick: spec.pick()? },
            _ => return Err(CacheOptionError::InlineFrom),
        };
        Ok(Self(vec![Asking { source, mounts: spec.mounts()? }]))
    }
}

impl FromStr for CacheTo {
    type Err = CacheOptionError;

    fn from_str(text: &str) -> Result<Self, CacheOptionError> {
        let fields = fields(text)?;
        if let [only] = fields.as_slice()
            && !only.contains('=')
        {
            let to = Location::Registry(reference(only)?);
            let giving = Spec { kind: "registry", pairs: Vec::new() }.giving()?;
            return Ok(Self::Apart { to, giving });
        }
        let spec = Spec::read(fields)?;
        let known = KINDS.iter().find(|(kind, ..)| *kind == spec.kind).map_or(&[][..], |(_, _, to)| to);
        spec.check(known, if spec.kind == "inline" { &[] } else { &APART })?;
        let to = match spec.kind {
            "registry" => Location::Registry(reference(spec.needed("ref")?)?),
            "local" => Location::Layout {
                path: PathBuf::from(spec.needed("dest")?),
                image: Some(location::Pick::Named(spec.value("tag").unwrap_or(TAG).to_owned())),
            },
            _ => return Ok(Self::Inline),
        };
        Ok(Self::Apart { to, giving: spec.giving()? })
    }
}

impl Spec {
    fn read(fields: Vec<String>) -> Result<Self, CacheOptionError> {
        let mut pairs = Vec::new();
        for field in fields {
            let pair =
                field.split_once('=').map(|(key, value)| (key.trim().to_lowercase(), value.to_owned()));
            pairs.push(pair.ok_or(ExporterError::Field { field })?);
        }
        let kind = pairs.iter().find(|(key, _)| key == "type").map_or("", |(_, kind)| kind);
        let known = KINDS.iter().map(|(known, ..)| *known).find(|known| *known == kind);
        let shown = || kind.chars().take(160).collect();
        let kind = known.ok_or_else(|| match SERVICES.contains(&kind) {
            true => CacheOptionError::Service { kind: shown() },
            false => CacheOptionError::Kind { kind: shown() },
        })?;
        Ok(Self { kind, pairs })
    }

    fn check(&self, own: &[&'static str], shared: &[&'static str]) -> Result<(), CacheOptionError> {
        let known = || own.iter().chain(shared).copied();
        let stray = self.pairs.iter().find(|(key, _)| key != "type" && !known().any(|known| known == key));
        match stray {
            None => Ok(()),
            Some((key, _)) => Err(CacheOptionError::Key {
                kind: self.kind,
                key: key.chars().take(160).collect(),
                similar: similar(key, known()),
            }),
        }
    }

    /// Returns a value; the last of one key counts.
    fn value(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    fn needed(&self, key: &'static str) -> Result<&str, CacheOptionError> {
        let kind = self.kind;
        self.value(key).filter(|value| !value.is_empty()).ok_or(CacheOptionError::Needs { kind, key })
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, CacheOptionError> {
        Ok(self.value(key).map(|value| boolean(key, value)).transpose()?)
    }

    fn mounts(&self) -> Result<Mounts, CacheOptionError> {
        Ok(if self.flag("mounts")? == Some(true) { Mounts::Taken } else { Mounts::Left })
    }

    fn pick(&self) -> Result<Pick, CacheOptionError> {
        match (self.value("digest"), self.value("tag")) {
            (Some(_), Some(_)) => {
                Err(CacheOptionError::TagAndDigest { name: self.needed("src")?.to_owned() })
            }
            (Some(text), None) => {
                let digest: Result<Digest, _> = text.parse();
                Ok(Pick::Digest(digest.map_err(|_| wrong("digest", text, "a digest"))?))
            }
            (None, tag) => Ok(Pick::Tag(tag.unwrap_or(TAG).to_owned())),
        }
    }

    fn giving(&self) -> Result<Giving, CacheOptionError> {
        for key in ["oci-mediatypes", "image-manifest"] {
            if self.flag(key)? == Some(false) {
                return Err(CacheOptionError::Form { key });
            }
        }
        let mode = match self.value("mode") {
            None | Some("min") => Mode::Min,
            Some("max") => Mode::Max,
            Some(other) => return Err(wrong("mode", other, "min or max").into()),
        };
        let format =
            self.value("compression").map_or(Ok(Format::Gzip), |text| format("compression", text))?;
        let level = self.value("compression-level");
        let wrong_level = |source| CacheOptionError::Level {
            level: level.unwrap_or_default().chars().take(160).collect(),
            source,
        };
        let number = level.map(|text| text.parse().map_err(|_| wrong_level(None))).transpose()?;
        Ok(Giving {
            mode,
            compression: Compression::new(format.into(), number).map_err(|error| wrong_level(Some(error)))?,
            recompress: match self.flag("force-compression")? {
                Some(true) => Recompress::All,
                _ => Recompress::Plain,
            },
            mounts: self.mounts()?,
            failure: match self.flag("ignore-error")? {
                Some(true) => Failure::Warns,
                _ => Failure::Fails,
            },
        })
    }
}

fn reference(text: &str) -> Result<Reference, CacheOptionError> {
    match local::parse(text)? {
        StoreName::Reference(reference) => Ok(reference),
        // Of an image in no repository.
        StoreName::Digest(_) => Err(wrong("ref", text, "the name of an image").into()),
    }
}

#[cfg(test)]
mod tests {
    use oxbox_builder::depot::{Failure, Mode, Mounts, Pick, Recompress, Source};
    use oxbox_copy::location::Location;
    use oxbox_layers::compress::Compression;

    use super::{CacheFrom, CacheTo};

    fn from(text: &str) -> Vec<String> {
        let CacheFrom(sources) = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        sources.iter().map(|asking| asking.source.to_string()).collect()
    }

    fn to(text: &str) -> (String, super::Giving) {
        match text.parse().unwrap_or_else(|error| panic!("{text}: {error}")) {
            CacheTo::Apart { to, giving } => (to.to_string(), giving),
            CacheTo::Inline => panic!("{text} is inline"),
        }
    }

    #[test]
    fn a_bare_reference_is_in_a_registry_and_several_may_stand_in_one_list() {
        assert_eq!(from("h.io/a,h.io/b:1"), ["h.io/a:latest", "h.io/b:1"]);
        assert_eq!(from("type=registry,ref=h.io/a:c"), ["h.io/a:c"]);
        let (to, giving) = to("h.io/a");
        assert_eq!((to.as_str(), giving.mode), ("docker://h.io/a:latest", Mode::Min));
    }

    #[test]
    fn folders_have_a_tag_or_a_digest() {
        assert_eq!(from("type=local,src=a/b"), ["a/b:latest"]);
        assert_eq!(from("type=local,src=a,tag=x"), ["a:x"]);
        let digest = format!("sha256:{}", "0".repeat(64));
        let CacheFrom(sources) = format!("type=local,src=a,digest={digest}").parse().unwrap();
        let expected = Pick::Digest(digest.parse().unwrap());
        assert_eq!(sources[0].source, Source::Folder { path: "a".into(), pick: expected });
        assert!(matches!(
            "type=local,dest=a".parse(),
            Ok(CacheTo::Apart { to: Location::Layout { .. }, .. })
        ));
    }

    #[test]
    fn what_is_given_away_is_said_as_buildx_says_it() {
        let (_, giving) = to(
            "type=registry,ref=h.io/a,mode=max,compression=zstd,compression-level=5,force-compression=true,\
             oci-mediatypes=true,image-manifest=true,ignore-error=true,mounts=true",
        );
        assert_eq!(giving.mounts, Mounts::Taken);
        assert_eq!((giving.mode, giving.compression), (Mode::Max, Compression::Zstd { level: 5 }));
        assert_eq!((giving.recompress, giving.failure), (Recompress::All, Failure::Warns));
        assert_eq!("type=inline".parse::<CacheTo>().unwrap(), CacheTo::Inline);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (text, told) in [
            (
                "type=gha,scope=x",
                "caches of type gha need a service that oxbox does not talk to: there are registry, local and inline",
            ),
            ("type=redis", "there is no type \"redis\" of caches: there are registry, local and inline"),
            ("type=registry", "type=registry needs ref="),
            ("type=registry,ref=a,mod=max", "type=registry knows no \"mod\": did you mean mode?"),
            ("type=registry,ref=a,mode=most", "mode=\"most\" is not min or max"),
            (
                "type=registry,ref=a,image-manifest=false",
                "image-manifest=false cannot be had: a cache is an OCI image manifest",
            ),
            ("type=inline,mode=max", "type=inline knows no \"mode\""),
            (
                "type=local,dest=a,compression=estargz",
                "compression=\"estargz\" is not gzip, zstd or uncompressed",
            ),
        ] {
            assert_eq!(text.parse::<CacheTo>().unwrap_err().to_string(), told);
        }
        let error = "type=inline".parse::<CacheFrom>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "type=inline is for --cache-to: the image is named with type=registry,ref="
        );
    }
}
