//! How programs of RUN are kept apart: what is told of it, what is asked for, and what is refused.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::path::Path;

use support::user::{self, Ids};
use support::{Oxbox, Ran};

/// A place with an image, whose builder is a user.
fn of_user(ids: Ids) -> Oxbox {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile(
        "FROM localhost/busybox\nRUN echo made > /made && busybox chown 5:6 /made\nRUN test -e /made && busybox rm /made\n",
    );
    for folder in [oxbox.root(), oxbox.path("context")] {
        give(&folder);
    }
    user::settle(&oxbox, ids);
    oxbox
}

/// Gives a folder and all in it to the user.
fn give(folder: &Path) {
    let status =
        std::process::Command::new("chown").arg("-R").arg(user::USER.to_string()).arg(folder).status();
    assert!(status.unwrap().success());
}

fn as_user(oxbox: &Oxbox, arguments: &[&str]) -> Ran {
    user::start(oxbox, &oxbox.command(arguments)).output().unwrap().into()
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: only root can become another user");
    }
    is_root
}

#[test]
fn info_says_of_each_rung_whether_it_holds_and_how_to_mend_it() {
    if !is_root() {
        return;
    }
    let oxbox = of_user(Ids::One);
    let told = as_user(&oxbox, &["info", "--json"]).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let isolation = &told["machine"]["isolation"];
    assert_eq!(isolation["taken"], "single-id");
    let rungs: Vec<_> = isolation["rungs"].as_array().unwrap().iter().collect();
    let names: Vec<_> = rungs.iter().map(|rung| rung["rung"].as_str().unwrap()).collect();
    assert_eq!(names, ["root", "rootless", "single-id", "chroot"]);
    assert_eq!(rungs[0]["obstacle"], "this is not root");
    assert_eq!(rungs[1]["obstacle"], "/etc/subuid has no ids for user rungs");
    assert!(rungs[1]["hint"].as_str().unwrap().contains("usermod --add-subuids"));
    assert_eq!(rungs[2]["works"], true);
    let text = as_user(&oxbox, &["info"]).stdout;
    assert!(text.contains("RUN works:         yes, isolated by single-id"), "{text}");
    assert!(
        text.contains("rootless   no: /etc/subuid has no ids for user rungs (as root: usermod"),
        "{text}"
    );
}

#[test]
fn a_rung_that_does_not_hold_cannot_be_forced() {
    if !is_root() {
        return;
    }
    let oxbox = of_user(Ids::One);
    for (rung, reason, hint) in [
        ("root", "this is not root", "run it as root"),
        ("oci", "this is not root", "run it as root"),
        ("rootless", "/etc/subuid has no ids for user rungs", "usermod --add-subuids"),
        ("chroot", "CAP_SYS_CHROOT", "run as root of a container"),
    ] {
        let ran = as_user(&oxbox, &["build", "--isolation", rung, "context"]);
        ran.fails(1, &["does not work here", reason, "hint: ", hint]);
    }
}

