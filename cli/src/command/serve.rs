//! `oxbox serve`: a registry, until it is told to stop.
//!
//! Standard output gets one line, `listening on ADDRESS`, once connections are accepted; logs go to
//! standard error.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use oxbox_registry::{ServeConfig, Server};

use crate::interrupt::Interrupt;
use crate::{output, runtime};

/// Options of `oxbox serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Folder of the registry.
    #[arg(long, value_name = "DIR", env = "OXBOX_REGISTRY_ROOT")]
    root: PathBuf,
    /// Address and port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
}

/// Serves; a signal is the usual end, and no failure.
pub(super) fn run(options: &Serve) -> anyhow::Result<()> {
    let interrupt = Interrupt::watch()?;
    runtime::start()?.block_on(async {
        let server = Server::bind(ServeConfig::new(&options.root, options.listen)).await?;
        output::line(&format!("listening on {}", server.local_addr()))?;
        server.run(interrupt.happened()).await;
        Ok(())
    })
}
