//! RUN `--mount`: from what a graph says to what the sandbox mounts.
//!
//! ```text
//! bind     of a stage or image   its layers, stacked for this mount alone; what is written goes with it
//!          of a context          a copy of its files: one for all that only read it
//! cache    a directory of the state, taken as `sharing` says, see crate::mounts
//! tmpfs    memory
//! secret   a file in memory, a variable, or both
//! ssh      a socket that leads to an agent of the host, see agent.rs
//! ```
//!
//! Before them come the caller's volumes, so that a RUN's own mount is what is seen if both are at one place.
//!
//! As in BuildKit binds, caches and tmpfs are mounted in the order of their targets, so that one may lie in
//! another, then secrets, then agents. What a mount needs is held until the command has ended.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxbox_layers::layer::Layer;
use oxbox_layers::oci::DiffId;

use super::agent::{self, Forwarded};
use super::copies::{Copied, Copies};
use super::files::{FilesError, lay_out};
use super::{Below, Room, RunError, Volume, stand_on};
use crate::context::{FileTree, Scratch};
use crate::dockerfile::mount::FileOwner;
use crate::exec::{self, Access, Overlay, Root, SecretFile, SecretVariable, Source};
use crate::lent::{Agents, Secrets};
use crate::mounts::{Held, Mounts, MountsError, Wanted};
use crate::plan::graph::{Mount, Run};
use crate::snapshot::Active;
use crate::solve::Key;

/// Mode of a secret's file, unless told otherwise.
const SECRET_MODE: u32 = 0o400;

/// Mode of an agent's socket, unless told otherwise.
const AGENT_MODE: u32 = 0o600;

/// What is at hand for one mount.
pub enum Material {
    /// Layers of another vertex, for a bind.
    Layers(Arc<Vec<Layer>>),
    /// Files, with a key of those at the mount's path: of a context for a bind, or to fill a new cache.
    Files(Arc<dyn FileTree>, Key),
    /// Nothing is needed.
    Nothing,
}

/// What mounts are made of.
#[derive(Clone, Copy)]
pub struct Backing<'a> {
    /// One for each mount.
    pub materials: &'a [Material],
    /// Where caches are.
    pub mounts: &'a Mounts,
    /// Copies of contexts' files.
    pub copies: &'a Copies,
    /// Secrets that were given.
    pub secrets: &'a Secrets,
    /// Agents that were given.
    pub agents: &'a Agents,
}

/// All that a command sees besides its root. Dropping it gives back what it holds.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) mounts: Vec<exec::Mount>,
    pub(super) secrets: Vec<SecretVariable>,
    _held: Vec<Hold>,
}

/// What must stay as long as the command runs.
#[expect(dead_code, reason = "it is there to be dropped")]
enum Hold {
    Root(Box<Active>),
    Over(Scratch),
    Shared(Arc<Copied>),
    Own(Copied),
    Cache(Held),
    // The socket goes before the folder that it is in.
    Agent(Forwarded, Scratch),
}

/// Returns the caches that a RUN wants, by name: each once, however often it is mounted. The first mention
/// says how it is shared.
pub fn wanted(run: &Run, materials: &[Material]) -> BTreeMap<String, Wanted> {
    let mut wanted = BTreeMap::new();
    for (mount, material) in run.mounts.iter().zip(materials) {
        if let Some(one) = cache(mount, material) {
            wanted.entry(one.name()).or_insert(one);
        }
    }
    wanted
}

fn cache(mount: &Mount, material: &Material) -> Option<Wanted> {
    let Mount::Cache { id, sharing, owner, .. } = mount else { return None };
    let filled = match material {
        Material::Files(_, key) => Some(*key),
        Material::Layers(_) | Material::Nothing => None,
    };
    Some(Wanted { id: id.clone(), filled, owner: *owner, sharing: *sharing })
}

