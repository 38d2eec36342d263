//! One suite of Dockerfiles on every rung of the executor's ladder: the same images, byte for byte.
//!
//! ```text
//! testdata/rungs/<case>   contexts whose RUNs check what they find, or write it down where it is not the same everywhere
//! differences             what two images have otherwise
//! ```
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod differences;
#[path = "../support/mod.rs"]
mod support;

use support::Ran;
use support::ladder::{Place, Rung};
use support::suite;

/// What a rung lacks.
enum Lack {
    /// The image has this otherwise than root's, and nothing else.
    Differs(&'static [&'static str]),
    /// It is not built, and this is said.
    Refused(&'static str),
}

use Lack::{Differs, Refused};

/// What cannot be the same on a rung, and why.
const EXCEPTIONS: &[(&str, Rung, &str, Lack)] = &[];

/// Builds a case on every rung, and compares with the first.
fn alike(case: &str) {
    let rounds: &[&str] = if case == "caches" { &["ROUND=1", "ROUND=2"] } else { &["ROUND=1"] };
    let images = |place: &Place| -> Vec<String> {
        rounds
            .iter()
            .map(|round| suite::done(suite::building(place, case, &["--build-arg", round])))
            .collect()
    };
    let root = suite::place(Rung::Root);
    let expected = images(&root);
    let mut wrong = Vec::new();
    for rung in Rung::OTHERS {
        let place = suite::place(rung);
        match EXCEPTIONS.iter().find(|(name, on, ..)| (*name, *on) == (case, rung)) {
            None if images(&place) == expected => {}
            Some((.., Refused(said))) => {
                let ran = Ran::from(suite::building(&place, case, &[]).output().unwrap());
                ran.fails(1, &[said]);
            }
            lack => {
                let listed = match lack {
                    Some((.., Differs(listed))) => listed.to_vec(),
                    _ => Vec::new(),
                };
                let last = images(&place).pop().unwrap();
                let found =
                    differences::between((&root.oxbox, expected.last().unwrap()), (&place.oxbox, &last));
                if found != listed {
                    wrong.push(format!("on {rung:?} these differ: {found:#?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{case}: {}", wrong.join("\n"));
}

macro_rules! cases {
    ($($name:ident)*) => {
        $(#[test] fn $name() { alike(stringify!($name)); })*

        #[test]
        fn every_case_has_a_test() {
            let folder = support::bases::repository("testdata/rungs");
            let folders = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
            let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
            let mut names: Vec<_> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
            names.sort();
            let mut tested = vec![$(stringify!($name)),*];
            tested.sort_unstable();
            assert_eq!(names, tested);
        }
    };
}

cases! {
    apt attributes caches capabilities deletions devices dpkg groups hardlinks mounts names network offline opaque
    owners proc readonly renames secrets setuid signals special symlinks times users
}
