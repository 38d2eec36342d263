//! Steps over steps: what one program changes is what the next one finds, and what the layer will say.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use oxbox_builder::exec::{Exit, Process};
use oxbox_builder::snapshot::{Active, Known, Layers, Overlay, Snapshotter};
use oxbox_layers::oci::{ChainId, DiffId, Digest};
use oxbox_layers::tar::{Entry, Kind, Writer};
use oxbox_layers::tree::{Root, emit};
use tempfile::TempDir;

use crate::room::{self, Ran, ran};

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![
        ("a_removed_file_stays_removed", a_removed_file_stays_removed),
        ("a_directory_made_anew_hides_the_old_one", a_directory_made_anew_hides_the_old_one),
        ("a_renamed_directory_is_whole_in_its_new_place", a_renamed_directory_is_whole_in_its_new_place),
        ("attributes_survive_a_commit", attributes_survive_a_commit),
        ("the_changes_of_a_step_are_what_it_did", the_changes_of_a_step_are_what_it_did),
        ("a_step_that_did_nothing_changed_nothing", a_step_that_did_nothing_changed_nothing),
        (
            "a_step_unpacked_looks_as_it_did_when_it_was_committed",
            a_step_unpacked_looks_as_it_did_when_it_was_committed,
        ),
        ("a_layer_without_parents_keeps_those_below", a_layer_without_parents_keeps_those_below),
        ("a_second_program_goes_on_where_the_first_ended", a_second_program_goes_on_where_the_first_ended),
        ("three_hundred_layers_can_be_mounted", three_hundred_layers_can_be_mounted),
        ("hundreds_of_small_layers_are_a_few_directories", hundreds_of_small_layers_are_a_few_directories),
        (
            "more_layers_than_the_kernel_stacks_can_be_run_in",
            more_layers_than_the_kernel_stacks_can_be_run_in,
        ),
        ("a_root_of_no_layers_can_be_run_in", a_root_of_no_layers_can_be_run_in),
    ]
}

/// Snapshots of which the first holds busybox.
pub(crate) struct Builder {
    _state: TempDir,
    overlay: Overlay,
    chain: Vec<DiffId>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let overlay = Overlay::open(state.path()).unwrap();
        let base = overlay.prepare(&[]).unwrap();
        room::install_busybox(base.upper());
        let mut builder = Self { _state: state, overlay, chain: Vec::new() };
        builder.keep(base, "base");
        builder
    }

    fn keep(&mut self, active: Active, name: &str) {
        let layer = DiffId(Digest::sha256(name.as_bytes()));
        self.overlay.commit(active, &layer).unwrap();
        self.chain.push(layer);
    }

    /// Runs a script over all layers so far.
    fn run(&self, script: &str) -> (Active, Ran) {
        let active = self.overlay.prepare(&self.chain).unwrap();
        let ran = ran(&process(&active, script)).unwrap();
        (active, ran)
    }

    /// Returns what a script changes as an archive, and the archive's diff_id.
    fn layer(&self, script: &str) -> (Active, Vec<u8>, DiffId) {
        let (active, ran) = self.run(script);
        assert_eq!(ran.text(), "");
        let entries = self.overlay.changes(&active).unwrap();
        let mut tar = Writer::new(Vec::new());
        emit(&Root::open(active.upper()).unwrap(), &entries, &mut tar).unwrap();
        let tar = tar.finish().unwrap();
        let layer = DiffId(Digest::sha256(&tar));
        (active, tar, layer)
    }

    /// The names of what a script changes.
    pub(crate) fn changed(&self, script: &str) -> Vec<String> {
        let (active, ran) = self.run(script);
        assert_eq!(ran.text(), "");
        let entries = self.overlay.changes(&active).unwrap();
        entries.into_iter().map(|entry| String::from_utf8(entry.path).unwrap()).collect()
    }

    /// Runs a script and keeps what it changed.
    fn step(&mut self, script: &str) {
        let (active, ran) = self.run(script);
        assert_eq!(ran.text(), "");
        self.overlay.changes(&active).unwrap();
        self.keep(active, script);
    }

    fn see(&self, script: &str) -> String {
        self.run(script).1.text()
    }
}

