//! What comes out of a build: names, labels, compression, times, and where it goes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use oxbox_builder::build::Times;
use oxbox_builder::depot::{Inline, Unopened};
use oxbox_builder::export::files::Files;
use oxbox_builder::export::form::{Annotation, Form, Recompress, Squash};
use oxbox_layers::compress::Compression;
use oxbox_layers::layer::Family;
use oxbox_layers::oci::{Compressed, Reference};

use super::OptionError;
use super::edits::Edits;
use super::exporter::{Exporter, Kind, Sink, Wishes, annotations};
use crate::local;

/// Options of what comes out.
#[derive(Debug, Args)]
pub(super) struct Outputs {
    /// Name of the result; may be repeated.
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,
    /// Where the result goes [default: type=image, the local store]; may be repeated
    ///
    /// DIR or - (the plain files, in a folder or as a tar on standard output), or
    /// type=image|registry|oci|docker|local|tar with dest=, name=, push=, tar=, compression=,
    /// compression-level=, force-compression=, oci-mediatypes= and annotation.KEY=, as buildx has them.
    #[arg(short, long, value_name = "DEST")]
    output: Vec<Exporter>,
    /// Push the result under its names: --output type=registry.
    #[arg(long)]
    push: bool,
    /// Put the result into the local store, whatever --push and --output say: --output type=image.
    #[arg(long)]
    load: bool,
    #[command(flatten)]
    pub(super) edits: Edits,
    /// An annotation of the image's manifest, or with `index:`, `manifest-descriptor:` or `index-descriptor:` before the key
    /// of that; a platform may stand in brackets before the colon.
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
    /// Whose media types the image has.
    #[arg(long, value_enum, default_value_t = Documents::Oci)]
    format: Documents,
    /// How layers are compressed.
    #[arg(long, value_enum, default_value_t = Format::Gzip)]
    compression_format: Format,
    /// How hard layers are compressed.
    #[arg(long, value_name = "LEVEL", allow_negative_numbers = true)]
    compression_level: Option<i32>,
    /// Compress layers of the base image so too, where they are not.
    #[arg(long)]
    force_compression: bool,
    /// Make one layer of those that the build makes.
    #[arg(long)]
    squash: bool,
    /// Whether each instruction has a layer of its own, as it always has in the cache; false is --squash.
    #[arg(long, hide = true, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    layers: bool,
    /// Make one layer of all, those of the base image too.
    #[arg(long, conflicts_with = "squash")]
    squash_all: bool,
    /// The latest time that a file of a new layer may carry, in seconds since 1970 [default: 1980-01-01]
    #[arg(long, visible_alias = "timestamp", value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
    pub(super) source_date_epoch: Option<i64>,
    /// What becomes of the times of files: cut to --source-date-epoch, or kept, which makes equal builds differ.
    #[arg(long, value_enum, default_value_t = Timestamps::Cut)]
    timestamps: Timestamps,
    /// Build twice from nothing, and fail if the results are not the same, with the files that differ.
    #[arg(long)]
    pub(super) verify: bool,
    /// What is done anyway: accepted for Buildah's sake.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, hide = true)]
    rewrite_timestamp: Option<bool>,
    /// Write the image's digest into a file.
    #[arg(long, value_name = "FILE")]
    pub(super) iidfile: Option<PathBuf>,
    /// Write what is known of the result into a file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) metadata_file: Option<PathBuf>,
}

/// Media types of the image's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Documents {
    /// Docker's.
    #[value(alias = "v2s2")]
    Docker,
    /// OCI's.
    Oci,
}

/// Compressions of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// gzip: everybody reads it.
    Gzip,
    /// Plain tar.
    #[value(alias = "uncompressed")]
    None,
    /// Zstandard: smaller and faster; old clients cannot read it.
    Zstd,
}

/// What becomes of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Timestamps {
    /// None is later than the epoch.
    Cut,
    /// They are what they are.
    Keep,
}

/// All that is made of a result.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Each with the place of its form, if it is an image.
    pub(super) exporters: Vec<(Exporter, Option<usize>)>,
    /// Without repetition; the local store's comes first.
    pub(super) forms: Vec<Form>,
}

impl Outputs {
    pub(super) fn names(&self) -> anyhow::Result<Vec<Reference>> {
        Ok(self.tag.iter().map(|name| local::parse_new(name)).collect::<Result<_, _>>()?)
    }

    pub(super) fn times(&self) -> Times {
        match self.timestamps {
            Timestamps::Keep => Times::Keep,
            Timestamps::Cut => self.source_date_epoch.map_or(Times::AsPlanned, Times::Cut),
        }
    }

    /// Returns what is wanted of the result, names included.
    pub(super) fn wanted(&self) -> anyhow::Result<Wanted> {
        let names = self.names()?;
        let of = |kind| Exporter { kind, wishes: Wishes::default() };
        let mut exporters = self.output.clone();
        exporters.extend(self.push.then(|| of(Kind::Registry)));
        if self.load || exporters.is_empty() {
            exporters.push(of(Kind::Store { push: false }));
        }
        // Names in the store go to the first image, so that the store's form must be the first.
        exporters.sort_by_key(|exporter| !matches!(exporter.kind, Kind::Store { .. }));
        let mut wanted = Wanted { exporters: Vec::new(), forms: Vec::new() };
        for mut exporter in exporters {
            if exporter.wishes.names.is_empty() {
                exporter.wishes.names.clone_from(&names);
            }
            let pushes = matches!(exporter.kind, Kind::Registry | Kind::Store { push: true });
            if pushes && exporter.wishes.names.is_empty() {
                return Err(OptionError::Nameless.into());
            }
            let form = self.form(&exporter)?.map(|form| wanted.place(form));
            wanted.exporters.push((exporter, form));
        }
        Ok(wanted)
    }

