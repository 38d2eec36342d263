//! One random build: a context, perhaps an ignore file, a Dockerfile of COPYs and ADDs.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use bzip2::read::BzEncoder;
use flate2::read::GzEncoder;
use oxbox_layers::tar::{Entry, Kind, Writer};

use crate::build::BASE;

/// Names that the base has too come up often, so that things meet.
const NAMES: [&[u8]; 12] =
    [b"file", b"sub", b"a", b"ln", b"e", b"d", b"b.txt", b"x", b"own", b"sp ace", b"odd\xff", b"new\nline"];

const TARGETS: [&str; 8] = ["file", "sub", "../a", "/d", "/nowhere", ".", "/", "a"];

const DESTINATIONS: &[&str] = &[
    "/",
    "/d",
    "/d/",
    "/new",
    "/new/",
    "/new/deep/",
    "/new/deep",
    "/lnk",
    "/lnk/",
    "/lnk/x",
    "/abs/n",
    "/dang",
    "/dang/",
    "/dangdir/",
    "/dangdir/x/",
    "/lfile",
    "/file",
    "/file/x",
    "/up/",
    "lib/",
    "lib",
    ".",
    "./",
    "rel",
    "/d/ln",
    "/d/ln/",
    "/d/ln/new/",
    "/x/y",
    "/loop/z",
    "/d/.",
    "/d/..",
    "/own",
    "/own/",
    "/sticky/",
    "/sticky/in/x",
    "/d/lf",
    "/d/file",
    "../up/q",
];

const SOURCES: [&str; 21] = [
    ".", "/", "./", "*", "*", "a*", "*/", "?", "./.", "..", "*/*", "[a-e]*", "[^a]*", "s*/", "l?", "*/file",
    "*.t?t", "*/s*", "*/a*", "missing", "miss*",
];

const PATTERNS: [&str; 18] = [
    "*",
    "sub",
    "!sub/file",
    "**/file",
    "a*",
    "!a",
    "sub/*",
    "!**/a",
    "*/*",
    "!sub/sub",
    "**",
    "!ln",
    "./sub/",
    "/e",
    "e/**",
    "[a-d]",
    "!*",
    "**/e",
];

const FLAGS: [&str; 18] = [
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "--chown=1:2 ",
    "--chown=9 ",
    "--chown=app ",
    "--chown=app:staff ",
    "--chmod=0751 ",
    "--chmod=4711 ",
    "--chmod=640 ",
    "--chown=app --chmod=0705 ",
    "--chmod=00 ",
    "--chown=3:0 --chmod=600 ",
    "--chown=root:5 ",
];

/// A small generator whose numbers are the same everywhere: SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }
}

/// What stands at a path of the context.
enum Thing {
    Directory(u32),
    File(u32, Vec<u8>),
    Link(String),
    Hardlink(Vec<u8>),
}

/// A build to compare.
pub(crate) struct Case {
    things: Vec<(Vec<u8>, Thing)>,
    pub(crate) ignore: Option<String>,
    pub(crate) dockerfile: String,
}

impl Case {
    pub(crate) fn of_seed(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let mut things = Vec::new();
        directory(&mut dice, b"", 0, &mut things);
        let ignore = (dice.roll(5) == 0).then(|| {
            let count = 1 + dice.roll(3);
            (0..count).map(|_| format!("{}\n", dice.pick(&PATTERNS))).collect()
        });
        let mut dockerfile = String::new();
        let staged = dice.roll(4) == 0;
        if staged {
            dockerfile += &format!("FROM {BASE} AS stage\nCOPY --chown=11:12 . /\n");
        }
        dockerfile += &format!("FROM {BASE}\n");
        if dice.roll(3) == 0 {
            dockerfile +=
                ["WORKDIR /w/dir\n", "WORKDIR /lnk\n", "USER app\nWORKDIR rel\n", "WORKDIR /d/ln/n\n"]
                    [dice.roll(4)];
        }
        for _ in 0..=dice.roll(2) {
            dockerfile += &instruction(&mut dice, staged, &mut things);
        }
        Self { things, ignore, dockerfile }
    }

