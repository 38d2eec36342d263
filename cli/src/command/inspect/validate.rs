//! `oxbox inspect --validate`: every digest, size and diff_id derived again.

use std::error::Error;

use oxbox_copy::location::Location;
use oxbox_layers::oci::Descriptor;
use oxbox_layers::store::{BlobStore as _, Layout};
use oxbox_layers::validate::{Fault, Report, validate};
use serde_json::json;

use crate::args::Output;
use crate::output;
use crate::settings::Root;
use crate::table::{count, size};

/// Why an image is not called sound.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ValidateError {
    /// Something is not what it was called; what, was printed.
    #[error("{location} has {faults}")]
    Faults {
        /// The image.
        location: String,
        /// How many, in words.
        faults: String,
    },
    /// Only where blobs lie on this machine can they all be read.
    #[error("{location} cannot be validated where it is")]
    Elsewhere {
        /// The location.
        location: String,
    },
}

/// Validates; prints each fault, and fails if there is one.
pub(super) fn run(
    location: &Location,
    root: &Root,
    found: &Descriptor,
    output: Output,
) -> anyhow::Result<()> {
    let layout = match location {
        Location::Store(_) => Layout::open(root.store())?,
        Location::Layout { path, .. } => Layout::open(path)?,
        _ => return Err(ValidateError::Elsewhere { location: location.to_string() }.into()),
    };
    let report = look(&layout, found)?;
    match output.json {
        true => output::json(&json!({
            "digest": found.digest,
            "documents": report.documents,
            "blobs": report.blobs,
            "bytes": report.bytes,
            "faults": report.faults.iter().map(whole).collect::<Vec<_>>(),
        }))?,
        false => output::bytes(tell(&report).as_bytes())?,
    }
    match report.is_sound() {
        true => Ok(()),
        false => {
            let faults = count(report.faults.len(), "fault");
            Err(ValidateError::Faults { location: location.to_string(), faults }.into())
        }
    }
}

fn look(layout: &Layout, found: &Descriptor) -> anyhow::Result<Report> {
    let is_index_json = layout.stat(&found.digest)?.is_none()
        && layout.entries()?.iter().all(|entry| entry.digest != found.digest);
    if !is_index_json {
        return Ok(validate(layout, found));
    }
    // Builders of several platforms write them into index.json itself, which is no blob.
    let mut all = Report::default();
    for entry in layout.entries()?.iter() {
        let report = validate(layout, entry);
        all.documents += report.documents;
        all.blobs += report.blobs;
        all.bytes += report.bytes;
        all.faults.extend(report.faults);
    }
    Ok(all)
}

fn tell(report: &Report) -> String {
    let faults: String =
        report.faults.iter().map(|fault| format!("{}\n", output::clean(&whole(fault)))).collect();
    let verdict = if report.is_sound() { "sound" } else { "not sound" };
    format!(
        "{faults}{verdict}: {}, {}, {}\n",
        count(report.documents, "document"),
        count(report.blobs, "blob"),
        size(report.bytes)
    )
}

/// A fault with all its causes on one line.
fn whole(fault: &Fault) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.problem.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
