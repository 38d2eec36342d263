//! What a build remembers, and how many instructions it makes at once.

use std::num::NonZero;

use clap::Args;
use oxbox_builder::solve::Reuse;

/// Many a RUN waits for the network, or sleeps: even one processor has time for some.
const LEAST_JOBS: usize = 4;

/// Options of the cache and of the schedule.
#[derive(Debug, Args)]
pub(super) struct Caching {
    /// Make everything again.
    #[arg(long)]
    no_cache: bool,
    /// Make what these stages do again.
    #[arg(long, value_name = "STAGE[,STAGE]", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Say at the end of each step why it was made; json prints it along with the result.
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "text", require_equals = true, value_name = "FORMAT")]
    pub(super) explain: Option<Explain>,
    /// How many instructions may be made at once [default: the number of processors]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
}

/// How a build explains itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Explain {
    /// A table on standard error.
    Text,
    /// One document on standard output, which has the digest too.
    Json,
}

impl Caching {
    pub(super) fn reuse(&self) -> Reuse {
        if self.no_cache {
            return Reuse::Forbidden;
        }
        match self.no_cache_filter.as_slice() {
            [] => Reuse::Allowed,
            stages => Reuse::Except(stages.iter().cloned().collect()),
        }
    }

    pub(super) fn jobs(&self) -> NonZero<usize> {
        self.jobs.unwrap_or_else(|| {
            let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
            NonZero::new(processors.max(LEAST_JOBS)).unwrap_or(NonZero::<usize>::MIN)
        })
    }
}
