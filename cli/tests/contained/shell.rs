//! A shell where a RUN failed, on the rungs below root.

use std::process::Command;

use crate::support::below::{adopt_orphans, until_gone};
use crate::support::ladder::{Place, Rung};
use crate::support::terminal::Terminal;

fn a_shell_is_opened(rung: Rung) {
    adopt_orphans();
    // Without /proc the shell finds only what has a name.
    let mut place = Place::of_lines(
        rung,
        "RUN for name in stty wc setsid; do busybox ln -s busybox /bin/$name; done\n\
         ENV WHO=nobody-else\nWORKDIR /place\n\
         RUN --mount=type=secret,id=word echo written > /place/file && echo last words && exit 7\n",
    );
    place.podman = vec!["--interactive", "--tty"];
    let build = ["build", "--on-error=shell", "--secret", "id=word,src=word", "context"];
    // Podman passes on all that its terminal shows by its standard output.
    let started = place.command(&build);
    let mut command = place.oxbox.isolated(Command::new("sh"));
    command.args(["-c", "exec \"$@\" 1>&2", "sh"]).arg(started.get_program()).args(started.get_args());
    command.envs(started.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut terminal = Terminal::start(&command, 100, 40);
    terminal.until("the build fails when it ends");
    terminal.press(b"echo in-$(cat file)-$WHO-$(pwd); stty size\n");
    terminal.until("in-written-nobody-else-/place");
    terminal.until("40 100");
    terminal.press(b"echo secret-$(wc -c < /run/secrets/word)\n");
    terminal.until("secret-15");
    terminal.interrupt_a_program();
    terminal.press(b"(setsid sleep 1000 &)\n");
    terminal.press(b"exit 0\n");
    let left = terminal.end();
    let text = left.lines.join("\n");
    assert_eq!(left.code, Some(1), "{text}");
    assert!(text.contains("last words") && text.contains("exited with code 7"), "{text}");
    until_gone("a shell", |_| false);
}

#[test]
fn a_shell_is_opened_where_a_run_failed_rootless() {
    a_shell_is_opened(Rung::Rootless);
}

#[test]
fn a_shell_is_opened_where_a_run_failed_with_a_single_id() {
    a_shell_is_opened(Rung::SingleId);
}

#[test]
fn a_shell_is_opened_where_a_run_failed_in_a_changed_root() {
    a_shell_is_opened(Rung::Chroot);
}
