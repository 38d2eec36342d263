//! `oxbox build --check` and `--call`: answers about a Dockerfile, without building it.
//!
//! ```text
//! --call=check      what deserves a look            text, json (as buildx prints it), sarif
//! --call=outline    what a build can be given       text, json
//! --call=targets    which stages can be built       text, json
//! ```
//!
//! Nothing is fetched: what the checks need to know of base images comes from the local store or not at all.

use std::path::Path;
use std::str::FromStr;

use oxbox_builder::lint::{self, Checked, Outline, Targets};
use oxbox_builder::{BuildError, Definition, Origin, plan};
use oxbox_layers::image::Image;
use oxbox_layers::oci::{Config, Platform, Reference};
use oxbox_layers::store::Layout;

use crate::args::Output;
use crate::settings::Root;
use crate::table::{Table, count};
use crate::terminal::say;
use crate::{fetch, local, output};

/// The value of `--call`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    method: Option<Method>,
    format: Option<Format>,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Check,
    Outline,
    Targets,
}

/// How the answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Sarif,
    Text,
}

/// Why a `--call` cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// There is no such method.
    #[error("it must be build, check, outline or targets")]
    Method,
    /// There is no such format.
    #[error("its format must be text, json or, of check, sarif")]
    Format,
}

/// The checks found something.
#[derive(Debug, thiserror::Error)]
#[error("checks of {name} have {}", count(*.findings, "finding"))]
struct Found {
    name: String,
    findings: usize,
}

impl Call {
    /// What `--check` is short for.
    pub(super) const CHECK: Self = Self { method: Some(Method::Check), format: None };

    /// Returns what is asked and how the answer looks; nothing if it is to build.
    pub(super) fn of(self, output: Output) -> Option<(Method, Format)> {
        let usual = if output.json { Format::Json } else { Format::Text };
        Some((self.method?, self.format.unwrap_or(usual)))
    }
}

impl FromStr for Call {
    type Err = CallError;

    fn from_str(text: &str) -> Result<Self, CallError> {
        let (method, format) = match text.split_once(',') {
            Some((method, format)) => (method, Some(format)),
            None => (text, None),
        };
        let method = match method {
            "build" => None,
            // What BuildKit called it at first.
            "check" | "lint" => Some(Method::Check),
            "outline" => Some(Method::Outline),
            "targets" => Some(Method::Targets),
            _ => return Err(CallError::Method),
        };
        let format = match format {
            None => None,
            Some("format=json") => Some(Format::Json),
            Some("format=text") => Some(Format::Text),
            Some("format=sarif") if method == Some(Method::Check) => Some(Format::Sarif),
            Some(_) => return Err(CallError::Format),
        };
        Ok(Self { method, format })
    }
}

/// A question about a Dockerfile.
pub(super) struct Question<'q> {
    pub(super) method: Method,
    pub(super) format: Format,
    pub(super) context: &'q Path,
    pub(super) dockerfile: Option<&'q Path>,
    pub(super) origin: &'q Origin,
    pub(super) ignore: Option<&'q Path>,
    pub(super) options: &'q plan::Options,
}

impl Question<'_> {
    /// Prints the answer.
    pub(super) fn answer(&self, root: &Root) -> anyhow::Result<()> {
        let definition = Definition::read(self.context, self.dockerfile, self.ignore, self.origin)?;
        let store = local::open(root)?;
        let base = |reference: &Reference, platform: &Platform| config(store.as_ref()?, reference, platform);
        let (options, ignore) = (self.options, &definition.ignore);
        let context = lint::Context { options, ignore, base: &base, stages: lint::Stages::All };
        let (name, text) = (definition.name.as_str(), definition.text.as_str());
        match self.method {
            Method::Check => {
                let checked = lint::check(&definition.file, &context)
                    .map_err(|error| BuildError::Dockerfile { rendered: error.render(name, text) })?;
                self.checked(&checked, &definition)
            }
            Method::Outline => {
                let outline = lint::outline(&definition.file, name, text, &context)
                    .map_err(|error| BuildError::Dockerfile { rendered: error.render(name, text) })?;
                match self.format {
                    Format::Json => Ok(output::json(&outline)?),
                    _ => Ok(output::bytes(described(&outline).as_bytes())?),
                }
            }
            Method::Targets => {
                let targets = lint::targets(&definition.file, name, text);
                match self.format {
                    Format::Json => Ok(output::json(&targets)?),
                    _ => Ok(output::bytes(listed(&targets).as_bytes())?),
                }
            }
        }
    }

    /// As with buildx, whatever is found is a failure.
    fn checked(&self, checked: &Checked, definition: &Definition) -> anyhow::Result<()> {
        let (name, text) = (definition.name.as_str(), definition.text.as_str());
        for note in &checked.notes {
            say(&clean(&note.render(name, text)));
        }
        let findings = &checked.findings;
        match self.format {
            Format::Json => output::json(&lint::report(findings, name, text))?,
            Format::Sarif => output::json(&lint::sarif(findings, name, text))?,
            Format::Text if findings.is_empty() => output::line("no findings")?,
            Format::Text => {
                let rendered = findings.iter().map(|finding| clean(&finding.render(name, text)) + "\n\n");
                output::bytes(rendered.collect::<String>().as_bytes())?;
            }
        }
        match findings.len() {
            0 => Ok(()),
            findings => Err(Found { name: name.to_owned(), findings }.into()),
        }
    }
}

