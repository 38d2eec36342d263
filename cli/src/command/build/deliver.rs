//! After a build: its images to where they go, by the copy engine.
//!
//! ```text
//! store (unnamed) ─▶ docker://NAME, …      oci-archive:FILE   oci:FOLDER   docker-archive:FILE
//!                                                  └ to standard output: by way of a file set aside
//! ```

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use oxbox_builder::Exported;
use oxbox_builder::depot::Failure;
use oxbox_builder::progress::{Event, Progress as _};
use oxbox_copy::endpoint::AnyDestination;
use oxbox_copy::location::{Location, Pick, StoreName};
use oxbox_copy::transfer::{Options, copy};
use oxbox_layers::oci::{Digest, Document, Reference};
use oxbox_layers::store::read_document;

use super::caching::Caching;
use super::exporter::{Exporter, Kind, Shape, Sink};
use super::listen::Given;
use crate::built::Built;
use crate::fetch::{Place, Puller};
use crate::places;

/// What images are delivered with: that which brought in what they are made of.
pub(super) struct Carrier<'a>(pub(super) &'a Arc<Puller>);

/// Why an image does not get where it should, beside what the copy engine says.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliverError {
    /// A file on its way to standard output.
    #[error("cannot {verb} {}", .path.display())]
    Aside {
        /// What was tried.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Standard output failed.
    #[error("cannot write the archive to standard output")]
    Stdout {
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Carrier<'_> {
    /// Brings an image to where an exporter wants it.
    pub(super) async fn deliver(&self, image: &Exported, exporter: &Exporter) -> anyhow::Result<()> {
        let names = &exporter.wishes.names;
        match &exporter.kind {
            // They were written while building.
            Kind::Files(_) => Ok(()),
            Kind::Registry => self.push(image, names).await,
            Kind::Store { push } => {
                self.0.store.update(|entries| {
                    for name in names {
                        entries.tag(&name.to_string(), &image.manifest);
                    }
                    if names.is_empty() {
                        // Listed all the same, until it is pruned.
                        entries.add(&image.manifest);
                    }
                })?;
                if *push { self.push(image, names).await } else { Ok(()) }
            }
            Kind::Oci(sink, shape) => {
                let name = names.first().map(|name| Pick::Named(name.to_string()));
                self.write(image, sink, |path| match shape {
                    Shape::Archive => Location::OciArchive { path, image: name },
                    Shape::Folder => Location::Layout { path, image: name },
                })
                .await
            }
            Kind::Docker(sink) => {
                let name = names.first().cloned().map(Pick::Named);
                self.write(image, sink, |path| Location::DockerArchive { path, image: name }).await
            }
        }
    }

    /// Prepares registries to take layers; nothing is asked of them yet.
    pub(super) async fn registries(&self, names: &[Reference]) -> anyhow::Result<Vec<AnyDestination>> {
        let mut destinations = Vec::new();
        for name in names {
            let to = Location::Registry(name.clone());
            destinations.push(places::create(&to, self.0.client(&to)?, &self.0.root).await?);
        }
        Ok(destinations)
    }

    /// Brings caches to where they are to be.
    pub(super) async fn give(&self, caching: &Caching, given: Given) -> anyhow::Result<()> {
        let given = given.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (at, manifest) in given {
            let Some((to, giving)) = caching.given().nth(at) else { continue };
            let title = match to {
                Location::Registry(name) => format!("push cache {}", name.familiar()),
                to => format!("write cache {to}"),
            };
            match (self.copy(manifest, to, &title).await, giving.failure) {
                (Err(error), Failure::Warns) => {
                    let message = format!("warning: the cache {to} was not written: {error:#}");
                    self.0.progress.event(Event::Warning { message: &message });
                }
                (copied, _) => copied?,
            }
        }
        Ok(())
    }

    async fn push(&self, image: &Exported, names: &[Reference]) -> anyhow::Result<()> {
        for name in names {
            let title = format!("push {}", name.familiar());
            self.copy(image.manifest.digest, &Location::Registry(name.clone()), &title).await?;
            for manifest in &image.images {
                if let Document::Manifest(manifest) = read_document(&*self.0.store, manifest)? {
                    self.0.origins.note(&Place::Registry(name.clone()), &manifest.layers);
                }
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        image: &Exported,
        sink: &Sink,
        location: impl FnOnce(PathBuf) -> Location,
    ) -> anyhow::Result<()> {
        let Sink::Path(path) = sink else {
            let aside = tempfile::tempdir()?;
            let path = aside.path().join("archive.tar");
            self.copy_to(image, &location(path.clone())).await?;
            return Ok(print(&path)?);
        };
        self.copy_to(image, &location(path.clone())).await
    }

    async fn copy_to(&self, image: &Exported, to: &Location) -> anyhow::Result<()> {
        self.copy(image.manifest.digest, to, &format!("write {to}")).await
    }

    async fn copy(&self, manifest: Digest, to: &Location, title: &str) -> anyhow::Result<()> {
        let from = Location::Store(StoreName::Digest(manifest));
        let puller = self.0;
        let client = puller.client(to)?;
        let stored = places::open(&from, client.clone(), &puller.root).await?;
        let source = Built { stored, puller: Arc::clone(puller) };
        let destination = places::create(to, client, &puller.root).await?;
        let progress = puller.progress.transfer(title);
        copy(Arc::new(source), Arc::new(destination), &Options::default(), progress).await?;
        Ok(())
    }
}

fn print(path: &Path) -> Result<(), DeliverError> {
    let aside = |source| DeliverError::Aside { verb: "read", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(aside)?;
    io::copy(&mut file, &mut io::stdout().lock()).map_err(|source| DeliverError::Stdout { source })?;
    Ok(())
}
