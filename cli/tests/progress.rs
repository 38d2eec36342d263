//! What is shown while something is built: each `--progress`, on a terminal and elsewhere.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::process::Command;

use serde_json::Value;
use support::terminal::Terminal;
use support::{Oxbox, Ran};

const KINDS: [&str; 5] = ["auto", "plain", "rawjson", "quiet", "none"];

/// A build of two steps, one of which says something.
fn speaking() -> Oxbox {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nCOPY motd /motd\nRUN cat /motd && echo made > /made\n");
    oxbox
}

/// A build whose second step says something and fails.
fn failing() -> Oxbox {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nRUN echo no luck && exit 7\n");
    oxbox
}

fn objects(ran: &Ran) -> Vec<Value> {
    let lines = ran.stderr.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is said last of each vertex.
fn vertex(objects: &[Value], name: &str) -> Value {
    let mut vertices = objects.iter().filter_map(|object| object["vertexes"].as_array()).flatten();
    vertices.rfind(|vertex| vertex["name"] == name).unwrap_or(&Value::Null).clone()
}

fn on_terminal(oxbox: &Oxbox, arguments: &[&str], columns: u16, rows: u16) -> Terminal {
    Terminal::start(&oxbox.command(arguments), columns, rows)
}

#[test]
fn standard_output_has_the_digest_and_nothing_else_whatever_is_shown() {
    let oxbox = speaking();
    let digest = oxbox.ok(["build", "context"]);
    for kind in KINDS {
        let ran = oxbox.run(["build", "--no-cache", "--progress", kind, "context"]);
        assert_eq!((ran.code, &ran.stdout), (Some(0), &digest), "{kind}: {}", ran.stderr);
    }
    let left = on_terminal(&oxbox, &["build", "--no-cache", "context"], 80, 24).end();
    assert_eq!((left.code, left.stdout), (Some(0), digest), "{:?}", left.lines);
}

#[test]
fn quiet_and_none_say_nothing_of_what_goes_well() {
    let oxbox = speaking();
    for arguments in [["--progress", "quiet"], ["--progress", "none"], ["-q", "--no-cache"]] {
        assert_eq!(oxbox.run([&["build", "context"][..], &arguments].concat()).stderr, "");
    }
}

#[test]
fn quiet_tells_what_a_failed_step_said_and_none_does_not() {
    let oxbox = failing();
    let quiet = oxbox.run(["build", "--quiet", "context"]);
    quiet.fails(1, &["------\n > [2/2] RUN echo no luck", " no luck\n------\nerror: ", "exited with code 7"]);
    let none = oxbox.run(["build", "--progress", "none", "context"]);
    none.fails(1, &["exited with code 7"]);
    assert!(none.stderr.starts_with("error: "), "{}", none.stderr);
}

#[test]
fn rawjson_is_an_object_in_each_line() {
    let oxbox = speaking();
    let ran = oxbox.run(["build", "--progress", "rawjson", "context"]);
    let objects = objects(&ran);
    assert_eq!(objects.len(), ran.stderr.lines().count(), "{}", ran.stderr);
    let run = vertex(&objects, "[3/3] RUN cat /motd && echo made > /made");
    let (started, completed) = (run["started"].as_str().unwrap(), run["completed"].as_str().unwrap());
    assert!(started < completed && completed.ends_with('Z'), "{run}");
    assert_eq!(run["inputs"][0], vertex(&objects, "[2/3] COPY motd /motd")["digest"]);
    let log = objects.iter().find_map(|object| object["logs"].get(0)).unwrap();
    // printf 'hello\n' | base64
    assert_eq!(
        (&log["vertex"], &log["data"], &log["stream"]),
        (&run["digest"], &"aGVsbG8K".into(), &1.into())
    );
    let again = oxbox.run(["build", "--progress", "rawjson", "context"]);
    let again = self::objects(&again);
    let cached = vertex(&again, "[2/3] COPY motd /motd");
    assert_eq!((&cached["cached"], &cached["digest"]), (&true.into(), &run["inputs"][0]));
}

#[test]
fn rawjson_of_a_failure_has_its_error_and_the_last_lines_are_text() {
    let oxbox = failing();
    let ran = oxbox.run(["build", "--progress", "rawjson", "context"]);
    ran.fails(1, &["exited with code 7"]);
    let run = vertex(&objects(&ran), "[2/2] RUN echo no luck && exit 7");
    assert!(run["error"].as_str().unwrap().ends_with("exited with code 7"), "{run}");
    let first_text = ran.stderr.lines().find(|line| !line.starts_with('{')).unwrap();
    assert!(first_text.starts_with("error: "), "{first_text}");
}

#[test]
fn a_pull_is_shown_in_each_way() {
    let there = speaking();
    there.ok(["build", "-t", "base", "context"]);
    let server = there.serve();
    there.ok(["copy", "base", &server.at("base:1")]);
    let name = server.name("base:1");
    let pulled = |kind| {
        let oxbox = Oxbox::new();
        oxbox.dockerfile(&format!("FROM {name}\nCOPY motd /x\n"));
        let arguments = ["build", "--progress", kind, "context"];
        if kind == "tty" {
            return on_terminal(&oxbox, &arguments, 80, 24).end().lines.join("\n");
        }
        let ran = oxbox.run(arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    let plain = pulled("plain");
    assert!(plain.starts_with(&format!("pull {name}\ncopying ")), "{plain}");
    let tty = pulled("tty");
    assert!(tty.contains(&format!("\n => pull {name} ")), "{tty}");
    let raw = Ran { code: None, stdout: String::new(), stderr: pulled("rawjson") };
    let objects = objects(&raw);
    let pull = vertex(&objects, &format!("pull {name}"));
    assert!(pull["completed"].is_string() && pull["error"].is_null(), "{pull}");
    let statuses = objects.iter().filter_map(|object| object["statuses"].get(0));
    let arrived =
        statuses.filter(|status| status["completed"].is_string() && status["vertex"] == pull["digest"]);
    assert!(arrived.count() >= 3, "{}", raw.stderr);
}

#[test]
fn a_copy_can_be_followed_as_json() {
    let oxbox = speaking();
    oxbox.ok(["build", "-t", "base", "context"]);
    let ran = oxbox.run(["copy", "--progress", "rawjson", "base", "oci:there"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let objects = objects(&ran);
    assert_eq!(objects.len(), ran.stderr.lines().count(), "{}", ran.stderr);
    assert!(vertex(&objects, "copy base oci:there")["completed"].is_string(), "{}", ran.stderr);
}

#[test]
fn the_environment_chooses_as_with_buildx_and_the_option_wins() {
    let oxbox = speaking();
    let run = |arguments: &[&str]| {
        let output = oxbox.command(arguments).env("BUILDKIT_PROGRESS", "rawjson").output().unwrap();
        Ran::from(output).stderr
    };
    assert!(run(&["build", "context"]).starts_with('{'));
    assert!(run(&["build", "--progress", "plain", "context"]).starts_with("#1 "));
}

#[test]
fn a_picture_needs_a_terminal() {
    let ran = speaking().run(["build", "--progress", "tty", "context"]);
    ran.fails(2, &["--progress tty needs a terminal on standard error"]);
}

#[test]
fn a_terminal_shows_each_step_once_it_is_over() {
    let oxbox = speaking();
    oxbox.ok(["build", "context"]);
    std::fs::write(
        oxbox.path("context/Dockerfile"),
        "FROM localhost/busybox\nCOPY motd /motd\nRUN echo 漢字\n",
    )
    .unwrap();
    let left = on_terminal(&oxbox, &["build", "context"], 60, 24).end();
    let lines: Vec<&str> = left.lines.iter().map(|line| line.as_str()).collect();
    assert!(lines[0].starts_with("[+] Building ") && lines[0].ends_with("s (3/3) FINISHED"), "{lines:?}");
    let title = |line: &str| line.rsplit_once(' ').unwrap().0.trim_end().to_owned();
    let titles: Vec<String> = lines[1..4].iter().map(|line| title(line)).collect();
    let expected = [
        " => [1/3] FROM localhost/busybox:latest",
        " => CACHED [2/3] COPY motd /motd",
        " => [3/3] RUN echo 漢字",
    ];
    assert_eq!(titles, expected);
    assert_eq!((lines.len(), left.cursor), (4, (0, true)));
}

#[test]
fn a_terminal_shows_what_a_failed_step_said_below_the_picture() {
    let oxbox = failing();
    let left = on_terminal(&oxbox, &["build", "context"], 100, 24).end();
    assert_eq!((left.code, left.stdout.as_str()), (Some(1), ""));
    let text = left.lines.join("\n");
    assert!(text.contains("(2/2) FAILED\n"), "{text}");
    assert!(text.contains(" => ERROR [2/2] RUN echo no luck && exit 7 "), "{text}");
    assert!(text.contains("------\n > [2/2] RUN echo no luck && exit 7:\n0."), "{text}");
    assert!(text.contains(" no luck\n------\nerror: context/Dockerfile:2: "), "{text}");
}

#[test]
fn a_program_cannot_break_the_picture() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile(
        "FROM localhost/busybox\nRUN echo -e '\\033[2J\\033[H\\033[?25l\\033]0;title\\007\\tbroken\\r'; \
         echo -e '\\033[?1049h\\0338\\033[31mred'; i=0; while [ $i -lt 400 ]; do echo -n 'wide '; i=$((i+1)); done; \
         echo; echo said; exec sleep 1000\n",
    );
    let mut terminal = on_terminal(&oxbox, &["build", "context"], 50, 24);
    terminal.until("# said");
    let lines = terminal.lines();
    assert!(lines[0].starts_with("[+] Building "), "{lines:?}");
    assert_eq!(lines[3], " => => #     broken");
    assert_eq!(lines[4], " => => # red");
    assert!(lines[5].starts_with(" => => # wide wide ") && lines[5].ends_with('…'), "{lines:?}");
    assert_eq!(lines.len(), 7, "{lines:?}");
    terminal.resize(30, 6);
    terminal.until("[+] Building");
    terminal.press(b"\x03");
    let left = terminal.end();
    assert_eq!((left.code, left.cursor), (Some(130), (0, true)));
}

#[test]
fn more_steps_than_lines_all_stand_there_in_the_end() {
    let oxbox = Oxbox::new();
    let steps: Vec<String> = (0..40).map(|number| format!("COPY motd /m{number}\n")).collect();
    oxbox.dockerfile(&format!("FROM scratch\n{}", steps.concat()));
    let left = on_terminal(&oxbox, &["build", "context"], 70, 10).end();
    for number in 0..40 {
        let title = format!(" COPY motd /m{number} ");
        let times = left.lines.iter().filter(|line| line.contains(&title)).count();
        assert_eq!(times, 1, "{title}: {:#?}", left.lines);
    }
    assert_eq!(left.lines.len(), 42, "{:#?}", left.lines);
}

#[test]
fn control_c_leaves_the_terminal_as_it_was() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nRUN echo started && exec sleep 1000\n");
    let mut terminal = on_terminal(&oxbox, &["build", "context"], 80, 24);
    terminal.until("# started");
    terminal.press(b"\x03");
    let left = terminal.end();
    assert_eq!((left.code, left.cursor), (Some(130), (0, true)));
    let text = left.lines.join("\n");
    assert!(text.contains(" => CANCELED [2/2] RUN echo started"), "{text}");
    assert_eq!(left.lines.last().unwrap(), "error: interrupted");
    assert_eq!(left.lines.len(), 4, "{text}");
}

#[test]
fn a_terminal_that_can_do_nothing_gets_lines() {
    let oxbox = speaking();
    let command: &mut Command = &mut oxbox.command(["build", "context"]);
    let plain = oxbox.run(["build", "context"]).stderr;
    assert!(plain.starts_with("#1 "));
    let mut shell = oxbox.isolated(Command::new("env"));
    shell.args(["TERM=dumb"]).arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let left = Terminal::start(&shell, 80, 24).end();
    assert!(left.lines[0].starts_with("#1 "), "{:?}", left.lines);
}
