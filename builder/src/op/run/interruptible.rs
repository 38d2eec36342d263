//! Bytes that nobody waits for once the build was given up: what is unpacked for a command, and what it leaves, may
//! have gigabytes.

use std::io::{self, Read};

use crate::exec::{ExecError, Interrupt};

/// Reads until the build is given up.
pub(super) struct Interruptible<R> {
    inner: R,
    interrupt: Interrupt,
}

impl<R> Interruptible<R> {
    pub(super) fn new(inner: R, interrupt: &Interrupt) -> Self {
        Self { inner, interrupt: interrupt.clone() }
    }
}

impl<R: Read> Read for Interruptible<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.interrupt.is_sent() {
            // Not the kind of that name, which means that it is to be tried again.
            true => Err(io::Error::other(ExecError::Interrupted)),
            false => self.inner.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::Interruptible;
    use crate::exec::Interrupt;

    #[test]
    fn bytes_end_with_an_error_once_the_build_is_given_up() {
        let interrupt = Interrupt::new();
        let mut reader = Interruptible::new(std::io::repeat(7), &interrupt);
        let mut bytes = [0; 10];
        reader.read_exact(&mut bytes).unwrap();
        interrupt.send(9);
        assert!(reader.read_exact(&mut bytes).is_err());
    }
}
