//! The commands, one file each: its options, and what it does.

mod build;
mod call;
mod completions;
mod copy;
mod delete;
mod du;
mod images;
mod info;
mod inspect;
mod man;
mod prune;
mod rmi;
mod serve;
mod tag;
mod tags;
mod version;
mod why;

use clap::Subcommand;

pub(crate) use build::{
    AgentError, Irreproducible, OptionError, PlaceError, SecretError, SecurityError, VolumeError,
};
pub(crate) use delete::DeleteError;
pub(crate) use inspect::ValidateError;
pub(crate) use tags::TagsError;
pub(crate) use why::WhyError;

use crate::log;
use crate::settings::Settings;

const LOCATIONS: &str = "Locations: NAME or store:NAME (local store), docker://NAME (registry), oci:DIR[:NAME], \
oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], dir:DIR";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from a Dockerfile.
    Build(Box<build::Build>),
    /// Print a shell's completion script.
    Completions(completions::Completions),
    /// Copy an image between registries, archives, layouts and the local store.
    Copy(copy::Copy),
    /// Delete a tag or a manifest from a registry.
    Delete(delete::Delete),
    /// Show what takes how much space; --verbose shows each image and each layer of the cache.
    Du(du::Du),
    /// List the images of the local store.
    Images(images::Images),
    /// Show where oxbox keeps what, and what this machine allows.
    Info(info::Info),
    /// Show what an image is: platforms, layers, sizes, config.
    Inspect(inspect::Inspect),
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Man(man::Man),
    /// Remove images without a name, what nobody needs, and as much of the build cache as is asked for.
    Prune(prune::Prune),
    /// Remove names from the local store; bytes go with the next prune.
    Rmi(rmi::Rmi),
    /// Serve a registry.
    Serve(serve::Serve),
    /// Give an image of the local store another name.
    Tag(tag::Tag),
    /// List the tags of a repository.
    Tags(tags::Tags),
    /// Print the version.
    Version(version::Version),
    /// Say what a build made, and why.
    Why(why::Why),
}

impl Command {
    /// Returns what the command logs without being asked.
    pub(crate) fn log_default(&self) -> log::Default {
        match self {
            Self::Serve(_) => log::Default::Events,
            _ => log::Default::Warnings,
        }
    }

    /// Whether the usual limit of 1024 open files may be too few: for connections, or for steps at once.
    pub(crate) fn opens_many_files(&self) -> bool {
        matches!(self, Self::Build(_) | Self::Serve(_))
    }
}

/// Does what was asked.
pub(crate) fn run(command: Command, settings: &Settings) -> anyhow::Result<()> {
    match command {
        Command::Build(options) => build::run(&options, settings),
        Command::Completions(options) => completions::run(&options),
        Command::Copy(options) => copy::run(&options, settings),
        Command::Delete(options) => delete::run(&options),
        Command::Du(options) => du::run(&options, settings),
        Command::Images(options) => images::run(&options),
        Command::Info(options) => info::run(&options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Man(options) => man::run(&options),
        Command::Prune(options) => prune::run(&options),
        Command::Rmi(options) => rmi::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Tag(options) => tag::run(&options),
        Command::Tags(options) => tags::run(&options),
        Command::Version(options) => version::run(&options),
        Command::Why(options) => why::run(&options),
    }
}
