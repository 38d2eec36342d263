//! Fingerprints of many files, one after another in one piece of memory, and read by several threads.

use std::num::NonZero;

/// What a thread must have to do to be worth starting.
const FILES_PER_THREAD: usize = 128;

/// Fingerprints by number; that of what is no file is empty.
#[derive(Debug, Default)]
pub(crate) struct Fingerprints {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Fingerprints {
    /// Reads those of so many files. Small files are mostly waiting, so that up to `threads` share them,
    /// dealt like cards.
    ///
    /// # Errors
    ///
    /// The first of a thread.
    pub(crate) fn read<E: Send>(
        count: usize,
        threads: NonZero<usize>,
        read: impl Fn(usize) -> Result<Vec<u8>, E> + Sync,
    ) -> Result<Self, E> {
        let workers = threads.get().min(count.div_ceil(FILES_PER_THREAD)).max(1);
        let deal = |worker| {
            let mut hand = Self::default();
            (worker..count).step_by(workers).try_for_each(|at| read(at).map(|read| hand.push(&read)))?;
            Ok(hand)
        };
        if workers == 1 {
            return deal(0);
        }
        let hands = std::thread::scope(|scope| {
            let others: Vec<_> = (1..workers).map(|worker| scope.spawn(move || deal(worker))).collect();
            let first = deal(0);
            let others = others.into_iter().map(|other| match other.join() {
                Ok(hand) => hand,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            [first].into_iter().chain(others).collect::<Result<Vec<_>, E>>()
        })?;
        let bytes = hands.iter().map(|hand| hand.bytes.len()).sum();
        let mut all = Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(count) };
        (0..count).for_each(|at| all.push(hands[at % workers].get(at / workers)));
        Ok(all)
    }

    /// Returns one of them; empty if there is none of this number.
    pub(crate) fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(at).map_or(&[], |&end| &self.bytes[start..end])
    }

    fn push(&mut self, fingerprint: &[u8]) {
        self.bytes.extend_from_slice(fingerprint);
        self.ends.push(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::Fingerprints;

    #[test]
    fn each_file_has_its_own_however_many_threads_read() {
        for (count, threads) in [(0, 1), (1, 4), (1000, 1), (1000, 3), (1000, 7)] {
            let name = |at: usize| {
                if at.is_multiple_of(5) { Vec::new() } else { format!("content {at}").into_bytes() }
            };
            let read = |at| Ok::<_, ()>(name(at));
            let all = Fingerprints::read(count, NonZero::new(threads).unwrap(), read).unwrap();
            (0..count).for_each(|at| assert_eq!(all.get(at), name(at)));
            assert_eq!(all.get(count), b"");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_on_any_thread() {
        for bad in [0, 1, 499, 999] {
            let read = |at| if at == bad { Err(at) } else { Ok(Vec::new()) };
            assert_eq!(Fingerprints::read(1000, NonZero::new(3).unwrap(), read).unwrap_err(), bad);
        }
    }
}
