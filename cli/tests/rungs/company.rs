//! Programs among the processes of a container: they signal nobody else, and end with their run.

use super::support::ladder::{Place, Rung};

/// Ignores what can be ignored, in a session of its own, with a parent that is gone.
const STUBBORN: &str = "RUN (/bin/busybox setsid sh -c 'trap \"\" TERM HUP INT; sleep 4321; sleep 4321' &); echo started; sleep 4321\n";

/// Starts a build and waits for its RUN. The builder is $builder, the init $init, its child $first.
const START: &str = "busybox() { /bin/busybox \"$@\"; }
    $OXBOX build --no-cache context > log 2>&1 &
    builder=$!
    until busybox grep -q 'started$' log; do busybox sleep 0.05; done
    child() {
        for stat in /proc/[0-9]*/stat; do
            set -- $1 $(busybox cat $stat 2> /dev/null)
            test \"$5\" != $1 || echo $2
        done
    }
    init=$(child $builder) && first=$(child $init) && test -n \"$first\" || exit 9
";

/// Waits until nothing of the run is there, some seconds at most.
const GONE: &str = "
    for _ in $(busybox seq 200); do
        busybox ps | busybox grep -qE '[4]321|[o]xbox-init' || exit 0
        busybox sleep 0.05
    done
    busybox ps; exit 8";

/// Kills one of a build's processes, and expects that all of its run end.
#[track_caller]
fn ends_without(rung: Rung, victim: &str) {
    let ran = Place::of_lines(rung, STUBBORN).script(&format!("{START} kill -9 ${victim}; {GONE}"));
    assert_eq!(ran.code, Some(0), "{rung:?} without {victim}: {}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_run_ends_with_a_builder_that_is_killed() {
    for rung in [Rung::Container, Rung::ContainerUser, Rung::ContainerBefore] {
        ends_without(rung, "builder");
    }
}

#[test]
fn a_run_ends_with_either_of_its_guards() {
    for victim in ["init", "first"] {
        ends_without(Rung::Container, victim);
        ends_without(Rung::ContainerBefore, victim);
    }
}

#[test]
fn a_program_signals_nobody_outside_of_its_run() {
    const KILLS: &str = "RUN trap '' TERM; kill -TERM -1; kill -TERM 1 $PPID; \
            for one in /proc/[0-9]*; do kill -TERM \"${one#/proc/}\"; done; true\n";
    let script = "/bin/busybox sleep 4321 & $OXBOX build context && kill -0 $!";
    for rung in [Rung::Container, Rung::ContainerUser, Rung::ContainerBefore] {
        let ran = Place::of_lines(rung, KILLS).script(script);
        assert_eq!(ran.code, Some(0), "{rung:?}: {}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn another_user_has_a_proc_in_a_changed_root_unless_it_may_need_sudo() {
    const LOOKS: &str = "USER 1000:1000\n\
        RUN busybox grep -q '^Uid:.1000' /proc/self/status && cat /proc/self/environ > /dev/null && ! test -r /proc/1/environ\n\
        USER 0\n\
        RUN busybox mkdir -p /usr/bin && touch /usr/bin/sudo && busybox grep -q '^Uid:.0' /proc/self/status\n\
        USER 1000:1000\n\
        RUN test -z \"$(busybox ls /proc)\"\n";
    let ran = Place::of_lines(Rung::Chroot, LOOKS).script("$OXBOX build context");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}
