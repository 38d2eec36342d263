//! An SSH agent of the host behind a socket of a RUN's own.
//!
//! ```text
//! program ─▶ socket, owner and mode as the mount says ─▶ thread ─▶ the host's agent
//!            u32 length │ type │ …                        only lists of keys, and signatures
//! ```
//!
//! A program may use keys, and neither take them away nor add some, lock the agent or ask it for anything
//! else: so BuildKit has it. What is refused gets the agent's own "failure".
//! <https://www.ietf.org/archive/id/draft-ietf-sshm-ssh-agent-05.html>

use std::fs::{self, Permissions};
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use oxbox_layers::tree::recorded;
use rustix::event::{PollFd, PollFlags, poll};

/// The longest message of OpenSSH's own agent.
const MAX_MESSAGE: u32 = 256 << 10;

/// Connections at once; git and ssh need one each, and a runaway program shall not have all our threads.
const MAX_CONNECTIONS: usize = 64;

/// What programs may ask for: lists of keys, and signatures.
const ALLOWED: [u8; 2] = [11, 13];

/// SSH_AGENT_FAILURE.
const FAILURE: [u8; 5] = [0, 0, 0, 1, 5];

/// A socket that leads to an agent, until it is dropped.
#[derive(Debug)]
pub(super) struct Forwarded {
    path: PathBuf,
    /// Closed to end the threads.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// Who may use it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Forwarded {
    /// Begins to listen at `path` for the agent that listens at `agent`.
    pub(super) fn start(agent: &Path, path: &Path, owner: Owner) -> io::Result<Self> {
        let listener = bind(path)?;
        if rustix::process::geteuid().is_root() || (owner.uid, owner.gid) != (0, 0) {
            recorded::give(path, owner.uid, owner.gid)?;
        }
        fs::set_permissions(path, Permissions::from_mode(owner.mode & 0o777))?;
        let (stopped, stop) = io::pipe()?;
        let agent = agent.to_owned();
        let thread = thread::Builder::new()
            .name("ssh-agent".to_owned())
            .spawn(move || accept(&listener, &stopped, &agent))?;
        Ok(Self { path: path.to_owned(), stop: Some(stop), thread: Some(thread) })
    }

    /// Returns where it listens.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Its threads end as soon as they see that.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Binds a socket at a path of any length: the kernel itself takes 107 bytes.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = fs::File::open(folder)?;
    UnixListener::bind(Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

fn accept(listener: &UnixListener, stopped: &PipeReader, agent: &Path) {
    let open = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        while let Ok(true) = waited(listener, stopped) {
            let Ok((stream, _)) = listener.accept() else { return };
            if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let open = Arc::clone(&open);
            scope.spawn(move || {
                if let Err(error) = serve(stream, stopped, agent) {
                    tracing::debug!(%error, "a connection to the ssh agent ended");
                }
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
}

/// Passes requests on, one after another, as the protocol has it.
fn serve(mut program: UnixStream, stopped: &PipeReader, agent: &Path) -> io::Result<()> {
    let mut theirs = UnixStream::connect(agent)?;
    while let Some(request) = message(&mut program, stopped)? {
        let is_allowed = request.get(4).is_some_and(|kind| ALLOWED.contains(kind));
        if !is_allowed {
            program.write_all(&FAILURE)?;
            continue;
        }
        theirs.write_all(&request)?;
        let Some(answer) = message(&mut theirs, stopped)? else { return Ok(()) };
        program.write_all(&answer)?;
    }
    Ok(())
}

/// Reads a message with its length; `None` at the end, or if all is over.
fn message(stream: &mut UnixStream, stopped: &PipeReader) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; 4];
    if !filled(stream, stopped, &mut bytes)? {
        return Ok(None);
    }
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    if length == 0 || length > MAX_MESSAGE {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    bytes.resize(4 + length as usize, 0);
    Ok(filled(stream, stopped, &mut bytes[4..])?.then_some(bytes))
}

/// Fills a buffer; `false` if the stream ended, or all is over.
fn filled(stream: &mut UnixStream, stopped: &PipeReader, buffer: &mut [u8]) -> io::Result<bool> {
    let mut done = 0;
    while done < buffer.len() {
        if !waited(&*stream, stopped)? {
            return Ok(false);
        }
        match stream.read(&mut buffer[done..]) {
            Ok(0) => return Ok(false),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Waits until there is something to read; `false` if all is over.
fn waited(source: &impl AsFd, stopped: &PipeReader) -> io::Result<bool> {
    loop {
        let mut polls = [PollFd::new(source, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match poll(&mut polls, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if !polls[1].revents().is_empty() {
            return Ok(false);
        }
        if !polls[0].revents().is_empty() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::thread;

    use super::{FAILURE, Forwarded, Owner};

    /// Answers each request with its own type and 42.
    fn agent(listener: UnixListener) -> thread::JoinHandle<Vec<u8>> {
        thread::spawn(move || {
            let mut asked = Vec::new();
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            while stream.read_exact(&mut length).is_ok() {
                let mut body = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut body).unwrap();
                asked.push(body[0]);
                stream.write_all(&[0, 0, 0, 2, body[0], 42]).unwrap();
            }
            asked
        })
    }

    #[test]
    fn keys_may_be_used_and_nothing_else_reaches_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let host = folder.path().join("host");
        let agent = agent(UnixListener::bind(&host).unwrap());
        let deep = folder.path().join("a-long-name/".repeat(12));
        std::fs::create_dir_all(&deep).unwrap();
        let own = rustix::process::geteuid().as_raw();
        let owner = Owner { mode: 0o600, uid: own, gid: rustix::process::getegid().as_raw() };
        let forwarded = Forwarded::start(&host, &deep.join("socket"), owner).unwrap();
        let mode = std::fs::metadata(forwarded.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let near = folder.path().join("near");
        std::fs::rename(forwarded.path(), &near).unwrap();
        let mut program = UnixStream::connect(&near).unwrap();
        // List, sign; then add, remove all, lock, an extension.
        for (kind, expected) in [
            (11, vec![0, 0, 0, 2, 11, 42]),
            (13, vec![0, 0, 0, 2, 13, 42]),
            (17, FAILURE.to_vec()),
            (19, FAILURE.to_vec()),
            (22, FAILURE.to_vec()),
            (27, FAILURE.to_vec()),
            (11, vec![0, 0, 0, 2, 11, 42]),
        ] {
            program.write_all(&[0, 0, 0, 3, kind, 1, 2]).unwrap();
            let mut answer = vec![0; expected.len()];
            program.read_exact(&mut answer).unwrap();
            assert_eq!(answer, expected, "{kind}");
        }
        drop(forwarded);
        assert_eq!(program.read(&mut [0]).unwrap(), 0, "it ends with the run");
        assert_eq!(agent.join().unwrap(), [11, 13, 11]);
    }

    #[test]
    fn an_absurd_length_ends_the_connection() {
        let folder = tempfile::tempdir().unwrap();
        let host = folder.path().join("host");
        let agent = agent(UnixListener::bind(&host).unwrap());
        let owner = Owner {
            mode: 0o600,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        let forwarded = Forwarded::start(&host, &folder.path().join("socket"), owner).unwrap();
        let mut program = UnixStream::connect(forwarded.path()).unwrap();
        program.write_all(&[255, 255, 255, 255, 11]).unwrap();
        assert_eq!(program.read(&mut [0]).unwrap_or(0), 0);
        drop(forwarded);
        assert_eq!(agent.join().unwrap(), Vec::<u8>::new());
    }
}
