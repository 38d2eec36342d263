//! What a look sees, what it reads, and what it believes without reading.

use std::fs::{self, File, FileTimes};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use oxbox_layers::tar::Kind;

use super::Look;
use crate::context::state::Time;
use crate::context::{Directory, FileTree as _, Ignore};

/// Files that were just made are settled: no test can wait, and nobody can set a ctime.
fn tomorrow() -> Time {
    let now = Time::now();
    Time { seconds: now.seconds + 24 * 60 * 60, ..now }
}

struct Context {
    folder: tempfile::TempDir,
}

impl Context {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("context");
        fs::create_dir_all(root.join("src/deep")).unwrap();
        fs::write(root.join("src/main.c"), "int main;").unwrap();
        fs::write(root.join("src/deep/x.o"), "o").unwrap();
        fs::write(root.join("README.md"), "read").unwrap();
        symlink("src/main.c", root.join("link")).unwrap();
        fs::hard_link(root.join("README.md"), root.join("COPY.md")).unwrap();
        fs::set_permissions(root.join("src/main.c"), fs::Permissions::from_mode(0o4755)).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("context").join(name)
    }

    /// As another process would open it.
    fn open(&self, ignore: &str) -> Directory {
        let directory = Directory::open(&self.path(""), Ignore::parse(ignore).unwrap()).unwrap();
        directory.remembering(&self.folder.path().join("stat"))
    }

    fn look(&self, ignore: &str) -> Look {
        Arc::new(self.open(ignore)).look()
    }

    /// Takes the fingerprint of each file in a build of its own, and says which were read for it.
    fn build(&self, paths: &[&str]) -> Vec<(Vec<u8>, bool)> {
        let directory = Arc::new(self.open("").with_clock(tomorrow));
        let look = directory.look();
        let fingerprints = fingerprints(&look, paths);
        drop(look);
        directory.remember();
        fingerprints
    }
}

fn fingerprints(look: &Look, paths: &[&str]) -> Vec<(Vec<u8>, bool)> {
    let one = |path: &&str| {
        let child = look.child(path.as_bytes()).unwrap().unwrap();
        let was_known = child.content.get().is_some();
        (look.fingerprint(path.as_bytes()).unwrap(), !was_known)
    };
    paths.iter().map(one).collect()
}

fn of(content: &str) -> Vec<u8> {
    [&blake3::hash(content.as_bytes()).as_bytes()[..], &(content.len() as u64).to_le_bytes()].concat()
}

/// Writes a content of the same length, and leaves the file as old as it was.
fn forge(path: &Path, content: &str) {
    let before = fs::metadata(path).unwrap();
    assert_eq!(before.len(), content.len() as u64);
    fs::write(path, content).unwrap();
    let times = FileTimes::new().set_modified(before.modified().unwrap());
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    assert_eq!(fs::metadata(path).unwrap().modified().unwrap(), before.modified().unwrap());
}

const MAIN: &str = "src/main.c";

#[test]
fn an_unchanged_file_is_not_read_again() {
    let context = Context::new();
    let files = [MAIN, "README.md", "COPY.md", "src/deep/x.o"];
    let contents = ["int main;", "read", "read", "o"];
    let first = context.build(&files);
    assert_eq!(first, contents.map(|content| (of(content), true)));
    assert_eq!(context.build(&files), contents.map(|content| (of(content), false)));
}

#[test]
fn what_one_look_read_the_next_one_knows() {
    let context = Context::new();
    let directory = Arc::new(context.open("").with_clock(tomorrow));
    assert_eq!(fingerprints(&directory.look(), &[MAIN]), [(of("int main;"), true)]);
    let look = directory.look();
    look.children(b"src").unwrap();
    assert_eq!(fingerprints(&look, &[MAIN]), [(of("int main;"), false)]);
}

#[test]
fn a_file_rewritten_with_its_size_and_mtime_is_noticed() {
    let context = Context::new();
    context.build(&[MAIN]);
    forge(&context.path(MAIN), "int mine;");
    assert_eq!(context.build(&[MAIN]), [(of("int mine;"), true)]);
    assert_eq!(context.build(&[MAIN]), [(of("int mine;"), false)]);
}

