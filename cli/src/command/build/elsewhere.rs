//! Contexts and Dockerfiles from elsewhere, at hand before the build begins.
//!
//! ```text
//! CONTEXT               a folder │ - (a tar, or a Dockerfile) │ a tar │ URL of either │ git repository
//! --file                a file   │ - │ URL
//! --build-context N=    a folder │ URL of a tar │ git repository          images and stages are the plan's
//! ```
//!
//! What is there as a folder or a file is that one, whatever else its name could mean.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use oxbox_builder::context::find::Reach;
use oxbox_builder::context::{Accept, Bringer, Brought};
use oxbox_builder::lent::Lent;
use oxbox_builder::plan::graph::Git;
use oxbox_builder::plan::remote::{self, Remote, RemoteError, Repository};
use oxbox_builder::{Downloaded, FetchError, Given, Origin, UrlRequest, exec};
use oxbox_copy::client::Client;
use tokio::runtime::Runtime;

use super::OptionError;
use crate::fetch::web::download;
use crate::interrupt::{Interrupt, Interrupted};
use crate::registries::Registry;
use crate::runtime;
use crate::settings::Root;

/// What messages call standard input.
const INPUT: &str = "standard input";

/// What the options of a build name.
pub(super) struct Named<'a> {
    pub(super) context: &'a Path,
    pub(super) file: Option<&'a Path>,
    /// Folders, URLs and repositories by name.
    pub(super) contexts: BTreeMap<String, String>,
    /// Whether `.git` of a context is kept that does not say.
    pub(super) keeps_git_dir: bool,
}

/// What a build reads, on this machine. Dropping it removes what came from elsewhere.
pub(super) struct AtHand {
    pub(super) context: PathBuf,
    pub(super) contexts: BTreeMap<String, PathBuf>,
    pub(super) file: Option<PathBuf>,
    pub(super) origin: Origin,
    /// Time of the main context, if it has one.
    pub(super) time: Option<i64>,
    brought: Vec<Brought>,
}

/// What one name means.
enum Place {
    /// A folder or a file of this machine; whether it is there is found out by who opens it.
    Here,
    Input,
    Tar,
    Url(String),
    Git(Git),
}

/// What cannot be used as a context.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} cannot be used as a context")]
pub(crate) struct PlaceError {
    /// What was written, cut and without credentials.
    text: String,
    /// What is wrong with it.
    #[source]
    source: RemoteError,
}

impl Named<'_> {
    /// Brings all that is elsewhere.
    pub(super) fn gather(&self, root: &Root, registry: &Registry, lent: &Lent) -> anyhow::Result<AtHand> {
        let context = self.context()?;
        let file = self.file.map(Self::file).unwrap_or(Place::Here);
        if matches!((&context, &file), (Place::Input, Place::Input)) {
            return Err(OptionError::InputTwice.into());
        }
        let mut at_hand = AtHand {
            context: self.context.to_owned(),
            contexts: BTreeMap::new(),
            file: self.file.map(Path::to_owned),
            origin: Origin::default(),
            time: None,
            brought: Vec::new(),
        };
        let bring = Bring { root, registry, lent, elsewhere: std::cell::OnceCell::new() };
        // Before anything catches signals: a read from a terminal is not ended by any.
        if let Place::Input = file {
            let brought = bring.here(INPUT, &mut io::stdin().lock(), Accept::Dockerfile)?;
            at_hand.give(brought, INPUT);
        }
        if let Some((brought, name)) = bring.context(&context, self.context, Accept::ArchiveOrDockerfile)? {
            at_hand.stand_on(brought, name);
        }
        if let Place::Url(url) = &file {
            at_hand.give(bring.url(url, Accept::Dockerfile)?, &oxbox_builder::fetch::shown(url));
        }
        for (name, text) in &self.contexts {
            let folder = match self.place(text, remote::parse)? {
                Place::Here | Place::Input => PathBuf::from(text),
                place => match bring.context(&place, Path::new(text), Accept::Archive)? {
                    Some((brought, _)) => at_hand.keep(brought),
                    None => PathBuf::from(text),
                },
            };
            at_hand.contexts.insert(name.clone(), folder);
        }
        Ok(at_hand)
    }

    fn context(&self) -> anyhow::Result<Place> {
        match self.context.to_str() {
            Some("-") => Ok(Place::Input),
            Some(text) => self.place(text, remote::parse_context),
            None => Ok(Place::Here),
        }
    }

    fn file(file: &Path) -> Place {
        match file.to_str() {
            Some("-") => Place::Input,
            Some(text) if text.starts_with("http://") || text.starts_with("https://") => {
                Place::Url(text.to_owned())
            }
            _ => Place::Here,
        }
    }

    fn place(
        &self,
        text: &str,
        parse: impl Fn(&str) -> Result<Option<Remote>, RemoteError>,
    ) -> anyhow::Result<Place> {
        let path = Path::new(text);
        if path.is_file() {
            return Ok(Place::Tar);
        }
        if path.exists() {
            return Ok(Place::Here);
        }
        let odd = |source| PlaceError {
            text: oxbox_builder::fetch::shown(text).chars().take(160).collect(),
            source,
        };
        Ok(match parse(text).map_err(odd)? {
            None => Place::Here,
            Some(Remote::Http { url, .. }) => Place::Url(url),
            Some(Remote::Git(repository)) => Place::Git(self.git(repository)),
        })
    }

    fn git(&self, repository: Repository) -> Git {
        let Repository { remote, reference, folder, commit, keep_git_dir, submodules } = repository;
        Git {
            remote,
            reference,
            folder,
            commit,
            keep_git_dir: keep_git_dir.unwrap_or(self.keeps_git_dir),
            without_submodules: submodules == Some(false),
        }
    }
}

