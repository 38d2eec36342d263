//! SIGINT and SIGTERM: programs are told, those that do not listen are killed, and what was under way is taken back
//! before the builder ends.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::moment::{Moments, rounds};
use crate::support::below::{adopt_orphans, assert_unmounted, groups_of, living, until_gone};
use crate::support::ladder::{First, Place, Rung, SECRET};
use crate::workload::{Building, Program, build, holding, listing, place};

/// More than a machine with much to do takes; programs have 0.7 seconds.
const ENOUGH: Duration = Duration::from_secs(10);

/// Folders of the state where nothing stays that somebody was at.
const UNDER_WAY: [&str; 7] =
    ["snapshots/active", "mounts/making", "locks/steps", "groups", "tmp", "scratch", "store/.oxbox/writing"];

/// What somebody was at in a state folder.
fn under_way(place: &Place) -> Vec<String> {
    let state = place.oxbox.root();
    let marked = |folder: &str| {
        let (parent, rest) = folder.split_once('/')?;
        let entries = fs::read_dir(state.join(parent)).ok()?.filter_map(Result::ok);
        let of_ids = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("ids-"));
        Some(of_ids.map(|entry| entry.path().join(rest)).collect::<Vec<_>>())
    };
    let folders =
        UNDER_WAY.iter().flat_map(|folder| [vec![state.join(folder)], marked(folder).unwrap_or_default()]);
    let mut left = Vec::new();
    for folder in folders.flatten() {
        let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
        left.extend(entries.map(|entry| entry.path().display().to_string()));
    }
    // A root of the changed kind is there for the next step, or goes.
    let roots = fs::read_dir(state.join("roots")).into_iter().flatten().filter_map(Result::ok);
    left.extend(
        roots
            .filter(|root| !root.path().join("stands").exists())
            .map(|root| root.path().display().to_string()),
    );
    left
}

/// Sends a signal to a builder, and waits for its end.
fn end(building: &mut Building, signal: Signal) -> (Option<i32>, Duration) {
    let begun = Instant::now();
    let _ = kill_process(building.builder, signal);
    // In a container the builder is somebody else's child, and the container takes its time.
    while living().iter().any(|one| one.pid == building.builder.as_raw_nonzero().get()) {
        thread::sleep(Duration::from_millis(1));
    }
    let took = begun.elapsed();
    (building.child.wait().unwrap().code(), took)
}

fn interrupted_at_random(rung: Rung, times: usize) {
    adopt_orphans();
    let place = place(rung);
    let (digest, _) = build(&place, &[]);
    let (_, whole) = build(&place, &["--no-cache"]);
    let mut moments = Moments::new();
    let (mut builders, mut times_taken) = (Vec::new(), Vec::new());
    for round in 0..rounds(times) {
        let signal = if round % 2 == 0 { Signal::INT } else { Signal::TERM };
        let moment = moments.next(whole);
        let what = format!("{rung:?}, round {round}, {signal:?}, {moment:?}, seed {}", moments.seed);
        let mut building = Building::start(&place, &["--no-cache"], "said");
        builders.push(building.builder.as_raw_nonzero().get());
        thread::sleep(moment);
        let (code, took) = end(&mut building, signal);
        eprintln!("{what}: {code:?} after {took:?}");
        let is_told = code == Some(130) && building.said().contains("interrupted");
        // Before it catches signals, and after its work is done.
        let is_early = code == Some(128 + signal.as_raw()) || code.is_none();
        let is_late = code == Some(0) && building.said().contains(digest.trim_end());
        assert!(is_told || is_early || is_late, "{what}: {code:?} {}", building.said());
        assert!(took < ENOUGH, "{what}: {took:?}");
        until_gone(&what, |_| false);
        assert_unmounted(place.oxbox.folder());
        if is_told {
            times_taken.push(took);
            let left = under_way(&place);
            let of_it = || left.iter().map(|path| listing(path.as_ref())).collect::<Vec<_>>();
            assert!(left.is_empty(), "{what}: {left:?} {:?}\n{}", of_it(), building.said());
        }
        assert_eq!(groups_of(&builders), Vec::<String>::new(), "{what}");
        let holding = holding(&place.oxbox.root(), SECRET.as_bytes());
        assert!(holding.is_empty(), "{what}: the secret is in {holding:?}");
    }
    times_taken.sort_unstable();
    eprintln!("{rung:?}: {} were told, after {times_taken:?}", times_taken.len());
    assert_eq!(build(&place, &[]).0, digest);
}

#[test]
fn a_build_interrupted_at_any_moment_as_root_leaves_nothing() {
    interrupted_at_random(Rung::Root, 20);
}