#[test]
fn a_file_renamed_over_another_of_its_size_and_mtime_is_noticed() {
    let context = Context::new();
    context.build(&[MAIN]);
    let (old, new) = (context.path(MAIN), context.path("new"));
    fs::write(&new, "int mine;").unwrap();
    let times = FileTimes::new().set_modified(fs::metadata(&old).unwrap().modified().unwrap());
    File::options().write(true).open(&new).unwrap().set_times(times).unwrap();
    fs::rename(&new, &old).unwrap();
    assert_eq!(context.build(&[MAIN]), [(of("int mine;"), true)]);
}

#[test]
fn two_files_that_changed_places_are_noticed() {
    let context = Context::new();
    fs::write(context.path("src/other"), "int mine;").unwrap();
    context.build(&[MAIN, "src/other"]);
    fs::rename(context.path(MAIN), context.path("src/aside")).unwrap();
    fs::rename(context.path("src/other"), context.path(MAIN)).unwrap();
    fs::rename(context.path("src/aside"), context.path("src/other")).unwrap();
    let found = context.build(&[MAIN, "src/other"]);
    assert_eq!(found, [(of("int mine;"), true), (of("int main;"), true)]);
}

#[test]
fn a_file_changed_by_its_other_name_is_noticed() {
    let context = Context::new();
    context.build(&["COPY.md"]);
    forge(&context.path("README.md"), "READ");
    assert_eq!(context.build(&["COPY.md"]), [(of("READ"), true)]);
}

#[test]
fn a_change_at_once_after_each_look_is_noticed() {
    let context = Context::new();
    let path = context.path(MAIN);
    for round in 0..200 {
        let content = format!("round {round:03}");
        fs::write(&path, &content).unwrap();
        let directory = Arc::new(context.open(""));
        assert_eq!(fingerprints(&directory.look(), &[MAIN])[0].0, of(&content));
        directory.remember();
    }
}

#[test]
fn a_file_that_may_still_change_within_its_tick_is_read_again() {
    /// The moment at which inodes are stamped stands still.
    fn long_ago() -> Time {
        Time { seconds: 0, nanoseconds: 0 }
    }
    let context = Context::new();
    for _ in 0..2 {
        let directory = Arc::new(context.open("").with_clock(long_ago));
        assert_eq!(fingerprints(&directory.look(), &[MAIN]), [(of("int main;"), true)]);
        directory.remember();
    }
}

#[test]
fn what_changed_while_it_was_read_is_not_known() {
    let context = Context::new();
    let directory = Arc::new(context.open("").with_clock(tomorrow));
    let look = directory.look();
    look.children(b"src").unwrap();
    forge(&context.path(MAIN), "int mine;");
    // What was read is not what was looked at.
    assert_eq!(fingerprints(&look, &[MAIN]), [(of("int mine;"), true)]);
    drop(look);
    assert_eq!(fingerprints(&directory.look(), &[MAIN]), [(of("int mine;"), true)]);
}

#[test]
fn a_mode_counts_even_if_the_content_is_known() {
    let context = Context::new();
    context.build(&[MAIN]);
    fs::set_permissions(context.path(MAIN), fs::Permissions::from_mode(0o600)).unwrap();
    let look = context.look("");
    assert_eq!(look.node(MAIN.as_bytes()).unwrap().unwrap().entry.mode, 0o600);
}

#[test]
fn a_capability_is_known_and_noticed() {
    // Version 2 with CAP_NET_RAW. Setting one takes a privilege.
    let value = |effective: u8| [&[effective, 0, 0, 2][..], &[0, 32, 0, 0], &[0; 12]].concat();
    let context = Context::new();
    let set = |value: &[u8]| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(context.path(MAIN), "security.capability", value, flags)
    };
    if set(&value(1)).is_err() {
        return eprintln!("skipped: cannot set capabilities");
    }
    let capability = |look: &Look| {
        let entry = look.node(MAIN.as_bytes()).unwrap().unwrap().entry;
        entry.xattrs.get(&b"security.capability"[..]).cloned()
    };
    context.build(&[MAIN]);
    let look = context.look("");
    assert_eq!(fingerprints(&look, &[MAIN]), [(of("int main;"), false)]);
    assert_eq!(capability(&look), Some(value(1)));
    set(&value(0)).unwrap();
    assert_eq!(capability(&context.look("")), Some(value(0)));
    rustix::fs::lremovexattr(context.path(MAIN), "security.capability").unwrap();
    assert_eq!(capability(&context.look("")), None);
}

