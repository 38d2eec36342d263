//! How work looks while it goes on, on standard error.
//!
//! `bars` move on a terminal; `lines` of copies and `steps` of builds are for everything that keeps what it
//! is sent. What there is to tell comes as events from the rooms that work.

mod bars;
mod lines;
mod steps;

use std::sync::Arc;

use oxbox_builder::progress as build;
use oxbox_copy::progress as copy;

use crate::settings::Look;

/// Returns what shows a copy.
pub(crate) fn of_copy(look: Look) -> Arc<dyn copy::Progress> {
    match look {
        Look::Bars => Arc::new(bars::Copying::default()),
        Look::Lines => Arc::new(lines::Copying),
        Look::Nothing => Arc::new(copy::Silent),
    }
}

/// Returns what shows a build.
pub(crate) fn of_build(look: Look) -> Box<dyn build::Progress> {
    match look {
        Look::Bars => Box::new(bars::Building::default()),
        Look::Lines => Box::new(steps::Building::new()),
        Look::Nothing => Box::new(build::Silent),
    }
}