/// Gets all mounts of a RUN ready.
///
/// # Errors
///
/// [`RunError::Busy`] if a locked cache is in use: what was taken is given back.
pub(super) fn prepare(run: &Run, room: &Room<'_>) -> Result<Prepared, RunError> {
    let mut preparing = Preparing { room, caches: caches(run, room)?, done: Prepared::default() };
    for volume in &room.surroundings.volumes {
        preparing.volume(volume)?;
    }
    let mut order: Vec<usize> = (0..run.mounts.len()).collect();
    order.sort_by_key(|&at| place(&run.mounts[at]));
    for at in order {
        preparing.mount(&run.mounts[at], &room.backing.materials[at])?;
    }
    let Preparing { caches, mut done, .. } = preparing;
    done._held.extend(caches.into_values().map(Hold::Cache));
    Ok(done)
}

/// When a mount's turn comes.
fn place(mount: &Mount) -> (u8, &str) {
    match mount {
        Mount::Bind { target, .. } | Mount::Cache { target, .. } | Mount::Tmpfs { target, .. } => (0, target),
        Mount::Secret { .. } => (1, ""),
        Mount::Ssh { .. } => (2, ""),
    }
}

/// Takes all caches of a RUN, in the order of their names, or none.
fn caches(run: &Run, room: &Room<'_>) -> Result<BTreeMap<String, Held>, RunError> {
    let Backing { materials, mounts, .. } = room.backing;
    let mut held = BTreeMap::new();
    for (name, wanted) in wanted(run, materials) {
        let filling =
            run.mounts.iter().zip(materials).find_map(|(mount, material)| match (mount, material) {
                (Mount::Cache { files: Some(files), .. }, Material::Files(tree, key))
                    if Some(*key) == wanted.filled =>
                {
                    Some((tree, &files.path))
                }
                _ => None,
            });
        let taken = mounts.take(&wanted, |folder| match filling {
            Some((tree, path)) => {
                let laid_out = lay_out(&**tree, path, folder, room.interrupt)?;
                // A file has no place to be one.
                match laid_out == folder {
                    true => Ok(()),
                    false => Err(RunError::CacheOfFile { path: path.clone() }),
                }
            }
            None => Ok(()),
        });
        held.insert(name, taken?.ok_or(RunError::Busy)?);
    }
    Ok(held)
}

/// Mounts under way.
struct Preparing<'a, 'r> {
    room: &'a Room<'r>,
    caches: BTreeMap<String, Held>,
    done: Prepared,
}

impl Preparing<'_, '_> {
    fn mount(&mut self, mount: &Mount, material: &Material) -> Result<(), RunError> {
        match mount {
            Mount::Bind { target, files, read_only } => {
                let source = self.bind(&files.path, material, access(*read_only))?;
                self.add(target, source);
            }
            Mount::Cache { target, read_only, .. } => {
                let name = cache(mount, material).map(|wanted| wanted.name()).unwrap_or_default();
                let held = self.caches.get(&name).expect("because all of them were taken");
                self.add(target, Source::Bind { path: held.files(), access: access(*read_only) });
            }
            Mount::Tmpfs { target, max_bytes } => {
                self.add(target, Source::Tmpfs { size_bytes: *max_bytes });
            }
            Mount::Secret { id, target, env, required, owner } => {
                self.secret(id, target.as_deref(), env.as_deref(), (*required, *owner))?;
            }
            Mount::Ssh { id, target, required, owner } => self.agent(id, target, (*required, *owner))?,
        }
        Ok(())
    }

    fn volume(&mut self, volume: &Volume) -> Result<(), RunError> {
        match volume {
            Volume::Mounted(mount) => self.done.mounts.push(mount.clone()),
            Volume::Over { path, target } => {
                let folder = self.room.backing.copies.folder()?;
                let root = over(path, folder.path());
                let root = root.map_err(|source| RunError::Volume { path: path.clone(), source })?;
                self.add(target, Source::Tree { root, path: String::new(), access: Access::ReadWrite });
                self.done._held.push(Hold::Over(folder));
            }
        }
        Ok(())
    }

    fn add(&mut self, target: &str, source: Source) {
        self.done.mounts.push(exec::Mount { target: target.to_owned(), source });
    }

