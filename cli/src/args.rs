//! What was typed. What it means is `settings` and the commands themselves.
//!
//! Names of options follow Buildah, buildx and Skopeo where they have one.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use oxbox_layers::oci::Platform;

/// Builds, moves and serves OCI images: one static binary, no daemon.
#[derive(Debug, Parser)]
#[command(name = "oxbox", version, max_term_width = 110, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say more on standard error; twice says what every part does.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// How progress looks: bars on a terminal, plain lines elsewhere.
    #[arg(long, value_enum, default_value_t = ProgressStyle::Auto, global = true, env = "OXBOX_PROGRESS")]
    pub(crate) progress: ProgressStyle,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 the command line or the Dockerfile cannot be understood; \
130 interrupted. Results go to standard output, all else to standard error.";

/// How progress looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// Bars.
    Tty,
    /// One line for each thing that happens.
    Plain,
    /// Nothing but errors.
    None,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from a Dockerfile.
    Build(Build),
    /// Print a shell's completion script.
    Completions(Completions),
    /// Copy an image between registries, archives, layouts and the local store.
    Copy(Copy),
    /// Delete a tag or a manifest from a registry.
    Delete(Delete),
    /// List the images of the local store.
    Images(Images),
    /// Show where oxbox keeps what, and what this machine allows.
    Info(Info),
    /// Show what an image is: platforms, layers, sizes, config.
    Inspect(Inspect),
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Man(Man),
    /// Remove what no image needs: unnamed blobs, old cache records, snapshots.
    Prune(Prune),
    /// Remove names from the local store; bytes go with the next prune.
    Rmi(Rmi),
    /// Serve a registry.
    Serve(Serve),
    /// Give an image of the local store another name.
    Tag(Tag),
    /// List the tags of a repository.
    Tags(Tags),
    /// Print the version.
    Version(Version),
}

/// Where local state is.
#[derive(Debug, Args)]
pub(crate) struct State {
    /// Folder of the store and the cache [default: /var/lib/oxbox for root, else $XDG_DATA_HOME/oxbox]
    #[arg(long, env = "OXBOX_ROOT", value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How registries are reached.
#[derive(Debug, Clone, Args)]
pub(crate) struct Registry {
    /// Credentials file [default: $REGISTRY_AUTH_FILE, then podman's and Docker's own]
    #[arg(long, value_name = "FILE", env = "REGISTRY_AUTH_FILE", hide_env_values = true)]
    pub(crate) authfile: Option<PathBuf>,
    /// Credentials for the registry.
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub(crate) creds: Option<String>,
    /// Folder of certificates: *.crt for authorities, *.cert with *.key for this client.
    #[arg(long, value_name = "DIR")]
    pub(crate) cert_dir: Option<PathBuf>,
    /// Require HTTPS and valid certificates; `false` also allows plain HTTP.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) tls_verify: Option<bool>,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The build context: a folder.
    #[arg(default_value = ".", value_name = "CONTEXT")]
    pub(crate) context: PathBuf,
    /// The Dockerfile [default: Containerfile or Dockerfile of the context]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Name of the result in the local store; may be repeated.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) tag: Vec<String>,
    /// The stage to build [default: the last]
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// A value for an ARG; a bare name takes it from the environment.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) build_arg: Vec<String>,
    /// Another context: NAME=DIR.
    #[arg(long, value_name = "NAME=DIR")]
    pub(crate) build_context: Vec<String>,
    /// A label of the result.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// The platform to build for [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    /// Make everything again.
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// When base images are pulled.
    #[arg(long, value_enum, num_args = 0..=1, default_value_t = Pull::Missing, default_missing_value = "always", require_equals = true)]
    pub(crate) pull: Pull,
    /// How many instructions may be made at once [default: the number of processors]
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    /// Network of RUN.
    #[arg(long, value_enum, default_value_t = Network::Host)]
    pub(crate) network: Network,
    /// How layers are compressed.
    #[arg(long, value_enum, default_value_t = CompressionFormat::Gzip)]
    pub(crate) compression_format: CompressionFormat,
    /// How hard layers are compressed.
    #[arg(long, value_name = "LEVEL")]
    pub(crate) compression_level: Option<i32>,
    /// The latest time that a file of a new layer may carry, in seconds since 1970.
    #[arg(long, visible_alias = "timestamp", value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
    pub(crate) source_date_epoch: Option<i64>,
    /// The ignore file [default: <Dockerfile>.dockerignore, .containerignore or .dockerignore]
    #[arg(long, value_name = "FILE")]
    pub(crate) ignorefile: Option<PathBuf>,
    /// Write the image's digest into a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Print nothing but the result.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) registry: Registry,
    #[command(flatten)]
    pub(crate) state: State,
}

/// When base images are pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// Before every build.
    Always,
    /// When they are not in the store.
    Missing,
    /// Never.
    Never,
}

