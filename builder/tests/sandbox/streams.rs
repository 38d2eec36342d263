//! Output while it comes, signals on their way in, and what becomes of processes left behind.

use std::fs::File;
use std::process::Command;

use oxbox_builder::exec::{ExecError, Exit, Interrupt, MAX_LINE_BYTES, Root, Stream, run};

use crate::room::{self, Room};

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![
        ("ten_thousand_lines_come_in_order", ten_thousand_lines_come_in_order),
        ("a_huge_line_comes_in_bounded_pieces", a_huge_line_comes_in_bounded_pieces),
        ("both_outputs_are_told_apart", both_outputs_are_told_apart),
        ("a_background_process_ends_with_the_program", a_background_process_ends_with_the_program),
        ("orphans_are_reaped", orphans_are_reaped),
        ("a_signal_reaches_the_program", a_signal_reaches_the_program),
        ("after_an_interrupt_nothing_starts", after_an_interrupt_nothing_starts),
        ("many_runs_at_once_do_not_meet", many_runs_at_once_do_not_meet),
        ("a_program_that_somebody_writes_for_a_moment_is_run", a_busy_program_is_run),
    ]
}

fn ten_thousand_lines_come_in_order() {
    let ran = Room::busybox().shell("seq 1 10000");
    let expected: Vec<_> = (1..=10_000).map(|number| number.to_string().into_bytes()).collect();
    assert_eq!(ran.stdout, expected);
}

fn a_huge_line_comes_in_bounded_pieces() {
    let ran = Room::busybox().shell("head -c 1048577 /dev/zero");
    let sizes: Vec<_> = ran.stdout.iter().map(Vec::len).collect();
    assert_eq!(sizes, [&[MAX_LINE_BYTES; 16][..], &[1]].concat());
}

fn both_outputs_are_told_apart() {
    let ran = Room::busybox().shell("echo out; echo err >&2; printf tail");
    assert_eq!((ran.stdout, ran.stderr), (vec![b"out".to_vec(), b"tail".to_vec()], vec![b"err".to_vec()]));
}

fn a_background_process_ends_with_the_program() {
    // It holds both pipes: this would not return before it ends.
    assert_eq!(Room::busybox().shell("sleep 100000 & echo started").text(), "started");
}

fn orphans_are_reaped() {
    let script = "(sh -c 'echo $$ > /tmp/pid' &) \n until [ -s /tmp/pid ]; do :; done \n n=0 \n \
        while [ -e /proc/$(cat /tmp/pid) ] && [ $n -lt 10000 ]; do n=$((n + 1)); done \n \
        [ -e /proc/$(cat /tmp/pid) ] && echo zombie || echo reaped";
    assert_eq!(Room::busybox().shell(script).text(), "reaped");
}

fn a_busy_program_is_run() {
    let room = Room::busybox();
    let mut process = room.process(&["/bin/sh", "-c", "echo ran"]);
    process.root = Root::Directory(room.lower());
    let busybox = File::options().append(true).open(room.lower().join("bin/busybox")).unwrap();
    // As a process of the builder's that was forked and is not executed yet.
    let mut holder = Command::new("sleep").arg("0.3").stdin(busybox).spawn().unwrap();
    assert_eq!(room::ran(&process).unwrap().text(), "ran");
    holder.wait().unwrap();
}

fn a_signal_reaches_the_program() {
    let room = Room::busybox();
    let script = "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 1; done";
    let process = room.process(&["/bin/sh", "-c", script]);
    let interrupt = Interrupt::new();
    let mut said = Vec::new();
    let exit = run(&process, &interrupt, &mut |stream, line| {
        if stream == Stream::Stdout {
            said.push(line.to_vec());
        }
        if line == b"ready" {
            interrupt.send(15);
        }
    });
    assert_eq!(exit.unwrap(), Exit::Code(7));
    assert_eq!(said, [&b"ready"[..], b"caught"]);
}

fn after_an_interrupt_nothing_starts() {
    let interrupt = Interrupt::new();
    interrupt.send(15);
    let refused = run(&Room::busybox().process(&["true"]), &interrupt, &mut |_, _| {});
    assert!(matches!(refused, Err(ExecError::Interrupted)));
}

fn many_runs_at_once_do_not_meet() {
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let room = Room::busybox();
                let said = room.shell(&format!("echo {number} > /tmp/x; cat /tmp/x; ls /tmp | wc -l")).text();
                assert_eq!(said, format!("{number}\n1"));
            });
        }
    });
}