#[test]
fn a_build_interrupted_at_any_moment_rootless_leaves_nothing() {
    interrupted_at_random(Rung::Rootless, 10);
}

#[test]
fn a_build_interrupted_at_any_moment_with_a_single_id_leaves_nothing() {
    interrupted_at_random(Rung::SingleId, 10);
}

#[test]
fn a_build_interrupted_at_any_moment_in_a_changed_root_leaves_nothing() {
    interrupted_at_random(Rung::Chroot, 8);
}

/// A RUN that ends by its own hand when it is told to, after it wrote that down in a cache.
const LISTENING: &str = "RUN --mount=type=cache,target=/c,id=told trap 'echo told > /c/told; exit 3' TERM; \
    (trap 'echo too > /c/too; exit' TERM; while :; do sleep 0.01; done) & \
    echo ready > /c/ready; while :; do sleep 0.01; done\n";

/// One that hears nothing, and has others beside it that do not either.
const DEAF: &str = "RUN trap '' TERM INT HUP; (setsid sh -c \"trap '' TERM; while :; do sleep 1; done\" &); \
    echo rea''dy; while :; do sleep 1; done\n";

#[test]
fn programs_that_listen_are_told_on_every_rung() {
    adopt_orphans();
    for rung in Rung::ALL {
        for signal in [Signal::INT, Signal::TERM] {
            let place = Place::of_lines(rung, LISTENING);
            let mut program = Program::start(&place);
            let ready = || program_files(&place).iter().any(|name| name == "ready");
            program.until(|_| ready());
            let (code, took) = end(&mut program.building, signal);
            assert_eq!(code, Some(130), "{rung:?}: {}", program.building.said());
            assert!(took < ENOUGH, "{rung:?}: {took:?}");
            eprintln!("{rung:?} {signal:?}: a program that listens, after {took:?}");
            let mut files = program_files(&place);
            files.sort();
            assert_eq!(files, ["ready", "told", "too"], "{rung:?}");
            until_gone("a program that listens", |_| false);
        }
    }
}

#[test]
fn programs_that_do_not_listen_are_killed_on_every_rung() {
    adopt_orphans();
    for rung in Rung::ALL {
        let place = Place::of_lines(rung, DEAF);
        let mut program = Program::start(&place);
        program.until(|said| said.contains(" ready"));
        let (code, took) = end(&mut program.building, Signal::INT);
        eprintln!("{rung:?}: a program that does not listen, after {took:?}");
        assert_eq!(code, Some(130), "{rung:?}: {}", program.building.said());
        assert!(took < ENOUGH, "{rung:?}: {took:?}");
        until_gone("a program that does not listen", |_| false);
        assert_eq!(under_way(&place), Vec::<String>::new(), "{rung:?}");
    }
}

#[test]
fn a_second_signal_ends_a_build_at_once_and_the_next_one_tidies_up() {
    adopt_orphans();
    for rung in Rung::ALL {
        let mut place = Place::of_lines(rung, DEAF);
        place.first = First::Shell;
        let mut program = Program::start(&place);
        program.until(|said| said.contains(" ready"));
        let _ = kill_process(program.building.builder, Signal::INT);
        let (code, _) = end(&mut program.building, Signal::TERM);
        assert_eq!(code, Some(130), "{rung:?}: {}", program.building.said());
        until_gone("after a second signal", |_| false);
        assert_unmounted(place.oxbox.folder());
        place.oxbox.dockerfile("FROM localhost/busybox\nRUN true\n");
        place.ok(&["build", "context"]);
        assert_eq!(under_way(&place), Vec::<String>::new(), "{rung:?}");
    }
}

/// One that ends as if all were well when it is told to end.
const POLITE: &str =
    "RUN trap 'exit 0' TERM; echo half > /half; echo rea''dy; while :; do sleep 0.01; done\n";

#[test]
fn what_ended_well_because_it_was_told_to_is_not_taken_for_done() {
    adopt_orphans();
    for rung in [Rung::Root, Rung::Chroot] {
        let place = Place::of_lines(rung, POLITE);
        for _ in 0..2 {
            let mut program = Program::start(&place);
            // Not from the cache: it says so again.
            program.until(|said| said.contains(" ready"));
            let (code, _) = end(&mut program.building, Signal::TERM);
            assert_eq!(code, Some(130), "{rung:?}: {}", program.building.said());
            until_gone("a polite program", |_| false);
        }
    }
}

/// Names of what is in the only cache of a place.
fn program_files(place: &Place) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![place.oxbox.root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else if ["ready", "told", "too"].contains(&name.as_str()) {
                found.push(name);
            }
        }
    }
    found
}
