//! RUN `--mount`: what the run sees besides its root.
//!
//! ```text
//! bind     target=x        WORKDIR/x; read only unless rw; the main context unless from
//! cache    target=/c       id /c, with BUILDKIT_CACHE_MOUNT_NS before it
//! secret   id=a/b          /run/secrets/b, unless target or env says otherwise
//! ssh                      /run/buildkit/ssh_agent.0, the second one ssh_agent.1, …
//! ```
//!
//! The options one by one are the parser's (`dockerfile::mount`), and what `from` names `name.rs`'s.

use super::error::{PlanError, PlanErrorKind};
use super::graph::{Mount, MountFiles, MountTree};
use super::lower::Planner;
use super::path;
use super::state::State;
use super::step::{Named, Step};
use crate::dockerfile::ast;
use crate::dockerfile::mount::{self, MountFlag};
use crate::dockerfile::word::expand;

/// Where secrets are unless told otherwise.
const SECRETS: &str = "/run/secrets";

/// Where sockets of agents are unless told otherwise; their number follows.
const AGENTS: &str = "/run/buildkit/ssh_agent.";

/// Returns the socket that programs are told of: the first agent's.
pub(super) fn agent(mounts: &[Mount]) -> Option<&str> {
    mounts.iter().find_map(|mount| match mount {
        Mount::Ssh { target, .. } => Some(target.as_str()),
        _ => None,
    })
}

impl Planner<'_> {
    pub(super) fn mounts(
        &mut self,
        state: &State,
        step: &Step<'_>,
        run: &ast::Run,
    ) -> Result<Vec<Mount>, PlanError> {
        let mut mounts = Vec::new();
        let mut agents = 0;
        for (place, flag) in run.mounts.iter().enumerate() {
            let named = step.names.get(place).and_then(Option::as_ref);
            let expand_value = &mut |value: &str| {
                expand(value, step.place.escape, &|name| state.scope.get(name)).map(|expanded| expanded.text)
            };
            let mount = flag.resolve(expand_value).map_err(|error| step.place.parse_error(error))?;
            let mount = self.mount(state, step, mount, named, &mut agents);
            mounts.push(mount.map_err(|kind| error(step, flag, kind))?);
        }
        Ok(mounts)
    }

    fn mount(
        &mut self,
        state: &State,
        step: &Step<'_>,
        mount: mount::Mount,
        named: Option<&Named>,
        agents: &mut usize,
    ) -> Result<Mount, PlanErrorKind> {
        let at = |target: &str| target_of(state, target);
        Ok(match mount {
            mount::Mount::Bind(mount) => Mount::Bind {
                target: at(&mount.target)?,
                files: self.mounted(step, named, mount.source.as_deref()),
                read_only: mount.read_only,
            },
            mount::Mount::Cache(mount) => Mount::Cache {
                target: at(&mount.target)?,
                id: self.cache_id(mount.id.unwrap_or_else(|| clean(&mount.target))),
                // Without a `from` it is filled with nothing, not with the context.
                files: named.map(|named| self.mounted(step, Some(named), mount.source.as_deref())),
                read_only: mount.read_only,
                sharing: mount.sharing,
                owner: mount.owner,
            },
            mount::Mount::Secret(mount) => {
                let file_name = mount.id.rsplit('/').next().unwrap_or_default();
                let target = match (&mount.target, &mount.env) {
                    (Some(target), _) => Some(at(target)?),
                    (None, None) => Some(path::clean(&format!("{SECRETS}/{file_name}"))),
                    (None, Some(_)) => None,
                };
                let mount::SecretMount { id, env, required, owner, .. } = mount;
                Mount::Secret { id, target, env, required, owner }
            }
            mount::Mount::Ssh(mount) => {
                let number = *agents;
                *agents += 1;
                Mount::Ssh {
                    id: mount.id.unwrap_or_else(|| "default".to_owned()),
                    target: at(&mount.target.unwrap_or_else(|| format!("{AGENTS}{number}")))?,
                    required: mount.required,
                    owner: mount.owner,
                }
            }
            mount::Mount::Tmpfs(mount) => {
                Mount::Tmpfs { target: at(&mount.target)?, max_bytes: mount.size.filter(|&size| size > 0) }
            }
        })
    }

    /// Returns what a mount shows.
    fn mounted(&mut self, step: &Step<'_>, named: Option<&Named>, source: Option<&str>) -> MountFiles {
        let tree = match named {
            None => MountTree::Context(None),
            Some(Named::Context(name)) => MountTree::Context(Some(name.clone())),
            Some(Named::Scratch) => MountTree::Nothing,
            Some(named) => self.named_vertex(step, named).map_or(MountTree::Nothing, MountTree::Vertex),
        };
        MountFiles { tree, path: path::clean(source.unwrap_or_default())[1..].to_owned() }
    }

    /// Returns an id that builds with another namespace do not share.
    fn cache_id(&self, id: String) -> String {
        match self.options.build_args.get("BUILDKIT_CACHE_MOUNT_NS").filter(|space| !space.is_empty()) {
            Some(space) => format!("{space}/{id}"),
            None => id,
        }
    }
}

/// Returns where a mount goes: from the working directory on.
fn target_of(state: &State, target: &str) -> Result<String, PlanErrorKind> {
    match path::join(state.directory(), target) {
        root if root == "/" => Err(PlanErrorKind::MountOnRoot),
        target => Ok(target),
    }
}

/// Go's `path.Clean`: a relative target stays so as an id, whatever the working directory.
fn clean(target: &str) -> String {
    if target.starts_with('/') {
        return path::clean(target);
    }
    // Leading `..` lead out of the working directory, and are kept.
    let mut parts: Vec<&str> = Vec::new();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

fn error(step: &Step<'_>, flag: &MountFlag, kind: PlanErrorKind) -> PlanError {
    step.place.error(kind, flag.text.span)
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn a_target_is_cleaned_as_go_cleans_it() {
        for (target, id) in [
            ("/a/./b/", "/a/b"),
            ("a//b", "a/b"),
            ("./a/../b", "b"),
            ("../a", "../a"),
            ("a/..", "."),
            ("../../x", "../../x"),
        ] {
            assert_eq!(clean(target), id, "{target}");
        }
    }
}
