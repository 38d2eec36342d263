//! An OCI runtime for RUN, in the place of oxbox's own sandbox.

use clap::Args;
use oxbox_builder::exec::Runtime;
use oxbox_builder::exec::runtime::{self, RuntimeError};

/// Who makes the container of a RUN.
#[derive(Debug, Args)]
pub(crate) struct RuntimeOptions {
    /// An OCI runtime that runs the programs of RUN, by name or path: crun, runc, youki. None is needed.
    #[arg(long, value_name = "PATH", env = "OXBOX_RUNTIME")]
    runtime: Option<String>,
    /// An option for the runtime itself, without its dashes, as log-level=debug.
    #[arg(long, value_name = "OPTION", requires = "runtime", allow_hyphen_values = true)]
    runtime_flag: Vec<String>,
}

impl RuntimeOptions {
    /// Finds the runtime, if one is asked for.
    pub(super) fn find(&self) -> Result<Option<Runtime>, RuntimeError> {
        let name = self.runtime.as_deref().filter(|name| !name.is_empty());
        name.map(|name| Runtime::find(name, &self.runtime_flag)).transpose()
    }

    /// Says whether it is there, and can be used where this process stands.
    pub(super) fn check(&self) -> Result<(), RuntimeError> {
        match self.find()? {
            None => Ok(()),
            Some(_) => runtime::check_here(),
        }
    }
}
