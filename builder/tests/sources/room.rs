//! A state folder, a store, and one vertex made in them.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use oxbox_builder::context::{Directory, Ignore};
use oxbox_builder::depot::{Caches, Stocks};
use oxbox_builder::exec::Interrupt;
use oxbox_builder::lazy::Lazy;
use oxbox_builder::lent::{Agents, Secrets};
use oxbox_builder::mounts::Mounts;
use oxbox_builder::op::git::Repositories;
use oxbox_builder::op::run::Copies;
use oxbox_builder::plan::graph::{Graph, Op, Vertex, VertexId};
use oxbox_builder::progress::{Event, Progress};
use oxbox_builder::snapshot::Overlay;
use oxbox_builder::solve::schedule::Stopped;
use oxbox_builder::solve::{
    Asked, Cache, Cancel, Indexes, KeyHasher, Locks, Reuse, SolveError, Workshop, solve,
};
use oxbox_builder::{Downloaded, Fetch, FetchError, UrlRequest, Validators};
use oxbox_layers::compress::Compression;
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{Descriptor, Platform, Reference};
use oxbox_layers::store::Layout;
use oxbox_layers::tar::{Entry, Kind, Reader};

/// Later than anything in the tests.
pub(crate) const EPOCH: i64 = 4_000_000_000;

/// What a server answers, by what it is told of a body at hand.
type Answer = dyn Fn(&str, &Validators) -> Result<Option<(Validators, Vec<u8>)>, String> + Send + Sync;

/// A server, without a network.
pub(crate) struct Server {
    answer: Box<Answer>,
    asked: Mutex<Vec<String>>,
}

impl Server {
    pub(crate) fn new(
        answer: impl Fn(&str, &Validators) -> Result<Option<(Validators, Vec<u8>)>, String>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { answer: Box::new(answer), asked: Mutex::default() }
    }

    /// One that is never asked.
    pub(crate) fn none() -> Self {
        Self::new(|url, _| panic!("{url} was asked for"))
    }

