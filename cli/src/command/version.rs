//! `oxbox version`.

use clap::Args;
use oxbox_layers::oci::Platform;
use serde_json::json;

use crate::args::Output;
use crate::output;

/// The version of this program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Options of `oxbox version`.
#[derive(Debug, Args)]
pub(crate) struct Version {
    #[command(flatten)]
    output: Output,
}

/// Prints the version and what the program was built for.
pub(super) fn run(options: &Version) -> anyhow::Result<()> {
    let platform = Platform::host().to_string();
    match options.output.json {
        true => output::json(&json!({ "version": VERSION, "platform": platform }))?,
        false => output::line(&format!("oxbox {VERSION} {platform}"))?,
    }
    Ok(())
}
