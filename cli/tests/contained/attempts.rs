//! Commands that would take all there is, or stay.

use std::fs;

use crate::support::below::{adopt_orphans, until_gone};
use crate::support::ladder::{Place, Rung};
use crate::{build, built};

/// Each copy makes two more until no more can be made.
const BOMB: &str = "RUN bomb() { bomb | bomb & }; bomb; n=0; \
    while [ $n -lt 100 ]; do n=$((n + 1)); (exit 0) || echo refused; done; echo ov''er\n";

#[test]
fn a_fork_bomb_under_a_limit_ends_with_its_run_on_every_rung() {
    adopt_orphans();
    for rung in Rung::ALL {
        // Where there is no control group processes are counted for each user, and the machine's root is exempt.
        let user = if rung == Rung::Chroot { "USER 4321\n" } else { "" };
        let place = Place::of_lines(rung, &format!("{user}{BOMB}"));
        let ran = build(&place, &["--pids-limit=100"]);
        let is_told = ran.stderr.contains("cannot be enforced here");
        assert_eq!(is_told, rung != Rung::Root, "{rung:?}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("can't fork") || ran.stderr.contains("refused"),
            "{rung:?}: {}",
            ran.stderr
        );
        until_gone("a fork bomb", |_| false);
        // The builder's own processes have room as before.
        place.oxbox.dockerfile("FROM localhost/busybox\nRUN echo go''es on\n");
        assert!(built(&place, &[]).contains("goes on"));
    }
}

#[test]
fn ten_thousand_open_files_are_no_harm_on_every_rung() {
    for rung in Rung::ALL {
        // Podman's containers are started with a thousand.
        let most = if rung == Rung::Chroot { 1000 } else { 10_000 };
        let open = format!(
            "RUN n=10; while [ $n -lt {most} ]; do eval \"exec $n< /etc/passwd\" || exit 1; n=$((n + 1)); done; \
             cat < /etc/passwd > /copy; echo $n op''en\n"
        );
        let place = Place::of_lines(rung, &format!("RUN echo root:x:0:0::/:/bin/sh > /etc/passwd\n{open}"));
        let limit = format!("--ulimit=nofile={0}:{0}", most + 20);
        assert!(built(&place, &[&limit]).contains(&format!("{most} open")), "{rung:?}");
        let ran = build(&place, &["--ulimit=nofile=100:100"]);
        ran.fails(1, &["Bad file descriptor"]);
    }
}

#[test]
fn what_a_command_leaves_running_is_gone_before_its_layer_is_made_on_every_rung() {
    adopt_orphans();
    // In sessions of their own, orphaned twice, deaf, and writing as long as they live.
    let lines = "RUN write() { trap '' TERM HUP INT; while :; do echo > /late/$1-$n; n=$((n + 1)); done; }; mkdir /late; \
        n=0; write a & (n=0; write b &) ; (setsid sh -c '(trap \"\" TERM; while :; do sleep 1; done) &' > /dev/null 2>&1 &); \
        while ! test -e /late/b-9; do sleep 0.01; done\n\
        RUN first=$(ls /late | wc -l); sleep 0.1; test $(ls /late | wc -l) = $first && echo qui''et\n";
    for rung in Rung::ALL {
        let place = Place::of_lines(rung, lines);
        assert!(built(&place, &[]).contains("quiet"), "{rung:?}");
        until_gone("what a command left running", |_| false);
    }
}

#[test]
fn commands_have_huge_pages_as_in_a_shell() {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let Some(line) = own.lines().find(|line| line.starts_with("THP_enabled:")) else {
        return eprintln!("SKIPPED: this kernel does not say who has huge pages");
    };
    // Where there is no /proc nobody could tell.
    for rung in [Rung::Root, Rung::Rootless, Rung::SingleId] {
        let place = Place::of_lines(rung, "RUN grep THP_enabled /proc/self/status\n");
        assert!(built(&place, &[]).contains(line), "{rung:?}");
    }
}