#[test]
fn files_that_went_are_forgotten_and_others_are_kept() {
    let context = Context::new();
    let known = |directory: &str| {
        let directory = context.open("").known().records(directory.as_bytes());
        directory.iter().map(|record| String::from_utf8(record.name.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    context.build(&["README.md", MAIN, "src/deep/x.o"]);
    context.build(&["COPY.md"]);
    assert_eq!(known(""), ["COPY.md", "README.md"]);
    fs::remove_file(context.path("README.md")).unwrap();
    let directory = Arc::new(context.open("").with_clock(tomorrow));
    directory.look().children(b"").unwrap();
    directory.remember();
    // The file that lost its other name is in another state.
    assert_eq!((known(""), known("src")), (Vec::new(), vec!["main.c".to_owned()]));
}

#[test]
fn what_turns_out_to_be_wrong_is_not_known_any_more() {
    let context = Context::new();
    context.build(&[MAIN]);
    let directory = Arc::new(context.open("").with_clock(tomorrow));
    let look = directory.look();
    let mut contents = look.contents(&mut [MAIN.as_ref()].into_iter()).unwrap();
    let mut reader = contents.open(MAIN.as_bytes(), Some(&of("int lies;"))).unwrap();
    assert!(reader.read_to_end(&mut Vec::new()).is_err());
    drop(reader);
    drop(contents);
    drop(look);
    directory.remember();
    assert_eq!(context.build(&[MAIN]), [(of("int main;"), true)]);
}

#[test]
fn files_of_a_filesystem_that_cannot_be_believed_are_read_each_time() {
    // Its files are what the kernel makes up when they are read.
    let Ok(directory) = Directory::open(Path::new("/proc/sys/kernel"), Ignore::default()) else {
        return eprintln!("skipped: no /proc");
    };
    let directory = Arc::new(directory.with_clock(tomorrow));
    let look = directory.look();
    assert!(look.children(b"").unwrap().contains(&b"ostype".to_vec()));
    look.fingerprint(b"ostype").unwrap();
    assert_eq!(look.child(b"ostype").unwrap().unwrap().content.get(), None);
}

#[test]
fn who_is_told_to_believe_nothing_reads_all_and_notes_it() {
    let context = Context::new();
    context.build(&[MAIN]);
    let directory = Directory::open(&context.path(""), Ignore::default()).unwrap().with_clock(tomorrow);
    let directory = Arc::new(directory.learning(&context.folder.path().join("stat")));
    let look = directory.look();
    assert_eq!(fingerprints(&look, &[MAIN, "README.md"]), [(of("int main;"), true), (of("read"), true)]);
    drop(look);
    directory.remember();
    assert_eq!(context.build(&["README.md"]), [(of("read"), false)]);
}

#[test]
fn nodes_carry_kind_and_mode_but_no_owner() {
    let context = Context::new();
    let look = context.look("");
    let node = look.node(b"src/main.c").unwrap().unwrap();
    assert_eq!(node.entry.kind, Kind::File { size: 9 });
    assert_eq!((node.entry.mode, node.entry.uid, node.entry.gid), (0o4755, 0, 0));
    let link = look.node(b"link").unwrap().unwrap();
    assert_eq!(link.entry.kind, Kind::Symlink { target: b"src/main.c".to_vec() });
    assert_eq!(look.node(b"none").unwrap(), None);
    assert_eq!(look.node(b"README.md/below").unwrap(), None);
    assert_eq!(look.node(b"").unwrap().unwrap().entry.kind, Kind::Directory);
}

#[test]
fn a_node_is_the_same_alone_and_in_its_directory() {
    let context = Context::new();
    for path in ["src", "src/main.c", "src/deep", "link", "README.md", "none", "src/none"] {
        let (alone, listed) = (context.look("*.md"), context.look("*.md"));
        listed.children(b"").unwrap();
        listed.children(b"src").unwrap();
        assert_eq!(alone.node(path.as_bytes()).unwrap(), listed.node(path.as_bytes()).unwrap(), "{path}");
    }
}

#[test]
fn a_link_to_a_folder_holds_nothing() {
    let context = Context::new();
    symlink("/", context.path("out")).unwrap();
    let look = context.look("");
    assert_eq!(look.children(b"out").unwrap(), [b""; 0]);
    assert_eq!(look.children(b"README.md").unwrap(), [b""; 0]);
    assert_eq!(look.node(b"out/etc").unwrap(), None);
}

#[test]
fn what_became_a_link_or_a_pipe_is_neither_followed_nor_waited_for() {
    let context = Context::new();
    let pipe = context.path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(context.path("socket")).unwrap();
    let look = context.look("");
    assert!(look.fingerprint(b"link").is_err());
    look.fingerprint(b"pipe").unwrap();
    assert_eq!(look.fingerprint(b"socket").unwrap(), look.fingerprint(b"pipe").unwrap());
}

#[test]
fn two_names_of_one_file_are_recognised() {
    let context = Context::new();
    let look = context.look("");
    let identity = |path: &[u8]| look.node(path).unwrap().unwrap().identity;
    assert_eq!(identity(b"README.md"), identity(b"COPY.md"));
    assert!(identity(b"README.md").is_some());
    assert_eq!(identity(b"src/main.c"), None);
}

#[test]
fn what_is_ignored_does_not_exist() {
    let context = Context::new();
    let look = context.look("src/deep\n*.md\n!README.md");
    assert_eq!(look.children(b"").unwrap(), [&b"README.md"[..], b"link", b"src"]);
    assert_eq!(look.children(b"src").unwrap(), [b"main.c"]);
    assert_eq!(look.node(b"src/deep/x.o").unwrap(), None);
    assert!(look.hides(b"src/deep/x.o"));
    assert!(!look.hides(b"nowhere"));
}

#[test]
fn a_file_that_changed_since_its_key_was_taken_cannot_be_read() {
    let context = Context::new();
    let path = MAIN.as_bytes().to_vec();
    let look = context.look("");
    let read = |fingerprint: &[u8]| {
        let mut text = String::new();
        let mut contents = look.contents(&mut [&*path].into_iter()).unwrap();
        contents.open(&path, Some(fingerprint)).unwrap().read_to_string(&mut text).map(|_| text)
    };
    let before = look.fingerprint(&path).unwrap();
    assert_eq!(read(&before).unwrap(), "int main;");
    fs::write(context.path(MAIN), "int mine;").unwrap();
    // That another step of the build took it as it is now does not make it what it was.
    let after = context.look("").fingerprint(&path).unwrap();
    assert_ne!(after, before);
    assert!(read(&before).unwrap_err().to_string().contains("changed"));
    assert_eq!(read(&after).unwrap(), "int mine;");
    for other in ["int mine", "int mine;;", ""] {
        fs::write(context.path(MAIN), other).unwrap();
        assert!(read(&after).unwrap_err().to_string().contains("changed"), "{other:?}");
    }
}

#[test]
fn an_ignored_folder_is_there_only_for_what_was_taken_back() {
    let context = Context::new();
    let look = context.look("*\n!src/main.c");
    assert_eq!(look.children(b"").unwrap(), [b"src"]);
    assert_eq!(look.children(b"src").unwrap(), [b"main.c"]);
}

#[test]
fn what_may_be_taken_back_anywhere_is_looked_for_once_in_each_folder() {
    let context = Context::new();
    let deep = (0..60).fold(String::from("deep"), |path, _| path + "/d");
    fs::create_dir_all(context.path(&deep)).unwrap();
    let look = context.look("**\n!**/x.o");
    assert_eq!(look.children(b"").unwrap(), [b"src"]);
    assert_eq!(look.children(b"src").unwrap(), [b"deep"]);
    // The root, src, src/deep, and each folder of the deep one, which holds nothing.
    assert_eq!(look.listings.read().unwrap().len(), 3 + 61);
}
