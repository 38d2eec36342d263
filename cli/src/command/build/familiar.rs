//! Options that other tools have, and that say what is done here anyway. They are taken so that a command line can
//! be carried over as it is; those that would ask for something else are refused, with the reason.
//!
//! `docs/flags.md` has the table of all options of buildx and Buildah.

use clap::Args;

/// Options without a meaning of their own.
#[derive(Debug, Args)]
pub(super) struct Familiar {
    /// Whether the environment's proxies are given to RUN, as --build-arg would.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub(super) http_proxy: bool,
    #[command(flatten)]
    anyway: Anyway,
    #[command(flatten)]
    never: Never,
}

/// What is done anyway, whatever these say: nothing is kept running, layers are always compressed.
#[derive(Debug, Args)]
struct Anyway {
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    rm: Option<Option<bool>>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    force_rm: Option<Option<bool>>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    compress: Option<Option<bool>>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    disable_compression: Option<Option<bool>>,
    /// There is one builder.
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Option<String>,
    /// Annotations of base images are never taken over.
    #[arg(long, hide = true, value_name = "KEY")]
    unsetannotation: Vec<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = only_true)]
    skip_unused_stages: Option<bool>,
}

/// What is never done, and can be asked for only not to be.
#[derive(Debug, Args)]
struct Never {
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = no_provenance)]
    provenance: Vec<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = no_sbom)]
    sbom: Vec<String>,
    #[arg(long, hide = true, value_parser = no_attestation)]
    attest: Vec<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = no_mark)]
    created_annotation: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = no_mark)]
    identity_label: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = no_mark)]
    inherit_annotations: Option<bool>,
}

/// Variables that say how to reach the world: a build knows them without ARG.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

impl Familiar {
    /// Returns the build arguments that the environment's proxies are.
    pub(super) fn proxies(&self) -> impl Iterator<Item = (String, String)> {
        let names = PROXIES.into_iter().filter(|_| self.http_proxy);
        names.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
    }
}

fn only_true(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" => Ok(true),
        _ => Err("only the stages that the target needs are built"),
    }
}

fn no_mark(text: &str) -> Result<bool, &'static str> {
    match text {
        "false" => Ok(false),
        _ => Err("oxbox adds nothing of the kind; --annotation and --label do"),
    }
}

fn no_provenance(text: &str) -> Result<String, &'static str> {
    off(text).ok_or("oxbox makes no provenance attestations yet: leave it out, or say --provenance=false")
}

fn no_sbom(text: &str) -> Result<String, &'static str> {
    off(text).ok_or("oxbox makes no SBOMs yet: leave it out, or say --sbom=false")
}

fn no_attestation(text: &str) -> Result<String, &'static str> {
    let is_off = text.split(',').any(|field| field == "disabled=true");
    is_off
        .then(|| text.to_owned())
        .ok_or("oxbox makes no attestations yet: leave it out, or add disabled=true")
}

fn off(text: &str) -> Option<String> {
    let is_off = text == "false" || text.split(',').any(|field| field == "disabled=true");
    is_off.then(|| text.to_owned())
}
