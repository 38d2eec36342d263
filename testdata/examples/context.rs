//! Writes a build context that looks like a source tree, the same for the same arguments.
//!
//! ```text
//! context FOLDER [FILES [MEAN_BYTES [SEED]]]
//!
//! FOLDER/<group>/<module>/<words>.<ext>     19 of 20: lines of code of all lengths of file; the rest:
//!                                           bytes that do not compress, as in images and archives
//! ```
//!
//! The defaults give 20 000 files that are 242 MB as a tar, 66 MB of gzip -6 and 61 MB of zstd -3. Only
//! integers decide, so that no machine's arithmetic shows. `bench/build` measures with it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const FILES: u64 = 20_000;
const MEAN_BYTES: u64 = 11_460;
const SEED: u64 = 1;

/// Files of one folder, and folders of one group.
const FILES_IN_FOLDER: u64 = 25;
const FOLDERS_IN_GROUP: u64 = 20;

/// One file of so many is binary.
const ONE_BINARY_IN: u64 = 18;

/// Words that all files know, and those that a folder has besides.
const COMMON_WORDS: u64 = 400;
const ALL_WORDS: u64 = 20_000;
const OWN_WORDS: usize = 110;

/// Passages that files share, as licences and boilerplate are: found far apart, so that a large window
/// pays. One line of so many is a passage.
const PASSAGES: usize = 500;
const ONE_PASSAGE_IN: u64 = 55;

/// A file is this many sixteenths of the mean, as often as it stands here: many small ones, few large.
const SIZES: [u64; 16] = [1, 1, 2, 2, 3, 4, 4, 6, 8, 8, 10, 14, 20, 28, 50, 95];

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| usage()));
    let mut number = |default| match arguments.next() {
        Some(text) => text.parse().unwrap_or_else(|_| usage()),
        None => default,
    };
    let (files, mean, seed) = (number(FILES), number(MEAN_BYTES), number(SEED));
    let words = words(&mut Random(seed));
    let passages = passages(&words, &mut Random(seed));
    let mut own: Vec<&str> = Vec::new();
    let mut place = folder.clone();
    for file in 0..files {
        // Mixed, for seeds that are a step of the generator apart give the same numbers, shifted.
        let mut random = Random(Random(seed.wrapping_add(file)).next());
        if file % FILES_IN_FOLDER == 0 {
            own = own_words(&words, &mut random);
            place = place_of(&folder, file / FILES_IN_FOLDER, &words);
            fs::create_dir_all(&place)?;
        }
        let sixteenths = SIZES[random.below(SIZES.len() as u64) as usize];
        // Anything between half and one and a half of it, so that no two are alike.
        let size = sixteenths * mean * (50 + random.below(101)) / 1600;
        let size = usize::try_from(size).expect("because a file of the context fits into memory");
        let content = content(size, &Vocabulary { own: &own, passages: &passages }, &mut random);
        write_file(&place, file, &own, &content)?;
    }
    Ok(())
}

fn usage() -> ! {
    eprintln!("usage: context FOLDER [FILES [MEAN_BYTES [SEED]]]");
    std::process::exit(2)
}

/// Numbers that are enough to look random (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number below the bound, small ones far more often.
    fn small(&mut self, bound: u64) -> u64 {
        let (one, other, third) = (self.below(bound), self.below(bound), self.below(bound));
        one.min(other).min(third)
    }
}

fn words(random: &mut Random) -> Vec<String> {
    const SYLLABLES: [&str; 32] = [
        "re", "con", "get", "set", "ta", "ble", "in", "dex", "to", "ken", "buf", "fer", "li", "ne", "map",
        "per", "er", "ror", "va", "lue", "pa", "th", "no", "de", "sta", "te", "co", "py", "lay", "ex", "is",
        "un",
    ];
    let word = |_| {
        let syllables = 2 + random.below(3);
        (0..syllables).fold(String::new(), |mut word, at| {
            if at > 0 && random.below(4) == 0 {
                word.push('_');
            }
            word + SYLLABLES[random.below(SYLLABLES.len() as u64) as usize]
        })
    };
    (0..ALL_WORDS).map(word).collect()
}

