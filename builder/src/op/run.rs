//! RUN: a command in a sandbox on a snapshot, and what it changed as a layer.
//!
//! ```text
//! layers below ─unpack▶ snapshots ─prepare▶ root ─exec▶ upper directory ─changes▶ layer
//!                                                            └──────── commit ▶ snapshot of that layer
//! ```
//!
//! Times in what was written are cut to the build's epoch, in the layer and in the snapshot alike, so
//! that a later step sees the same whether its base was just made or came out of the cache. Commands are told
//! so by [SOURCE_DATE_EPOCH](https://reproducible-builds.org/specs/source-date-epoch/), as some write down times
//! of files: Python's compiled modules name the time of their source, and would be taken for stale.

mod agent;
mod beforehand;
mod copies;
mod files;
mod interruptible;
mod mounts;
mod surroundings;

use std::io::{self, Read};
use std::path::PathBuf;

use oxbox_layers::layer::{Layer, LayerError, LayerWriter, Written};
use oxbox_layers::oci::{ChainId, DiffId};
use oxbox_layers::store::BlobStore;
use oxbox_layers::tar::{Entry, whiteout};
use oxbox_layers::tree::{self, ChangeSink, EmitError, Root, TreeError};

use self::interruptible::Interruptible;
use self::mounts::Prepared;
use crate::exec::cgroup::Reached;
use crate::exec::given::{GiveError, give_new_files};
use crate::exec::rung::{self, Rung};
use crate::exec::{self, ExecError, Exit, Interrupt, Process, Sandbox, Source};
use crate::mounts::MountsError;
use crate::plan::graph::{Mount, Network, Run};
use crate::snapshot::{Active, Known, Layers, SnapshotError, Snapshotter};
use crate::solve::{Key, KeyHasher};

pub use beforehand::{prepare, unable};
pub use copies::{Copies, CopiesError};
pub use files::FilesError;
pub use mounts::{Backing, Material, wanted};
use surroundings::Last;
pub use surroundings::{OnFailure, Place, Surroundings, Volume};

/// Why a RUN fails.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An SSH agent cannot be forwarded.
    #[error("cannot forward the ssh agent {id:?}")]
    Agent {
        /// Its id.
        id: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another RUN has a locked cache mount: nothing was run, and it is to be tried again.
    #[error("a cache mount is in use")]
    Busy,
    /// A cache mount cannot be had.
    #[error(transparent)]
    Cache {
        /// Why not.
        source: MountsError,
    },
    /// A new cache mount cannot be filled with a file.
    #[error("a cache mount cannot begin as {path:?}, which is no directory")]
    CacheOfFile {
        /// The source.
        path: String,
    },
    /// Files of a context cannot be mounted.
    #[error("cannot mount files of a context")]
    Copies {
        /// Why not.
        #[source]
        source: CopiesError,
    },
    /// No control group can be made.
    #[error("cannot note a control group")]
    Group {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An SSH agent is required and was not given.
    #[error("ssh agent {id:?} is required, and was not given")]
    NoAgent {
        /// Its id.
        id: String,
    },
    /// A secret is required and was not given.
    #[error("secret {id:?} is required, and was not given")]
    NoSecret {
        /// Its id.
        id: String,
    },
    /// The command could not be run.
    #[error("cannot run {command}")]
    Exec {
        /// The command, cut.
        command: String,
        /// Why not.
        #[source]
        source: ExecError,
    },
    /// The command ran and failed.
    #[error("{command} {}{}", ended(.exit), against(.reached))]
    Failed {
        /// The command, cut.
        command: String,
        /// How it ended.
        exit: Exit,
        /// Limits that it came up against before.
        reached: Vec<Reached>,
    },
    /// What it made cannot be given to its user.
    #[error("cannot give the command's files to its user")]
    Give {
        /// Why not.
        #[source]
        source: GiveError,
    },
    /// The layer cannot be written.
    #[error("cannot write the layer")]
    Layer {
        /// Why not.
        #[source]
        source: LayerError,
    },
    /// The root cannot be made.
    #[error("cannot make the root filesystem")]
    Snapshot {
        /// Why not.
        #[source]
        source: SnapshotError,
    },
    /// What was written cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A folder of the machine cannot be shown so that it stays as it is.
    #[error("cannot put a directory above {}", .path.display())]
    Volume {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl From<CopiesError> for RunError {
    fn from(source: CopiesError) -> Self {
        Self::Copies { source }
    }
}

impl RunError {
    /// Returns what a reader may do about it, if there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Exec { source, .. } => source.hint(),
            Self::NoAgent { .. } => Some("give it with --ssh ID, or --ssh ID=SOCKET"),
            Self::NoSecret { .. } => {
                Some("give it with --secret id=ID,src=FILE or --secret id=ID,env=VARIABLE")
            }
            _ => None,
        }
    }
}

fn ended(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(signal) => format!("was killed by signal {signal}"),
    }
}

fn against(reached: &[Reached]) -> String {
    reached.iter().map(|limit| format!("; {limit}")).collect()
}

