//! What comes out of a build: names, labels, compression, times.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use oxbox_builder::DEFAULT_EPOCH;
use oxbox_layers::compress::Compression;
use oxbox_layers::oci::{Compressed, Reference};

use super::{OptionError, pair};
use crate::local;

/// Options of what comes out.
#[derive(Debug, Args)]
pub(super) struct Outputs {
    /// Name of the result in the local store; may be repeated.
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,
    /// A label of the result.
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// How layers are compressed.
    #[arg(long, value_enum, default_value_t = Format::Gzip)]
    compression_format: Format,
    /// How hard layers are compressed.
    #[arg(long, value_name = "LEVEL", allow_negative_numbers = true)]
    compression_level: Option<i32>,
    /// The latest time that a file of a new layer may carry, in seconds since 1970 [default: 1980-01-01]
    #[arg(long, visible_alias = "timestamp", value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
    source_date_epoch: Option<i64>,
    /// Write the image's digest into a file.
    #[arg(long, value_name = "FILE")]
    pub(super) iidfile: Option<PathBuf>,
}

/// Compressions of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// gzip: everybody reads it.
    Gzip,
    /// Plain tar.
    #[value(alias = "uncompressed")]
    None,
    /// Zstandard: smaller and faster; old clients cannot read it.
    Zstd,
}

impl Outputs {
    pub(super) fn names(&self) -> anyhow::Result<Vec<Reference>> {
        Ok(self.tag.iter().map(|name| local::parse_new(name)).collect::<Result<_, _>>()?)
    }

    pub(super) fn labels<T: FromIterator<(String, String)>>(&self) -> Result<T, OptionError> {
        self.label.iter().map(|text| pair("label", text, "NAME=VALUE")).collect()
    }

    pub(super) fn compression(&self) -> Result<Compression, OptionError> {
        Ok(Compression::new(self.compression_format.into(), self.compression_level)?)
    }

    pub(super) fn epoch(&self) -> i64 {
        self.source_date_epoch.unwrap_or(DEFAULT_EPOCH)
    }
}

impl From<Format> for Compressed {
    fn from(format: Format) -> Self {
        match format {
            Format::Gzip => Self::Gzip,
            Format::None => Self::None,
            Format::Zstd => Self::Zstd,
        }
    }
}