/// What the files of one folder talk about.
fn own_words<'a>(words: &'a [String], random: &mut Random) -> Vec<&'a str> {
    let word = |at: usize| match at % 3 {
        0 => random.below(COMMON_WORDS),
        _ => random.below(ALL_WORDS),
    };
    (0..OWN_WORDS).map(word).map(|at| words[at as usize].as_str()).collect()
}

fn place_of(folder: &Path, number: u64, words: &[String]) -> PathBuf {
    let (group, module) = (number / FOLDERS_IN_GROUP, number % FOLDERS_IN_GROUP);
    let word = |number: u64| &words[(number * 7919 % ALL_WORDS) as usize];
    folder.join(format!("{}-{group}", word(group))).join(format!("{}-{module}", word(number)))
}

/// What a file is written of.
struct Vocabulary<'a> {
    own: &'a [&'a str],
    passages: &'a [String],
}

fn passages(words: &[String], random: &mut Random) -> Vec<String> {
    let passage = |_| {
        let own = own_words(words, random);
        (0..4 + random.below(12)).fold(String::new(), |mut text, _| {
            push_line(&mut text, &own, random);
            text
        })
    };
    (0..PASSAGES).map(passage).collect()
}

fn write_file(place: &Path, number: u64, own: &[&str], content: &Content) -> io::Result<()> {
    let word = own[number as usize % own.len()];
    match content {
        Content::Text(text) => fs::write(place.join(format!("{word}_{number}.rs")), text),
        Content::Bytes(bytes) => fs::write(place.join(format!("{word}-{number}.png")), bytes),
    }
}

enum Content {
    Text(String),
    Bytes(Vec<u8>),
}

/// Returns the content of a file of that size.
fn content(size: usize, vocabulary: &Vocabulary<'_>, random: &mut Random) -> Content {
    if random.below(ONE_BINARY_IN) == 0 {
        let mut bytes: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
        bytes.truncate(size);
        return Content::Bytes(bytes);
    }
    let mut text = String::with_capacity(size + (4 << 10));
    while text.len() < size {
        match random.below(ONE_PASSAGE_IN) {
            0 => text.push_str(&vocabulary.passages[random.small(PASSAGES as u64) as usize]),
            _ => push_line(&mut text, vocabulary.own, random),
        }
    }
    text.truncate(size);
    Content::Text(text)
}

fn push_line(text: &mut String, own: &[&str], random: &mut Random) {
    let indent = "    ".repeat(random.small(5) as usize);
    let mut word = || own[random.small(own.len() as u64) as usize];
    let (a, b, c, d) = (word(), word(), word(), word());
    let number = random.small(10_000);
    let done = match random.small(12) {
        0 => writeln!(text, "{indent}let {a} = {b}.{c}({d})?;"),
        1 => writeln!(text, "{indent}self.{a}.{b}({c}, {number});"),
        2 => writeln!(text, "{indent}// The {a} of a {b} that {c} has no {d} for."),
        3 => writeln!(text, "{indent}if {a}.{b}() == {number} {{\n{indent}    return {c}({d});\n{indent}}}"),
        4 => writeln!(text, "{indent}fn {a}_{b}(&self, {c}: u64) -> Result<(), Error> {{"),
        5 => writeln!(text, "{indent}{a} => {b}::{c}.{d}(&{a})?,"),
        6 => writeln!(text, "{indent}}}\n"),
        7 => writeln!(text, "{indent}assert_eq!({a}({b}, {number}), {c}, \"{d} of {a}\");"),
        8 => writeln!(text, "{indent}pub {a}: {b}<{c}>,"),
        9 => writeln!(text, "use crate::{a}::{b}::{{{c}, {d}}};"),
        10 => writeln!(text, "{indent}tracing::debug!(%{a}, {number}, \"{b} {c} {d}\");"),
        _ => writeln!(text, "{indent}const {a}: &str = \"{number:x}{:016x}\";", random.next()),
    };
    done.expect("because a string takes all that is written");
}