#[test]
fn a_user_without_newuidmap_or_ids_builds_all_the_same() {
    if !is_root() {
        return;
    }
    for ids in [Ids::One, Ids::Many] {
        let oxbox = of_user(ids);
        let ran = as_user(&oxbox, &["build", "context"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
}

#[test]
fn what_a_user_built_with_mapped_ids_is_removed_again() {
    if !is_root() {
        return;
    }
    let oxbox = of_user(Ids::Many);
    let ran = as_user(&oxbox, &["build", "--iidfile", "id", "context"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let counted = as_user(&oxbox, &["du", "--json"]).stdout;
    let counted: serde_json::Value = serde_json::from_str(&counted).unwrap();
    assert!(!counted["snapshots"].as_array().unwrap().is_empty(), "{counted:#}");
    let ran = as_user(&oxbox, &["prune", "--all"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let folders = std::fs::read_dir(oxbox.root().join("snapshots")).unwrap();
    let marked =
        folders.map(|entry| entry.unwrap().path()).find(|path| path.join("active").is_dir()).unwrap();
    let left: Vec<_> = std::fs::read_dir(marked).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["active"]);
}

#[test]
fn no_isolation_builds_all_but_run() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nCOPY motd /\nRUN true\n");
    let ran = oxbox.run(["build", "--isolation", "none", "context"]);
    ran.fails(1, &["Dockerfile:3: RUN cannot work here: isolation none was asked for", "--isolation auto"]);
    assert!(!ran.stderr.contains("COPY motd"), "something was made: {}", ran.stderr);
    oxbox.dockerfile("FROM localhost/busybox\nCOPY motd /\n");
    oxbox.ok(["build", "--isolation", "none", "context"]);
}

#[test]
fn the_environment_says_which_isolation_too() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nRUN true\n");
    let mut command = oxbox.command(["build", "context"]);
    Ran::from(command.env("OXBOX_ISOLATION", "none").output().unwrap())
        .fails(1, &["isolation none was asked for"]);
    let ran = oxbox.run(["build", "--isolation", "docker", "context"]);
    ran.fails(2, &["\"docker\" is no isolation"]);
}

#[test]
fn every_rung_that_root_may_force_builds_the_same() {
    if !is_root() {
        return;
    }
    let image = |rung: &str| {
        let oxbox = Oxbox::new();
        oxbox.busybox();
        oxbox.dockerfile(
            "FROM localhost/busybox\nCOPY --chown=7:8 motd /\nRUN echo made > /made && busybox chown 5:6 /made /motd\nRUN busybox rm /made\n",
        );
        oxbox.ok(["build", "--isolation", rung, "context"])
    };
    let expected = image("root");
    for rung in ["rootless", "single-id", "chroot"] {
        assert_eq!(image(rung), expected, "{rung}");
    }
}

/// Steps that make, replace, hide and link what lies many layers below.
fn many_steps() -> String {
    let mut text = "FROM localhost/busybox\n".to_owned();
    for number in 0..50 {
        let (a, b) = (number * 7 % 5, number * 11 % 4);
        let step = match number % 8 {
            0 => format!("COPY --chown=7:8 motd /d{a}/copied{number}"),
            1 => {
                format!("RUN busybox rm -rf /d{a}; busybox mkdir -p /d{a}/e{b}; echo {number} > /d{a}/e{b}/f")
            }
            2 => format!("RUN busybox rm -rf /d{a}/e{b}; echo {number} > /x{b}"),
            3 => {
                format!("RUN busybox mkdir -p /d{a}; busybox chmod 7{b}5 /d{a}; busybox chown {a}:{b} /d{a}")
            }
            4 => format!(
                "RUN busybox rm -rf /d{b}; busybox ln -s /d{a} /d{b}; busybox rm /d{b}; busybox mkdir /d{b}"
            ),
            5 => format!("RUN busybox mkdir -p /d{a}; echo {b} > /d{a}/h; busybox ln -f /d{a}/h /d{a}/h2"),
            6 => format!("RUN busybox mkdir -p /d{a}; busybox mv /d{a} /m{number}; busybox mkdir /d{a}"),
            _ => format!(
                "RUN busybox find / -xdev -name '?[0-9]*' | busybox sort > /list{b}; echo > /d{a}t; busybox rm /d{a}t"
            ),
        };
        text.push_str(&step);
        text.push('\n');
    }
    text
}

/// How many snapshots are links to the files of others.
fn folds(oxbox: &Oxbox) -> usize {
    let mut waiting = vec![oxbox.root().join("snapshots")];
    let mut folds = 0;
    while let Some(folder) = waiting.pop() {
        if let Ok(marker) = std::fs::read_to_string(folder.join("unpacked")) {
            folds += usize::from(marker.contains("\nfolded "));
            continue;
        }
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        waiting.extend(entries.filter(|path| path.is_dir()));
    }
    folds
}

#[test]
fn fifty_steps_make_the_same_image_on_every_rung() {
    if !is_root() {
        return;
    }
    let image = |rung: &str| {
        let oxbox = Oxbox::new();
        oxbox.busybox();
        oxbox.dockerfile(&many_steps());
        let image = oxbox.ok(["build", "--isolation", rung, "context"]);
        // All that was unpacked goes: layers are unpacked over others that are folded, and folded all at once.
        if rung != "chroot" {
            assert!(folds(&oxbox) > 2, "{rung}");
            std::fs::remove_dir_all(oxbox.root().join("snapshots")).unwrap();
        }
        let last = "RUN busybox find /bin /d[0-9]* /m* /x* /list* -exec busybox stat -c '%n %f %u %g %Y' {} + | busybox sort > /last\n";
        let again = oxbox.dockerfile(&(many_steps() + last)).ok(["build", "--isolation", rung, "context"]);
        (image, again)
    };
    let expected = image("root");
    for rung in ["rootless", "single-id", "chroot"] {
        assert_eq!(image(rung), expected, "{rung}");
    }
}

#[test]
fn a_run_that_failed_in_a_changed_root_leaves_it_to_the_next() {
    if !is_root() {
        return;
    }
    let roots = |oxbox: &Oxbox| {
        let roots = std::fs::read_dir(oxbox.root().join("roots")).unwrap();
        roots.map(|root| root.unwrap().file_name()).collect::<Vec<_>>()
    };
    let build = ["build", "--isolation", "chroot", "context"];
    let good = "FROM localhost/busybox\nRUN echo 1 > /one\nRUN busybox ls / > /two\n";
    let (oxbox, fresh) = (Oxbox::new(), Oxbox::new());
    oxbox.busybox();
    oxbox.dockerfile(
        "FROM localhost/busybox\nRUN echo 1 > /one\nRUN busybox mkdir -p /half; echo > /two; false\n",
    );
    assert_ne!(oxbox.run(build).code, Some(0));
    let before = roots(&oxbox);
    assert_eq!(before.len(), 1);
    let image = oxbox.dockerfile(good).ok(build);
    assert_eq!(roots(&oxbox), before);
    fresh.busybox();
    assert_eq!(fresh.dockerfile(good).ok(build), image);
}

#[test]
fn a_cache_that_is_only_read_is_waited_for_in_a_changed_root_and_begins_anew_if_it_was_lost() {
    if !is_root() {
        return;
    }
    let oxbox = Oxbox::new();
    oxbox.busybox();
    let mount = "RUN --mount=type=cache,target=/cache,id=one";
    oxbox.dockerfile(&format!(
        "FROM localhost/busybox AS writes\n{mount} echo kept > /cache/file && busybox sleep 1\n\
         FROM localhost/busybox AS reads\nRUN busybox sleep 0.3\n{mount},readonly busybox ls -l /cache > /seen\n\
         FROM scratch\nCOPY --from=writes /bin/busybox /one\nCOPY --from=reads /seen /two\n",
    ));
    let build = ["build", "--isolation", "chroot", "--jobs", "2", "--no-cache", "context"];
    oxbox.ok(build);
    // As if a container had been killed while a run had it.
    let mounts = std::fs::read_dir(oxbox.root().join("mounts")).unwrap();
    let lost =
        mounts.filter(|mount| std::fs::remove_dir_all(mount.as_ref().unwrap().path().join("files")).is_ok());
    assert_eq!(lost.count(), 1);
    oxbox.dockerfile(&format!("FROM localhost/busybox\n{mount},readonly test ! -e /cache/file\n"));
    oxbox.ok(["build", "--isolation", "chroot", "context"]);
}
