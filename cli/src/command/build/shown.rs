//! What a build shows, and what it keeps of how it went.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use oxbox_builder::{Exported, Request};
use oxbox_layers::oci::Reference;

use crate::chronicle::{Chronicle, Ending, Subject};
use crate::interrupt::Interrupted;
use crate::progress::Building;
use crate::settings::{Look, NoTerminal, Settings};
use crate::{report, terminal};

/// Options of what is shown; `--progress` is everybody's.
#[derive(Debug, Args)]
pub(crate) struct Shown {
    /// Print nothing but the result; if a step fails, what it said last: --progress quiet.
    #[arg(short, long)]
    quiet: bool,
    /// Write how the build went as Chrome trace events: for ui.perfetto.dev or chrome://tracing.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write how the build went as one HTML page: timeline, cache verdicts, layer sizes.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// A build that is shown.
pub(super) struct Showing {
    /// Who must be told of it.
    pub(super) building: Arc<Building>,
    chronicle: Option<Chronicle>,
}

impl Shown {
    /// Begins to show a build, and to write what is asked for.
    pub(super) fn begin(
        &self,
        settings: &Settings,
        request: &Request,
        names: &[Reference],
    ) -> anyhow::Result<Showing> {
        let look = self.look(settings)?;
        let names: Vec<_> = names.iter().map(Reference::familiar).collect();
        let subject = Subject {
            name: names.first().cloned().unwrap_or_else(|| request.context.display().to_string()),
            names,
            state: request.state.clone(),
            store: Arc::clone(&request.store),
        };
        let chronicle = Chronicle::begin(subject, self.trace.as_deref(), self.report.as_deref())?;
        let building = Building::new(look, chronicle.iter().map(Chronicle::listener));
        Ok(Showing { building, chronicle })
    }

    fn look(&self, settings: &Settings) -> Result<Look, NoTerminal> {
        if self.quiet { Ok(Look::Quiet) } else { settings.look() }
    }
}

impl Showing {
    /// Says the last word, and writes what is asked for: of a build that failed too.
    pub(super) fn end(self, built: &anyhow::Result<Vec<Exported>>) -> anyhow::Result<()> {
        self.building.end();
        let Some(chronicle) = self.chronicle else { return Ok(()) };
        let ending = match built {
            Ok(images) => Ending::Built(images.first()),
            Err(error) if error.is::<Interrupted>() => Ending::Interrupted,
            Err(error) => Ending::Failed(error),
        };
        match chronicle.close(ending) {
            // Why the build failed is more than why nobody can read about it.
            Err(error) if built.is_err() => terminal::say(&format!("warning: {}", report::sentence(&error))),
            closed => closed?,
        }
        Ok(())
    }
}
