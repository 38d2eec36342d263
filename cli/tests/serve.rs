//! `oxbox serve` as a process: how it starts, and how it stops.

mod support;

use std::process::Stdio;

use rustix::process::Signal;
use support::Oxbox;
use support::image::Picture;

#[test]
fn both_signals_stop_it_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let oxbox = Oxbox::new();
        assert_eq!(oxbox.serve().stop(signal).code(), Some(0), "{signal:?}");
    }
}

#[test]
fn what_was_pushed_is_there_after_a_restart() {
    let oxbox = Oxbox::new();
    let digest = oxbox.put("docker.io/library/app:1", &Picture::of("a", b"a")).digest;
    let server = oxbox.serve();
    oxbox.ok(["copy", "app:1", &server.at("app:1")]);
    server.stop(Signal::TERM);
    let server = oxbox.serve();
    assert_eq!(oxbox.json(["inspect", "--json", &server.at("app:1")])["digest"], digest.to_string());
}

#[test]
fn standard_output_has_one_line_and_the_log_is_elsewhere() {
    let oxbox = Oxbox::new();
    let mut command = oxbox.command(["serve", "--listen", "127.0.0.1:0", "--root", "registry"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let address = line.strip_prefix("listening on ").unwrap().trim_end().to_owned();
    oxbox.run(["tags", &format!("docker://{address}/absent")]);
    support::server::send(&child, Signal::TERM);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut rest).unwrap();
    assert_eq!(rest, "");
    let log = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(log.contains("/v2/absent/tags/list") && log.contains("404"), "{log}");
}

#[test]
fn a_low_limit_of_open_files_is_raised() {
    let oxbox = Oxbox::new();
    let mut command = oxbox.limited(256, ["serve", "--listen", "127.0.0.1:0", "--root", "registry"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let files = support::open_files(child.id());
    support::server::send(&child, Signal::TERM);
    child.wait().unwrap();
    assert!(files > 256, "{files}");
}
