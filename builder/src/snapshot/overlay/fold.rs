//! Units made and held: what a step stands on.
//!
//! ```text
//! plan ─▶ locked (shared): is every unit here? ─ no ▶ its parts, down to layers, are held instead
//!                               │                            ▼
//!                               └─ yes ▶ held      unlocked: made of them, then locked and held too
//! ```
//!
//! A fold is a snapshot like others, called by a digest that no layer has. Its files are links to those of its
//! parts, so what it takes by itself are directories. Nobody prunes the parts of a fold that stays.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use oxbox_layers::oci::{ChainId, DiffId};
use oxbox_layers::tar::Entry;
use oxbox_layers::tree::apply::Lower;
use oxbox_layers::tree::{Root, Stack, TreeError, fold};
use rustix::fs::FlockOperation;

use super::units::{Plan, Unit};
use super::{Claim, Form, Made, Overlay, RootEntry, dress};
use crate::snapshot::marker::Size;
use crate::snapshot::{SnapshotError, io_error, unpack};

/// Far more than stages are built side by side. A chain without a plan costs a look at each of its layers.
const MAX_PLANS: usize = 64;

/// Plans of the chains that steps stood on last: the next step most often stands on one with a layer more.
#[derive(Debug, Default)]
pub(super) struct Plans(Mutex<VecDeque<Plan>>);

impl Plans {
    /// Returns the plan of the most layers that a chain begins with.
    fn nearest(&self, chain: &[DiffId]) -> Plan {
        let plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |plan: &&Plan| chain.starts_with(&plan.chain);
        let is_next = |plan: &&Plan| plan.chain.len() + 1 >= chain.len() && fits(plan);
        let longest = || plans.iter().filter(fits).max_by_key(|plan| plan.chain.len());
        plans.iter().find(is_next).or_else(longest).cloned().unwrap_or_default()
    }

    fn note(&self, plan: &Plan) {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plans.retain(|known| known.chain != plan.chain);
        plans.truncate(MAX_PLANS - 1);
        plans.push_front(plan.clone());
    }

    fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Overlay {
    /// Holds what a chain is mounted as; returns it, the lowest first.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Missing`] for the lowest layer that is not here, or a fold that went just now.
    pub(super) fn take(&self, claim: &Claim, chain: &[DiffId]) -> Result<Vec<Unit>, SnapshotError> {
        let mut plan = self.plans.nearest(chain);
        loop {
            let is_known = !plan.units.is_empty();
            match self.take_planned(claim, chain, plan) {
                // It was pruned since it was planned; whether its layers are here shows when they are looked at.
                Err(SnapshotError::Missing { .. }) if is_known => {
                    self.plans.forget();
                    plan = Plan::default();
                }
                taken => return taken,
            }
        }
    }

    fn take_planned(
        &self,
        claim: &Claim,
        chain: &[DiffId],
        mut plan: Plan,
    ) -> Result<Vec<Unit>, SnapshotError> {
        let mut held = Held::default();
        let lock = self.lock("snapshots", FlockOperation::LockShared)?;
        for layer in &chain[plan.chain.len()..] {
            let name = plan.next(layer);
            let marker = self.believed(&name)?.ok_or(SnapshotError::Missing { layer: *layer })?;
            self.touch(&name);
            plan.push(layer, Unit::of_layer(name, &marker), self.folding);
        }
        self.plans.note(&plan);
        let mut units = plan.units;
        for unit in &mut units {
            self.hold_unit(unit, &mut held)?;
        }
        held.write(claim)?;
        // While the lock was held nobody pruned.
        drop(lock);
        if held.is_all {
            return Ok(units);
        }
        let mut here: Vec<Unit> = Vec::with_capacity(units.len());
        for unit in units {
            self.have(unit, &mut here)?;
        }
        let _lock = self.lock("snapshots", FlockOperation::LockShared)?;
        for unit in &mut here {
            held.is_all = true;
            self.hold_unit(unit, &mut held)?;
            if !held.is_all {
                // Somebody pruned it this moment.
                return Err(SnapshotError::Missing { layer: DiffId(unit.name.0) });
            }
        }
        held.write(claim)?;
        Ok(here)
    }

    /// Adds a unit to what is held, as it stands; if it is not here, what it can be made of.
    fn hold_unit(&self, unit: &mut Unit, held: &mut Held) -> Result<(), SnapshotError> {
        if let Some(marker) = self.believed(&unit.name)? {
            *unit = unit.clone().standing(&marker);
            if self.touch(&unit.name) {
                unit.parts.iter().for_each(|part| self.touch_all(part));
            }
            unit.base.iter().for_each(|base| _ = self.touch(base));
            unit.names().for_each(|name| held.add(&name));
            return Ok(());
        }
        held.is_all = false;
        match unit.parts.is_empty() {
            true => Err(SnapshotError::Missing { layer: DiffId(unit.name.0) }),
            false => unit.parts.iter().try_for_each(|part| self.hold_unit(&mut part.clone(), held)),
        }
    }

    /// Notes that a step stands on a snapshot; `false` if that was noted a moment ago.
    fn touch(&self, name: &ChainId) -> bool {
        self.seen.touch(name, &self.place(name))
    }

    fn touch_all(&self, unit: &Unit) {
        unit.names().for_each(|name| _ = self.touch(&name));
        unit.parts.iter().for_each(|part| self.touch_all(part));
    }

    /// Puts a unit on those that are here, made of its parts if it must be. These are held.
    fn have(&self, unit: Unit, below: &mut Vec<Unit>) -> Result<(), SnapshotError> {
        if let Some(marker) = self.believed(&unit.name)? {
            below.push(unit.standing(&marker));
            return Ok(());
        }
        let on = below.len();
        for part in unit.parts.iter() {
            self.have(part.clone(), below)?;
        }
        let parts = below.split_off(on);
        match self.make(&unit.name, &mut |claim| self.fold(claim, &parts, below)) {
            Ok(()) => below.push(unit),
            // Nobody needs it but for speed, unless there is no mount of so many.
            Err(error) => {
                tracing::warn!(%error, "layers are mounted one by one, as they cannot be folded");
                below.extend(parts);
            }
        }
        Ok(())
    }

    /// Folds units, as they show over others.
    fn fold(&self, claim: &Claim, parts: &[Unit], below: &[Unit]) -> Result<Made, SnapshotError> {
        let (stack, lower) = (unpack::stack(&self.lowers(parts))?, Lowers::new(self.lowers(below)));
        let fs = claim.path().join("fs");
        let root = Root::open(&fs)?;
        unpack::fill(&fs, None, |entries| fold(&stack, &lower, &root, entries))?;
        let speaking = self.speaking(parts);
        dress(&fs, speaking.as_deref())?;
        let root = speaking.map_or(RootEntry::Inherited, |_| RootEntry::Own);
        let parts = parts.iter().map(|part| part.name).collect();
        Ok(Made { root, form: Form::Folded { parts }, size: Size::Any })
    }

    /// Returns the directories of units, the topmost first.
    pub(super) fn lowers(&self, units: &[Unit]) -> Vec<PathBuf> {
        units.iter().rev().flat_map(Unit::names).map(|name| self.place(&name).join("fs")).collect()
    }

    /// Returns the topmost directory that says what the root is like.
    pub(super) fn speaking(&self, units: &[Unit]) -> Option<PathBuf> {
        let speaking = units.iter().rev().find(|unit| unit.root == RootEntry::Own);
        speaking.map(|unit| self.place(&unit.name).join("fs"))
    }
}

/// The snapshots that a claim stands on.
struct Held {
    list: String,
    /// Whether nothing has to be made of others.
    is_all: bool,
}

impl Default for Held {
    fn default() -> Self {
        Self { list: String::new(), is_all: true }
    }
}

impl Held {
    fn add(&mut self, name: &ChainId) {
        let _ = writeln!(self.list, "{}", name.0.hex());
    }

    fn write(&self, claim: &Claim) -> Result<(), SnapshotError> {
        let path = claim.path().join("lowers");
        fs::write(&path, &self.list).map_err(io_error("write", &path))
    }
}

/// What lies below a fold, opened if anything is asked of it.
struct Lowers {
    directories: Vec<PathBuf>,
    stack: OnceLock<Stack>,
}

impl Lowers {
    fn new(directories: Vec<PathBuf>) -> Self {
        Self { directories, stack: OnceLock::new() }
    }

    fn stack(&self) -> Result<&Stack, TreeError> {
        if let Some(stack) = self.stack.get() {
            return Ok(stack);
        }
        let stack = unpack::stack(&self.directories)?;
        Ok(self.stack.get_or_init(|| stack))
    }
}

impl Lower for Lowers {
    fn find(&self, path: &[u8]) -> Result<Option<Entry>, TreeError> {
        self.stack()?.find(path)
    }

    fn names(&self, directory: &[u8]) -> Result<Vec<Vec<u8>>, TreeError> {
        self.stack()?.names(directory)
    }
}