/// Networks of RUN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// The host's.
    #[value(alias = "default")]
    Host,
    /// Loopback alone.
    None,
}

/// Compressions of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressionFormat {
    /// gzip: everybody reads it.
    Gzip,
    /// Plain tar.
    #[value(alias = "uncompressed")]
    None,
    /// Zstandard: smaller and faster; old clients cannot read it.
    Zstd,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell.
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = LOCATIONS)]
pub(crate) struct Copy {
    /// Where the image is.
    pub(crate) source: String,
    /// Where it shall be.
    pub(crate) destination: String,
    /// Only this platform of an index; may be repeated.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_delimiter = ',')]
    pub(crate) platform: Vec<Platform>,
    /// Every platform of an index; this is what is done anyway, unless --platform is given.
    #[arg(short, long, conflicts_with = "platform")]
    pub(crate) all: bool,
    /// Credentials for the source.
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub(crate) src_creds: Option<String>,
    /// Credentials for the destination.
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub(crate) dest_creds: Option<String>,
    /// As --tls-verify, for the source alone.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) src_tls_verify: Option<bool>,
    /// As --tls-verify, for the destination alone.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) dest_tls_verify: Option<bool>,
    /// How many blobs move at once.
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    /// Write the digest of the copied image into a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) digestfile: Option<PathBuf>,
    /// Print nothing but the result.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) registry: Registry,
    #[command(flatten)]
    pub(crate) state: State,
}

const LOCATIONS: &str = "Locations: NAME (local store), docker://NAME (registry), oci:DIR[:TAG], \
oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], dir:DIR";

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// docker://NAME:TAG deletes the tag, docker://NAME@DIGEST the manifest and all its tags.
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) registry: Registry,
    #[command(flatten)]
    pub(crate) state: State,
}

#[derive(Debug, Args)]
pub(crate) struct Images {
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) state: State,
}

#[derive(Debug, Args)]
pub(crate) struct Info {
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) state: State,
}

#[derive(Debug, Args)]
#[command(after_help = LOCATIONS)]
pub(crate) struct Inspect {
    /// Which image.
    pub(crate) image: String,
    /// Print the exact bytes of the manifest or index.
    #[arg(long, conflicts_with = "config")]
    pub(crate) raw: bool,
    /// Print the exact bytes of the image config.
    #[arg(long)]
    pub(crate) config: bool,
    /// Check every digest, size and diff_id of an image of the local store or a layout.
    #[arg(long, conflicts_with_all = ["raw", "config"])]
    pub(crate) validate: bool,
    /// Which platform of an index.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) registry: Registry,
    #[command(flatten)]
    pub(crate) state: State,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Folder for the pages.
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Only say what would go.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Forget the build cache too.
    #[arg(short, long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) state: State,
}

#[derive(Debug, Args)]
pub(crate) struct Rmi {
    /// Which names.
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) state: State,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Folder of the registry.
    #[arg(long, value_name = "DIR", env = "OXBOX_REGISTRY_ROOT")]
    pub(crate) root: PathBuf,
    /// Address and port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5000")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Name it has.
    pub(crate) source: String,
    /// Name it gets as well.
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) state: State,
}

#[derive(Debug, Args)]
pub(crate) struct Tags {
    /// docker://NAME, or oci:DIR, or an archive.
    pub(crate) repository: String,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) registry: Registry,
    #[command(flatten)]
    pub(crate) state: State,
}

#[derive(Debug, Args)]
pub(crate) struct Version {
    #[command(flatten)]
    pub(crate) output: Output,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
