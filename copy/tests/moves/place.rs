//! A folder of one test, with everything that is copied from and to within it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxbox_copy::client::{Client, Settings};
use oxbox_copy::config::Environment;
use oxbox_copy::endpoint::{AnyDestination, AnySource, Places};
use oxbox_copy::progress::{Progress, Silent};
use oxbox_copy::transfer::{Options, Report, TransferError, copy};
use tempfile::TempDir;

/// The folder; `{}` in a location stands for it.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes out a location.
    pub(crate) fn spell(&self, location: &str) -> String {
        location.replace("{}", &self.path().display().to_string())
    }

    pub(crate) async fn copy(&self, from: &str, to: &str) -> Result<Report, TransferError> {
        self.copy_with(from, to, &Options::default()).await
    }

    pub(crate) async fn copy_with(
        &self,
        from: &str,
        to: &str,
        options: &Options,
    ) -> Result<Report, TransferError> {
        self.transfer(from, to, options, Arc::new(Silent)).await
    }

    pub(crate) async fn copy_telling(
        &self,
        from: &str,
        to: &str,
        progress: Arc<dyn Progress>,
    ) -> Result<Report, TransferError> {
        self.transfer(from, to, &Options::default(), progress).await
    }

    async fn transfer(
        &self,
        from: &str,
        to: &str,
        options: &Options,
        progress: Arc<dyn Progress>,
    ) -> Result<Report, TransferError> {
        let nobody = Environment::default();
        let registries = Client::new(&nobody, Settings::new(&nobody));
        let places = Places { registries, store: self.join("store"), temporary: self.path().to_owned() };
        let source = AnySource::open(&self.spell(from).parse().unwrap(), &places).await?;
        let destination = AnyDestination::create(&self.spell(to).parse().unwrap(), &places).await?;
        copy(Arc::new(source), Arc::new(destination), options, progress).await
    }
}

/// An error with all its causes, as a user would read it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
