//! What goes into a build: contexts, the Dockerfile, arguments, base images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use oxbox_layers::oci::Platform;

use super::{OptionError, pair};
use crate::fetch::Pull;

/// Options of what goes in.
#[derive(Debug, Args)]
pub(super) struct Inputs {
    /// The build context: a folder.
    #[arg(default_value = ".", value_name = "CONTEXT")]
    pub(super) context: PathBuf,
    /// The Dockerfile [default: Containerfile or Dockerfile of the context]
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// The stage to build [default: the last]
    #[arg(long, value_name = "STAGE")]
    pub(super) target: Option<String>,
    /// A value for an ARG; a bare name takes it from the environment.
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Another context: NAME=DIR.
    #[arg(long, value_name = "NAME=DIR")]
    build_context: Vec<String>,
    /// The platform to build for [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(super) platform: Option<Platform>,
    /// When base images are pulled.
    #[arg(long, value_enum, num_args = 0..=1, default_value_t = Pull::Missing, default_missing_value = "always", require_equals = true)]
    pub(super) pull: Pull,
    /// The ignore file [default: DOCKERFILE.dockerignore, .containerignore or .dockerignore]
    #[arg(long, value_name = "FILE")]
    pub(super) ignorefile: Option<PathBuf>,
}

impl Inputs {
    /// A bare name that the environment does not have is as good as not given.
    pub(super) fn build_args(&self) -> BTreeMap<String, String> {
        let value = |text: &String| match text.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((text.clone(), std::env::var(text).ok()?)),
        };
        self.build_arg.iter().filter_map(value).collect()
    }

    pub(super) fn contexts(&self) -> Result<BTreeMap<String, PathBuf>, OptionError> {
        let folder = |text: &String| {
            let (name, folder) = pair("build-context", text, "NAME=DIR")?;
            Ok((name, PathBuf::from(folder)))
        };
        self.build_context.iter().map(folder).collect()
    }
}