fn process(active: &Active, script: &str) -> Process {
    let mut process = room::process(Path::new("/"), &["/bin/sh", "-c", script]);
    process.root = active.root().clone();
    process
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
}

fn a_removed_file_stays_removed() {
    let mut builder = Builder::new();
    builder.step("echo 1 > /tmp/a; echo 2 > /tmp/b");
    let (active, _) = builder.run("rm /tmp/a");
    assert!(is_whiteout(&active.upper().join("tmp/a")));
    builder.keep(active, "removed");
    assert_eq!(builder.see("ls /tmp"), "b");
}

fn a_directory_made_anew_hides_the_old_one() {
    let mut builder = Builder::new();
    builder.step("mkdir /tmp/d; touch /tmp/d/old");
    let (active, _) = builder.run("rm -r /tmp/d; mkdir /tmp/d; touch /tmp/d/new");
    let mut value = [0; 8];
    let length =
        rustix::fs::getxattr(active.upper().join("tmp/d"), "trusted.overlay.opaque", &mut value).unwrap();
    assert_eq!(&value[..length], b"y");
    builder.keep(active, "anew");
    assert_eq!(builder.see("ls /tmp/d"), "new");
}

fn a_renamed_directory_is_whole_in_its_new_place() {
    let mut builder = Builder::new();
    builder.step("mkdir -p /tmp/d/deep; echo text > /tmp/d/deep/file");
    let (active, ran) = builder.run("mv /tmp/d /tmp/e");
    assert_eq!(ran.exit, Exit::Code(0));
    assert!(is_whiteout(&active.upper().join("tmp/d")));
    // Not a redirect to the lower layer: the upper directory alone says what changed.
    assert_eq!(fs::read(active.upper().join("tmp/e/deep/file")).unwrap(), b"text\n");
    builder.keep(active, "renamed");
    assert_eq!(builder.see("ls /tmp; cat /tmp/e/deep/file"), "e\ntext");
}

fn attributes_survive_a_commit() {
    let mut builder = Builder::new();
    builder.step(
        "touch /tmp/f; chown 33:34 /tmp/f; chmod 6750 /tmp/f; ln /tmp/f /tmp/g; mknod /tmp/n c 1 3; mkfifo /tmp/p; \
         ln -s f /tmp/l; touch -d @1000000000 /tmp/f",
    );
    let script = "cd /tmp; stat -c '%n %u:%g %a %h %F' *; stat -c %Y f; readlink l";
    assert_eq!(
        builder.see(script),
        "f 33:34 6750 2 regular empty file\ng 33:34 6750 2 regular empty file\nl 0:0 777 1 symbolic link\n\
         n 0:0 644 1 character special file\np 0:0 644 1 fifo\n1000000000\nf"
    );
}

fn the_changes_of_a_step_are_what_it_did() {
    let mut builder = Builder::new();
    builder.step("mkdir -p /tmp/d/deep /tmp/o; touch /tmp/a /tmp/b /tmp/d/deep/file /tmp/o/old");
    let script =
        "rm /tmp/a; mv /tmp/d /tmp/e; rm -r /tmp/o; mkdir /tmp/o; touch /tmp/o/new; chmod 600 /tmp/b";
    // A whiteout stands where the hidden name would.
    let expected =
        "tmp tmp/.wh.a tmp/b tmp/.wh.d tmp/e tmp/e/deep tmp/e/deep/file tmp/o tmp/o/new tmp/o/.wh.old";
    assert_eq!(builder.changed(script).join(" "), expected);
}

fn a_step_that_did_nothing_changed_nothing() {
    let builder = Builder::new();
    // Neither the mount points nor /etc, which was copied up for them; nor what was only touched.
    assert_eq!(builder.changed("true"), [""; 0]);
    assert_eq!(builder.changed("touch /tmp/x; rm /tmp/x; chmod 755 /bin"), [""; 0]);
}

