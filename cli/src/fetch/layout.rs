//! Base images out of OCI layouts: `--build-context NAME=oci-layout://DIR`.
//!
//! They are copied whole, under a name that the store has only meanwhile: what is built on them keeps them.

use std::sync::Arc;

use oxbox_builder::plan::{LayoutImage, LayoutPick};
use oxbox_copy::endpoint::{AnyDestination, AnySource, Places};
use oxbox_copy::location::{Location, Pick, StoreName};
use oxbox_copy::select::Selection;
use oxbox_copy::transfer::{Options, copy};
use oxbox_layers::oci::{Descriptor, Digest, Platform, Reference};
use oxbox_layers::store::Layout;

use super::{PullError, Puller, look_up};

impl Puller {
    /// Brings an image of a layout into the store.
    pub(super) fn of_layout(&self, image: &LayoutImage, platform: &Platform) -> anyhow::Result<Descriptor> {
        let from = location(image)?;
        let unique = Digest::sha256(format!("{from:?} {platform}").as_bytes());
        let name: Reference = format!("localhost/oci-layout:{}", unique.hex()).parse()?;
        self.wait(self.copy_in(&from, &name, platform))?;
        let found = look_up(&self.store, &name, platform)?;
        self.store.untag(&name.to_string())?;
        Ok(found.ok_or_else(|| PullError::Vanished { platform: platform.clone() })?)
    }

    async fn copy_in(&self, from: &Location, name: &Reference, platform: &Platform) -> anyhow::Result<()> {
        let to = Location::Store(StoreName::Reference(name.clone()));
        let places = Places {
            registries: self.client(from)?,
            store: self.root.store(),
            temporary: std::env::temp_dir(),
        };
        let source = AnySource::open(from, &places).await?;
        let destination = AnyDestination::create(&to, &places).await?;
        let options = Options { selection: Selection::One(platform.clone()), ..Options::default() };
        let progress = self.progress.transfer(&format!("pull {from}"));
        copy(Arc::new(source), Arc::new(destination), &options, progress).await?;
        Ok(())
    }
}

/// Returns where an image of a layout is.
fn location(image: &LayoutImage) -> Result<Location, PullError> {
    let path = image.folder.clone();
    let image = match &image.pick {
        None => None,
        Some(LayoutPick::Name(name)) => Some(Pick::Named(name.clone())),
        Some(LayoutPick::Digest(digest)) => {
            let entries = Layout::open(&path)?.entries()?;
            let position = entries.iter().position(|entry| entry.digest == *digest);
            Some(Pick::Position(position.ok_or(PullError::NotInLayout { digest: *digest })?))
        }
    };
    Ok(Location::Layout { path, image })
}
