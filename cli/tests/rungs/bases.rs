//! What the cases stand on, and how one is built.

use crate::support::Ran;
use crate::support::bases::Bases;
use crate::support::ladder::{Place, Rung, cases};

/// What the cases stand on.
const BASES: [&str; 2] = ["localhost/busybox:latest", "localhost/debian-slim:bookworm"];

/// A place that has the base images.
pub(crate) fn place(rung: Rung) -> Place {
    let place = Place::new(rung, |_| {});
    let bases = Bases::open();
    for name in BASES {
        let layout = format!("oci:bases:{}", name.rsplit_once(':').unwrap().1);
        let mut command = place.oxbox.command(["copy", name, &layout]);
        let ran = Ran::from(command.env("OXBOX_ROOT", &bases.state).output().unwrap());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        place.ok(&["copy", &layout, name]);
    }
    place
}

/// Builds a case; returns the image's digest.
pub(crate) fn build(place: &Place, case: &str, options: &[&str]) -> String {
    let context = cases().join(case);
    let secret = ["--secret", "id=word,src=word"];
    place.ok(&[&["build"], options, &secret, &[context.to_str().unwrap()]].concat())
}