    fn instructions(&self) -> impl Iterator<Item = &str> {
        self.dockerfile.lines().filter(|line| line.starts_with("COPY") || line.starts_with("ADD"))
    }

    pub(crate) fn adds_with_owner(&self) -> bool {
        self.instructions().any(|line| line.starts_with("ADD") && line.contains("--chown"))
    }

    pub(crate) fn has_wildcard(&self) -> bool {
        self.instructions()
            .any(|line| line.split_once('[').is_some_and(|(_, words)| words.contains(['*', '?', '['])))
    }

    /// Whether several files may go onto a destination that does not say that it is a directory.
    pub(crate) fn may_put_several_onto_one_name(&self) -> bool {
        self.instructions().any(|line| {
            let words = line.split_once('[').map_or("", |(_, words)| words);
            let has_wildcard = words.contains(['*', '?', '[']);
            (has_wildcard || words.matches("\",\"").count() > 1) && !line.ends_with("/\"]")
        })
    }

    pub(crate) fn sets_modes(&self) -> bool {
        self.instructions().any(|line| line.contains("--chmod"))
    }

    /// Whether the destination is a link that leads to a file, or to nothing.
    pub(crate) fn names_a_link_as_file(&self) -> bool {
        let ends = ["\"/dang\"]", "\"/lfile\"]", "\"/d/lf\"]"];
        self.instructions().any(|line| ends.iter().any(|end| line.ends_with(end)))
    }

    /// Writes `context` and `Dockerfile` into a folder.
    pub(crate) fn write(&self, room: &Path) {
        let context = room.join("context");
        fs::create_dir_all(&context).unwrap();
        for (path, thing) in &self.things {
            let at = context.join(OsStr::from_bytes(path));
            match thing {
                Thing::Directory(_) => fs::create_dir(&at).unwrap(),
                Thing::File(_, content) => fs::write(&at, content).unwrap(),
                Thing::Link(target) => symlink(target, &at).unwrap(),
                Thing::Hardlink(first) => {
                    fs::hard_link(context.join(OsStr::from_bytes(first)), &at).unwrap();
                }
            }
            if let Thing::Directory(mode) | Thing::File(mode, _) = thing {
                fs::set_permissions(&at, fs::Permissions::from_mode(*mode)).unwrap();
            }
        }
        if let Some(ignore) = &self.ignore {
            fs::write(context.join(".dockerignore"), ignore).unwrap();
        }
        fs::write(room.join("Dockerfile"), &self.dockerfile).unwrap();
    }
}

fn directory(dice: &mut Dice, parent: &[u8], depth: usize, things: &mut Vec<(Vec<u8>, Thing)>) {
    const MODES: [u32; 6] = [0o644, 0o755, 0o600, 0o4755, 0o2711, 0o444];
    const DIRECTORY_MODES: [u32; 5] = [0o755, 0o755, 0o700, 0o1777, 0o2775];
    let mut files: Vec<Vec<u8>> = Vec::new();
    for name in NAMES {
        if dice.roll(5 + 3 * depth) > 1 {
            continue;
        }
        let path = if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() };
        let thing = match dice.roll(8) {
            0..=2 if depth < 2 => Thing::Directory(DIRECTORY_MODES[dice.roll(5)]),
            3 if depth > 0 || dice.roll(3) == 0 => Thing::Link(dice.pick(&TARGETS).to_owned()),
            4 if !files.is_empty() => Thing::Hardlink(files[dice.roll(files.len())].clone()),
            5 => Thing::File(0o644, archive(dice)),
            _ => Thing::File(MODES[dice.roll(6)], [b"at ", &path[..]].concat()),
        };
        if matches!(thing, Thing::File(..)) {
            files.push(path.clone());
        }
        let is_directory = matches!(thing, Thing::Directory(_));
        things.push((path.clone(), thing));
        if is_directory {
            directory(dice, &path, depth + 1, things);
        }
    }
}

