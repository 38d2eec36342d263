//! Pushing while later steps still run: a layer is on its way as soon as it is made.
//!
//! ```text
//! builder ─ event ─▶ Ahead ─▶ who shows it
//!                      └ layer of the image ─▶ has? │ push, a few at once ─▶ registry
//! ```
//!
//! It only saves time. The copy that follows the build finds the layers there, sends what is missing, and
//! is the one that fails; nothing is named before.

use std::sync::{Arc, Mutex, PoisonError};

use oxbox_builder::progress::{Event, Progress};
use oxbox_copy::endpoint::{AnyDestination, Destination as _, EndpointError, layout};
use oxbox_layers::oci::Descriptor;
use oxbox_layers::store::{BlobStore as _, Layout};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};

/// Layers on their way to one registry at the same time. The build wants some of the machine too.
const AT_ONCE: usize = 3;

/// Tells of a build as its inner listener does, and sends off the layers of the image.
pub(super) struct Ahead {
    inner: Arc<dyn Progress>,
    /// One for each registry. Unbounded: there are no more layers than the plan has steps.
    senders: Vec<UnboundedSender<Descriptor>>,
    /// By vertex: whether its layer is the image's.
    exported: Mutex<Vec<bool>>,
    pushers: Vec<JoinHandle<()>>,
}

impl Ahead {
    /// Begins to wait for layers.
    pub(super) fn new(
        runtime: &Runtime,
        inner: Arc<dyn Progress>,
        store: &Arc<Layout>,
        destinations: Vec<AnyDestination>,
    ) -> Self {
        let (mut senders, mut pushers) = (Vec::new(), Vec::new());
        for destination in destinations {
            let (sender, receiver) = unbounded_channel();
            senders.push(sender);
            pushers.push(runtime.spawn(push(receiver, Arc::clone(store), Arc::new(destination))));
        }
        Self { inner, senders, exported: Mutex::default(), pushers }
    }

    /// Waits for what is on its way.
    pub(super) async fn end(self) {
        drop(self.senders);
        for pusher in self.pushers {
            // One that panicked has sent less than it could.
            let _ = pusher.await;
        }
    }

    fn is_exported(&self, vertex: usize) -> bool {
        let exported = self.exported.lock().unwrap_or_else(PoisonError::into_inner);
        exported.get(vertex).copied().unwrap_or(false)
    }
}

impl Progress for Ahead {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Planned { graph } => {
                let exported = graph.vertices.iter().map(|vertex| vertex.exported).collect();
                *self.exported.lock().unwrap_or_else(PoisonError::into_inner) = exported;
            }
            Event::Cached { vertex, layer: Some(layer), .. }
            | Event::Done { vertex, layer: Some(layer), .. }
                if self.is_exported(vertex.0) =>
            {
                for sender in &self.senders {
                    // A pusher that gave up takes no more.
                    let _ = sender.send(layer.descriptor.clone());
                }
            }
            _ => {}
        }
        self.inner.event(event);
    }
}

/// Pushes layers as they come, until there are no more or the first one fails.
async fn push(
    mut layers: UnboundedReceiver<Descriptor>,
    store: Arc<Layout>,
    destination: Arc<AnyDestination>,
) {
    let mut under_way: JoinSet<Result<(), EndpointError>> = JoinSet::new();
    while let Some(layer) = layers.recv().await {
        while under_way.len() >= AT_ONCE {
            if !has_gone_well(under_way.join_next().await) {
                return;
            }
        }
        let (store, destination) = (Arc::clone(&store), Arc::clone(&destination));
        under_way.spawn(async move { push_one(&store, &destination, &layer).await });
    }
    while !under_way.is_empty() {
        if !has_gone_well(under_way.join_next().await) {
            return;
        }
    }
}

async fn push_one(
    store: &Arc<Layout>,
    destination: &AnyDestination,
    layer: &Descriptor,
) -> Result<(), EndpointError> {
    // What only a cache elsewhere has comes from there, with the image.
    let is_here = store.stat(&layer.digest).is_ok_and(|size| size.is_some());
    if !is_here || destination.has_blob(layer).await? {
        return Ok(());
    }
    let content = layout::open_blob(store, "the local store", layer).await?;
    destination.push_blob(layer, content).await
}

/// What fails is tried again after the build, and told then.
fn has_gone_well(joined: Option<Result<Result<(), EndpointError>, tokio::task::JoinError>>) -> bool {
    match joined {
        Some(Ok(Err(error))) => {
            tracing::info!(%error, "a layer could not be pushed while building");
            false
        }
        Some(Err(_)) => false,
        _ => true,
    }
}
