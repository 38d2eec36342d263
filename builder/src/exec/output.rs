//! Cuts what a program writes into lines, in bounded memory.

/// A longer line is handed on in pieces of this size: a program may write gigabytes without a newline.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// Holds the unfinished line of one stream.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Hands every line that `chunk` completes to `each`, without its newline.
    pub(super) fn push(&mut self, mut chunk: &[u8], each: &mut dyn FnMut(&[u8])) {
        while let Some(end) = chunk.iter().position(|&byte| byte == b'\n') {
            self.hold(&chunk[..end], each);
            each(&self.pending);
            self.pending.clear();
            chunk = &chunk[end + 1..];
        }
        self.hold(chunk, each);
    }

    /// Hands on a last line that has no newline.
    pub(super) fn finish(&mut self, each: &mut dyn FnMut(&[u8])) {
        if !self.pending.is_empty() {
            each(&self.pending);
            self.pending.clear();
        }
    }

    fn hold(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        while self.pending.len() + bytes.len() > MAX_LINE_BYTES {
            let (now, later) = bytes.split_at(MAX_LINE_BYTES - self.pending.len());
            self.pending.extend_from_slice(now);
            each(&self.pending);
            self.pending.clear();
            bytes = later;
        }
        self.pending.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Lines, MAX_LINE_BYTES};

    fn cut(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, &mut |line| seen.push(line.to_vec()));
        }
        lines.finish(&mut |line| seen.push(line.to_vec()));
        seen
    }

    #[test]
    fn a_line_may_come_in_pieces_and_the_last_one_without_newline() {
        assert_eq!(cut(&[b"a", b"b\n\nc"]), [&b"ab"[..], b"", b"c"]);
    }

    #[test]
    fn a_huge_line_comes_in_bounded_pieces() {
        let huge = vec![b'x'; MAX_LINE_BYTES * 2 + 1];
        let sizes: Vec<_> = cut(&[&huge, b"\n"]).iter().map(Vec::len).collect();
        assert_eq!(sizes, [MAX_LINE_BYTES, MAX_LINE_BYTES, 1]);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_arrive(text in "[ab\n]{0,40}", at in 0_usize..40) {
            let bytes = text.as_bytes();
            let at = at.min(bytes.len());
            prop_assert_eq!(cut(&[bytes]), cut(&[&bytes[..at], &bytes[at..]]));
        }
    }
}
