//! `--ssh`: agents whose keys RUN may use.
//!
//! ```text
//! default                the agent of SSH_AUTH_SOCK          git=/run/agent.sock        another one
//! default=KEY[,KEY]      an agent of this build's own, which knows these keys
//! ```
//!
//! The last one is the ssh-agent program, with `cat` below it that reads from us: when this process ends,
//! however that may be, `cat` does, and the agent with it. Keys go to it by ssh-add, on standard input.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use oxbox_builder::lent;
use tempfile::TempDir;

/// What an agent is called unless told otherwise.
const DEFAULT: &str = "default";

/// Where programs look for an agent.
const SOCKET: &str = "SSH_AUTH_SOCK";

/// How long an agent may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(5);

/// The agents of a build. Dropping it ends those that were started for it.
#[derive(Debug, Default)]
pub(super) struct Agents {
    pub(super) sockets: lent::Agents,
    _own: Vec<Own>,
}

/// An agent that was started for a build.
#[derive(Debug)]
struct Own {
    child: Child,
    // Its socket is in there.
    folder: TempDir,
}

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    /// Two have one name.
    #[error("--ssh has two agents called {id:?}")]
    Twice {
        /// The name.
        id: String,
    },
    /// It has no name.
    #[error("--ssh {text:?} has no name before the equals sign")]
    Nameless {
        /// As it was written, cut.
        text: String,
    },
    /// Nobody says where it is.
    #[error("--ssh {id} needs an agent, and SSH_AUTH_SOCK is not set")]
    None {
        /// Its name.
        id: String,
    },
    /// Nothing is there.
    #[error("cannot use {} as an ssh agent or key", .path.display())]
    Path {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A socket is an agent, keys make one, and not both.
    #[error("--ssh {id} is one socket, or keys")]
    Mixed {
        /// Its name.
        id: String,
    },
    /// An agent cannot be started.
    #[error("cannot run {program} for the keys of --ssh")]
    Program {
        /// ssh-agent or ssh-add.
        program: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The key is none, or has a passphrase.
    #[error("ssh-add does not take the key {}: {said}", .path.display())]
    Key {
        /// Which key.
        path: PathBuf,
        /// What it says, cut.
        said: String,
    },
}

impl AgentError {
    /// Returns what a reader may do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::None { .. } => {
                Some("start an ssh-agent and add the key, or name a socket: --ssh default=SOCKET")
            }
            Self::Program { .. } => {
                Some("install OpenSSH's client programs, or give the socket of an agent that runs")
            }
            Self::Key { .. } => {
                Some("a key with a passphrase goes into an agent (ssh-add), and its socket to --ssh")
            }
            _ => None,
        }
    }
}

