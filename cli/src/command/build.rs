//! `oxbox build`: an image from a Dockerfile.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use oxbox_builder::plan::{self, graph};
use oxbox_builder::solve::Reuse;
use oxbox_builder::{DEFAULT_EPOCH, Exported, Request, exec};
use oxbox_layers::compress::{Compression, CompressionError};
use oxbox_layers::oci::{Compressed, Digest, Platform, Reference};
use oxbox_layers::store::Layout;
use serde::Serialize;

use super::call::{Call, Question};
use crate::args::{Output, State};
use crate::fetch::{Pull, Puller};
use crate::interrupt::{Interrupt, Interrupted};
use crate::registries::{Login, Registry};
use crate::settings::{Look, Root, Settings};
use crate::{local, output, progress, runtime};

/// Options of `oxbox build`.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The build context: a folder.
    #[arg(default_value = ".", value_name = "CONTEXT")]
    context: PathBuf,
    /// The Dockerfile [default: Containerfile or Dockerfile of the context]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Name of the result in the local store; may be repeated.
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,
    /// The stage to build [default: the last]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// A value for an ARG; a bare name takes it from the environment.
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Another context: NAME=DIR.
    #[arg(long, value_name = "NAME=DIR")]
    build_context: Vec<String>,
    /// A label of the result.
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// The platform to build for [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Make everything again.
    #[arg(long)]
    no_cache: bool,
    /// When base images are pulled.
    #[arg(long, value_enum, num_args = 0..=1, default_value_t = Pull::Missing, default_missing_value = "always", require_equals = true)]
    pull: Pull,
    /// How many instructions may be made at once [default: the number of processors]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    /// Network of RUN.
    #[arg(long, value_enum, default_value_t = Network::Host)]
    network: Network,
    /// How layers are compressed.
    #[arg(long, value_enum, default_value_t = Format::Gzip)]
    compression_format: Format,
    /// How hard layers are compressed.
    #[arg(long, value_name = "LEVEL", allow_negative_numbers = true)]
    compression_level: Option<i32>,
    /// The latest time that a file of a new layer may carry, in seconds since 1970 [default: 1980-01-01]
    #[arg(long, visible_alias = "timestamp", value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
    source_date_epoch: Option<i64>,
    /// The ignore file [default: DOCKERFILE.dockerignore, .containerignore or .dockerignore]
    #[arg(long, value_name = "FILE")]
    ignorefile: Option<PathBuf>,
    /// Write the image's digest into a file.
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Check the Dockerfile and build nothing: --call=check.
    #[arg(long, conflicts_with = "call")]
    check: bool,
    /// What to do instead of building: check, outline (what a build can be given) or targets (what can be built).
    #[arg(long, value_name = "METHOD[,format=text|json|sarif]")]
    call: Option<Call>,
    /// Print nothing but the result.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    login: Login,
    #[command(flatten)]
    state: State,
}

/// Networks of RUN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Network {
    /// The host's.
    #[value(alias = "default")]
    Host,
    /// Loopback alone.
    None,
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

