//! Which directories a chain of layers is mounted as: many small layers become one.
//!
//! ```text
//! layers   base │ 1 2 3 4 5 6 7 8 │ 9 10 11 12 13 14 15 16 │ 17 18 …          a unit each, in the beginning
//! units    base │ ────── a ────── │ ────────── b ───────── │ 17 18 …          eight neighbours of a kind are folded
//! later    base │ ───────────────── c ────────────────────────────── │ …      and eight of those again
//! ```
//!
//! The kernel looks for a name in one directory after the other, and a mount costs something for each of them: of
//! hundreds of layers, that would be most of what a RUN costs. So a mount has some tens of directories, and a layer
//! is linked anew two or three times while hundreds come on top of it. Only layers of few entries are folded: to
//! link a large one would cost more than it spares.
//!
//! What is folded depends on the layers alone, not on who asks, or when: what was made for one step is there for the
//! next ones.

use std::sync::Arc;

use oxbox_layers::oci::{ChainId, DiffId, Digest};

use crate::snapshot::marker::{Form, Marker, RootEntry, Size};

/// The most lower directories of one mount (`OVL_MAX_STACK`).
const MAX_DIRECTORIES: usize = 500;

/// When there are too many for that, so many become one, large as they may be.
const STRIDE: usize = 250;

/// The level of units that are not folded with others like them.
const LARGE: u8 = u8::MAX;

/// How many directories are too many.
#[derive(Debug, Clone, Copy)]
pub(in crate::snapshot) struct Folding {
    /// With more than these it is worth folding some.
    pub(in crate::snapshot) comfortable: usize,
    /// So many units become one.
    pub(in crate::snapshot) together: usize,
}

impl Folding {
    /// As measured: a RUN over 24 directories costs as much as over four, but for a twentieth.
    pub(in crate::snapshot) const USUAL: Self = Self { comfortable: 24, together: 8 };
}

/// One or several neighbouring layers, as they are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// What its snapshot is called.
    pub(super) name: ChainId,
    /// The snapshot that it is made above.
    pub(super) base: Option<ChainId>,
    pub(super) root: RootEntry,
    /// The topmost layer and all below it.
    top: ChainId,
    /// How often it was folded.
    level: u8,
    /// What it is folded of, the lowest first.
    pub(super) parts: Arc<[Unit]>,
}

impl Unit {
    /// Takes a layer by what its snapshot says of itself.
    pub(super) fn of_layer(name: ChainId, marker: &Marker) -> Self {
        let level = match marker.size {
            Size::Small => 0,
            Size::Any => LARGE,
        };
        let unit = Self { name, base: None, root: marker.root, top: name, level, parts: Arc::new([]) };
        unit.standing(marker)
    }

    /// Returns it as its snapshot is now: it may have been made anew in another form.
    pub(super) fn standing(self, marker: &Marker) -> Self {
        let base = match marker.form {
            Form::Above { base } => Some(base),
            Form::Folded { .. } | Form::Noted { .. } | Form::Whole => None,
        };
        Self { base, root: marker.root, ..self }
    }

    /// Folds units that lie on `below`.
    fn folded(parts: Vec<Self>, below: Option<&Self>, level: u8) -> Self {
        let top = parts.last().expect("because nobody folds nothing").top;
        let on = below.map(|below| below.top.to_string()).unwrap_or_default();
        let name = ChainId(Digest::sha256(format!("folded {top} on {on}").as_bytes()));
        let speaks = parts.iter().any(|part| part.root == RootEntry::Own);
        let root = if speaks { RootEntry::Own } else { RootEntry::Inherited };
        Self { name, base: None, root, top, level, parts: parts.into() }
    }

    /// Returns the topmost of its layers with all that are below.
    pub(super) fn chain(&self) -> ChainId {
        self.top
    }

    /// Returns the snapshots that it is mounted as, the topmost first.
    pub(super) fn names(&self) -> impl Iterator<Item = ChainId> + use<> {
        [Some(self.name), self.base].into_iter().flatten()
    }

    fn directories(&self) -> usize {
        1 + usize::from(self.base.is_some())
    }
}

/// What a chain of layers is mounted as.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) chain: Vec<DiffId>,
    pub(super) chain_id: Option<ChainId>,
    /// The lowest first.
    pub(super) units: Vec<Unit>,
}

impl Plan {
    /// Returns the name of the chain with one more layer.
    pub(super) fn next(&self, layer: &DiffId) -> ChainId {
        self.chain_id.map_or(ChainId(layer.0), |below| below.then(layer))
    }