impl Agents {
    /// Finds the agents that options name, and starts those for keys.
    pub(super) fn of(options: &[String]) -> Result<Self, AgentError> {
        let (mut sockets, mut own, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
        for text in options {
            let (id, paths) = text.split_once('=').unwrap_or((text, ""));
            if id.is_empty() && !text.is_empty() {
                return Err(AgentError::Nameless { text: text.chars().take(160).collect() });
            }
            let id = if id.is_empty() { DEFAULT } else { id };
            if !known.insert(id.to_owned()) {
                return Err(AgentError::Twice { id: id.to_owned() });
            }
            let paths: Vec<PathBuf> =
                paths.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
            let socket = match paths.as_slice() {
                [] => usual(id)?,
                paths => match socket(id, paths)? {
                    Some(socket) => socket,
                    None => {
                        let agent = Own::start(paths)?;
                        let socket = agent.socket();
                        own.push(agent);
                        socket
                    }
                },
            };
            sockets.push((id.to_owned(), socket));
        }
        Ok(Self { sockets: sockets.into_iter().collect(), _own: own })
    }
}

/// Returns the socket of the agent that this process has.
fn usual(id: &str) -> Result<PathBuf, AgentError> {
    let socket = env::var_os(SOCKET).filter(|socket| !socket.is_empty()).map(PathBuf::from);
    let socket = socket.ok_or_else(|| AgentError::None { id: id.to_owned() })?;
    match is_socket(&socket)? {
        true => Ok(socket),
        false => Err(AgentError::Path { path: socket, source: io::ErrorKind::InvalidInput.into() }),
    }
}

/// Returns the socket that paths name; `None` if they are keys.
fn socket(id: &str, paths: &[PathBuf]) -> Result<Option<PathBuf>, AgentError> {
    let are_sockets = paths.iter().map(|path| is_socket(path)).collect::<Result<Vec<_>, _>>()?;
    match (paths, are_sockets.as_slice()) {
        ([socket], [true]) => Ok(Some(socket.clone())),
        (_, kinds) if kinds.contains(&true) => Err(AgentError::Mixed { id: id.to_owned() }),
        _ => Ok(None),
    }
}

fn is_socket(path: &Path) -> Result<bool, AgentError> {
    let found = fs::metadata(path).map_err(|source| AgentError::Path { path: path.to_owned(), source })?;
    Ok(found.file_type().is_socket())
}

impl Own {
    fn start(keys: &[PathBuf]) -> Result<Self, AgentError> {
        let failed = |program| move |source| AgentError::Program { program, source };
        let folder = tempfile::Builder::new().prefix("oxbox-ssh-").tempdir().map_err(failed("ssh-agent"))?;
        let child = Command::new("ssh-agent")
            .arg("-a")
            .arg(folder.path().join("agent"))
            // It ends with its standard input, which nobody writes to.
            .arg("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("ssh-agent"))?;
        let own = Self { child, folder };
        own.wait().map_err(failed("ssh-agent"))?;
        keys.iter().try_for_each(|key| own.add(key))?;
        Ok(own)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    /// Waits until it listens.
    fn wait(&self) -> io::Result<()> {
        let began = Instant::now();
        loop {
            match UnixStream::connect(self.socket()) {
                Ok(_) => return Ok(()),
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => thread::sleep(LOOK),
            }
        }
    }

    fn add(&self, key: &Path) -> Result<(), AgentError> {
        let file = File::open(key).map_err(|source| AgentError::Path { path: key.to_owned(), source })?;
        let added = Command::new("ssh-add")
            .args(["-q", "-"])
            .env(SOCKET, self.socket())
            // Nobody is there to answer a question.
            .env("SSH_ASKPASS_REQUIRE", "never")
            .env_remove("DISPLAY")
            .stdin(Stdio::from(file))
            .output()
            .map_err(|source| AgentError::Program { program: "ssh-add", source })?;
        match added.status.success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&added.stderr);
                let said = said.lines().last().unwrap_or_default().chars().take(160).collect();
                Err(AgentError::Key { path: key.to_owned(), said })
            }
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // The agent ends with `cat`, and takes its socket away.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use oxbox_builder::lent;

    use super::{AgentError, Agents};

    fn sockets(options: &[String]) -> Result<lent::Agents, AgentError> {
        Agents::of(options).map(|agents| agents.sockets.clone())
    }

    #[test]
    fn a_socket_is_an_agent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let agents = sockets(&[format!("git={}", path.display()), format!("={}", path.display())]);
        assert!(matches!(agents, Err(AgentError::Nameless { .. })));
        let agents = sockets(&[format!("git={}", path.display())]).unwrap();
        assert_eq!(agents.get("git"), Some(path.as_path()));
        assert_eq!(agents.get("default"), None);
    }

    #[test]
    fn what_is_no_agent_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, key) = (folder.path().join("s"), folder.path().join("k"));
        let _listener = UnixListener::bind(&socket).unwrap();
        std::fs::write(&key, "no key").unwrap();
        let (socket, key) = (socket.display(), key.display());
        let of = |texts: &[String]| Agents::of(texts).unwrap_err();
        assert!(matches!(of(&["x=/surely/not/there".to_owned()]), AgentError::Path { .. }));
        assert!(matches!(of(&[format!("x={socket},{key}")]), AgentError::Mixed { .. }));
        assert!(matches!(of(&[format!("x={socket}"), format!("x={socket}")]), AgentError::Twice { .. }));
        let error = of(&[format!("x={key}")]);
        assert!(matches!(error, AgentError::Key { .. } | AgentError::Program { .. }), "{error}");
    }
}
