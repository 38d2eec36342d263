//! `oxbox build`: an image from a Dockerfile.

mod agents;
mod ahead;
mod caches;
mod caching;
mod deliver;
mod edits;
mod elsewhere;
mod exporter;
mod failure;
mod familiar;
mod inputs;
mod listen;
mod metadata;
mod outputs;
mod sandbox;
mod secrets;
mod shown;
mod tidying;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use oxbox_builder::lent::Lent;
use oxbox_builder::plan;
use oxbox_builder::progress::Progress;
use oxbox_builder::solve::Explanation;
use oxbox_builder::verify::Verified;
use oxbox_builder::{Exported, Fetch, Request, exec};
use oxbox_layers::compress::CompressionError;
use oxbox_layers::oci::{Digest, Reference};
use oxbox_layers::store::Layout;
use serde::Serialize;

use super::call::{Call, Question};
use crate::args::{Output, State};
use crate::fetch::{Layers, Puller};
use crate::interrupt::{Interrupt, Interrupted};
use crate::progress::Building;
use crate::registries::{Login, Registry};
use crate::settings::{Root, Settings};
use crate::{output, runtime, terminal};
pub(crate) use agents::AgentError;
use agents::Agents;
use ahead::Ahead;
use caching::{Caching, Explain};
use deliver::Carrier;
use elsewhere::AtHand;
pub(crate) use elsewhere::PlaceError;
use familiar::Familiar;
use inputs::Inputs;
use listen::{Given, Kept, Listening};
use outputs::{Format, Outputs, Wanted};
use sandbox::Sandbox;
pub(crate) use sandbox::{SecurityError, VolumeError};
pub(crate) use secrets::SecretError;
use shown::Shown;
use tidying::Tidying;

/// Options of `oxbox build`.
#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    caching: Caching,
    #[command(flatten)]
    sandbox: Sandbox,
    #[command(flatten)]
    familiar: Familiar,
    #[command(flatten)]
    tidying: Tidying,
    /// Check the Dockerfile and build nothing: --call=check.
    #[arg(long, conflicts_with = "call")]
    check: bool,
    /// What to do instead of building: check, outline (what a build can be given) or targets (what can be built).
    #[arg(long, value_name = "METHOD[,format=text|json|sarif]")]
    call: Option<Call>,
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    login: Login,
    #[command(flatten)]
    state: State,
}

