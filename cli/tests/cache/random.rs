//! Random builds, one after another on one state: whatever was built, changed, forgotten or made again
//! before, an image is that of a machine which builds it for the first time.
//!
//! `OXBOX_CACHE_SEEDS` says how many sequences there are, `OXBOX_CACHE_SEED` which one alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use oxbox_layers::oci::Digest;

use super::support::Oxbox;
use super::{build, files, lose_intermediates};

/// Enough for CI; by hand some hundreds.
const SEEDS: u64 = 4;

/// Builds of one sequence.
const STEPS: usize = 12;

/// Files of the context.
const FILES: u64 = 4;

/// SplitMix64: the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// The middles of three stages; what frames them is always there.
struct Stages {
    middles: [Vec<String>; 3],
    /// Whether commands come out otherwise whenever they run.
    is_random: bool,
}

impl Stages {
    fn text(&self) -> String {
        let [first, second, last] = self.middles.each_ref().map(|lines| lines.join("\n"));
        let (id, again) = match self.is_random {
            true => ("cat /proc/sys/kernel/random/uuid", "cat /id"),
            false => ("cat /in* | sort", "cat /id"),
        };
        format!(
            "FROM localhost/busybox AS first\nCOPY f0 /in0\n{first}\nRUN {id} > /id; echo same > /same\n\
             FROM first AS second\n{second}\nRUN {again} > /copy\n\
             FROM localhost/busybox AS last\n{last}\nCOPY --from=second /copy /copy\nCOPY --from=first /id /same /got/\n\
             RUN cat /got/id > /again\n",
        )
    }

    /// Changes a line of a stage, takes one away or adds one.
    fn edit(&mut self, dice: &mut Dice) {
        let stage = dice.roll(3) as usize;
        let line = line(stage, dice);
        let lines = &mut self.middles[stage];
        let at = dice.roll(lines.len() as u64 + 1) as usize;
        match dice.roll(3) {
            0 if at < lines.len() => lines[at] = line,
            1 if at < lines.len() => drop(lines.remove(at)),
            _ => lines.insert(at, line),
        }
    }
}

fn line(stage: usize, dice: &mut Dice) -> String {
    let (file, number) = (dice.roll(FILES), dice.roll(3));
    match dice.roll(if stage == 2 { 9 } else { 7 }) {
        0 => format!("COPY f{file} /in{number}"),
        1 => format!("COPY --link f{file} /linked/in{number}"),
        2 => format!("RUN cat /in* /linked/* > /out{number} 2> /dev/null; true"),
        3 => format!("ENV COLOUR=blue{number}"),
        4 => format!("WORKDIR /work{number}/here"),
        5 => format!("RUN rm -rf /out{number} /linked; echo $COLOUR > /c"),
        6 => "ADD --chmod=640 d /dir/".to_owned(),
        7 => format!("COPY --from=first /in0 /from{number}"),
        _ => format!("COPY --from=second --chown=7:{number} /same /dir/"),
    }
}

/// Changes what is in the context.
fn touch(oxbox: &Oxbox, dice: &mut Dice) {
    let path = oxbox.path(&format!("context/f{}", dice.roll(FILES)));
    match dice.roll(4) {
        0 => fs::set_permissions(
            &path,
            fs::Permissions::from_mode([0o644, 0o600, 0o755][dice.roll(3) as usize]),
        )
        .unwrap(),
        1 => fs::write(oxbox.path(&format!("context/d/{}", dice.roll(3))), format!("{}\n", dice.roll(3)))
            .unwrap(),
        // The same bytes at another time are the same.
        2 => fs::write(&path, fs::read(&path).unwrap()).unwrap(),
        _ => fs::write(&path, format!("{}\n", dice.roll(4))).unwrap(),
    }
}

/// Forgets some of what is known.
fn forget(oxbox: &Oxbox, kept: &[Digest], dice: &mut Dice) {
    match dice.roll(5) {
        0 => lose_intermediates(oxbox, kept),
        1 => drop(oxbox.ok(["prune", "--max-used-space", "1"])),
        2 => drop(oxbox.ok(["prune", "--all", "--force"])),
        3 => fs::remove_dir_all(oxbox.root().join("indexes")).unwrap_or_default(),
        _ => fs::remove_dir_all(oxbox.root().join("snapshots")).unwrap_or_default(),
    }
}

fn options(dice: &mut Dice) -> &'static [&'static str] {
    match dice.roll(8) {
        0 => &["--no-cache"],
        1 => &["--no-cache-filter", "first"],
        2 => &["--no-cache-filter", "last"],
        3 => &["--jobs", "1"],
        _ => &[],
    }
}

/// Returns the image of a machine that never built anything.
fn fresh(oxbox: &Oxbox) -> Digest {
    let other = Oxbox::new();
    other.busybox();
    let context = oxbox.path("context");
    other.ok(["build", context.to_str().unwrap()]).trim_end().parse().unwrap()
}

fn sequence(seed: u64, is_random: bool) {
    let (oxbox, mut dice) = (Oxbox::new(), Dice(seed));
    oxbox.busybox();
    fs::create_dir_all(oxbox.path("context/d")).unwrap();
    (0..FILES).for_each(|file| fs::write(oxbox.path(&format!("context/f{file}")), "0\n").unwrap());
    let mut stages = Stages { middles: Default::default(), is_random };
    let (mut last, mut ids): (Option<Digest>, Vec<String>) = (None, Vec::new());
    for step in 0..STEPS {
        for _ in 0..dice.roll(3) {
            match dice.roll(2) {
                0 => stages.edit(&mut dice),
                _ => touch(&oxbox, &mut dice),
            }
        }
        if dice.roll(3) == 0 {
            forget(&oxbox, last.as_slice(), &mut dice);
        }
        let (text, options) = (stages.text(), options(&mut dice));
        oxbox.dockerfile(&text);
        let (digest, told) = build(&oxbox, &[options, &["--tag", "localhost/result"]].concat());
        let seen = || format!("seed {seed}, step {step}, {options:?}\n{text}\n{told}");
        let found = files(&oxbox, &digest);
        assert_eq!((&found["got/id"], &found["got/id"]), (&found["copy"], &found["again"]), "{}", seen());
        if !is_random {
            assert_eq!(digest, fresh(&oxbox), "{}", seen());
        } else if options.iter().any(|word| ["--no-cache", "first"].contains(word)) {
            assert!(ids.iter().all(|id| *id != found["got/id"]), "it ran again: {}", seen());
        }
        ids.push(found["got/id"].clone());
        last = Some(digest);
    }
}

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    match number("OXBOX_CACHE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("OXBOX_CACHE_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

#[test]
fn whatever_was_built_before_an_image_is_that_of_a_first_build() {
    seeds().into_iter().for_each(|seed| sequence(seed, false));
}

#[test]
fn whatever_was_built_before_an_image_has_one_run_of_a_command() {
    seeds().into_iter().for_each(|seed| sequence(seed, true));
}
