//! The same images, byte for byte.

use std::process::Command;

use super::support::ladder::{Place, Rung};
use super::support::suite::{building, done, place};

/// Shows a command control groups of version 2 alone: crun of Debian 12 does not start where there are both.
fn in_version_two(command: &Command) -> Command {
    const START: &str = "mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--mount", "sh", "-c", START, "sh"]).arg(command.get_program()).args(command.get_args());
    wrapped.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped.current_dir(command.get_current_dir().unwrap());
    wrapped
}

/// Builds a case with and without a runtime.
fn alike(case: &str) {
    let alone = case == "caches";
    let rounds: &[&str] = if alone { &["ROUND=1", "ROUND=2"] } else { &["ROUND=1"] };
    let images = |place: &Place, options: &[&str], wrap: Option<fn(&Command) -> Command>| -> Vec<String> {
        let image = |round: &&str| {
            let command = building(place, case, &[&["--build-arg", round], options].concat());
            done(match wrap {
                None => command,
                Some(wrap) => wrap(&command),
            })
        };
        rounds.iter().map(image).collect()
    };
    // What is in cache mounts is another matter the second time.
    let after = |settled: Place, rung| if alone { place(rung) } else { settled };
    let root = place(Rung::Root);
    let expected = images(&root, &[], None);
    let root = after(root, Rung::Root);
    assert_eq!(images(&root, &["--no-cache", "--runtime", "runc"], None), expected, "runc as root");
    drop(root);
    let user = place(Rung::Rootless);
    assert_eq!(images(&user, &["--no-cache", "--runtime", "runc"], None), expected, "runc, rootless");
    let user = after(user, Rung::Rootless);
    let crun = images(&user, &["--no-cache", "--runtime", "crun"], Some(in_version_two));
    assert_eq!(crun, expected, "crun, rootless");
}

macro_rules! cases {
    ($($name:ident)*) => {
        $(#[test] fn $name() { alike(stringify!($name)); })*
    };
}

cases! {
    apt attributes caches capabilities deletions devices dpkg groups hardlinks mounts names network offline opaque
    owners proc readonly renames secrets setuid signals special symlinks times users
}
