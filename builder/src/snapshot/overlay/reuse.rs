//! Snapshots made above others that are here: which one, and that it stays meanwhile.

use std::fs;

use oxbox_layers::oci::{ChainId, DiffId};
use rustix::fs::FlockOperation;

use super::parallel::Top;
use super::{Made, Overlay, dress, named, remove_list};
use crate::snapshot::above::{self, Candidate};
use crate::snapshot::claim::{self, Claim};
use crate::snapshot::marker::{Form, Marker, Size};
use crate::snapshot::{Active, Known, SnapshotError, io_error, unpack};

impl Overlay {
    /// Makes a layer above what was unpacked of it on other layers, with nothing to do.
    pub(super) fn make_same(&self, claim: &Claim, top: &Top) -> Result<Option<Made>, SnapshotError> {
        for Candidate { name, place, .. } in above::same(self.candidates(&top.layer, None)?) {
            if self.hold(claim, &name)?
                && let Some(marker) = Marker::read(&place)?
            {
                dress(&claim.path().join("fs"), Some(&place.join("fs")))?;
                let Marker { root, size, .. } = marker;
                return Ok(Some(Made { root, form: Form::Above { base: name }, size }));
            }
        }
        remove_list(claim)?;
        Ok(None)
    }

    /// Makes the topmost layer of a chain above another snapshot; `None` if that cannot be done.
    pub(super) fn make_above(
        &self,
        claim: &Claim,
        top: &Top,
        below: &Active,
        known: &Known<'_>,
    ) -> Result<Option<Made>, SnapshotError> {
        let candidates = self.candidates(&top.layer, top.below.as_ref())?;
        for Candidate { name, place, .. } in above::most_likely(candidates, known) {
            let Some(delta) = above::compare(&place, known, &unpack::stack(below.lowers())?)? else {
                continue;
            };
            if !self.hold(claim, &name)? {
                continue;
            }
            let made = above::make(&claim.path().join("fs"), &delta, known)?;
            // Its base is none of the small ones.
            let (form, size) = (Form::Above { base: name }, Size::Any);
            return Ok(made.map(|made| Made { root: made.root, form, size }));
        }
        Ok(None)
    }

    /// Returns all snapshots that others may be made above.
    fn candidates(&self, layer: &DiffId, below: Option<&ChainId>) -> Result<Vec<Candidate>, SnapshotError> {
        let mut candidates = Vec::new();
        for place in claim::directories(&self.snapshots)? {
            let Some((_, name)) = named(&place) else { continue };
            let marker = self.trusted(&name)?;
            candidates
                .extend(marker.and_then(|marker| above::candidate(&place, name, &marker, layer, below)));
        }
        Ok(candidates)
    }

    /// Keeps a snapshot from being pruned as long as the claim lives; `false` if it is gone.
    fn hold(&self, claim: &Claim, name: &ChainId) -> Result<bool, SnapshotError> {
        let _lock = self.lock("snapshots", FlockOperation::LockShared)?;
        let path = claim.path().join("lowers");
        fs::write(&path, name.0.hex() + "\n").map_err(io_error("write", &path))?;
        Ok(self.believed(name)?.is_some())
    }
}
