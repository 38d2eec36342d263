//! SIGKILL to the builder alone: whoever works for it must notice.

use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::moment::{Moments, rounds};
use crate::support::below::{adopt_orphans, assert_unmounted, groups_of, until_gone};
use crate::support::ladder::{First, Place, Rung, SECRET};
use crate::workload::{Building, Listing, build, holding, listing, place};

/// What there is to compare with: a build that nobody disturbed, elsewhere on the same rung.
struct Undisturbed {
    digest: String,
    /// How long one takes.
    whole: Duration,
    /// What is left of it once it is pruned.
    left: Listing,
}

impl Undisturbed {
    fn on(rung: Rung) -> Self {
        let place = place(rung);
        let (digest, _) = build(&place, &[]);
        let (again, whole) = build(&place, &["--no-cache"]);
        assert_eq!(again, digest);
        place.ok(&["prune", "--all"]);
        Self { digest, whole, left: listing(&place.oxbox.root()) }
    }
}

/// Which steps a build makes: those that are not known, all, or those of the stages.
fn variant(round: usize, number: &str) -> Vec<&str> {
    match round % 3 {
        0 => vec![],
        1 => vec!["--no-cache"],
        _ => vec!["--build-arg", number],
    }
}

/// Kills a build at a moment of it.
fn kill(place: &Place, options: &[&str], moment: Duration) -> i32 {
    let mut building = Building::start(place, options, "said");
    thread::sleep(moment);
    let _ = kill_process(building.builder, Signal::KILL);
    building.child.wait().unwrap();
    building.builder.as_raw_nonzero().get()
}

/// The same while another one of the same is under way, which takes no harm.
fn kill_beside(place: &Place, options: &[&str], moment: Duration, digest: &str) -> i32 {
    let mut other = Building::start(place, options, "said-by-the-other");
    let killed = kill(place, options, moment);
    let status = other.child.wait().unwrap();
    assert!(status.success(), "{}", other.said());
    assert!(other.said().contains(digest.trim_end()), "{digest} {}", other.said());
    killed
}

/// Compares what is left, and says what differs and nothing else.
#[track_caller]
fn assert_same(left: &Listing, expected: &Listing) {
    let more: Vec<_> = left.iter().filter(|(name, bytes)| expected.get(*name) != Some(*bytes)).collect();
    let less: Vec<_> = expected.iter().filter(|(name, _)| !left.contains_key(*name)).collect();
    assert!(
        more.is_empty() && less.is_empty(),
        "beyond what is left undisturbed: {more:?}, lacking: {less:?}"
    );
}

fn killed_at_random(rung: Rung, times: usize) {
    adopt_orphans();
    let expected = Undisturbed::on(rung);
    let mut place = place(rung);
    let mut moments = Moments::new();
    let mut killed = Vec::new();
    for round in 0..rounds(times) {
        // With its first process all of a container ends at once, and without: both happen.
        place.first = if round % 4 == 3 { First::Builder } else { First::Shell };
        let number = format!("ROUND={round}");
        let (options, moment) = (variant(round, &number), moments.next(expected.whole));
        let what = format!("{rung:?}, round {round}, {moment:?}, seed {}", moments.seed);
        eprintln!("{what}");
        killed.push(match round % 5 {
            4 => kill_beside(&place, &options, moment, &expected.digest),
            _ => kill(&place, &options, moment),
        });
        until_gone(&what, |_| false);
        assert_unmounted(place.oxbox.folder());
        if rung != Rung::Chroot {
            let holding = holding(&place.oxbox.root(), SECRET.as_bytes());
            assert!(holding.is_empty(), "{what}: the secret is in {holding:?}");
        }
        if round % 10 == 9 {
            assert_eq!(build(&place, &[]).0, expected.digest, "{what}");
        }
    }
    assert_eq!(build(&place, &[]).0, expected.digest);
    assert_eq!(groups_of(&killed), Vec::<String>::new());
    let holding = holding(&place.oxbox.root(), SECRET.as_bytes());
    assert!(holding.is_empty(), "the secret is in {holding:?}");
    place.ok(&["prune", "--all"]);
    assert_same(&listing(&place.oxbox.root()), &expected.left);
    // Also if nobody builds any more.
    place.first = First::Shell;
    let last = kill(&place, &[], expected.whole / 2);
    until_gone("at last", |_| false);
    place.ok(&["prune", "--all"]);
    assert_same(&listing(&place.oxbox.root()), &expected.left);
    assert_eq!(groups_of(&[last]), Vec::<String>::new());
}

#[test]
fn a_build_killed_at_any_moment_as_root_leaves_nothing() {
    killed_at_random(Rung::Root, 50);
}

#[test]
fn a_build_killed_at_any_moment_rootless_leaves_nothing() {
    killed_at_random(Rung::Rootless, 15);
}

#[test]
fn a_build_killed_at_any_moment_with_a_single_id_leaves_nothing() {
    killed_at_random(Rung::SingleId, 15);
}

#[test]
fn a_build_killed_at_any_moment_in_a_changed_root_leaves_nothing() {
    killed_at_random(Rung::Chroot, 12);
}
