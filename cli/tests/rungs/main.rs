//! One suite of Dockerfiles on every rung of the executor's ladder: the same images, byte for byte.
//!
//! ```text
//! testdata/rungs/<case>   contexts whose RUNs check what they find
//! ladder                  the rungs, and how a binary is started on each
//! company                 among the processes of a container
//! ```
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod company;
mod ladder;
#[path = "../support/mod.rs"]
mod support;

use ladder::{Place, Rung};

/// What cannot be the same on a rung, and why.
const EXCEPTIONS: &[(&str, Rung, &str)] = &[
    ("apt", Rung::SingleId, "apt becomes nobody else, and gives no folder of its own to whom it would be"),
    ("attributes", Rung::SingleId, "as apt"),
    ("capabilities", Rung::SingleId, "every program is root there"),
    ("groups", Rung::SingleId, "every program is root there"),
    ("owners", Rung::SingleId, "a link has no owner but root there"),
    ("special", Rung::SingleId, "a pipe has no owner but root there"),
    ("users", Rung::SingleId, "every program is root there"),
    ("offline", Rung::Container, "/sys is the container's, and shows its interfaces"),
    ("offline", Rung::ContainerUser, "as Container"),
    ("offline", Rung::ContainerBefore, "as Container"),
    ("proc", Rung::ContainerBefore, "/proc is the container's, and knows a process by another number"),
    ("capabilities", Rung::Chroot, "with CAP_SYS_CHROOT root would leave a changed root"),
    ("devices", Rung::Chroot, "a container of Podman's may make no devices"),
    ("offline", Rung::Chroot, "there is the container's network and no other"),
    ("readonly", Rung::Chroot, "nothing keeps root from writing to what is only to be read"),
    ("renames", Rung::Chroot, "a file that is moved keeps its other names, which overlayfs takes from it"),
];

/// Builds a case on every rung, and compares with the first.
fn alike(case: &str) {
    let images = |rung: Rung| -> Vec<String> {
        let place = Place::of(rung);
        let rounds: &[&str] = if case == "caches" { &["ROUND=1", "ROUND=2"] } else { &["ROUND=1"] };
        rounds.iter().map(|round| place.build(case, &["--build-arg", round])).collect()
    };
    let expected = images(Rung::Root);
    for rung in Rung::OTHERS {
        let is_about = |on: Rung| on == rung || on == rung.without_container();
        match EXCEPTIONS.iter().find(|(name, on, _)| *name == case && is_about(*on)) {
            Some((.., reason)) => eprintln!("{case} is not compared on {rung:?}: {reason}"),
            None => assert_eq!(images(rung), expected, "{case} on {rung:?}"),
        }
    }
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
