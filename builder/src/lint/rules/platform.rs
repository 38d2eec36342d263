//! Platforms: what FROM asks for, and what the base image is for.

use oxbox_layers::oci::{Config, Platform};

use super::super::Rule;
use super::super::finding::Sink;
use super::super::survey::Site;
use crate::dockerfile::quote;

pub(super) fn of_from(site: &Site<'_>, sink: &mut Sink) {
    let Some(word) = &site.from.platform else { return };
    if matches!(word.text.as_str(), "$TARGETPLATFORM" | "${TARGETPLATFORM}") {
        let message = format!("--platform={} is what FROM does anyway", word.text);
        sink.report(Rule::RedundantTargetPlatform, site.statement, word.span, message);
    } else if !word.text.contains('$') && !is_named_after(site) {
        let message = format!("--platform is the constant {}", quote(&word.text));
        sink.report(Rule::FromPlatformFlagConstDisallowed, site.statement, word.span, message);
    }
}

/// `FROM --platform=linux/arm64 … AS build_arm64` is one of several, chosen by `FROM build_$TARGETARCH`.
fn is_named_after(site: &Site<'_>) -> bool {
    let (Some(name), Some(platform)) = (site.from.stage_name(), &site.platform) else { return false };
    let parts = [&platform.os, &platform.architecture];
    parts.into_iter().any(|part| !part.is_empty() && name.contains(&part.to_lowercase()))
}

/// Compares what a base image is for with what was asked for; a variant is not compared.
pub(in super::super) fn of_base(sink: &mut Sink, site: &Site<'_>, wanted: &Platform, config: &Config) {
    let found = config.platform().normalised();
    let wanted = wanted.normalised();
    let says = !found.os.is_empty() && !found.architecture.is_empty();
    if says && (found.os != wanted.os || found.architecture != wanted.architecture) {
        let image = &site.from.image;
        let message = format!("base image {} is for {found}, not for {wanted}", quote(&image.text));
        sink.report(Rule::InvalidBaseImagePlatform, site.statement, image.span, message);
    }
}