impl AtHand {
    /// Takes a Dockerfile that came alone.
    fn give(&mut self, brought: Brought, name: &str) {
        if let Some(path) = &brought.dockerfile {
            self.origin.given = Some(Given { path: path.clone(), name: name.to_owned() });
            self.file = None;
        }
        self.keep(brought);
    }

    /// Takes the main context.
    fn stand_on(&mut self, brought: Brought, name: String) {
        self.origin.reach = Reach::Context;
        self.time = brought.time;
        // One that names its own Dockerfile besides is answered by what is not in the context.
        if self.file.is_none()
            && self.origin.given.is_none()
            && let Some(path) = &brought.dockerfile
        {
            self.origin.given = Some(Given { path: path.clone(), name });
        }
        self.context = self.keep(brought);
    }

    fn keep(&mut self, brought: Brought) -> PathBuf {
        let folder = brought.folder.clone();
        self.brought.push(brought);
        folder
    }
}

/// How things are brought.
struct Bring<'a> {
    root: &'a Root,
    registry: &'a Registry,
    lent: &'a Lent,
    elsewhere: std::cell::OnceCell<Elsewhere>,
}

/// The network, and whoever may end what goes on there.
struct Elsewhere {
    runtime: Runtime,
    signals: Interrupt,
    programs: exec::Interrupt,
    client: Client,
}

impl Bring<'_> {
    /// Brings a main or a named context, and returns it with what messages call it.
    fn context(
        &self,
        place: &Place,
        path: &Path,
        accept: Accept,
    ) -> anyhow::Result<Option<(Brought, String)>> {
        Ok(match place {
            Place::Here => None,
            Place::Input => {
                let brought = self.here(INPUT, &mut io::stdin().lock(), accept)?;
                Some((brought, INPUT.to_owned()))
            }
            Place::Tar => {
                let name = path.display().to_string();
                let failed = |source| OptionError::ContextFile { name: name.clone(), source };
                let mut file = File::open(path).map_err(failed)?;
                Some((self.here(&name, &mut file, Accept::Archive)?, name))
            }
            Place::Url(url) => Some((self.url(url, accept)?, oxbox_builder::fetch::shown(url))),
            Place::Git(git) => {
                let brought = self.elsewhere(|bringer| Ok(bringer.repository(git)?))?;
                Some((brought, oxbox_builder::fetch::shown(&git.remote)))
            }
        })
    }

    fn url(&self, url: &str, accept: Accept) -> anyhow::Result<Brought> {
        self.elsewhere(|bringer| Ok(bringer.url(url, accept)?))
    }

    /// Brings what is on this machine already. A signal ends the process; the next build removes the rest.
    fn here(&self, name: &str, content: &mut dyn io::Read, accept: Accept) -> anyhow::Result<Brought> {
        let interrupt = exec::Interrupt::new();
        let download = |request: &UrlRequest<'_>, _: &mut File| {
            Err(FetchError::NoDownloads { url: oxbox_builder::fetch::shown(request.url) })
        };
        let (state, lent) = (self.root.path(), self.lent);
        let bringer = Bringer { state, download: &download, interrupt: &interrupt, lent };
        Ok(bringer.stream(name, content, accept)?)
    }

    fn elsewhere<T>(&self, work: impl FnOnce(&Bringer<'_>) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let elsewhere = match self.elsewhere.get() {
            Some(elsewhere) => elsewhere,
            None => {
                let started = Elsewhere::start(self.registry)?;
                self.elsewhere.get_or_init(|| started)
            }
        };
        let download = |request: &UrlRequest<'_>, into: &mut File| elsewhere.download(request, into);
        let (state, lent) = (self.root.path(), self.lent);
        let bringer = Bringer { state, download: &download, interrupt: &elsewhere.programs, lent };
        match work(&bringer) {
            // Whatever it failed with, a signal is why.
            Err(_) if elsewhere.signals.has_happened() => Err(Interrupted.into()),
            done => done,
        }
    }
}

impl Elsewhere {
    fn start(registry: &Registry) -> anyhow::Result<Self> {
        let (signals, runtime) = (Interrupt::watch()?, runtime::start()?);
        let programs = exec::Interrupt::new();
        runtime.spawn(super::pass_on(signals.clone(), programs.clone()));
        Ok(Self { runtime, signals, programs, client: registry.web() })
    }

    fn download(&self, request: &UrlRequest<'_>, into: &mut File) -> Result<Downloaded, FetchError> {
        let downloaded: anyhow::Result<Downloaded> = self.runtime.block_on(async {
            tokio::select! {
                downloaded = download(&self.client, request, into) => downloaded,
                () = self.signals.clone().happened() => Err(Interrupted.into()),
            }
        });
        downloaded.map_err(|error| FetchError::Url {
            url: oxbox_builder::fetch::shown(request.url),
            source: error.into_boxed_dyn_error(),
        })
    }
}
