//! More layers than the kernel stacks: the lowest ones as one directory.
//!
//! ```text
//! layers    1 … 250 │ 251 … 501            the first 250 once more, as what they show together:
//! mount     flat    │ 251 … 501            files by hard links, directories made
//! ```
//!
//! It is a snapshot like others, called by a digest that no layer has. The border moves by hundreds of layers, so
//! that what was made for one step is there for the next ones.

use std::path::PathBuf;

use oxbox_layers::oci::{ChainId, DiffId, Digest};
use oxbox_layers::tree::{Root, flatten};

use super::{Claim, Form, MAX_LOWERS, Overlay, RootEntry, Taken, dress, speaking};
use crate::snapshot::{SnapshotError, io_error, unpack};

/// So many layers become one, or a multiple of that.
const STRIDE: usize = 250;

impl Overlay {
    /// Returns fewer lower directories that show the same as those of all layers, the topmost first.
    pub(super) fn flattened(
        &self,
        claim: &Claim,
        chain: &[DiffId],
        taken: &[Taken],
    ) -> Result<Vec<PathBuf>, SnapshotError> {
        let strides = (STRIDE..chain.len()).step_by(STRIDE).chain([chain.len()]);
        let fits = |&low: &usize| {
            let above = taken[..chain.len() - low].iter().map(|taken| taken.lowers.len());
            above.sum::<usize>() < MAX_LOWERS
        };
        let low = strides.into_iter().find(fits).unwrap_or(chain.len());
        let (above, below) = taken.split_at(chain.len() - low);
        let name = name(&chain[..low]);
        self.make(&name, &mut |claim| {
            let lowers: Vec<_> = below.iter().flat_map(|taken| taken.lowers.clone()).collect();
            let stack = unpack::stack(&lowers)?;
            let fs = claim.path().join("fs");
            let root = Root::open(&fs)?;
            unpack::fill(&fs, None, |entries| flatten(&stack, &root, entries))?;
            let speaking = speaking(below);
            dress(&fs, speaking)?;
            Ok((speaking.map_or(RootEntry::Inherited, |_| RootEntry::Own), Form::Whole))
        })?;
        self.hold_too(claim, &name)?;
        let flat = self.place(&name).join("fs");
        Ok(above.iter().flat_map(|taken| taken.lowers.clone()).chain([flat]).collect())
    }

    /// Adds a snapshot to those that a claim stands on. Nobody prunes one that was made this moment.
    fn hold_too(&self, claim: &Claim, name: &ChainId) -> Result<(), SnapshotError> {
        use std::io::Write as _;
        let _lock = self.lock("snapshots", rustix::fs::FlockOperation::LockShared)?;
        let path = claim.path().join("lowers");
        let list = std::fs::File::options().append(true).open(&path);
        list.and_then(|mut list| list.write_all((name.0.hex() + "\n").as_bytes()))
            .map_err(io_error("write", &path))?;
        super::Marker::touch(&self.place(name));
        match self.believed(name)? {
            Some(_) => Ok(()),
            None => Err(SnapshotError::Missing { layer: DiffId(name.0) }),
        }
    }
}

/// What layers are called as one directory.
fn name(chain: &[DiffId]) -> ChainId {
    let chain = ChainId::of(chain).map(|chain| chain.to_string()).unwrap_or_default();
    ChainId(Digest::sha256(format!("flat {chain}").as_bytes()))
}
