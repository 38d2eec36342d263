//! Who worked when: each step and each transfer in a lane, none upon another.
//!
//! ```text
//! lane 0 │ pull debian ││ COPY . /src │
//! lane 1 │              │ RUN apt-get install … │ RUN make │
//!        0                                                 microseconds since the build began
//! ```
//!
//! The critical path: from the step that was over last back to the input that was over last, and so on.
//! Whoever wants a faster build must make one of these steps faster.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::progress::record::{Record, Step};
use crate::progress::transfer::Transfer;

/// Something that took time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bar<'a> {
    /// What it was.
    pub(super) work: Work<'a>,
    /// Its lane, from 0.
    pub(super) lane: usize,
    /// When it began, in microseconds.
    pub(super) begin: u64,
    /// When it was over: at least a microsecond later.
    pub(super) end: u64,
}

/// What takes time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work<'a> {
    /// An image moved.
    Transfer(&'a Transfer),
    /// A vertex had its turn.
    Step {
        /// Its place.
        at: usize,
        /// What is known of it.
        step: &'a Step,
    },
}

/// Returns all that had its turn, in the order in which it had it.
pub(super) fn bars(record: &Record, total: Duration) -> Vec<Bar<'_>> {
    let bar = |work, begin: Duration, end: Option<Duration>| {
        let begin = microseconds(begin);
        Bar { work, lane: 0, begin, end: microseconds(end.unwrap_or(total)).max(begin + 1) }
    };
    let transfers = record.transfers.iter();
    let transfers = transfers.map(|moved| bar(Work::Transfer(moved), moved.began, moved.ended));
    let steps = record.steps.iter().enumerate().filter_map(|(at, step)| {
        let end = step.ended.as_ref().map(|(end, _)| *end);
        Some(bar(Work::Step { at, step }, step.looked?, end))
    });
    let mut bars: Vec<_> = transfers.chain(steps).collect();
    bars.sort_by_key(|bar| bar.begin);
    let mut ends: Vec<u64> = Vec::new();
    for bar in &mut bars {
        bar.lane = ends.iter().position(|end| *end <= bar.begin).unwrap_or(ends.len());
        match ends.get_mut(bar.lane) {
            Some(end) => *end = bar.end,
            None => ends.push(bar.end),
        }
    }
    bars
}

/// Returns the places of the steps that the whole build waited for.
pub(super) fn critical(steps: &[Step]) -> BTreeSet<usize> {
    let end = |at: &usize| steps[*at].ended.as_ref().map(|(end, _)| *end);
    let mut path = BTreeSet::new();
    let mut next = (0..steps.len()).filter(|at| end(at).is_some()).max_by_key(end);
    while let Some(at) = next {
        path.insert(at);
        // A vertex names earlier ones only, so that this ends.
        next = steps[at]
            .inputs
            .iter()
            .copied()
            .filter(|input| *input < at && end(input).is_some())
            .max_by_key(end);
    }
    path
}

/// Returns a time as traces count.
pub(super) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Work, bars, critical};
    use crate::progress::record::{Record, Step, Verdict};
    use crate::progress::script;

    #[test]
    fn what_went_on_at_once_has_lanes_of_its_own() {
        let record = script::failing();
        let bars = bars(&record, Duration::from_millis(6200));
        let lanes: Vec<_> = bars
            .iter()
            .map(|bar| match bar.work {
                Work::Step { at, .. } => (at, bar.lane, bar.begin, bar.end),
                Work::Transfer(_) => unreachable!("because nothing moved"),
            })
            .collect();
        assert_eq!(
            lanes,
            [
                (0, 0, 500_000, 1_000_000),
                (1, 0, 1_000_000, 1_100_000),
                (2, 1, 1_000_000, 2_500_000),
                (4, 0, 1_100_000, 6_100_000),
                (3, 1, 2_500_000, 6_000_000),
            ]
        );
    }

    #[test]
    fn the_critical_path_leads_from_the_last_end_to_the_beginning() {
        let mut record = script::failing();
        assert_eq!(critical(&record.steps).into_iter().collect::<Vec<_>>(), [0, 4]);
        record.steps[4].ended = None;
        assert_eq!(critical(&record.steps).into_iter().collect::<Vec<_>>(), [0, 2, 3]);
        assert!(critical(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn lanes_never_overlap(times in proptest::collection::vec((0_u64..50, 0_u64..20), 0..40)) {
            let mut record = Record::new();
            record.steps = times.iter().map(|(begin, length)| Step {
                looked: Some(Duration::from_micros(*begin)),
                ended: Some((Duration::from_micros(begin + length), Verdict::Made)),
                ..Step::default()
            }).collect();
            let bars = bars(&record, Duration::from_secs(1));
            prop_assert_eq!(bars.len(), times.len());
            for (at, bar) in bars.iter().enumerate() {
                for other in &bars[..at] {
                    prop_assert!(other.lane != bar.lane || other.end <= bar.begin);
                }
            }
        }
    }
}