    fn form(&self, exporter: &Exporter) -> Result<Option<Form>, OptionError> {
        let wishes = &exporter.wishes;
        if matches!(exporter.kind, Kind::Files(_)) {
            return Ok(None);
        }
        let (format, level) = match wishes.format {
            Some(format) => (format, wishes.level),
            None => (self.compression_format, wishes.level.or(self.compression_level)),
        };
        let oci = wishes.oci.unwrap_or(self.format == Documents::Oci);
        let annotations = self.annotations(wishes)?;
        let family = match oci {
            true => Family::Oci,
            // Docker's documents have none.
            false if !annotations.is_empty() && !matches!(exporter.kind, Kind::Docker(_)) => {
                return Err(OptionError::AnnotationsOfDocker);
            }
            false => Family::Docker,
        };
        Ok(Some(Form {
            compression: Compression::new(format.into(), level)?,
            recompress: match wishes.force.unwrap_or(self.force_compression) {
                true => Recompress::All,
                false => Recompress::New,
            },
            history: self.edits.history(),
            squash: match (self.squash || !self.layers, self.squash_all) {
                (_, true) => Squash::All,
                (true, _) => Squash::New,
                _ => Squash::None,
            },
            family,
            annotations: if oci { annotations } else { Vec::new() },
            inline: Inline::No,
        }))
    }

    fn annotations(&self, wishes: &Wishes) -> Result<Vec<Annotation>, OptionError> {
        let mut lines = Vec::new();
        for text in &self.annotation {
            lines.extend(annotations(text).ok_or_else(|| OptionError::Pair {
                option: "annotation",
                text: text.chars().take(160).collect(),
                form: "[DOCUMENT[PLATFORM]:]KEY=VALUE",
            })?);
        }
        lines.extend(wishes.annotations.iter().cloned());
        Ok(lines)
    }
}

impl Wanted {
    fn place(&mut self, form: Form) -> usize {
        self.forms.iter().position(|known| *known == form).unwrap_or_else(|| {
            self.forms.push(form);
            self.forms.len() - 1
        })
    }

    /// Returns the names that the first image gets in the store.
    pub(super) fn stored(&self) -> Vec<Reference> {
        match self.exporters.first() {
            Some((Exporter { kind: Kind::Store { .. }, wishes }, _)) => wishes.names.clone(),
            _ => Vec::new(),
        }
    }

    /// Returns where plain files go.
    pub(super) fn files(&self) -> Vec<Files> {
        let files = |(exporter, _): &(Exporter, Option<usize>)| match &exporter.kind {
            Kind::Files(files) => Some(files.clone()),
            _ => None,
        };
        self.exporters.iter().filter_map(files).collect()
    }

    /// Returns all names that images get, each once.
    pub(super) fn names(&self) -> Vec<Reference> {
        let mut names: Vec<Reference> = Vec::new();
        for name in self.exporters.iter().flat_map(|(exporter, _)| &exporter.wishes.names) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Returns the names under which the image is pushed with the very layers that the steps make.
    pub(super) fn pushed_as_made(&self) -> Vec<Reference> {
        let is_as_made = |form: Option<usize>| {
            form == Some(0) && self.forms.first().is_some_and(|form| form.squash == Squash::None)
        };
        let pushes = |kind: &Kind| matches!(kind, Kind::Registry | Kind::Store { push: true });
        let exporters =
            self.exporters.iter().filter(|(exporter, form)| pushes(&exporter.kind) && is_as_made(*form));
        exporters.flat_map(|(exporter, _)| exporter.wishes.names.iter().cloned()).collect()
    }

    /// Whether registries are all that the result goes to.
    pub(super) fn is_only_pushed(&self) -> bool {
        self.exporters.iter().all(|(exporter, _)| exporter.kind == Kind::Registry)
    }

    /// Has all images carry the records of their own layers, or none.
    pub(super) fn with_records(mut self, inline: Inline) -> Self {
        self.forms.iter_mut().for_each(|form| form.inline = inline);
        self
    }

    /// Returns what becomes of layers that a cache elsewhere has and no step opened: the copy to a registry
    /// takes them from there, unless they must be made otherwise.
    pub(super) fn unopened(&self) -> Unopened {
        let as_they_are = |form: &Form| {
            form.squash == Squash::None
                && form.recompress == Recompress::New
                && self.forms.first().is_some_and(|first| first.compression == form.compression)
        };
        match self.is_only_pushed() && self.forms.iter().all(as_they_are) {
            true => Unopened::Leave,
            false => Unopened::Bring,
        }
    }

    /// Whether an archive goes to standard output, which then is no place for the digest.
    pub(super) fn takes_stdout(&self) -> bool {
        self.exporters.iter().any(|(exporter, _)| {
            matches!(
                exporter.kind,
                Kind::Files(Files::Stdout) | Kind::Docker(Sink::Stdout) | Kind::Oci(Sink::Stdout, _)
            )
        })
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
