//! Random moments, the same for the same seed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Moments of builds.
pub(crate) struct Moments {
    state: u64,
    pub(crate) seed: u64,
}

impl Moments {
    /// New ones in each run; the seed is told, and seen if the test fails.
    pub(crate) fn new() -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
        let seed = std::env::var("OXBOX_TEST_SEED").map_or_else(|_| now(), |text| text.parse().unwrap());
        eprintln!("OXBOX_TEST_SEED={seed}");
        Self { state: seed ^ 0x9e37_79b9_7f4a_7c15, seed }
    }

    /// A moment of a build that takes so long; now and then just after its end.
    pub(crate) fn next(&mut self, whole: Duration) -> Duration {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let thousandth = u32::try_from(self.state % 1050).unwrap();
        whole * thousandth / 1000
    }
}

/// How many times a build is ended, unless it is said.
pub(crate) fn rounds(usual: usize) -> usize {
    std::env::var("OXBOX_TEST_KILLS").map_or(usual, |text| text.parse().unwrap())
}