/// All that a program can tell of the files in /tmp; of their times whole seconds, as layers keep them.
const LOOK: &str = "cd /tmp; find . -exec stat -c '%n %u:%g %a %F %t:%T %Y' {} + | sort; \
    find . ! -type d -exec stat -c '%n %h %s' {} + | sort; readlink l; find . -type f -exec md5sum {} + | sort";

fn a_step_unpacked_looks_as_it_did_when_it_was_committed() {
    let mut builder = Builder::new();
    builder.step("mkdir -p /tmp/d/deep /tmp/o; echo 1 > /tmp/a; echo 2 > /tmp/d/deep/file; touch /tmp/o/old");
    let script = "cd /tmp; rm a; mv d e; rm -r o; mkdir o; touch o/new; echo 3 > f; chown 33:34 f; \
        chmod 6750 f; ln f g; mknod n c 1 3; mkfifo p; ln -s f l; head -c 100000 /dev/zero > z; \
        touch -d @1000000000 *; mkdir -m 1777 s";
    let (active, tar, layer) = builder.layer(script);
    let chain = [builder.chain.clone(), vec![layer]].concat();
    assert_eq!(builder.overlay.unpacked(&chain).unwrap(), 2);
    builder.overlay.unpack(&chain, &mut || Ok(Box::new(io::Cursor::new(tar.clone()))), None).unwrap();
    builder.chain = chain;
    let unpacked = builder.see(LOOK);

    // What is unpacked goes, and what was written takes its place.
    let kept = builder.chain[..2].to_vec();
    let keep = &mut |name: &ChainId| {
        *name == ChainId::of(&kept).unwrap() || *name == ChainId::of(&kept[..1]).unwrap()
    };
    assert_eq!(builder.overlay.prune(keep).unwrap(), 1);
    builder.overlay.commit(active, &layer).unwrap();
    let committed = builder.see(LOOK);
    assert!(unpacked.contains("./f 33:34 6750 regular file"), "{unpacked}");
    assert_eq!(unpacked, committed);
}

fn a_layer_without_parents_keeps_those_below() {
    let mut builder = Builder::new();
    builder.step("mkdir -m 700 /opt; chown 33:34 /opt; ln -s opt /alias");
    let mut tar = Writer::new(Vec::new());
    for path in ["alias/in", "opt/file"] {
        tar.append(&Entry::new(path, Kind::File { size: 0 }, 0o644), &mut io::empty()).unwrap();
    }
    let tar = tar.finish().unwrap();
    builder.chain.push(DiffId(Digest::sha256(&tar)));
    builder.overlay.unpack(&builder.chain, &mut || Ok(Box::new(io::Cursor::new(tar.clone()))), None).unwrap();
    assert_eq!(builder.see("stat -c '%u:%g %a' /opt; ls /opt; readlink /alias"), "33:34 700\nfile\nin\nopt");
}

fn a_second_program_goes_on_where_the_first_ended() {
    let builder = Builder::new();
    let (active, _) = builder.run("echo first > /tmp/x");
    assert_eq!(ran(&process(&active, "cat /tmp/x")).unwrap().text(), "first");
}

/// Puts layers onto the base until there are so many, each with a file that is called so.
fn pile_up(builder: &mut Builder, layers: usize, kind: Numbered) {
    let numbers = builder.chain.len()..layers;
    builder.chain.extend(numbers.map(|number| DiffId(Digest::sha256(format!("layer {number}").as_bytes()))));
    drop(builder.overlay.prepare_from(&builder.chain, &kind).unwrap());
}

/// Layers of which each holds one file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbered {
    /// And nothing else.
    Small,
    /// And entries enough not to be linked with others.
    Large,
}

