//! How much of the build cache may stay on disk, kept after each build.

use std::path::Path;

use clap::Args;
use oxbox_builder::housekeeping::{self, Amount, Bounds};

use crate::amount::{self, AmountError};
use crate::table::{count, size};

/// Options of the cache's bounds.
#[derive(Debug, Args)]
pub(super) struct Tidying {
    /// Most that the build cache may take on disk: a size, a part of the disk, or off
    /// [default: 100GB, but no more than 80%, and less when the disk has less than 20% left]
    #[arg(long, value_name = "SIZE|PERCENT|off", env = "OXBOX_CACHE_MAX", value_parser = bound)]
    cache_max: Option<Bound>,
}

/// What was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// Nothing goes by itself.
    Off,
    /// No more than that stays.
    Most(Amount),
}

fn bound(text: &str) -> Result<Bound, AmountError> {
    match text {
        "off" => Ok(Bound::Off),
        text => amount::size(text).map(Bound::Most),
    }
}

impl Tidying {
    /// Keeps the bounds. The build is done, and its caller not at work in the store any more: what fails here
    /// is logged.
    pub(super) fn tidy(&self, state: &Path) {
        let bounds = match self.cache_max {
            Some(Bound::Off) => return,
            Some(Bound::Most(most)) => Bounds { max_used: Some(most), ..Bounds::USUAL },
            None => Bounds::USUAL,
        };
        match housekeeping::tidy(state, &bounds) {
            Ok(Some(gone)) if !gone.layers.is_empty() || gone.snapshots > 0 => {
                let (layers, bytes) =
                    (count(gone.layers.len() + gone.snapshots, "cached layer"), size(gone.bytes));
                tracing::info!("removed {layers}, {bytes}: the build cache was beyond its bounds");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot keep the build cache in bounds"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use oxbox_builder::housekeeping::Amount;

    use super::{Bound, bound};

    #[test]
    fn a_bound_is_a_size_a_part_of_the_disk_or_none() {
        assert_eq!(bound("off"), Ok(Bound::Off));
        assert_eq!(bound("5%"), Ok(Bound::Most(Amount::Percent(5))));
        assert_eq!(bound("1kB"), Ok(Bound::Most(Amount::Bytes(1000))));
        assert!(bound("on").is_err());
    }
}
