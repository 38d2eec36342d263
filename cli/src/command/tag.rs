//! `oxbox tag`: gives an image of the local store more names.

use clap::Args;
use oxbox_copy::location::StoreName;
use oxbox_layers::oci::{Descriptor, Digest, Reference};
use oxbox_layers::store::Entries;
use serde::Serialize;

use crate::args::{Output, State};
use crate::local::{self, LocalError};
use crate::output;
use crate::settings::Root;

/// Options of `oxbox tag`.
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Name or digest it has.
    #[arg(value_name = "IMAGE")]
    source: String,
    /// Names it gets as well; each moves if another image has it.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    state: State,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Tagged {
    digest: Digest,
    names: Vec<String>,
}

/// Gives all the names in one change.
pub(super) fn run(options: &Tag) -> anyhow::Result<()> {
    let source = local::parse(&options.source)?;
    let names: Vec<Reference> =
        options.names.iter().map(|name| local::parse_new(name)).collect::<Result<_, _>>()?;
    let root = Root::of(&options.state)?;
    let Some(layout) = local::open(&root)? else {
        return Err(local::missing_everywhere(&source).into());
    };
    let digest = layout.update(|entries| give(entries, &source, &names))??;
    if options.output.json {
        let names = names.iter().map(Reference::familiar).collect();
        output::json(&Tagged { digest, names })?;
        return Ok(());
    }
    for name in &names {
        output::line(&format!("{} is {}", name.familiar(), digest.short()))?;
    }
    Ok(())
}

fn give(entries: &mut Entries, source: &StoreName, names: &[Reference]) -> Result<Digest, LocalError> {
    let image = local::find(entries, source)?;
    // What the entry says beside that is of its old name.
    let bare = Descriptor { platform: image.platform.clone(), ..plain(&image) };
    for name in names {
        // An image that loses its last name stays listed until it is pruned.
        if let Some(displaced) = entries.tag(&name.to_string(), &bare) {
            entries.add(&displaced);
        }
    }
    Ok(image.digest)
}

fn plain(image: &Descriptor) -> Descriptor {
    Descriptor::new(image.media_type.clone(), image.digest, image.size)
}