/// Returns the config of an image that is in the store; one that cannot be read is as good as none.
fn config(store: &Layout, reference: &Reference, platform: &Platform) -> Option<Config> {
    let manifest = fetch::look_up(store, reference, platform).ok()??;
    Some(Image::load(store, &manifest).ok()?.config.view().clone())
}

/// What is rendered shows lines of the file.
fn clean(rendered: &str) -> String {
    rendered.lines().map(output::clean).collect::<Vec<_>>().join("\n")
}

/// An outline for people.
fn described(outline: &Outline) -> String {
    let mut parts = vec![format!("TARGET: {}\n", outline.name.as_deref().unwrap_or("(default)"))];
    if let Some(description) = &outline.description {
        parts[0].push_str(&format!("DESCRIPTION: {}\n", output::clean(description)));
    }
    let mut add = |heading: [&str; 3], rows: Vec<[String; 3]>| {
        if !rows.is_empty() {
            let mut table = Table::new(heading);
            rows.into_iter().for_each(|row| table.row(row));
            parts.push(table.to_string());
        }
    };
    let required = |required: bool| if required { "true".to_owned() } else { String::new() };
    let empty = String::new;
    let args = outline.args.iter().map(|arg| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        [arg.name.clone(), text(&arg.value), text(&arg.description)]
    });
    add(["BUILD ARG", "VALUE", "DESCRIPTION"], args.collect());
    let secrets = outline.secrets.iter().map(|one| [one.name.clone(), required(one.required), empty()]);
    add(["SECRET", "REQUIRED", ""], secrets.collect());
    let ssh = outline.ssh.iter().map(|one| [one.name.clone(), required(one.required), empty()]);
    add(["SSH", "REQUIRED", ""], ssh.collect());
    let cache = outline.cache.iter().map(|one| [one.id.clone(), empty(), empty()]);
    add(["CACHE", "", ""], cache.collect());
    parts.join("\n")
}

/// Targets for people.
fn listed(targets: &Targets) -> String {
    let mut table = Table::new(["TARGET", "BASE", "DESCRIPTION"]);
    for target in &targets.targets {
        let name = match (&target.name, target.default) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, true) => "(default)".to_owned(),
            // Its number is all that `--target` could take.
            (None, false) => continue,
        };
        table.row([name, target.base.clone(), target.description.clone().unwrap_or_default()]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::{Call, Format, Method};
    use crate::args::Output;

    #[test]
    fn methods_and_formats_are_those_of_buildx() {
        let of = |text: &str, json| text.parse::<Call>().unwrap().of(Output { json });
        assert_eq!(of("check", false), Some((Method::Check, Format::Text)));
        assert_eq!(of("lint", true), Some((Method::Check, Format::Json)));
        assert_eq!(of("outline,format=json", false), Some((Method::Outline, Format::Json)));
        assert_eq!(of("targets,format=text", true), Some((Method::Targets, Format::Text)));
        assert_eq!(of("check,format=sarif", false), Some((Method::Check, Format::Sarif)));
        assert_eq!(of("build", false), None);
        for wrong in ["", "checks", "check,json", "outline,format=sarif", "check,format=json,x"] {
            assert!(wrong.parse::<Call>().is_err(), "{wrong}");
        }
    }
}
