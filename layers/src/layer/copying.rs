//! A writer whose bytes go to a second one too, as long as that takes them.

use std::io::{self, Write};

/// Writes to `inner`, and what was written there to `copy`.
pub(super) struct Copying<W> {
    inner: W,
    copy: Option<Box<dyn Write + Send>>,
}

impl<W> Copying<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, copy: None }
    }

    pub(super) fn copy_to(&mut self, copy: Box<dyn Write + Send>) {
        self.copy = Some(copy);
    }

    /// Drops the copy, for which this is the end.
    pub(super) fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Copying<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        // A copy that fails has told whoever wanted it.
        if self.copy.as_mut().is_some_and(|copy| copy.write_all(&bytes[..written]).is_err()) {
            self.copy = None;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
