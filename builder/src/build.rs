//! A whole build: Dockerfile and context in, a named image in the store out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxbox_layers::compress::Compression;
use oxbox_layers::image::{Image, ImageError};
use oxbox_layers::oci::{Config, Descriptor, Platform, Reference};
use oxbox_layers::store::{Layout, StoreError};

use crate::context::find::FindError;
use crate::context::{Directory, Ignore, Scratch, TreeError};
use crate::definition::{Definition, Origin};
use crate::depot::{self, Caches, Stocks};
use crate::dockerfile::SourceFile;
use crate::exec::network::NoConnector;
use crate::exec::rung::{self, Standing};
use crate::exec::{Failure, Interrupt};
use crate::export::files::{self, Files, Filesystem};
use crate::export::form::Form;
use crate::export::{ExportError, Exported, export};
use crate::fetch::{Fetch, FetchError};
use crate::lazy::Lazy;
use crate::lent::{Agents, Lent, Secrets};
use crate::lint::{self, Checked, Rule};
use crate::mounts::{Mounts, MountsError};
use crate::op::git::Repositories;
use crate::op::run::{self, Copies, Surroundings};
use crate::plan::graph::{Op, Vertex};
use crate::plan::{self, Base, Bases, Graph, LayoutImage, Plan, ResultForm};
use crate::progress::{Event, Progress};
use crate::snapshot::{ByRung, SnapshotError, Snapshotter as _};
use crate::solve::explain;
use crate::solve::schedule::Stopped;
use crate::solve::{
    self, Answered, Asked, Cache, CacheError, Cancel, Explanation, Indexes, IndexesError, Key, LockError,
    Locks, Reuse, SolveError, Workshop, stood_on,
};

/// The latest time that a new layer carries unless told otherwise: 1980-01-01, the earliest that every
/// archive format can hold. zip cannot hold 1970, and Python refuses to write such a file into one.
pub const DEFAULT_EPOCH: i64 = 315_532_800;

/// What is asked for.
#[derive(Clone)]
pub struct Request {
    /// Folder of the state: cache, snapshots, indexes.
    pub state: PathBuf,
    /// Where images are.
    pub store: Arc<Layout>,
    /// The main build context.
    pub context: PathBuf,
    /// Other contexts by name.
    pub contexts: BTreeMap<String, PathBuf>,
    /// The Dockerfile, if it is not the context's.
    pub dockerfile: Option<PathBuf>,
    /// The ignore file, if it is not the usual one.
    pub ignore: Option<PathBuf>,
    /// Where context and Dockerfile come from, if not from this machine.
    pub origin: Origin,
    /// What the plan depends on.
    pub options: plan::Options,
    /// Names that the image of the first form gets in the store.
    pub names: Vec<Reference>,
    /// What images are made like; one of each. Layers are made as the first one wants them.
    pub forms: Vec<Form>,
    /// Where the result's files go, if anywhere.
    pub files: Vec<Files>,
    /// Secrets for RUN and for what comes from elsewhere.
    pub secrets: Secrets,
    /// SSH agents for RUN.
    pub agents: Agents,
    /// What becomes of times.
    pub times: Times,
    /// What is given to every RUN.
    pub surroundings: Surroundings,
    /// Whether the cache answers.
    pub reuse: Reuse,
    /// Caches elsewhere.
    pub caches: Caches,
    /// How many vertices are made at once.
    pub jobs: NonZero<usize>,
}

/// What becomes of the times of new layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// None is later than this, in seconds since 1970; and this is when the image was made.
    Cut(i64),
    /// As the Dockerfile says, else cut at [`DEFAULT_EPOCH`].
    AsPlanned,
    /// They are what they are: the same inputs do not make the same image again.
    Keep,
}

