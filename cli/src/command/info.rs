//! `oxbox info`: where things are, how much there is, and what this machine allows.

mod machine;

use std::path::PathBuf;

use clap::Args;
use oxbox_builder::exec::rung::Rung;
use oxbox_layers::store::{Layout, StoreError};
use serde::Serialize;

use self::machine::{Isolation, Machine, Way};
use super::version::VERSION;
use crate::args::{Output, State};
use crate::settings::Root;
use crate::table::{count, size};
use crate::{local, output};

/// Options of `oxbox info`.
#[derive(Debug, Args)]
pub(crate) struct Info {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    state: State,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    version: &'static str,
    root: PathBuf,
    store: Option<Store>,
    machine: Machine,
}

/// The local store, if there is one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Store {
    path: PathBuf,
    /// Entries of its index, named or not.
    images: usize,
    blobs: usize,
    bytes: u64,
}

/// Looks around, and tells.
pub(super) fn run(options: &Info) -> anyhow::Result<()> {
    let root = Root::of(&options.state)?;
    let store = local::open(&root)?.map(|layout| measure(&layout)).transpose()?;
    let facts =
        Facts { version: VERSION, root: root.path().to_owned(), store, machine: machine::look(root.path()) };
    match options.output.json {
        true => output::json(&facts)?,
        false => output::bytes(tell(&facts).as_bytes())?,
    }
    Ok(())
}

fn measure(layout: &Layout) -> Result<Store, StoreError> {
    let blobs = layout.blobs()?;
    Ok(Store {
        path: layout.root().to_owned(),
        images: layout.entries()?.iter().count(),
        blobs: blobs.len(),
        bytes: blobs.iter().map(|blob| blob.size).sum(),
    })
}

fn tell(facts: &Facts) -> String {
    let Facts { version, root, store, machine } = facts;
    let store = match store {
        Some(store) => format!(
            "{}: {}, {}, {}",
            store.path.display(),
            count(store.images, "image"),
            count(store.blobs, "blob"),
            size(store.bytes)
        ),
        None => "nothing stored yet".to_owned(),
    };
    let run = match machine.isolation.taken {
        Rung::None => "no, see isolation".to_owned(),
        taken => format!("yes, isolated by {taken}"),
    };
    format!(
        "version:           {version}\nroot:              {}\nstore:             {store}\n\
         platform:          {}\nkernel:            {}\nuser:              {}\n\
         overlayfs:         {}\nuser namespaces:   {}\nRUN works:         {run}\n\
         isolation:         {}\nOCI runtimes:      {}\ncredentials:       {}\ncertificates:      {}\n",
        root.display(),
        machine.platform,
        machine.kernel,
        if machine.is_root { "root" } else { "not root" },
        yes(machine.overlayfs),
        yes(machine.user_namespaces),
        ladder(&machine.isolation),
        list(&machine.runtimes),
        list(&machine.credential_files),
        list(&machine.certificate_folders),
    )
}

/// The ways of running programs, the best one first: whether each works, and what to do about it.
fn ladder(isolation: &Isolation) -> String {
    let line = |one: &Way| {
        let verdict = match one.works {
            true if one.rung == isolation.taken => "taken",
            true => "works",
            false => "no",
        };
        let why = match (&one.obstacle, &one.hint) {
            (None, _) => String::new(),
            (Some(reason), None) => format!(": {reason}"),
            (Some(reason), Some(hint)) => format!(": {reason} ({hint})"),
        };
        let processes = one.processes.map_or(String::new(), |processes| format!(", with {processes}"));
        let verdict = format!("{verdict}{processes}{why}");
        format!("{:<10} {verdict}", one.rung.to_string())
    };
    isolation.rungs.iter().map(line).collect::<Vec<_>>().join(&format!("\n{:19}", ""))
}

fn yes(fact: bool) -> &'static str {
    if fact { "yes" } else { "no" }
}

fn list(paths: &[PathBuf]) -> String {
    match paths {
        [] => "none found".to_owned(),
        paths => paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}