impl Layers for Numbered {
    fn open(&self, at: usize) -> io::Result<Option<Box<dyn Read>>> {
        let (mut tar, content) = (Writer::new(Vec::new()), at.to_string());
        let kind = Kind::File { size: content.len() as u64 };
        tar.append(&Entry::new(format!("file{at}"), kind, 0o644), &mut content.as_bytes()).unwrap();
        for _ in 0..if *self == Self::Large { 200 } else { 0 } {
            tar.append(&Entry::new("directory", Kind::Directory, 0o755), &mut io::empty()).unwrap();
        }
        Ok(Some(Box::new(io::Cursor::new(tar.finish().unwrap()))))
    }

    fn known(&self, _at: usize) -> Option<Known<'_>> {
        None
    }
}

fn more_layers_than_the_kernel_stacks_can_be_run_in() {
    let mut builder = Builder::new();
    pile_up(&mut builder, 499, Numbered::Large);
    builder.step("rm /file7; chmod 700 /tmp; ln /bin/busybox /bin/again");
    assert_eq!(builder.overlay.prepare(&builder.chain).unwrap().lowers().len(), 500);
    assert_eq!(builder.see("ls / | grep -c file"), "497");
    builder.step("echo top > /file1");
    // 501 layers: the lowest 251 are one directory now.
    let lowers = |builder: &Builder| builder.overlay.prepare(&builder.chain).unwrap().lowers().to_vec();
    assert_eq!(lowers(&builder).len(), 251);
    assert_eq!(
        builder.see("ls / | grep -c file; cat /file1 /file250 /file498; test -e /file7 || stat -c %a /tmp"),
        "497\ntop\n250498700"
    );
    assert_eq!(
        builder.changed("rm /file8; echo x >> /file300; true > /bin/new"),
        ["bin", "bin/new", "file300", ".wh.file8"]
    );
    // It stays the same for the next ones, and is pruned when nobody stands on it.
    let flat = lowers(&builder).pop();
    builder.step("true > /next");
    assert_eq!(lowers(&builder).pop(), flat);
    assert_eq!(builder.overlay.prune(&mut |_| false).unwrap(), 503);
}

fn hundreds_of_small_layers_are_a_few_directories() {
    let mut builder = Builder::new();
    pile_up(&mut builder, 299, Numbered::Small);
    builder.step("rm /file7; chmod 700 /tmp; ln /bin/busybox /bin/again; mkdir /d; touch /d/1 /d/2");
    for number in 0..30 {
        builder.step(&format!("rm -f /d/*; touch /d/{number}; echo {number} > /file1"));
    }
    assert!(builder.overlay.prepare(&builder.chain).unwrap().lowers().len() <= 26);
    assert_eq!(
        builder.see("ls / | grep -c file; ls /d; cat /file1 /file250; test -e /file7 || stat -c %a /tmp"),
        "297\n29\n29\n250700"
    );
    assert_eq!(
        builder.changed("rm /file8; echo x >> /file200; true > /bin/new"),
        ["bin", "bin/new", "file200", ".wh.file8"]
    );
}

fn three_hundred_layers_can_be_mounted() {
    let mut builder = Builder::new();
    pile_up(&mut builder, 300, Numbered::Large);
    assert_eq!(builder.see("cat /file1 /file150 /file299; ls / | grep -c file"), "1150299299");
    assert_eq!(builder.changed("rm /file7; touch /bin/new"), ["bin", "bin/new", ".wh.file7"]);
}

fn a_root_of_no_layers_can_be_run_in() {
    let builder = Builder::new();
    let active = builder.overlay.prepare(&[]).unwrap();
    fs::copy("/bin/busybox", active.upper().join("busybox")).unwrap();
    let mut process = process(&active, "");
    process.args = ["/busybox", "ls", "/"].map(str::to_owned).to_vec();
    // The mount points are there while it runs, and only then.
    assert_eq!(ran(&process).unwrap().text(), "busybox\ndev\netc\nproc\nsys");
    let left: Vec<_> =
        fs::read_dir(active.upper()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["busybox"]);
}
