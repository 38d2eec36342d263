//! A folder as a filesystem: FROM of a named context, and what a git repository was checked out to.

use std::sync::Arc;

use super::copy::{self, CopyError, Input, Planned, Rules};
use crate::context::FileTree;

/// Plans the layer that holds all of a folder, on nothing at all.
pub fn plan(folder: Arc<dyn FileTree>, nothing: &dyn FileTree) -> Result<Planned, CopyError> {
    let selected = copy::select(&*folder, ".").map_err(CopyError::Select)?;
    let inputs = vec![Input::Paths { tree: folder, selected }];
    copy::plan(nothing, inputs, "/", Rules::default())
}
