//! Graph → layers: each vertex looked up by its key, or made.
//!
//! ```text
//! vertex ─key▶ cache ─hit▶ layer
//!                    └miss▶ op ▶ layer ▶ cache
//! ```

mod beside;
pub mod cache;
pub mod downloads;
pub mod indexes;
mod job;
pub mod key;
pub mod schedule;
pub mod solver;
mod source;

pub use beside::stood_on;
pub use cache::usage::Remembered;
pub use cache::{Cache, CacheError};
pub use indexes::{Indexes, IndexesError};
pub use key::{Key, KeyHasher};
pub use schedule::Cancel;
pub use solver::{Reuse, SolveError, Solved, Workshop};
