//! What a build remembers, and how many instructions it makes at once.

use std::num::NonZero;

use clap::Args;
use oxbox_builder::depot::{Caches, Giving, Inline, Unopened};
use oxbox_builder::solve::Reuse;
use oxbox_copy::location::Location;

use super::caches::{CacheFrom, CacheTo};

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
    /// A cache elsewhere to ask for what is not known here: REF, or type=registry,ref=REF or type=local,src=DIR;
    /// may be repeated, the first that has a step counts
    ///
    /// REF may be an image that was built with --cache-to type=inline. With mounts=true, cache mounts of RUN that are
    /// not here begin as what the cache has of them.
    #[arg(long, value_name = "CACHE")]
    cache_from: Vec<CacheFrom>,
    /// A cache elsewhere to be made of the build: REF, or type=registry,ref=REF, type=local,dest=DIR or type=inline
    /// (in the image itself); may be repeated
    ///
    /// With mode=min (the steps whose layers the image has) or max (all), compression=, compression-level=,
    /// force-compression= and ignore-error=, as buildx has them; and mounts=true, which sends what is in cache mounts.
    #[arg(long, value_name = "CACHE", conflicts_with = "verify")]
    cache_to: Vec<CacheTo>,
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

    /// Returns which caches elsewhere are asked and made; `unopened` says what becomes of layers that only
    /// they have.
    pub(super) fn caches(&self, unopened: Unopened) -> Caches {
        Caches {
            from: self.cache_from.iter().flat_map(|CacheFrom(sources)| sources.iter().cloned()).collect(),
            to: self.given().map(|(_, giving)| giving.clone()).collect(),
            unopened,
        }
    }

    /// Returns where caches go, and what of the build.
    pub(super) fn given(&self) -> impl Iterator<Item = (&Location, &Giving)> {
        self.cache_to.iter().filter_map(|to| match to {
            CacheTo::Apart { to, giving } => Some((to, giving)),
            CacheTo::Inline => None,
        })
    }

    /// Returns whether images carry their own records.
    pub(super) fn inline(&self) -> Inline {
        if self.cache_to.contains(&CacheTo::Inline) { Inline::Yes } else { Inline::No }
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
