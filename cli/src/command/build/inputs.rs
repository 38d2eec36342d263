//! What goes into a build: contexts, the Dockerfile, arguments, base images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use oxbox_builder::plan::Context;
use oxbox_layers::oci::Platform;
use oxbox_layers::oci::platform::PlatformError;

use super::elsewhere::Named;
use super::{OptionError, pair};
use crate::fetch::Pull;

/// Options of what goes in.
#[derive(Debug, Args)]
pub(super) struct Inputs {
    /// The build context: a folder, a tar, the URL of a tar or of a Dockerfile, a git repository
    /// (https://HOST/PATH.git#REFERENCE:FOLDER), or - for a tar or a Dockerfile on standard input.
    #[arg(default_value = ".", value_name = "CONTEXT")]
    pub(super) context: PathBuf,
    /// The Dockerfile: a file, a URL, or - for standard input [default: Containerfile or Dockerfile of the context]
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// The stage to build [default: the last]
    #[arg(long, value_name = "STAGE")]
    pub(super) target: Option<String>,
    /// A value for an ARG; a bare name takes it from the environment.
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Values for ARGs from a file: NAME=VALUE lines, # begins a comment; --build-arg wins.
    #[arg(long, value_name = "FILE")]
    build_arg_file: Vec<PathBuf>,
    /// Another context, in place of an image or a stage: NAME=DIR, the URL of a tar or a git repository,
    /// NAME=docker-image://IMAGE, NAME=oci-layout://DIR:TAG or NAME=target:STAGE.
    #[arg(long, value_name = "NAME=DIR")]
    build_context: Vec<String>,
    /// The platforms to build for [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_delimiter = ',', value_parser = platform)]
    platform: Vec<Platform>,
    /// The operating system to build for, if --platform does not say it.
    #[arg(long, hide = true, conflicts_with = "platform")]
    os: Option<String>,
    /// The architecture to build for, if --platform does not say it.
    #[arg(long, hide = true, conflicts_with = "platform")]
    arch: Option<String>,
    /// Its variant.
    #[arg(long, hide = true, requires = "arch")]
    variant: Option<String>,
    /// An image in place of that of the first FROM.
    #[arg(long, value_name = "IMAGE")]
    pub(super) from: Option<String>,
    /// When base images are pulled.
    #[arg(long, value_enum, num_args = 0..=1, default_value_t = Pull::Missing, default_missing_value = "always", require_equals = true)]
    pub(super) pull: Pull,
    /// The ignore file [default: DOCKERFILE.dockerignore, .containerignore or .dockerignore]
    #[arg(long, value_name = "FILE")]
    pub(super) ignorefile: Option<PathBuf>,
}

impl Inputs {
    /// Returns the platforms to build for.
    pub(super) fn platforms(&self) -> Vec<Platform> {
        if self.os.is_none() && self.arch.is_none() {
            return self.platform.clone();
        }
        let host = Platform::host();
        let os = self.os.as_deref().unwrap_or(&host.os);
        let architecture = self.arch.as_deref().unwrap_or(&host.architecture);
        vec![Platform::new(os, architecture, self.variant.as_deref())]
    }

    /// A bare name that the environment does not have is as good as not given.
    pub(super) fn build_args(&self) -> Result<BTreeMap<String, String>, OptionError> {
        let value = |text: &str| match text.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((text.to_owned(), std::env::var(text).ok()?)),
        };
        let mut args = BTreeMap::new();
        for path in &self.build_arg_file {
            args.extend(lines(path)?.iter().filter_map(|line| value(line)));
        }
        args.extend(self.build_arg.iter().filter_map(|text| value(text)));
        Ok(args)
    }

    /// Returns what the named contexts are.
    pub(super) fn contexts(&self) -> Result<BTreeMap<String, Context>, OptionError> {
        let context = |(name, text): (String, String)| match Context::parse(&text) {
            Ok(context) => Ok((name, context.unwrap_or(Context::Folder))),
            Err(source) => Err(OptionError::Context { name, source }),
        };
        self.named()?.into_iter().map(context).collect()
    }

    /// Returns what must be at hand before the build, whatever it takes.
    pub(super) fn places(&self, keeps_git_dir: bool) -> Result<Named<'_>, OptionError> {
        let named = self.named()?.into_iter();
        let folders = named.filter(|(_, text)| matches!(Context::parse(text), Ok(None)));
        let (context, file) = (self.context.as_path(), self.file.as_deref());
        Ok(Named { context, file, contexts: folders.collect(), keeps_git_dir })
    }

    fn named(&self) -> Result<Vec<(String, String)>, OptionError> {
        self.build_context.iter().map(|text| pair("build-context", text, "NAME=DIR")).collect()
    }
}

/// Reads a platform; `local` is this machine's, as in buildx.
fn platform(text: &str) -> Result<Platform, PlatformError> {
    if text == "local" { Ok(Platform::host()) } else { text.parse() }
}

/// Returns the lines of a file of arguments, without comments and blank ones.
fn lines(path: &Path) -> Result<Vec<String>, OptionError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| OptionError::ArgumentFile { path: path.to_owned(), source })?;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('=') {
            return Err(OptionError::ArgumentLine { path: path.to_owned(), line: number + 1 });
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}
