//! What people see of a vertex: `[linux/amd64 build 2/5] RUN make`.
//!
//! A stage is numbered when it is done, as only then its length is known. Several vertices of one
//! instruction share a number. Of a vertex that was there before, the title stays as it was.

use oxbox_layers::oci::Platform;

use super::graph::Graph;
use super::grow::Added;
use super::lower::Planner;
use super::scope::Scope;
use super::state::State;
use super::step::{Origin, Step};
use crate::dockerfile::Word;
use crate::dockerfile::word::expand;

/// Titles of one stage.
#[derive(Debug)]
pub(super) struct Titles {
    form: Form,
    numbered: Vec<Numbered>,
}

/// How titles begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// With the stage.
    Stage,
    /// With the platform and the stage: there are several platforms.
    PlatformAndStage,
}

/// What one instruction made.
#[derive(Debug)]
struct Numbered {
    vertices: Vec<Added>,
    /// The platform and a blank, if it is told.
    platform: String,
}

impl Titles {
    pub(super) fn new(form: Form) -> Self {
        Self { form, numbered: Vec::new() }
    }

    /// Takes note of what an instruction made on a platform, with its variables.
    pub(super) fn add(&mut self, vertices: &[Added], platform: &Platform, scope: Option<&Scope>) {
        let platform = match self.form {
            Form::Stage => String::new(),
            Form::PlatformAndStage => platforms(platform, scope),
        };
        self.numbered.push(Numbered { vertices: vertices.to_vec(), platform });
    }

    /// Writes the numbers before the titles, and begins anew.
    pub(super) fn write(&mut self, label: Option<&str>, graph: &mut Graph) {
        let total = self.numbered.len();
        let width = total.to_string().len();
        let label = label.map(|label| format!("{label} ")).unwrap_or_default();
        for (index, Numbered { vertices, platform }) in self.numbered.drain(..).enumerate() {
            let new = vertices.iter().filter(|vertex| matches!(vertex, Added::New(_)));
            for vertex in new {
                let title = &mut graph.vertices[vertex.id().0].title;
                *title = format!("[{platform}{label}{:>width$}/{total}] {title}", index + 1);
            }
        }
    }
}

/// Returns what a stage runs on, and what it says to make things for if that is another platform.
fn platforms(platform: &Platform, scope: Option<&Scope>) -> String {
    let target = scope.and_then(target_of).map(|target| target.normalised());
    match target {
        Some(target) if target.os != platform.os => format!("{platform}->{target} "),
        Some(target) if target.architecture != platform.architecture => {
            let variant = target.variant.map(|variant| format!("/{variant}")).unwrap_or_default();
            format!("{platform}->{}{variant} ", target.architecture)
        }
        _ => format!("{platform} "),
    }
}

/// Returns the platform that a stage's TARGET variables tell of.
fn target_of(scope: &Scope) -> Option<Platform> {
    if let Some(platform) = scope.get("TARGETPLATFORM").and_then(|platform| platform.parse().ok()) {
        return Some(platform);
    }
    let architecture = scope.get("TARGETARCH")?;
    Some(Platform::new(scope.get("TARGETOS").unwrap_or("linux"), architecture, scope.get("TARGETVARIANT")))
}

impl Planner<'_> {
    /// Returns an instruction's text with its variables replaced, for people.
    pub(super) fn expanded_text(&self, state: &State, step: &Step<'_>) -> String {
        let text = text(step);
        match expand(&text, step.place.escape, &|name| state.scope.get(name)) {
            Ok(expanded) => expanded.text,
            Err(_) => text,
        }
    }
}

/// Returns an instruction's text with its keyword in capitals.
pub(super) fn text(step: &Step<'_>) -> String {
    let Word { text: keyword, .. } = &step.statement.keyword;
    let rest = step.statement.text.strip_prefix(keyword.as_str()).unwrap_or_default();
    let onbuild = match step.origin {
        Origin::Stage => "",
        Origin::Trigger => "ONBUILD ",
    };
    format!("{onbuild}{}{rest}", step.statement.instruction.keyword())
}
