//! One suite of Dockerfiles on every rung of the executor's ladder: the same images, byte for byte.
//!
//! ```text
//! testdata/rungs/<case>   contexts whose RUNs check what they find
//! bases                   the images that they stand on
//! ```
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bases;
#[path = "../support/mod.rs"]
mod support;

use support::ladder::Rung;

/// What cannot be the same on a rung, and why.
const EXCEPTIONS: &[(&str, Rung, &str)] = &[
    ("apt", Rung::SingleId, "apt becomes nobody else, and gives no folder of its own to whom it would be"),
    ("attributes", Rung::SingleId, "as apt"),
    ("capabilities", Rung::SingleId, "every program is root there"),
    ("groups", Rung::SingleId, "every program is root there"),
    ("owners", Rung::SingleId, "a link has no owner but root there"),
    ("special", Rung::SingleId, "a pipe has no owner but root there"),
    ("users", Rung::SingleId, "every program is root there"),
    (
        "capabilities",
        Rung::Chroot,
        "with CAP_SYS_CHROOT root would leave a changed root, and there is no /proc",
    ),
    ("devices", Rung::Chroot, "a container of Podman's may make no devices, and there is no /proc"),
    ("offline", Rung::Chroot, "there is the container's network and no other"),
    ("proc", Rung::Chroot, "there is no /proc"),
    ("readonly", Rung::Chroot, "nothing keeps root from writing to what is only to be read"),
    ("renames", Rung::Chroot, "a file that is moved keeps its other names, which overlayfs takes from it"),
];

/// Builds a case on every rung, and compares with the first.
fn alike(case: &str) {
    let images = |rung: Rung| -> Vec<String> {
        let place = bases::place(rung);
        let rounds: &[&str] = if case == "caches" { &["ROUND=1", "ROUND=2"] } else { &["ROUND=1"] };
        rounds.iter().map(|round| bases::build(&place, case, &["--build-arg", round])).collect()
    };
    let expected = images(Rung::Root);
    for rung in Rung::OTHERS {
        match EXCEPTIONS.iter().find(|(name, on, _)| (*name, *on) == (case, rung)) {
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