/// An option of a build that makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionError {
    /// The level is none of the format's.
    #[error("--compression-level cannot be used")]
    Compression(#[from] CompressionError),
    /// A file of arguments cannot be read.
    #[error("cannot read {}", .path.display())]
    ArgumentFile {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A line of it has no name.
    #[error("{}, line {line}: an argument has no name", .path.display())]
    ArgumentLine {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// A named context is nothing that can be one.
    #[error("--build-context {name:?} cannot be used")]
    Context {
        /// Which.
        name: String,
        /// What is wrong.
        #[source]
        source: plan::ContextError,
    },
    /// A file that is to be a context cannot be opened.
    #[error("cannot read {name}")]
    ContextFile {
        /// Which.
        name: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Nobody sits at a terminal.
    #[error("--on-error=shell needs a terminal at standard input and standard error")]
    NoTerminal,
    /// Memory and swap together are less than memory.
    #[error("--memory-swap ({both} bytes) counts memory too, and is less than --memory ({memory} bytes)")]
    SwapBelowMemory {
        /// Of memory.
        memory: u64,
        /// Of both.
        both: u64,
    },
    /// There is only one standard input.
    #[error("context and Dockerfile cannot both come from standard input")]
    InputTwice,
    /// There is nothing to call what is to be pushed.
    #[error("the image has no name to push it under")]
    Nameless,
    /// Docker's documents cannot say it.
    #[error("--annotation cannot be used with Docker's media types")]
    AnnotationsOfDocker,
    /// A pair has no name or no equals sign.
    #[error("--{option} {text:?} is not {form}")]
    Pair {
        /// Which option.
        option: &'static str,
        /// What it was given, cut.
        text: String,
        /// What it wants.
        form: &'static str,
    },
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Built {
    digest: Digest,
    /// Digest of the config: what other tools call the image id.
    config: Digest,
    names: Vec<String>,
    /// Why it came to be, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

/// Builds, and prints the digest.
pub(super) fn run(options: &Build, settings: &Settings) -> anyhow::Result<()> {
    let root = Root::of(&options.state)?;
    let mut plan = options.plan()?;
    let wanted = options.outputs.wanted()?.with_records(options.caching.inline());
    if !options.check && options.call.is_none() {
        options.sandbox.stand(root.path())?;
    }
    let agents = Agents::of(&options.sandbox.ssh)?;
    let lent = Lent { secrets: secrets::read(&options.sandbox.secret)?, agents: agents.sockets.clone() };
    let at_hand = options.inputs.places(plan.keeps_git_dir())?.gather(&root, &options.registry, &lent)?;
    plan.context_epoch = at_hand.time;
    if let Some(question) = options.question(&plan, &at_hand) {
        return question.answer(&root);
    }
    let programs = exec::Interrupt::new();
    let request = options.request(&root, plan, &wanted, (&at_hand, lent, &programs))?;
    let showing = options.shown.begin(settings, &request, &wanted.names())?;
    let explanation = Kept::default();
    let images = build(options, &request, &wanted, &root, (&showing.building, &explanation, &programs));
    let shown = showing.end(&images);
    let explanation = listen::kept(explanation);
    let built = images.and_then(|images| shown.and_then(|()| options.tell(&images, &wanted, explanation)));
    // From here on nobody is at work in the store on this build's behalf.
    drop(request);
    if built.as_ref().err().is_none_or(|error| !error.is::<Interrupted>()) {
        options.tidying.tidy(root.path());
    }
    built
}

fn build(
    options: &Build,
    request: &Request,
    wanted: &Wanted,
    root: &Root,
    (progress, explanation, programs): (&Arc<Building>, &Kept, &exec::Interrupt),
) -> anyhow::Result<Vec<Exported>> {
    let (signals, runtime) = (Interrupt::watch()?, runtime::start()?);
    runtime.spawn(pass_on(signals.clone(), programs.clone()));
    let fetch = Arc::new(Puller {
        store: Arc::clone(&request.store),
        root: root.clone(),
        registry: options.registry.clone(),
        login: options.login.clone(),
        pull: options.inputs.pull,
        layers: if wanted.is_only_pushed() { Layers::Leave } else { Layers::Bring },
        origins: Arc::default(),
        progress: Arc::clone(progress),
        runtime,
        interrupt: signals.clone(),
    });
    let fetching: Arc<dyn Fetch> = fetch.clone();
    let carrier = Carrier(&fetch);
    let destinations = fetch.runtime.block_on(carrier.registries(&wanted.pushed_as_made()))?;
    let ahead = Ahead::new(&fetch.runtime, progress.clone(), &request.store, destinations);
    let given = Given::default();
    let made = match options.outputs.verify {
        false => {
            let listening = Listening { inner: &ahead, explanation, given: &given };
            oxbox_builder::build(request, &fetching, &listening, programs).map_err(Into::into)
        }
        true => {
            let listening = Listening { inner: &**progress, explanation, given: &given };
            verify(request, &fetching, &listening, programs)
        }
    };
    let images = match made {
        // Whatever it failed with, a signal is why.
        Err(_) if signals.has_happened() => return Err(Interrupted.into()),
        made => made?,
    };
    fetch.runtime.block_on(async {
        tokio::select! {
            () = ahead.end() => {}
            () = signals.clone().happened() => return Err(Interrupted.into()),
        }
        for (exporter, form) in &wanted.exporters {
            let Some(image) = form.and_then(|form| images.get(form)) else { continue };
            tokio::select! {
                delivered = carrier.deliver(image, exporter) => delivered?,
                () = signals.clone().happened() => return Err(Interrupted.into()),
            }
        }
        tokio::select! {
            given = carrier.give(&options.caching, given) => given?,
            () = signals.clone().happened() => return Err(Interrupted.into()),
        }
        Ok(images)
    })
}

/// Builds twice; what differs is the error.
fn verify(
    request: &Request,
    fetch: &Arc<dyn Fetch>,
    progress: &dyn Progress,
    programs: &exec::Interrupt,
) -> anyhow::Result<Vec<Exported>> {
    match oxbox_builder::verify::verify(request, fetch, progress, programs)? {
        Verified::Same(images) => Ok(images),
        Verified::Different(lines) => Err(Irreproducible { lines }.into()),
    }
}

/// Two builds of the same did not make the same.
#[derive(Debug, thiserror::Error)]
#[error("the same build made two different images")]
pub(crate) struct Irreproducible {
    /// A line for each difference.
    pub(crate) lines: Vec<String>,
}

/// Has the programs of RUN end once a signal has come.
async fn pass_on(signals: Interrupt, programs: exec::Interrupt) {
    /// SIGTERM, whichever signal it was: to programs it means the same.
    const TERMINATE: u8 = 15;
    /// SIGKILL, for those that do not listen: who gave a build up waits for it.
    const KILL: u8 = 9;
    /// What a program has to tidy up.
    const GRACE: std::time::Duration = std::time::Duration::from_millis(700);
    signals.happened().await;
    programs.send(TERMINATE);
    tokio::time::sleep(GRACE).await;
    programs.send(KILL);
}

impl Build {
    /// Returns what is asked about the Dockerfile, unless it is to be built.
    fn question<'q>(&'q self, plan: &'q plan::Options, at_hand: &'q AtHand) -> Option<Question<'q>> {
        let call = if self.check { Call::CHECK } else { self.call? };
        let (method, format) = call.of(self.output)?;
        Some(Question {
            method,
            format,
            context: &at_hand.context,
            dockerfile: at_hand.file.as_deref(),
            origin: &at_hand.origin,
            ignore: self.inputs.ignorefile.as_deref(),
            options: plan,
        })
    }

    fn plan(&self) -> Result<plan::Options, OptionError> {
        let inputs = &self.inputs;
        let mut build_args: BTreeMap<_, _> = self.familiar.proxies().collect();
        build_args.extend(inputs.build_args()?);
        if let Some(epoch) = self.outputs.source_date_epoch {
            build_args.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert_with(|| epoch.to_string());
        }
        Ok(plan::Options {
            target: inputs.target.clone(),
            build_args,
            edits: self.outputs.edits.plan(),
            first_base: inputs.from.clone(),
            platforms: inputs.platforms(),
            emulated: plan::emulated(Path::new(plan::BINFMT_MISC)),
            network: self.sandbox.network(),
            hostname: self.sandbox.hostname(),
            machine: self.sandbox.machine(),
            contexts: inputs.contexts()?,
            allow: self.sandbox.allow.iter().copied().collect(),
            ..plan::Options::default()
        })
    }

    /// Prints what was built, and writes it where it is asked for.
    fn tell(
        &self,
        images: &[Exported],
        wanted: &Wanted,
        explanation: Option<Explanation>,
    ) -> anyhow::Result<()> {
        if let (Some(Explain::Text), Some(explanation)) = (self.caching.explain, &explanation) {
            terminal::say(super::why::explained(&explanation.steps).trim_end());
        }
        let outputs = &self.outputs;
        let Some(image) = images.first() else { return Ok(()) };
        let digest = image.manifest.digest;
        if let Some(path) = &outputs.iidfile {
            output::file(path, digest.to_string().as_bytes())?;
        }
        let names = wanted.names();
        if let Some(path) = &outputs.metadata_file {
            metadata::write(path, image, &names)?;
        }
        if wanted.takes_stdout() {
            return Ok(());
        }
        let names = names.iter().map(Reference::familiar).collect();
        let explained = self.caching.explain == Some(Explain::Json);
        let explanation = explanation.filter(|_| explained);
        match self.output.json || explained {
            true => output::json(&Built { digest, config: image.config.digest, names, explanation })?,
            false => output::line(&digest.to_string())?,
        }
        Ok(())
    }

    fn request(
        &self,
        root: &Root,
        options: plan::Options,
        wanted: &Wanted,
        (at_hand, lent, programs): (&AtHand, Lent, &exec::Interrupt),
    ) -> anyhow::Result<Request> {
        Ok(Request {
            forms: wanted.forms.clone(),
            files: wanted.files(),
            state: root.path().to_owned(),
            store: Arc::new(Layout::create(root.store())?),
            context: at_hand.context.clone(),
            contexts: at_hand.contexts.clone(),
            dockerfile: at_hand.file.clone(),
            ignore: self.inputs.ignorefile.clone(),
            origin: at_hand.origin.clone(),
            options,
            names: wanted.stored(),
            surroundings: self.sandbox.surroundings(programs)?,
            secrets: lent.secrets,
            agents: lent.agents,
            times: self.outputs.times(),
            reuse: self.caching.reuse(),
            caches: self.caching.caches(wanted.unopened()),
            jobs: self.caching.jobs(),
        })
    }
}

fn pair(option: &'static str, text: &str, form: &'static str) -> Result<(String, String), OptionError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(OptionError::Pair { option, text: text.chars().take(160).collect(), form }),
    }
}
