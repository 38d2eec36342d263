//! All that is done for caches once a build is done: what came from elsewhere is noted here, and what is to
//! go elsewhere is written into the store, for whoever copies it.

use super::give::{Gift, give};
use super::{Caches, Failure};
use crate::export::ExportError;
use crate::plan::Plan;
use crate::progress::Event;
use crate::solve::{Answered, Workshop};

/// Notes what was taken over, and writes what is given away.
pub(crate) fn share(
    workshop: &Workshop<'_>,
    plan: &Plan,
    answered: &Answered,
    caches: &Caches,
) -> Result<(), ExportError> {
    let (graph, conclusions) = (&plan.graph, answered.conclusions.as_slice());
    if !workshop.stocks.is_empty() {
        for (conclusion, vertex) in conclusions.iter().zip(&graph.vertices) {
            if let Some(conclusion) = conclusion {
                workshop.adopt(conclusion, vertex).map_err(Box::new)?;
            }
        }
    }
    let gift = Gift { workshop, graph, conclusions };
    let targets: Vec<_> = plan.results.iter().map(|result| result.vertex).collect();
    for (at, giving) in caches.to.iter().enumerate() {
        match (give(gift, &targets, giving), giving.failure) {
            (Ok(manifest), _) => workshop.progress.event(Event::Given { at, manifest: &manifest }),
            (Err(error), Failure::Fails) => return Err(error),
            (Err(error), Failure::Warns) => {
                let message = format!("warning: a cache cannot be written: {error}");
                workshop.progress.event(Event::Warning { message: &message });
            }
        }
    }
    Ok(())
}