/// An option of a build that makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionError {
    /// The level is none of the format's.
    #[error("--compression-level cannot be used")]
    Compression(#[from] CompressionError),
    /// A pair has no name or no equals sign.
    #[error("--{option} {text:?} is not {form}")]
    Pair {
        /// Which option.
        option: &'static str,
        /// What it was given, cut.
        text: String,
        /// What it wants.
        form: &'static str,
    },
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Built {
    digest: Digest,
    /// Digest of the config: what other tools call the image id.
    config: Digest,
    names: Vec<String>,
}

/// Builds, and prints the digest.
pub(super) fn run(options: &Build, settings: &Settings) -> anyhow::Result<()> {
    let root = Root::of(&options.state)?;
    let plan = options.plan()?;
    if let Some(question) = options.question(&plan) {
        return question.answer(&root);
    }
    let names: Vec<Reference> =
        options.tag.iter().map(|name| local::parse_new(name)).collect::<Result<_, _>>()?;
    let compression = Compression::new(options.compression_format.into(), options.compression_level)
        .map_err(OptionError::Compression)?;
    let request = options.request(&root, plan, &names, compression)?;
    let look = if options.quiet { Look::Nothing } else { settings.look };
    let exported = build(options, &request, &root, look)?;
    if names.is_empty() {
        // Listed all the same, until it is pruned.
        request.store.update(|entries| entries.add(&exported.manifest))?;
    }
    let digest = exported.manifest.digest;
    if let Some(path) = &options.iidfile {
        output::file(path, digest.to_string().as_bytes())?;
    }
    let names = names.iter().map(Reference::familiar).collect();
    match options.output.json {
        true => output::json(&Built { digest, config: exported.config.digest, names })?,
        false => output::line(&digest.to_string())?,
    }
    Ok(())
}

fn build(options: &Build, request: &Request, root: &Root, look: Look) -> anyhow::Result<Exported> {
    let (signals, runtime) = (Interrupt::watch()?, runtime::start()?);
    let programs = exec::Interrupt::new();
    runtime.spawn(pass_on(signals.clone(), programs.clone()));
    let fetch = Puller {
        store: Arc::clone(&request.store),
        root,
        registry: &options.registry,
        login: &options.login,
        pull: options.pull,
        look,
        runtime,
        interrupt: signals.clone(),
    };
    let progress = progress::of_build(look);
    match oxbox_builder::build(request, &fetch, &*progress, &programs) {
        // Whatever it failed with, a signal is why.
        Err(_) if signals.has_happened() => Err(Interrupted.into()),
        built => Ok(built?),
    }
}

/// Has the programs of RUN end once a signal has come.
async fn pass_on(signals: Interrupt, programs: exec::Interrupt) {
    /// SIGTERM, whichever signal it was: to programs it means the same.
    const TERMINATE: u8 = 15;
    signals.happened().await;
    programs.send(TERMINATE);
}

impl Build {
    /// Returns what is asked about the Dockerfile, unless it is to be built.
    fn question<'q>(&'q self, plan: &'q plan::Options) -> Option<Question<'q>> {
        let call = if self.check { Call::CHECK } else { self.call? };
        let (method, format) = call.of(self.output)?;
        Some(Question {
            method,
            format,
            context: &self.context,
            dockerfile: self.file.as_deref(),
            ignore: self.ignorefile.as_deref(),
            options: plan,
        })
    }

    fn plan(&self) -> Result<plan::Options, OptionError> {
        let labels =
            self.label.iter().map(|text| pair("label", text, "NAME=VALUE")).collect::<Result<_, _>>()?;
        Ok(plan::Options {
            target: self.target.clone(),
            build_args: self.build_args(),
            labels,
            platform: self.platform.clone(),
            network: match self.network {
                Network::Host => graph::Network::Host,
                Network::None => graph::Network::None,
            },
            contexts: self.contexts()?.into_keys().collect::<BTreeSet<_>>(),
            ..plan::Options::default()
        })
    }

    /// A bare name that the environment does not have is as good as not given.
    fn build_args(&self) -> BTreeMap<String, String> {
        let value = |text: &String| match text.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((text.clone(), std::env::var(text).ok()?)),
        };
        self.build_arg.iter().filter_map(value).collect()
    }

    fn contexts(&self) -> Result<BTreeMap<String, PathBuf>, OptionError> {
        let folder = |text: &String| {
            let (name, folder) = pair("build-context", text, "NAME=DIR")?;
            Ok((name, PathBuf::from(folder)))
        };
        self.build_context.iter().map(folder).collect()
    }

    fn request(
        &self,
        root: &Root,
        options: plan::Options,
        names: &[Reference],
        compression: Compression,
    ) -> anyhow::Result<Request> {
        let processors = || std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        Ok(Request {
            state: root.path().to_owned(),
            store: Arc::new(Layout::create(root.store())?),
            context: self.context.clone(),
            contexts: self.contexts()?,
            dockerfile: self.file.clone(),
            ignore: self.ignorefile.clone(),
            options,
            names: names.to_owned(),
            compression,
            epoch: self.source_date_epoch.unwrap_or(DEFAULT_EPOCH),
            reuse: if self.no_cache { Reuse::Forbidden } else { Reuse::Allowed },
            jobs: self.jobs.unwrap_or_else(processors),
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

fn pair(option: &'static str, text: &str, form: &'static str) -> Result<(String, String), OptionError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(OptionError::Pair { option, text: text.chars().take(160).collect(), form }),
    }
}