    /// How often it was asked.
    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Fetch for Server {
    fn base(&self, _: &Reference, _: &Platform) -> Result<Descriptor, FetchError> {
        unreachable!("no vertex here is a base")
    }

    fn layer(&self, _: &Descriptor) -> Result<(), FetchError> {
        unreachable!("no vertex here is a base")
    }

    fn url(&self, request: &UrlRequest<'_>, into: &mut File) -> Result<Downloaded, FetchError> {
        self.asked.lock().unwrap().push(request.url.to_owned());
        let answer = (self.answer)(request.url, request.at_hand);
        let answer =
            answer.map_err(|why| FetchError::Url { url: request.url.to_owned(), source: why.into() })?;
        Ok(match answer {
            None => Downloaded::Unchanged,
            Some((validators, body)) => {
                into.write_all(&body).unwrap();
                Downloaded::Body(validators)
            }
        })
    }
}

#[derive(Default)]
struct Heard(Mutex<Option<&'static str>>);

impl Progress for Heard {
    fn event(&self, event: Event<'_>) {
        let end = match event {
            Event::Cached { .. } => "cached",
            Event::Done { .. } => "made",
            _ => return,
        };
        *self.0.lock().unwrap() = Some(end);
    }
}

pub(crate) struct Room {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Arc<Layout>,
    pub(crate) reuse: Reuse,
    pub(crate) epoch: i64,
}

/// What came of a vertex.
pub(crate) struct Made {
    /// Whether it was made or cached.
    pub(crate) how: &'static str,
    pub(crate) layers: Vec<Layer>,
    pub(crate) files: Vec<(Entry, String)>,
}

impl Room {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Layout::create(folder.path().join("state/store")).unwrap());
        fs::create_dir(folder.path().join("named")).unwrap();
        Self { folder, store, reuse: Reuse::Allowed, epoch: EPOCH }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn named(&self) -> PathBuf {
        self.folder.path().join("named")
    }

    pub(crate) fn make(&self, op: Op, server: &Server) -> Result<Made, SolveError> {
        self.make_until(op, server, &Interrupt::new())
    }

    pub(crate) fn make_until(
        &self,
        op: Op,
        server: &Server,
        interrupt: &Interrupt,
    ) -> Result<Made, SolveError> {
        let (state, heard) = (self.state(), Heard::default());
        let spool = state.join("tmp");
        fs::create_dir_all(&spool).unwrap();
        let named = Directory::open(&self.named(), Ignore::default()).unwrap();
        let lazy = Arc::new(Lazy::new(Arc::clone(&self.store), Arc::new(Server::none())));
        let workshop = Workshop {
            store: self.store.clone(),
            stocks: Stocks::new(&Caches::default(), server, lazy, &heard),
            cache: Cache::open(&state.join("cache.db")).unwrap(),
            indexes: Indexes::open(&state.join("indexes")).unwrap(),
            snapshots: Box::new(Overlay::open(&state).unwrap()),
            stood_on: HashSet::new(),
            mounts: Mounts::new(&state),
            copies: Copies::new(&state),
            secrets: Secrets::default(),
            agents: Agents::default(),
            surroundings: Default::default(),
            contexts: BTreeMap::from([(Some("named".to_owned()), Arc::new(named))]),
            fetch: server,
            repositories: Repositories::new(&state, interrupt),
            spool,
            compression: Compression::None,
            threads: NonZero::<usize>::MIN,
            epoch: self.epoch,
            reuse: self.reuse.clone(),
            locks: Locks::open(&state.join("locks/steps")).unwrap(),
            now: 1000,
            interrupt: interrupt.clone(),
            progress: &heard,
        };
        let vertex = Vertex { op, title: "it".to_owned(), line: 1, exported: true };
        let graph = Graph { vertices: vec![vertex], ..Graph::default() };
        let asked = Asked {
            graph: &graph,
            targets: vec![VertexId(0)],
            fresh: vec![self.reuse == Reuse::Forbidden],
            places: vec![KeyHasher::new("place").finish()],
            jobs: NonZero::<usize>::MIN,
        };
        let answered = solve(&workshop, &asked, &Cancel::default()).map_err(|stopped| match stopped {
            Stopped::Failed { error, .. } => error,
            Stopped::Cancelled => SolveError::Interrupted,
        })?;
        let solved = &answered.solved[0];
        let layers = solved.layers().to_vec();
        let files = layers.iter().flat_map(|layer| self.entries(layer)).collect();
        let how = heard.0.into_inner().unwrap().unwrap();
        Ok(Made { how, layers, files })
    }

    fn entries(&self, layer: &Layer) -> Vec<(Entry, String)> {
        let mut reader = Reader::new(layer.open_tar(&*self.store).unwrap());
        let mut entries = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            entries.push((entry, String::from_utf8_lossy(&content).into_owned()));
        }
        entries
    }

    /// Unpacks a layer by the tar program.
    pub(crate) fn unpack(&self, layer: &Layer, into: &Path) {
        let mut tar = Command::new("tar").arg("x").current_dir(into).stdin(Stdio::piped()).spawn().unwrap();
        let mut layer = layer.open_tar(&*self.store).unwrap();
        std::io::copy(&mut layer, &mut tar.stdin.take().unwrap()).unwrap();
        assert!(tar.wait().unwrap().success());
    }

    /// Names of files that were left anywhere in the state but in the store.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        ["tmp", "scratch"]
            .iter()
            .filter_map(|name| fs::read_dir(self.state().join(name)).ok())
            .flat_map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()))
            .collect()
    }
}

impl Made {
    /// `path mode content` of files, `path mode /` of directories, `path -> target` of links.
    pub(crate) fn tree(&self) -> Vec<String> {
        let line = |(entry, content): &(Entry, String)| {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            assert_eq!((entry.uid, entry.gid), (0, 0), "{path}");
            match &entry.kind {
                Kind::Directory => format!("{path} {:o} /", entry.mode),
                Kind::Symlink { target } => format!("{path} -> {}", String::from_utf8_lossy(target)),
                _ => format!("{path} {:o} {}", entry.mode, content.trim_end()),
            }
        };
        self.files.iter().map(line).collect()
    }
}

/// An error and its causes.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
