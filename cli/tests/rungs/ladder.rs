//! The rungs, and how the binary is started on each.

use std::process::Command;

use super::support::bases::{Bases, repository};
use super::support::{Oxbox, Ran};

/// What the cases stand on.
const BASES: [&str; 2] = ["localhost/busybox:latest", "localhost/debian-slim:bookworm"];

/// A rung, by how the builder is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rung {
    /// As root.
    Root,
}

impl Rung {
    /// All that are compared with root's.
    pub(crate) const OTHERS: [Self; 0] = [];
}

/// A builder on a rung, with state of its own that has the base images.
pub(crate) struct Place {
    oxbox: Oxbox,
}

impl Place {
    pub(crate) fn of(rung: Rung) -> Self {
        let place = Self { oxbox: Oxbox::new() };
        let Rung::Root = rung;
        let bases = Bases::open();
        for name in BASES {
            let layout = format!("oci:bases:{}", name.rsplit_once(':').unwrap().1);
            let mut command = place.command(&["copy", name, &layout]);
            let ran = Ran::from(command.env("OXBOX_ROOT", &bases.state).output().unwrap());
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            place.ok(&["copy", &layout, name]);
        }
        place
    }

    /// Builds a case; returns the image's digest.
    pub(crate) fn build(&self, case: &str, options: &[&str]) -> String {
        let context = repository("testdata/rungs").join(case);
        let words = [&["build"], options, &[context.to_str().unwrap()]].concat();
        self.ok(&words)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.oxbox.command(arguments)
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let ran = Ran::from(self.command(arguments).output().unwrap());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
        ran.stdout
    }
}
