//! A folder with a context, a state and a store, and builds in it.
#![allow(dead_code, reason = "the semantics' tests use it too, each its own part")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use oxbox_builder::build::Times;
use oxbox_builder::exec::Interrupt;
use oxbox_builder::export::form::Form;
use oxbox_builder::lent::{Agents, Secrets};
use oxbox_builder::plan::Options;
use oxbox_builder::progress::{Event, Progress};
use oxbox_builder::solve::Reuse;
use oxbox_builder::{
    BuildError, DEFAULT_EPOCH, Downloaded, Exported, Fetch, FetchError, Origin, Request, UrlRequest,
    Validators, build,
};
use oxbox_layers::compress::Compression;
use oxbox_layers::image::Image;
use oxbox_layers::oci::{Descriptor, Platform, Reference};
use oxbox_layers::store::Layout;
use oxbox_layers::tar::{Entry, Reader};
use oxbox_layers::validate::validate;

/// Bases are what earlier builds of a test named, and web servers serve a folder.
struct Local {
    store: Arc<Layout>,
    served: PathBuf,
}

impl Fetch for Local {
    fn base(&self, reference: &Reference, _platform: &Platform) -> Result<Descriptor, FetchError> {
        let found = self.store.resolve(&reference.to_string()).unwrap();
        let missing = || FetchError::Image { reference: reference.familiar(), source: "not here".into() };
        found.ok_or_else(missing)
    }

    fn layer(&self, layer: &Descriptor) -> Result<(), FetchError> {
        Err(FetchError::Layer { digest: layer.digest, source: "every image here is whole".into() })
    }

    /// The file of the path's name, whatever the host; its ETag is its content.
    fn url(&self, request: &UrlRequest<'_>, into: &mut fs::File) -> Result<Downloaded, FetchError> {
        let path = request.url.splitn(4, '/').nth(3).unwrap_or_default();
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = self.served.join(if path.is_empty() { "index" } else { path });
        let failed = |source| FetchError::Url { url: request.url.to_owned(), source: Box::new(source) };
        let body = fs::read(path).map_err(failed)?;
        let etag = Some(format!("{body:?}"));
        if etag == request.at_hand.etag {
            return Ok(Downloaded::Unchanged);
        }
        into.write_all(&body).map_err(failed)?;
        let last_modified = body.starts_with(b"dated").then(|| "Thu, 01 Jan 1970 00:01:40 GMT".to_owned());
        Ok(Downloaded::Body(Validators { etag, last_modified }))
    }
}

/// Titles of what was made and of what the cache had.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::Cached { title, .. } => format!("cached {title}"),
            Event::Done { title, .. } => format!("made {title}"),
            Event::Failed { title, .. } => format!("failed {title}"),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

pub(crate) struct Room {
    pub(crate) folder: Folder,
    pub(crate) store: Arc<Layout>,
}

/// A room's folder: this process's own, or another's.
pub(crate) enum Folder {
    Own(tempfile::TempDir),
    Other(PathBuf),
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Other(folder) => folder,
        }
    }
}

impl Room {
    /// Opens the room of another process.
    pub(crate) fn open(folder: &Path) -> Self {
        let store = Arc::new(Layout::open(folder.join("state/store")).unwrap());
        Self { folder: Folder::Other(folder.to_owned()), store }
    }

    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("context")).unwrap();
        let store = Arc::new(Layout::create(folder.path().join("state/store")).unwrap());
        Self { folder: Folder::Own(folder), store }
    }

    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.folder.path().join("context").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// A file that `http://anything/<name>` leads to.
    pub(crate) fn serve(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let folder = self.folder.path().join("served");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), content).unwrap();
        self
    }

    /// A path of the context.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("context").join(path)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn request(&self, name: &str) -> Request {
        Request {
            state: self.folder.path().join("state"),
            store: Arc::clone(&self.store),
            context: self.folder.path().join("context"),
            contexts: BTreeMap::new(),
            dockerfile: None,
            ignore: None,
            origin: Origin::default(),
            options: Options::default(),
            names: vec![name.parse::<Reference>().unwrap().or_latest()],
            forms: vec![Form::plain(Compression::default())],
            files: Vec::new(),
            secrets: Secrets::default(),
            agents: Agents::default(),
            surroundings: Default::default(),
            times: Times::Cut(DEFAULT_EPOCH),
            reuse: Reuse::Allowed,
            caches: oxbox_builder::depot::Caches::default(),
            jobs: NonZero::new(2).unwrap(),
        }
    }

    pub(crate) fn run(&self, request: &Request) -> (Result<Exported, BuildError>, Vec<String>) {
        let heard = Heard::default();
        let result = build(request, &self.fetch(), &heard, &Interrupt::new());
        let result = result.map(|mut images| images.remove(0));
        (result, heard.0.into_inner().unwrap())
    }

    fn fetch(&self) -> Arc<dyn Fetch> {
        Arc::new(Local { store: Arc::clone(&self.store), served: self.folder.path().join("served") })
    }

    /// Runs a build that was given up before it began.
    pub(crate) fn run_interrupted(&self, request: &Request) -> Result<Exported, BuildError> {
        let interrupt = Interrupt::new();
        interrupt.send(15);
        build(request, &self.fetch(), &Heard::default(), &interrupt).map(|mut images| images.remove(0))
    }

    pub(crate) fn build(&self, dockerfile: &str) -> Image {
        self.file("Dockerfile", dockerfile);
        let exported = self.run(&self.request("localhost/test")).0.unwrap();
        let faults = validate(&*self.store, &exported.manifest).faults;
        assert!(faults.is_empty(), "{faults:?}");
        Image::load(&*self.store, &exported.manifest).unwrap()
    }

    pub(crate) fn error(&self, dockerfile: &str) -> String {
        self.file("Dockerfile", dockerfile);
        let error = self.run(&self.request("localhost/test")).0.unwrap_err();
        assert_eq!(self.store.names().unwrap(), [], "a failed build names nothing");
        causes(&error)
    }

    /// Entries of one layer, with the content of files.
    pub(crate) fn entries(&self, image: &Image, layer: usize) -> Vec<(Entry, String)> {
        let mut reader = Reader::new(image.layers[layer].open_tar(&*self.store).unwrap());
        let mut entries = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            let mut content = String::new();
            reader.read_to_string(&mut content).unwrap();
            entries.push((entry, content));
        }
        entries
    }

    pub(crate) fn paths(&self, image: &Image, layer: usize) -> Vec<String> {
        let entries = self.entries(image, layer);
        entries.into_iter().map(|(entry, _)| String::from_utf8(entry.path).unwrap()).collect()
    }
}

pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", causes(cause)),
        None => error.to_string(),
    }
}