fn archive(dice: &mut Dice) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for (path, kind) in [
        ("t", Kind::Directory),
        ("t/file", Kind::File { size: 2 }),
        ("implied/deep/f", Kind::File { size: 2 }),
        ("sub", Kind::Directory),
        ("sub/new", Kind::File { size: 2 }),
        ("hard", Kind::Hardlink { target: b"t/file".to_vec() }),
        ("to", Kind::Symlink { target: b"/d/sub".to_vec() }),
        ("file", Kind::File { size: 2 }),
        ("ln", Kind::Directory),
        ("e", Kind::File { size: 2 }),
        ("lf/x", Kind::File { size: 2 }),
        ("ln/x", Kind::File { size: 2 }),
        ("pipe", Kind::Fifo),
        ("null", Kind::CharacterDevice { major: 1, minor: 3 }),
    ] {
        if dice.roll(3) > 0 && path != "t/file" {
            continue;
        }
        let entry = Entry { uid: 21, gid: 22, ..Entry::new(path, kind.clone(), 0o751) };
        let content: &[u8] = if matches!(kind, Kind::File { .. }) { b"in" } else { b"" };
        tar.append(&entry, &mut &*content).unwrap();
    }
    packed(dice, tar.finish().unwrap())
}

/// In one of the ways that every peer can undo.
fn packed(dice: &mut Dice, tar: Vec<u8>) -> Vec<u8> {
    let mut packed = Vec::new();
    match dice.roll(4) {
        0 => GzEncoder::new(&tar[..], flate2::Compression::fast()).read_to_end(&mut packed).unwrap(),
        1 => BzEncoder::new(&tar[..], bzip2::Compression::fast()).read_to_end(&mut packed).unwrap(),
        _ => return tar,
    };
    packed
}

fn instruction(dice: &mut Dice, staged: bool, things: &mut [(Vec<u8>, Thing)]) -> String {
    let add = dice.roll(3) == 0;
    let from = if staged && !add && dice.roll(2) == 0 { "--from=stage " } else { "" };
    let flags = dice.pick(&FLAGS);
    let mut words = Vec::new();
    let count = [1, 1, 1, 1, 1, 2][dice.roll(6)];
    for _ in 0..count {
        let there: Vec<&str> = things.iter().filter_map(|(path, _)| std::str::from_utf8(path).ok()).collect();
        let source = match dice.roll(4) {
            0..=2 if !there.is_empty() => dice.pick(&there),
            _ => dice.pick(&SOURCES),
        };
        words.push(source.to_owned());
    }
    let mut destination = dice.pick(DESTINATIONS).to_owned();
    if count > 1 && !destination.ends_with('/') && dice.roll(4) > 0 {
        destination.push('/');
    }
    words.push(destination);
    let words: Vec<String> = words.iter().map(|word| serde_json::to_string(word).unwrap()).collect();
    format!("{} {from}{flags}[{}]\n", if add { "ADD" } else { "COPY" }, words.join(","))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.dockerfile.replace('\n', "; "))?;
        if let Some(ignore) = &self.ignore {
            writeln!(f, "  ignored: {ignore:?}")?;
        }
        for (path, thing) in &self.things {
            let path = path.escape_ascii();
            match thing {
                Thing::Directory(mode) => writeln!(f, "    {path}/ {mode:o}")?,
                Thing::File(mode, content) if content.starts_with(b"at ") => {
                    writeln!(f, "    {path} {mode:o}")?
                }
                Thing::File(mode, _) => writeln!(f, "    {path} {mode:o} archive")?,
                Thing::Link(target) => writeln!(f, "    {path} -> {target}")?,
                Thing::Hardlink(first) => writeln!(f, "    {path} = {}", first.escape_ascii())?,
            }
        }
        Ok(())
    }
}
