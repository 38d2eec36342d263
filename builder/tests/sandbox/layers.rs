//! Steps over steps: what one program changes is what the next one finds, and what the layer will say.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use oxbox_builder::exec::{Exit, Process};
use oxbox_builder::snapshot::{Active, Overlay, Snapshotter};
use oxbox_layers::oci::{DiffId, Digest};
use tempfile::TempDir;

use crate::room::{self, Ran, ran};

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![
        ("a_removed_file_stays_removed", a_removed_file_stays_removed),
        ("a_directory_made_anew_hides_the_old_one", a_directory_made_anew_hides_the_old_one),
        ("a_renamed_directory_is_whole_in_its_new_place", a_renamed_directory_is_whole_in_its_new_place),
        ("attributes_survive_a_commit", attributes_survive_a_commit),
        ("a_second_program_goes_on_where_the_first_ended", a_second_program_goes_on_where_the_first_ended),
        ("three_hundred_layers_can_be_mounted", three_hundred_layers_can_be_mounted),
        ("a_root_of_no_layers_can_be_run_in", a_root_of_no_layers_can_be_run_in),
    ]
}

/// Snapshots of which the first holds busybox.
struct Builder {
    _state: TempDir,
    overlay: Overlay,
    chain: Vec<DiffId>,
}

impl Builder {
    fn new() -> Self {
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

    /// Runs a script and keeps what it changed.
    fn step(&mut self, script: &str) {
        let (active, ran) = self.run(script);
        assert_eq!(ran.text(), "");
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

fn a_second_program_goes_on_where_the_first_ended() {
    let builder = Builder::new();
    let (active, _) = builder.run("echo first > /tmp/x");
    assert_eq!(ran(&process(&active, "cat /tmp/x")).unwrap().text(), "first");
}

fn three_hundred_layers_can_be_mounted() {
    let mut builder = Builder::new();
    for number in 1..300 {
        let active = builder.overlay.prepare(&builder.chain).unwrap();
        fs::write(active.upper().join(format!("file{number}")), number.to_string()).unwrap();
        builder.keep(active, &format!("layer {number}"));
    }
    assert_eq!(builder.chain.len(), 300);
    assert_eq!(builder.see("cat /file1 /file150 /file299; ls / | grep -c file"), "1150299299");
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
