//! `oxbox copy`: moves an image from one place to another.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use oxbox_copy::client::Secret;
use oxbox_copy::endpoint::Source as _;
use oxbox_copy::location::Location;
use oxbox_copy::select::{Selection, Subset};
use oxbox_copy::transfer::{Options, Outcome, Referrers, Report, copy};
use oxbox_layers::oci::{Digest, MediaType, Platform};
use serde::Serialize;

use super::LOCATIONS;
use crate::args::{Output, State};
use crate::registries::{Registry, Side, secret};
use crate::settings::{Look, Root, Settings};
use crate::{output, places, progress, runtime};

/// Options of `oxbox copy`.
#[derive(Debug, Args)]
#[command(after_help = LOCATIONS)]
pub(crate) struct Copy {
    /// Where the image is.
    source: String,
    /// Where it shall be.
    destination: String,
    /// Only this platform of an index; may be repeated [default: all, or this machine's where the destination holds one]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_delimiter = ',')]
    platform: Vec<Platform>,
    /// Copy what refers to the image too: signatures, SBOMs.
    #[arg(long)]
    referrers: bool,
    /// Credentials for the source.
    #[arg(long, value_name = "USER[:PASSWORD]", value_parser = secret)]
    src_creds: Option<Secret>,
    /// Credentials for the destination.
    #[arg(long, value_name = "USER[:PASSWORD]", value_parser = secret)]
    dest_creds: Option<Secret>,
    /// Show the source no credentials.
    #[arg(long, conflicts_with = "src_creds")]
    src_no_creds: bool,
    /// Show the destination no credentials.
    #[arg(long, conflicts_with = "dest_creds")]
    dest_no_creds: bool,
    /// As --tls-verify, for the source alone.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    src_tls_verify: Option<bool>,
    /// As --tls-verify, for the destination alone.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    dest_tls_verify: Option<bool>,
    /// How many blobs move at once.
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    /// Write the digest of the copied image into a file.
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Print nothing but the result.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    state: State,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Copied {
    source: String,
    destination: String,
    digest: Digest,
    media_type: MediaType,
    /// Manifests and indexes that were written.
    documents: usize,
    blobs: Blobs,
    /// Bytes of blobs that were moved.
    bytes: u64,
}

/// How many blobs came in which way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Blobs {
    copied: usize,
    /// They were there already.
    skipped: usize,
    mounted: usize,
    left_at_urls: usize,
}

/// Copies, and prints the digest.
pub(super) fn run(options: &Copy, settings: &Settings) -> anyhow::Result<()> {
    let source: Location = options.source.parse()?;
    let destination: Location = options.destination.parse()?;
    let report = runtime::run(transfer(options, settings, &source, &destination))?;
    if let Some(path) = &options.digestfile {
        output::file(path, report.root.digest.to_string().as_bytes())?;
    }
    match options.output.json {
        true => output::json(&tell(&source, &destination, &report))?,
        false => output::line(&report.root.digest.to_string())?,
    }
    Ok(())
}

async fn transfer(
    options: &Copy,
    settings: &Settings,
    source: &Location,
    destination: &Location,
) -> anyhow::Result<Report> {
    let root = Root::of(&options.state)?;
    let from = options.registry.client(&options.from(), source)?;
    let to = options.registry.client(&options.to(), destination)?;
    let source = places::open(source, from, &root).await?;
    // Before anything is made at the destination. It is asked once: the answer is kept.
    source.resolve().await?;
    let destination = places::create(destination, to, &root).await?;
    let look = if options.quiet { Look::Quiet } else { settings.look()? };
    let name = format!("copy {} {}", options.source, options.destination);
    let progress = progress::of_copy(look, &name);
    Ok(copy(Arc::new(source), Arc::new(destination), &options.transfer(), progress).await?)
}

impl Copy {
    fn from(&self) -> Side<'_> {
        Side {
            creds: self.src_creds.as_ref(),
            option: "--src-creds",
            anonymous: self.src_no_creds,
            tls_verify: self.src_tls_verify,
        }
    }

    fn to(&self) -> Side<'_> {
        Side {
            creds: self.dest_creds.as_ref(),
            option: "--dest-creds",
            anonymous: self.dest_no_creds,
            tls_verify: self.dest_tls_verify,
        }
    }

    fn transfer(&self) -> Options {
        let mut transfer = Options {
            selection: match self.platform.as_slice() {
                [] => Selection::All,
                [only] => Selection::One(only.clone()),
                several => Selection::Several(several.to_owned(), Subset::Strip),
            },
            referrers: if self.referrers { Referrers::Follow } else { Referrers::Leave },
            ..Options::default()
        };
        if let Some(jobs) = self.jobs {
            transfer.blobs_at_once = jobs;
        }
        transfer
    }
}

fn tell(source: &Location, destination: &Location, report: &Report) -> Copied {
    let number = |wanted| report.blobs.iter().filter(|(_, outcome)| *outcome == wanted).count();
    Copied {
        source: source.to_string(),
        destination: destination.to_string(),
        digest: report.root.digest,
        media_type: report.root.media_type.clone(),
        documents: report.documents,
        blobs: Blobs {
            copied: number(Outcome::Copied),
            skipped: number(Outcome::Present),
            mounted: number(Outcome::Mounted),
            left_at_urls: number(Outcome::LeftAtUrls),
        },
        bytes: report.bytes_moved,
    }
}
