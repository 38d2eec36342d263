//! One build made twice from nothing, and what came out different.
//!
//! ```text
//! state/verify.lock      one at a time
//! state/verify/{1,2}     a cache, snapshots and indexes of its own for each; gone when it ends, or when the
//!                        next one begins
//! ```
//!
//! The second one makes one vertex at a time, so that what depends on the order shows. Both write into the
//! store, which is by content: equal layers are there once.

use std::fs::{self, File};
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxbox_layers::compare::{CompareError, compare};
use oxbox_layers::image::{Image, ImageError};
use oxbox_layers::store::Layout;
use rustix::fs::FlockOperation;

use crate::build::{BuildError, Request, build};
use crate::exec::Interrupt;
use crate::export::Exported;
use crate::fetch::Fetch;
use crate::progress::{Progress, Silent};
use crate::solve::Reuse;

/// Differences that are told of one layer; whoever has more wants to see the first.
const MAX_TOLD: usize = 100;

/// How two builds of one request compare.
#[derive(Debug)]
pub enum Verified {
    /// They are the same, byte for byte.
    Same(Vec<Exported>),
    /// They are not: a line for each difference.
    Different(Vec<String>),
}

/// Why builds cannot be compared.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant carries its own room's error")]
pub enum VerifyError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("cannot compare the layers")]
    Compare(#[from] CompareError),
    #[error("cannot read an image again")]
    Image(#[from] ImageError),
    #[error("cannot {verb} {}", .path.display())]
    State { verb: &'static str, path: PathBuf, source: io::Error },
}

/// Builds twice, each time as if nothing had ever been built here, and compares.
///
/// Plain files ([`Request::files`]) are written by the first build, whatever the second one does.
pub fn verify(
    request: &Request,
    fetch: &Arc<dyn Fetch>,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Verified, VerifyError> {
    let room = Room::enter(&request.state)?;
    let alone =
        |state: PathBuf| Request { state, names: Vec::new(), reuse: Reuse::Forbidden, ..request.clone() };
    let first = build(&alone(room.folder("1")?), fetch, progress, interrupt)?;
    let second = Request { jobs: NonZero::<usize>::MIN, files: Vec::new(), ..alone(room.folder("2")?) };
    let second = build(&second, fetch, &Silent, interrupt)?;
    let mut lines = Vec::new();
    for (first, second) in first.iter().zip(&second) {
        differences(&request.store, first, second, &mut lines)?;
    }
    if !lines.is_empty() {
        return Ok(Verified::Different(lines));
    }
    request
        .store
        .update(|entries| {
            for name in &request.names {
                entries.tag(&name.to_string(), &first[0].manifest);
            }
        })
        .map_err(BuildError::from)?;
    Ok(Verified::Same(first))
}

/// Says how two images differ; nothing is said of equal ones.
fn differences(
    store: &Layout,
    first: &Exported,
    second: &Exported,
    lines: &mut Vec<String>,
) -> Result<(), VerifyError> {
    if first.manifest.digest == second.manifest.digest {
        return Ok(());
    }
    let (first, second) = (Image::load(store, &first.manifest)?, Image::load(store, &second.manifest)?);
    if first.layers.len() != second.layers.len() {
        lines.push(format!("{} layers, then {}", first.layers.len(), second.layers.len()));
    }
    let mut layers = false;
    for (at, (a, b)) in first.layers.iter().zip(&second.layers).enumerate() {
        layers |= a != b;
        if a.diff_id == b.diff_id && a != b {
            lines.push(format!("layer {}: the same tar, compressed otherwise", at + 1));
        } else if a != b {
            let found = compare(store, a, b)?;
            lines.extend(found.iter().take(MAX_TOLD).map(|found| format!("layer {}: {found}", at + 1)));
            if found.len() > MAX_TOLD {
                lines.push(format!("layer {}: and {} more", at + 1, found.len() - MAX_TOLD));
            }
        }
    }
    if !layers {
        let told = |image: &Image| String::from_utf8_lossy(image.config.bytes()).into_owned();
        lines.push(format!("config: {} → {}", told(&first), told(&second)));
    }
    Ok(())
}

/// A place for two states, for one comparison at a time.
struct Room {
    path: PathBuf,
    /// Locked until it is closed.
    _lock: File,
}

impl Room {
    fn enter(state: &Path) -> Result<Self, VerifyError> {
        let (path, lock) = (state.join("verify"), state.join("verify.lock"));
        fs::create_dir_all(state).map_err(failed("make", state))?;
        let file = File::create(&lock).map_err(failed("make", &lock))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|errno| failed("lock", &lock)(errno.into()))?;
        let room = Self { path, _lock: file };
        room.clear()?;
        Ok(room)
    }

    fn folder(&self, name: &str) -> Result<PathBuf, VerifyError> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(failed("make", &path))?;
        Ok(path)
    }

    fn clear(&self) -> Result<(), VerifyError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &self.path)(error)),
            _ => Ok(()),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What is left is removed by the next one.
        let _ = self.clear();
    }
}

fn failed<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> VerifyError + 'a {
    move |source| VerifyError::State { verb, path: path.to_owned(), source }
}
