//! What a build remembers, and how many instructions it makes at once.

use std::num::NonZero;

use clap::Args;
use oxbox_builder::solve::Reuse;

/// Options of the cache and of the schedule.
#[derive(Debug, Args)]
pub(super) struct Caching {
    /// Make everything again.
    #[arg(long)]
    no_cache: bool,
    /// How many instructions may be made at once [default: the number of processors]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
}

impl Caching {
    pub(super) fn reuse(&self) -> Reuse {
        if self.no_cache { Reuse::Forbidden } else { Reuse::Allowed }
    }

    pub(super) fn jobs(&self) -> NonZero<usize> {
        let processors = || std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        self.jobs.unwrap_or_else(processors)
    }
}
