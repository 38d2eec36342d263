//! The suite of `testdata/rungs`: what its cases stand on, and how one is built.

use std::path::PathBuf;
use std::process::Command;

use super::Ran;
use super::bases::Bases;
use super::ladder::{Place, Rung, cases};

/// What the cases stand on.
const BASES: [&str; 2] = ["localhost/busybox:latest", "localhost/debian-slim:bookworm"];

/// A place that has the base images.
pub(crate) fn place(rung: Rung) -> Place {
    let place = Place::new(rung, |_| {});
    let bases = Bases::open();
    for name in BASES {
        let layout = format!("oci:bases:{}", name.rsplit_once(':').unwrap().1);
        let mut command = place.oxbox.command(["copy", name, &layout]);
        command.env("OXBOX_ROOT", &bases.state);
        done(command);
        place.ok(&["copy", &layout, name]);
    }
    place
}

/// Returns the command that builds a case.
pub(crate) fn building(place: &Place, case: &str, options: &[&str]) -> Command {
    let context: PathBuf = cases().join(case);
    let secret = ["--secret", "id=word,src=word"];
    place.command(&[&["build"], options, &secret, &[context.to_str().unwrap()]].concat())
}

/// Runs what must succeed; returns what it printed.
#[track_caller]
pub(crate) fn done(mut command: Command) -> String {
    let ran = Ran::from(command.output().unwrap());
    assert_eq!(ran.code, Some(0), "{command:?}: {}", ran.stderr);
    ran.stdout
}