    fn bind(&mut self, path: &str, material: &Material, access: Access) -> Result<Source, RunError> {
        let Backing { copies, .. } = self.room.backing;
        match material {
            Material::Files(tree, key) => {
                let (place, hold) = match access {
                    Access::ReadOnly => {
                        let copied = copies.shared(key, &**tree, path, self.room.interrupt)?;
                        (copied.place.clone(), Hold::Shared(copied))
                    }
                    Access::ReadWrite => {
                        let copied = copies.own(&**tree, path, self.room.interrupt)?;
                        (copied.place.clone(), Hold::Own(copied))
                    }
                };
                self.done._held.push(hold);
                Ok(Source::Bind { path: place, access })
            }
            Material::Layers(_) | Material::Nothing => {
                let none = Vec::new();
                let layers = if let Material::Layers(layers) = material { layers } else { &none };
                let chain: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
                let below = Below { chain: &chain, layers: &|| layers };
                let active = stand_on(&below, self.room).map_err(|source| RunError::Snapshot { source })?;
                let source = Source::Tree { root: active.root().clone(), path: path.to_owned(), access };
                self.done._held.push(Hold::Root(Box::new(active)));
                Ok(source)
            }
        }
    }

    fn secret(
        &mut self,
        id: &str,
        target: Option<&str>,
        env: Option<&str>,
        (required, owner): (bool, FileOwner),
    ) -> Result<(), RunError> {
        let Some(secret) = self.room.backing.secrets.get(id) else {
            return if required { Err(RunError::NoSecret { id: id.to_owned() }) } else { Ok(()) };
        };
        if let Some(name) = env {
            let (name, value) = (name.to_owned(), secret.clone());
            // The last of several is the one, as in a list of variables.
            self.done.secrets.retain(|other| other.name != name);
            self.done.secrets.push(SecretVariable { name, value });
        }
        if let Some(target) = target {
            let mode = owner.mode.unwrap_or(SECRET_MODE) & 0o7777;
            let (uid, gid) = (owner.uid.unwrap_or(0), owner.gid.unwrap_or(0));
            self.add(target, Source::Secret(SecretFile { content: secret.clone(), mode, uid, gid }));
        }
        Ok(())
    }

    fn agent(
        &mut self,
        id: &str,
        target: &str,
        (required, owner): (bool, FileOwner),
    ) -> Result<(), RunError> {
        let Backing { agents, copies, .. } = self.room.backing;
        let Some(agent) = agents.get(id) else {
            return if required { Err(RunError::NoAgent { id: id.to_owned() }) } else { Ok(()) };
        };
        let failed = |source| RunError::Agent { id: id.to_owned(), source };
        let folder = copies.folder()?;
        let owner = agent::Owner {
            mode: owner.mode.unwrap_or(AGENT_MODE),
            uid: owner.uid.unwrap_or(0),
            gid: owner.gid.unwrap_or(0),
        };
        let forwarded = Forwarded::start(agent, &folder.path().join("socket"), owner).map_err(failed)?;
        let path = forwarded.path().to_owned();
        self.add(target, Source::Bind { path, access: Access::ReadWrite });
        self.done._held.push(Hold::Agent(forwarded, folder));
        Ok(())
    }
}

/// Makes what a mount needs whose changes stay in `folder`.
fn over(path: &Path, folder: &Path) -> io::Result<Root> {
    let [lower, upper, work, mountpoint] = ["lower", "upper", "work", "merged"].map(PathBuf::from);
    // A name of its own: the kernel takes 255 bytes of each path, and colons and commas mean something to it.
    symlink(path, folder.join(&lower))?;
    for made in [&upper, &work, &mountpoint] {
        fs::create_dir(folder.join(made))?;
    }
    // What is above says what the root is like.
    let (meta, upper_path) = (fs::metadata(path)?, folder.join(&upper));
    match chown(&upper_path, Some(meta.uid()), Some(meta.gid())) {
        // A user namespace may have no id for its owner.
        Err(error) if error.raw_os_error() != Some(libc::EINVAL) => return Err(error),
        _ => {}
    }
    fs::set_permissions(&upper_path, meta.permissions())?;
    Ok(Root::Overlay(Overlay { directory: folder.to_owned(), lowers: vec![lower], upper, work, mountpoint }))
}

fn access(read_only: bool) -> Access {
    if read_only { Access::ReadOnly } else { Access::ReadWrite }
}

impl From<FilesError> for RunError {
    fn from(source: FilesError) -> Self {
        Self::Copies { source: source.into() }
    }
}

impl From<MountsError> for RunError {
    fn from(source: MountsError) -> Self {
        Self::Cache { source }
    }
}