/// Returns the key of a RUN: what it does, on what, and with which files bound into it.
pub fn key(run: &Run, below: Option<ChainId>, bound: &[Key], epoch: i64) -> Key {
    let mut hasher = KeyHasher::new("run");
    let chain_id = below.map(|chain_id| chain_id.to_string());
    hasher.field("below", chain_id.unwrap_or_default()).field("epoch", epoch.to_le_bytes());
    fields(run, &mut hasher);
    hasher.list("bound", bound.iter().map(Key::as_bytes));
    hasher.finish()
}

/// Adds what a RUN does to a key: all but its inputs, and but what must not decide about the cache. Contents
/// of secrets, what agents know, and the names of cache mounts are among the latter.
pub fn fields(run: &Run, hasher: &mut KeyHasher) {
    let network = match run.network {
        Network::Host => "host",
        Network::None => "none",
        Network::Private => "private",
    };
    hasher.list("args", run.args.iter()).list("env", environment(run).into_iter());
    hasher.field("cwd", &run.cwd).field("user", &run.user).field("network", network);
    hasher.field("security", format!("{:?}", run.security));
    // Even with nothing below: the same words mean another program elsewhere.
    hasher.field("platform", run.platform.to_string());
    if let Some(hostname) = &run.hostname {
        hasher.field("hostname", hostname);
    }
    run.machine.fields(hasher);
    for file in &run.files {
        hasher.field("file", &file.name).field("content", &file.content);
    }
    for mount in &run.mounts {
        match mount {
            Mount::Bind { target, read_only, .. } => {
                hasher.field("bind", target).field("read-only", read_only.to_string());
            }
            Mount::Cache { target, .. } => _ = hasher.field("cache", target),
            // What is asked for, and nothing of what is given.
            Mount::Secret { .. } | Mount::Ssh { .. } | Mount::Tmpfs { .. } => {
                hasher.field("mount", format!("{mount:?}"));
            }
        }
    }
}

/// Returns the variables that decide about the cache: all but proxies that no ARG declares.
pub fn environment(run: &Run) -> Vec<&String> {
    let is_outside = |variable: &&String| {
        let name = variable.split('=').next().unwrap_or_default();
        run.env_outside_key.iter().any(|outside| outside == name)
    };
    run.env.iter().filter(|variable| !is_outside(variable)).collect()
}

/// What a RUN stands on and talks to.
pub struct Room<'a> {
    /// Where layers are.
    pub store: &'a dyn BlobStore,
    /// Where they are unpacked.
    pub snapshots: &'a dyn Snapshotter,
    /// Tells what was noted of a layer that was written here.
    pub known: &'a (dyn Fn(&Layer) -> Option<Known<'a>> + Sync),
    /// What its mounts are made of.
    pub backing: Backing<'a>,
    /// What the caller gives to every RUN.
    pub surroundings: &'a Surroundings,
    /// Ends the command when the build is given up.
    pub interrupt: &'a Interrupt,
    /// No file of the layer is later.
    pub epoch: i64,
    /// Takes each line of output.
    pub output: &'a mut dyn FnMut(&[u8]),
}

/// The layers that a RUN stands on, bottom first.
pub struct Below<'a> {
    /// Which.
    pub chain: &'a [DiffId],
    /// Returns where they are; most often nobody asks.
    pub layers: &'a (dyn Fn() -> &'a [Layer] + Sync),
}

/// Runs the command on `below` and writes what it changed.
pub fn make(
    run: &Run,
    below: &Below<'_>,
    room: &mut Room<'_>,
    mut writer: LayerWriter,
) -> Result<Written, RunError> {
    let snapshot = |source| RunError::Snapshot { source };
    // First of all: who must wait for a cache shall not have unpacked anything.
    let prepared = mounts::prepare(run, room)?;
    let active = stand_on(below, room).map_err(snapshot)?;
    if let Err(error) = execute(run, &active, prepared, room) {
        if matches!(error, RunError::Failed { exit: Exit::Code(_), .. }) {
            active.give_up();
        }
        return Err(error);
    }
    write_changes(&active, room, &mut writer)?;
    let written = writer.finish_noted().map_err(|source| RunError::Layer { source })?;
    room.snapshots.commit(active, &written.layer.diff_id).map_err(snapshot)?;
    Ok(written)
}

/// Makes a root of layers, unpacking those that are not here.
fn stand_on(below: &Below<'_>, room: &Room<'_>) -> Result<Active, SnapshotError> {
    let Room { store, known, interrupt, .. } = *room;
    let stored = Stored { layers: below.layers, store, known, interrupt };
    room.snapshots.prepare_from(below.chain, &stored)
}

/// Layers as the store has them.
struct Stored<'a, 'below, 'known> {
    layers: &'below (dyn Fn() -> &'below [Layer] + Sync),
    store: &'a dyn BlobStore,
    known: &'a (dyn Fn(&Layer) -> Option<Known<'known>> + Sync),
    interrupt: &'a Interrupt,
}