    /// Puts a layer on top, and folds what has become too much.
    pub(super) fn push(&mut self, layer: &DiffId, unit: Unit, folding: Folding) {
        self.chain_id = Some(unit.top);
        self.chain.push(*layer);
        self.units.push(unit);
        while self.directories() > folding.comfortable && self.fold(folding.together) {}
        while self.directories() > MAX_DIRECTORIES {
            self.fold_lowest();
        }
    }

    fn directories(&self) -> usize {
        self.units.iter().map(Unit::directories).sum()
    }

    /// Folds so many neighbours of one level: of the lowest level, the lowest of them. `false` if there are none.
    fn fold(&mut self, together: usize) -> bool {
        let is_like = |window: &[Unit]| window.iter().all(|unit| unit.level == window[0].level);
        let windows = self.units.windows(together).enumerate();
        let alike = windows.filter(|(_, window)| window[0].level < LARGE - 1 && is_like(window));
        let Some((at, window)) = alike.min_by_key(|(at, window)| (window[0].level, *at)) else {
            return false;
        };
        self.replace(at, together, window[0].level + 1);
        true
    }

    /// Folds the lowest units, whatever they are.
    fn fold_lowest(&mut self) {
        let mut directories = 0;
        let reached = self.units.iter().position(|unit| {
            directories += unit.directories();
            directories > STRIDE
        });
        self.replace(0, reached.map_or(self.units.len(), |last| last + 1), LARGE);
    }

    fn replace(&mut self, at: usize, count: usize, level: u8) {
        let parts = self.units.drain(at..at + count).collect();
        let below = at.checked_sub(1).map(|below| &self.units[below]);
        let unit = Unit::folded(parts, below, level);
        self.units.insert(at, unit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(number: usize) -> DiffId {
        DiffId(Digest::sha256(&number.to_le_bytes()))
    }

    fn plan(layers: impl IntoIterator<Item = Size>, folding: Folding) -> Plan {
        let mut plan = Plan::default();
        for (number, size) in layers.into_iter().enumerate() {
            let marker = Marker::new("boot", RootEntry::Inherited, Form::Whole).sized(size);
            let unit = Unit::of_layer(plan.next(&layer(number)), &marker);
            plan.push(&layer(number), unit, folding);
        }
        plan
    }

    fn most(size: impl Fn(usize) -> Size, count: usize) -> usize {
        (0..count).map(|count| plan((0..count).map(&size), Folding::USUAL).directories()).max().unwrap()
    }

    fn large_if(is_large: bool) -> Size {
        if is_large { Size::Any } else { Size::Small }
    }

    fn count(units: &[Unit]) -> usize {
        units.iter().map(|unit| count(&unit.parts).max(1)).sum()
    }

    #[test]
    fn few_layers_are_mounted_as_they_are() {
        let plan = plan([Size::Small; 24], Folding::USUAL);
        assert!(plan.units.iter().all(|unit| unit.parts.is_empty()));
        assert_eq!(plan.units.len(), 24);
    }

    #[test]
    fn small_layers_are_never_many_directories() {
        assert!(most(|_| Size::Small, 600) <= 26);
        // On a large base, and with a large one among them.
        assert!(most(|number| large_if(number == 0 || number == 300), 600) <= 40);
    }

    #[test]
    fn every_layer_is_in_one_unit_and_in_its_place() {
        let plan = plan((0..300).map(|number| large_if(number % 40 == 0)), Folding::USUAL);
        assert_eq!(count(&plan.units), 300);
        let mut lowest: Vec<ChainId> = Vec::new();
        let mut waiting: Vec<&Unit> = plan.units.iter().rev().collect();
        while let Some(unit) = waiting.pop() {
            if unit.parts.is_empty() {
                lowest.push(unit.name);
            }
            waiting.extend(unit.parts.iter().rev());
        }
        let layers: Vec<DiffId> = (0..300).map(layer).collect();
        let names: Vec<ChainId> = (1..=300).map(|count| ChainId::of(&layers[..count]).unwrap()).collect();
        assert_eq!(lowest, names);
    }

    #[test]
    fn large_layers_are_folded_only_when_there_are_too_many_to_mount() {
        assert_eq!(plan([Size::Any; 500], Folding::USUAL).units.len(), 500);
        assert_eq!(plan([Size::Any; 501], Folding::USUAL).units.len(), 251);
    }

    #[test]
    fn the_same_layers_on_others_are_folded_under_another_name() {
        let folding = Folding { comfortable: 1, together: 2 };
        let mut other = Plan::default();
        let marker = Marker::new("boot", RootEntry::Inherited, Form::Whole).sized(Size::Small);
        for number in [7, 1, 2] {
            let unit = Unit::of_layer(other.next(&layer(number)), &marker);
            other.push(&layer(number), unit, folding);
        }
        let one = plan([Size::Small; 3], folding);
        assert_ne!(one.units[0].name, other.units[0].name);
    }
}
