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
const EXCEPTIONS: &[(&str, Rung, &str, Lack)] = &[
    (
        "apt",
        Rung::SingleId,
        "apt becomes nobody else, and gives no folder to whom it would be",
        Differs(&["var/cache/apt/archives/partial: owner 42:0 is 0:0"]),
    ),
    (
        "capabilities",
        Rung::SingleId,
        "every program is root there",
        Differs(&[r#"has/nobody: content "CapEff:\t0000000000000000\n" is "CapEff:\t00000000a80425fb\n""#]),
    ),
    (
        "groups",
        Rung::SingleId,
        "every program is root there",
        Differs(&[r#"has/app: content "1000 6 50\n" is "0\n""#, r#"has/team: content "2000\n" is "0\n""#]),
    ),
    (
        "owners",
        Rung::SingleId,
        "a link has no owner but root there",
        Differs(&["data/link: owner 5:6 is 0:0"]),
    ),
    ("special", Rung::SingleId, "a pipe has no owner but root there", Differs(&["moved: owner 9:9 is 0:0"])),
    (
        "users",
        Rung::SingleId,
        "every program is root there, and no mode keeps it out",
        Differs(&[
            r#"told/app: content "1000:1000 /home/app\n" is "0:0 /home/app\n""#,
            "forbidden: is there",
            "told: is not there",
            "told/refused: is not there",
            r#"told/nobody: content "65534:65534 refused\n" is "0:0 mine\n""#,
            r#"told/numbers: content "4321:8765\n" is "0:0\n""#,
        ]),
    ),
    (
        "capabilities",
        Rung::Chroot,
        "with CAP_SYS_CHROOT root would leave a changed root, and there is no /proc to look at",
        Differs(&[
            r#"has/root: content "CapEff:\t00000000a80425fb\n" is "none\n""#,
            r#"has/chroot: content "may\n" is "may not\n""#,
            r#"has/nobody: content "CapEff:\t0000000000000000\n" is "none\n""#,
        ]),
    ),
    (
        "devices",
        Rung::Chroot,
        "a container of Podman's may make no devices, and there is no /proc",
        Differs(&[
            concat!(
                r#"found: content "/dev/null character special file 1:3\n/dev/zero character special file 1:5\n"#,
                r#"/dev/full character special file 1:7\n/dev/random character special file 1:8\n"#,
                r#"/dev/urandom character special file 1:9\n/dev/tty character special file 5:0\n" is "#,
                r#""/dev/null regular empty file 0:0\n/dev/zero fifo 0:0\nno full\n/dev/random fifo 0:0\n"#,
                r#"/dev/urandom fifo 0:0\nno tty\n""#,
            ),
            r#"full: content "full\n" is "taken\n""#,
            r#"fd: content "open\n" is "none\n""#,
        ]),
    ),
    (
        "offline",
        Rung::Chroot,
        "there is the container's network and no other",
        Refused("isolation chroot cannot keep the network away (--network=none)"),
    ),
    (
        "proc",
        Rung::Chroot,
        "there is no /proc",
        Differs(&[
            r#"self: content "/bin/busybox\n" is "none\n""#,
            r#"etc/caught: content "caught\n" is "not\n""#,
        ]),
    ),
    (
        "readonly",
        Rung::Chroot,
        "nothing keeps root from writing to what is only to be read; of a stage it is a copy",
        Differs(&["kept: is not there", "written: is there", "kept: is not there", "written: is there"]),
    ),
    (
        "renames",
        Rung::Chroot,
        "a file that is moved keeps its other names, which overlayfs takes from it",
        Differs(&["upper/linked: is there"]),
    ),
];

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