impl Times {
    /// The latest time that an entry of a new layer may carry, and when the image was made.
    fn of(self, plan: &Plan, now: i64) -> (i64, i64) {
        match self {
            Self::Cut(epoch) => (epoch, epoch),
            Self::AsPlanned => {
                let epoch = plan.epoch.unwrap_or(DEFAULT_EPOCH);
                (epoch, epoch)
            }
            Self::Keep => (i64::MAX, now),
        }
    }
}

/// Why a build fails.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant carries its own room's error")]
pub enum BuildError {
    /// A base image cannot be had: the text shows the line and the causes.
    #[error("{rendered}")]
    Base { rendered: String },
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The Dockerfile says `# check=error=true`, and something was found.
    #[error("checks failed: {}", .rules.iter().map(|rule| rule.name()).collect::<Vec<_>>().join(", "))]
    Checks { rules: Vec<Rule> },
    #[error("cannot write the cache that is to go elsewhere")]
    Caches { source: ExportError },
    #[error(transparent)]
    Context(#[from] TreeError),
    /// The Dockerfile cannot be understood: the text shows lines and carets.
    #[error("{rendered}")]
    Dockerfile { rendered: String },
    #[error("cannot write the image")]
    Export { source: ExportError },
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Indexes(#[from] IndexesError),
    #[error(transparent)]
    Locks(#[from] LockError),
    #[error(transparent)]
    Network(#[from] NoConnector),
    #[error("the build was interrupted")]
    Interrupted,
    /// Nothing runs programs here, and there is a RUN; nothing was made.
    #[error("{file}:{line}: RUN cannot work here{}", reasons(.standing))]
    NoIsolation { file: String, line: usize, standing: Standing },
    /// A RUN wants what cannot be had here; nothing was made.
    #[error("{file}:{line}: RUN cannot have what it wants")]
    Unable { file: String, line: usize, source: Failure },
    #[error(transparent)]
    Mounts(#[from] MountsError),
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// A step failed; `title` is how progress calls it.
    #[error("{file}:{line}: {title} failed")]
    Step { file: String, line: usize, title: String, source: Box<SolveError> },
    #[error("cannot {verb} {}", .path.display())]
    State { verb: &'static str, path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why there is no way to run programs.
fn reasons(standing: &Standing) -> String {
    let reasons: Vec<_> =
        standing.not_taken.iter().map(|one| format!("{} ({})", one.rung, one.reason)).collect();
    match reasons.as_slice() {
        [] => ": isolation none was asked for".to_owned(),
        reasons => format!(": no isolation works: {}", reasons.join(", ")),
    }
}

/// Builds an image.
///
/// Blocks until it is in the store, or nothing is named. Returns the images, one of each form; those
/// without a name may be swept once the request's store is closed.
pub fn build(
    request: &Request,
    fetch: &Arc<dyn Fetch>,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Vec<Exported>, BuildError> {
    let definition = Definition::read(
        &request.context,
        request.dockerfile.as_deref(),
        request.ignore.as_deref(),
        &request.origin,
    )?;
    let store = Arc::new(Lazy::new(Arc::clone(&request.store), Arc::clone(fetch)));
    let plan = read_plan(&definition, request, &store, fetch, progress)?;
    let file = PathBuf::from(&definition.name);
    check_runs(&plan.graph, &file, &request.surroundings)?;
    let (fresh, places) = fresh(&definition, &plan.graph, request, progress);
    let (epoch, created) = request.times.of(&plan, jiff::Timestamp::now().as_second());
    let listeners = (&**fetch, progress);
    let mut workshop = workshop(request, store, (definition.ignore, epoch), listeners, interrupt)?;
    workshop.surroundings = run::prepare(&workshop.surroundings, &plan.graph, &request.state, progress)?;
    workshop.stood_on = stood_on(&plan.graph);
    let targets = plan.results.iter().map(|result| result.vertex).collect();
    let asked = Asked { graph: &plan.graph, targets, fresh, places, jobs: request.jobs };
    let answered = solve(&asked, &workshop, &file);
    // Also of a build that failed: it is the next one that is waited for.
    workshop.contexts.values().for_each(|context| context.remember());
    let answered = answered?;
    if interrupt.is_sent() {
        return Err(BuildError::Interrupted);
    }
    let images = write(&workshop, &plan, &answered, (request, created))
        .map_err(|source| BuildError::Export { source })?;
    depot::share(&workshop, &plan, &answered, &request.caches)
        .map_err(|source| BuildError::Caches { source })?;
    let explanation = Explanation { dockerfile: file.display().to_string(), steps: answered.told };
    if let Some(first) = images.first() {
        explanation.remember(&first.manifest.digest.to_string(), &workshop.cache, workshop.now)?;
    }
    progress.event(Event::Explained { explanation: &explanation });
    if let Some(first) = images.first().filter(|_| !request.names.is_empty()) {
        request.store.update(|entries| {
            for name in &request.names {
                entries.tag(&name.to_string(), &first.manifest);
            }
        })?;
    }
    Ok(images)
}

/// Writes all that is wanted of the result.
fn write(
    workshop: &Workshop<'_>,
    plan: &Plan,
    answered: &Answered,
    (request, created): (&Request, i64),
) -> Result<Vec<Exported>, ExportError> {
    let filesystems = plan.results.iter().map(|result| {
        let layers = answered.solved[result.vertex.0].layers().as_slice();
        match plan.form {
            ResultForm::Image => Filesystem { folder: None, layers },
            ResultForm::Index => Filesystem::of_platform(&result.config.platform(), layers),
        }
    });
    let filesystems: Vec<_> = filesystems.collect();
    for files in &request.files {
        files::write(workshop, &filesystems, files)?;
    }
    request.forms.iter().map(|form| export(workshop, plan, answered, created, form)).collect()
}

/// Refuses RUN where nothing runs programs, before anything is made.
fn check_runs(graph: &Graph, file: &Path, surroundings: &Surroundings) -> Result<(), BuildError> {
    let file = || file.display().to_string();
    let is_run = |vertex: &&Vertex| matches!(vertex.op, Op::Run(_));
    if let Some(vertex) = graph.vertices.iter().find(is_run).filter(|_| rung::is_refused()) {
        let standing = rung::standing().clone();
        return Err(BuildError::NoIsolation { file: file(), line: vertex.line, standing });
    }
    for vertex in &graph.vertices {
        if let Op::Run(run) = &vertex.op
            && let Some(source) = run::unable(run, surroundings)
        {
            return Err(BuildError::Unable { file: file(), line: vertex.line, source });
        }
    }
    Ok(())
}

/// Plans the Dockerfile, and checks it while its base images are at hand.
fn read_plan(
    definition: &Definition,
    request: &Request,
    store: &Lazy,
    fetch: &Arc<dyn Fetch>,
    progress: &dyn Progress,
) -> Result<Plan, BuildError> {
    let (name, text) = (definition.name.as_str(), definition.text.as_str());
    let mut bases = StoreBases { fetch: &**fetch, store, known: HashMap::new() };
    let plan = plan::plan(&definition.file, text, &request.options, &mut bases).map_err(|error| {
        let rendered = error.render(name, text);
        match error.are_of_bases() {
            true => BuildError::Base { rendered },
            false => BuildError::Dockerfile { rendered },
        }
    })?;
    let known = |reference: &Reference, platform: &Platform| {
        bases.known.get(&(reference.to_string(), platform.clone())).cloned()
    };
    let (options, ignore) = (&request.options, &definition.ignore);
    let context = lint::Context { options, ignore, base: &known, stages: lint::Stages::Target };
    let checked = lint::check(&definition.file, &context)
        .map_err(|error| BuildError::Dockerfile { rendered: error.render(name, text) })?;
    for warning in plan.warnings.iter().chain(&checked.notes) {
        progress.event(Event::Warning { message: &warning.render(name, text) });
    }
    tell(&checked, definition, progress)?;
    Ok(plan)
}

/// Tells what the checks found, in a line each: `--check` shows more.
fn tell(checked: &Checked, definition: &Definition, progress: &dyn Progress) -> Result<(), BuildError> {
    let found = match checked.findings.len() {
        0 => return Ok(()),
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    let source = SourceFile::new(definition.name.as_str(), definition.text.as_str());
    let mut lines = vec![format!("warning: {found} of checks (build --check shows the lines):")];
    lines.extend(checked.findings.iter().map(|finding| {
        let line = source.position(finding.span.start).line;
        format!(" - {}: {} (line {line})", finding.rule, finding.message)
    }));
    progress.event(Event::Warning { message: &lines.join("\n") });
    match checked.errors() {
        rules if rules.is_empty() => Ok(()),
        rules => Err(BuildError::Checks { rules }),
    }
}

/// Base images by way of the local store.
struct StoreBases<'a> {
    fetch: &'a dyn Fetch,
    store: &'a Lazy,
    /// Configs of those that were asked for.
    known: HashMap<(String, Platform), Config>,
}

impl Bases for StoreBases<'_> {
    fn base(&mut self, reference: &Reference, platform: &Platform) -> Result<Base, FetchError> {
        let manifest = self.fetch.base(reference, platform)?;
        let base = self.load(manifest).map_err(|source| {
            let (reference, source) = (reference.familiar(), Box::new(source));
            FetchError::Image { reference, source }
        })?;
        self.known.insert((reference.to_string(), platform.clone()), base.config.clone());
        Ok(base)
    }

    fn layout(&mut self, image: &LayoutImage, platform: &Platform) -> Result<Base, FetchError> {
        let manifest = self.fetch.layout(image, platform)?;
        self.load(manifest).map_err(|source| {
            let (folder, source) = (image.folder.clone(), Box::new(source));
            FetchError::Layout { folder, source }
        })
    }
}

impl StoreBases<'_> {
    fn load(&self, manifest: Descriptor) -> Result<Base, ImageError> {
        let image = Image::load(self.store, &manifest)?;
        self.store.expect(image.layers.iter().map(|layer| layer.descriptor.clone()));
        let config = image.config.view().clone();
        Ok(Base { manifest, config })
    }
}

fn workshop<'a>(
    request: &Request,
    store: Arc<Lazy>,
    (ignore, epoch): (Ignore, i64),
    (fetch, progress): (&'a dyn Fetch, &'a dyn Progress),
    interrupt: &Interrupt,
) -> Result<Workshop<'a>, BuildError> {
    let state = &request.state;
    let spool = state.join("tmp");
    std::fs::create_dir_all(&spool).map_err(|source| BuildError::State {
        verb: "make",
        path: spool.clone(),
        source,
    })?;
    let snapshots = Box::new(ByRung::open(state)?);
    snapshots.sweep()?;
    if let Err(error) = Scratch::sweep(state) {
        tracing::warn!(%error, "cannot remove what killed builds left");
    }
    if let Err(error) = request.store.sweep_leftovers() {
        tracing::warn!(%error, "cannot remove what killed builds wrote into the store");
    }
    let stat = state.join("stat");
    let open = |path: &Path, ignore| {
        let context = Directory::open(path, ignore)?;
        Ok::<_, TreeError>(Arc::new(match request.reuse {
            // What was brought from elsewhere goes with this build, and so does what is known of it.
            _ if Scratch::holds(state, path) => context,
            Reuse::Allowed | Reuse::Except(_) => context.remembering(&stat),
            Reuse::Forbidden => context.learning(&stat),
        }))
    };
    let mut contexts = BTreeMap::from([(None, open(&request.context, ignore)?)]);
    for (name, path) in &request.contexts {
        // The ignore file is the main context's alone.
        contexts.insert(Some(name.clone()), open(path, Ignore::default())?);
    }
    let stocks = Stocks::new(&request.caches, fetch, Arc::clone(&store), progress);
    Ok(Workshop {
        store,
        stocks,
        cache: open_cache(state, progress)?,
        indexes: Indexes::open(&state.join("indexes"))?,
        snapshots,
        stood_on: HashSet::new(),
        mounts: cache_mounts(state)?,
        copies: Copies::new(state),
        secrets: request.secrets.clone(),
        agents: request.agents.clone(),
        contexts,
        fetch,
        repositories: Repositories::new(state, interrupt).lending(lent(request)),
        spool,
        compression: request.forms.first().map_or(Compression::None, |form| form.compression),
        threads: std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
        epoch,
        reuse: request.reuse.clone(),
        locks: Locks::open(&state.join("locks/steps"))?,
        now: jiff::Timestamp::now().as_second(),
        interrupt: interrupt.clone(),
        surroundings: request.surroundings.clone(),
        progress,
    })
}

fn lent(request: &Request) -> Lent {
    Lent { secrets: request.secrets.clone(), agents: request.agents.clone() }
}

/// Returns the cache mounts of a state, without what killed processes left unfinished.
fn cache_mounts(state: &Path) -> Result<Mounts, MountsError> {
    let mounts = Mounts::new(state);
    mounts.sweep()?;
    Ok(mounts)
}

/// Opens the cache. One that cannot be opened is done without, unless there is no room for anything at all.
fn open_cache(state: &Path, progress: &dyn Progress) -> Result<Cache, CacheError> {
    Cache::open(&state.join("cache.db")).or_else(|error| {
        if error.is_full() {
            return Err(error);
        }
        let message = format!("building without a cache: {error}: {}", error.source);
        progress.event(Event::Warning { message: &message });
        Ok(Cache::nowhere())
    })
}

/// Returns which vertices must be made again, and what is the place of each. Warns of stages that are
/// named and not there.
fn fresh(
    definition: &Definition,
    graph: &Graph,
    request: &Request,
    progress: &dyn Progress,
) -> (Vec<bool>, Vec<Key>) {
    let outline = plan::stages::outline(&definition.file);
    for name in request.reuse.unknown(&outline) {
        let message = format!("warning: there is no stage {name:?} that could be made again");
        progress.event(Event::Warning { message: &message });
    }
    let source = SourceFile::new(definition.name.as_str(), definition.text.as_str());
    let fresh = request.reuse.fresh(graph, &outline, &source);
    // What was brought from elsewhere lies somewhere else each time.
    let scratch = request.state.join("scratch");
    let whence = |path: &'_ Path, name: &'_ str| match path.starts_with(&scratch) {
        true => PathBuf::from(name),
        false => path.to_owned(),
    };
    let context = whence(&request.context, "");
    let dockerfile = whence(&definition.path, &definition.name);
    (fresh, explain::places(graph, &outline, &source, &context, &dockerfile))
}

fn solve(asked: &Asked<'_>, workshop: &Workshop<'_>, file: &Path) -> Result<Answered, BuildError> {
    /// SIGKILL: what else runs has nobody left to work for.
    const KILL: u8 = 9;
    let graph = asked.graph;
    workshop.progress.event(Event::Planned { graph });
    let cancel = Cancel::and_then(|| {
        // What is under way is of use when the rest is begun anew.
        if !workshop.stocks.is_shaken() {
            workshop.interrupt.send(KILL);
        }
    });
    solve::solve(workshop, asked, &cancel).map_err(|stopped| match stopped {
        Stopped::Cancelled | Stopped::Failed { error: SolveError::Interrupted, .. } => {
            BuildError::Interrupted
        }
        Stopped::Failed { vertex, error } => {
            let vertex = &graph.vertices[vertex];
            let (title, source) = (vertex.title.clone(), Box::new(error));
            BuildError::Step { file: file.display().to_string(), line: vertex.line, title, source }
        }
    })
}
