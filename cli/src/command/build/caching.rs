//! What a build remembers, and how many instructions it makes at once.

use std::num::NonZero;

use clap::Args;
use oxbox_builder::solve::Reuse;

/// Many a RUN waits for the network, or sleeps: even one processor has time for some.
const LEAST_JOBS: usize = 4;

/// More instructions than this hardly wait at once, and each takes a thread.
const MOST_JOBS: usize = 256;

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
    /// How many instructions may be made at once, 0 for as many as there are [default: the number of processors, at least 4]
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
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
        let jobs = match self.jobs {
            Some(0) => MOST_JOBS,
            Some(jobs) => jobs,
            None => std::thread::available_parallelism().map_or(1, NonZero::get).max(LEAST_JOBS),
        };
        NonZero::new(jobs).unwrap_or(NonZero::<usize>::MIN)
    }
}
