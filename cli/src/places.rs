//! Opening what a location names, with the errors that people need.

use oxbox_copy::client::Client;
use oxbox_copy::endpoint::{AnyDestination, AnySource, EndpointError, Places, Subject};
use oxbox_copy::location::Location;

use crate::local;
use crate::settings::Root;

/// Opens the image at a location.
pub(crate) async fn open(location: &Location, client: Client, root: &Root) -> anyhow::Result<AnySource> {
    let Location::Store(name) = location else {
        return Ok(AnySource::open(location, &places(client, root)).await?);
    };
    // A store that is not there yet holds nothing, which is not the same as being broken.
    let Some(layout) = local::open(root)? else { return Err(local::missing_everywhere(name).into()) };
    match AnySource::open(location, &places(client, root)).await {
        Err(EndpointError::Absent { subject: Subject::Image, .. }) => {
            Err(local::missing(&layout.entries()?, name).into())
        }
        opened => Ok(opened?),
    }
}

/// Prepares a location to take an image.
pub(crate) async fn create(
    location: &Location,
    client: Client,
    root: &Root,
) -> Result<AnyDestination, EndpointError> {
    AnyDestination::create(location, &places(client, root)).await
}

fn places(client: Client, root: &Root) -> Places {
    Places { registries: client, store: root.store(), temporary: std::env::temp_dir() }
}