impl Layers for Stored<'_, '_, '_> {
    fn open(&self, at: usize) -> io::Result<Option<Box<dyn Read>>> {
        let tar = (self.layers)()[at].open_tar(self.store).map_err(io::Error::other)?;
        Ok(Some(Box::new(Interruptible::new(tar, self.interrupt))))
    }

    fn known(&self, at: usize) -> Option<Known<'_>> {
        (self.known)(&(self.layers)()[at])
    }
}

/// Runs the command; afterwards others may have its cache mounts.
fn execute(run: &Run, active: &Active, mut prepared: Prepared, room: &mut Room<'_>) -> Result<(), RunError> {
    let mut process = process(run, active, &mut prepared, room);
    let bound = room.surroundings.bound(&mut process);
    let group = bound.map_err(|source| RunError::Group { source })?;
    let mut last = Last::default();
    let mut output = |line: &[u8]| {
        last.push(line);
        (room.output)(line);
    };
    let exit = exec::run(&process, room.interrupt, &mut |_stream, line| output(line))
        .map_err(|source| RunError::Exec { command: command(run), source })?;
    if room.interrupt.is_sent() {
        // A program may end well because it was told to end: what it left is half of what it would have been.
        let source = ExecError::Interrupted;
        return Err(RunError::Exec { command: command(run), source });
    }
    match exit {
        Exit::Code(0) if rung::standing().rung == Rung::SingleId && !run.user.is_empty() => {
            give_new_files(&run.user, active.upper(), active.lowers())
                .map_err(|source| RunError::Give { source })
        }
        Exit::Code(0) => Ok(()),
        exit => {
            if let Some(listener) = &room.surroundings.on_failure {
                let (command, last) = (&command(run), last.lines());
                listener.failed(&Place { command, exit, last, process: &process, shell: &run.shell });
            }
            let reached = group.map(|group| group.reached()).unwrap_or_default();
            Err(RunError::Failed { command: command(run), exit, reached })
        }
    }
}

fn process(run: &Run, active: &Active, prepared: &mut Prepared, room: &Room<'_>) -> Process {
    let mut env = run.env.clone();
    env.extend(told_epoch(run, room.epoch));
    let files = run.files.iter().map(|file| exec::Mount {
        target: format!("/dev/pipes/{}", file.name),
        source: Source::File { content: file.content.clone().into_bytes(), mode: 0o755 },
    });
    let mut process = Process {
        root: active.root().clone(),
        args: run.args.clone(),
        env,
        secrets: std::mem::take(&mut prepared.secrets),
        cwd: run.cwd.clone(),
        user: run.user.clone(),
        // BuildKit's name for the sandbox, so that what a build writes of its host is the same everywhere.
        hostname: run.hostname.clone().unwrap_or_else(|| "buildkitsandbox".to_owned()),
        network: exec::Network::Host,
        hosts: Vec::new(),
        mounts: files.chain(std::mem::take(&mut prepared.mounts)).collect(),
        sandbox: Sandbox::default(),
    };
    room.surroundings.give(run, &mut process);
    process
}

/// The variable that tells a command the latest time; nothing if times are kept, or if it has one.
fn told_epoch(run: &Run, epoch: i64) -> Option<String> {
    let has_one = run.env.iter().any(|variable| variable.starts_with("SOURCE_DATE_EPOCH="));
    (!has_one && epoch != i64::MAX).then(|| format!("SOURCE_DATE_EPOCH={epoch}"))
}

/// The command as people know it, short enough for an error line.
fn command(run: &Run) -> String {
    let words: Vec<&str> = match run.args.as_slice() {
        [shell, flag, line] if flag.starts_with('-') && shell.starts_with('/') => vec![line.as_str()],
        words => words.iter().map(String::as_str).collect(),
    };
    let line = words.join(" ");
    let cut: String = line.chars().take(200).collect();
    if cut.len() < line.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

/// Writes what stands in the upper directory, times cut, and cuts them there too.
fn write_changes(active: &Active, room: &Room<'_>, writer: &mut LayerWriter) -> Result<(), RunError> {
    let entries = room.snapshots.changes(active).map_err(|source| RunError::Snapshot { source })?;
    let upper = Root::open(active.upper())?;
    let mut sink = Dated { writer, epoch: room.epoch, interrupt: room.interrupt };
    tree::emit(&upper, &entries, &mut sink).map_err(|error| match error {
        EmitError::Sink(source) => RunError::Layer { source },
        EmitError::Tree(source) => RunError::Tree(source),
    })?;
    for entry in &entries {
        if entry.mtime > room.epoch && !whiteout::is_reserved(entry.name()) {
            upper.set_mtime(&entry.path, room.epoch)?;
        }
    }
    Ok(())
}

/// Cuts times on the way into a layer.
struct Dated<'a> {
    writer: &'a mut LayerWriter,
    epoch: i64,
    interrupt: &'a Interrupt,
}

impl ChangeSink for Dated<'_> {
    type Error = LayerError;

    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), LayerError> {
        let content = &mut Interruptible::new(content, self.interrupt);
        if entry.mtime <= self.epoch {
            return self.writer.append(entry, content);
        }
        self.writer.append(&Entry { mtime: self.epoch, ..entry.clone() }, content)
    }
}
