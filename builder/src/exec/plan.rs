//! What the builder and the init say to each other, over one socket that is the init's stdin.
//!
//! ```text
//! builder → init    u32 length, little endian │ Plan as JSON │ then any number of single bytes: a signal each
//! init → builder    perhaps TERMINAL with a descriptor of it │ Outcome as JSON │ end
//! ```
//!
//! The end of the builder's half means that it is gone: the sandbox goes too.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use rustix::net::{self, SendFlags};
use serde::{Deserialize, Serialize};

use super::network::Connector;
use super::rung::{Processes, Rung};
use super::{Exit, Failure, Process};

/// The name under which the init is started. No program of an image sees it.
pub(super) const INIT_NAME: &str = "oxbox-init";

/// What comes with a descriptor of the program's terminal, before the outcome.
pub(super) const TERMINAL: u8 = b'T';

/// More than any plan: arguments and environment are bounded by the kernel's own 2 MiB, files by
/// 1 MiB each, layers by some hundreds.
const MAX_PLAN_BYTES: u32 = 64 << 20;

/// All that the init must know.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The builder's process id, to notice that it died before the init could ask to be told.
    pub(super) parent: i32,
    /// The host's resolv.conf, or nothing.
    pub(super) resolver: String,
    pub(super) process: Process,
    /// Where the builder stands, and so the init.
    pub(super) rung: Rung,
    /// Whose processes the program is to live among.
    pub(super) processes: Processes,
    /// How many descriptors the program may have open, if that is not what the builder has.
    pub(super) descriptors: Option<u64>,
    /// What may connect a private network.
    pub(super) connectors: Vec<Connector>,
    /// Whether the program is to have huge pages, which the builder refused for itself.
    pub(super) huge_pages: bool,
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    Ended(Exit),
    Failed(Failure),
}

/// Sends a plan.
pub(super) fn send(plan: &Plan, socket: &UnixStream) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, plan)?;
    let length = u32::try_from(frame.len() - 4).ok().filter(|&length| length <= MAX_PLAN_BYTES);
    let length = length.ok_or_else(|| io::Error::from_raw_os_error(libc::EMSGSIZE))?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    write(socket, &frame)
}

/// Writes all of `bytes`; a peer that is gone is an error and not a SIGPIPE.
pub(super) fn write(socket: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Receives a plan, and nothing of what follows it.
pub(super) fn receive(mut socket: impl Read) -> io::Result<Plan> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MAX_PLAN_BYTES {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let mut text = Vec::new();
    socket.take(u64::from(length)).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
