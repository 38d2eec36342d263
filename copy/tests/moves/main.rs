//! Images moved between places on disk.

#![expect(clippy::unwrap_used, reason = "a test fails by it, in its helpers too")]

mod archives;
mod damage;
mod docker;
mod hostile;
mod peers;
mod place;
mod round_trips;
