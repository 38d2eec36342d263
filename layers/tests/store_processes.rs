//! The layout under many processes at once, and under `kill -9`.
//!
//! The test binary runs itself: `child` is one writer or sweeper, told by the environment what to do.
//! Whatever happened, [`check`] must hold: the layout opens, every name's image is whole, and a sweep
//! leaves exactly what the names reach.

// Not only the tests but also what the child processes do.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use oxbox_layers::oci::graph::successors;
use oxbox_layers::oci::{Algorithm, Descriptor, Digest, Manifest, MediaType, Raw};
use oxbox_layers::store::{BlobStore, Layout, StoreError, Sweep, read_document, read_small};

const PROCESSES: usize = 8;
const THREADS: usize = 25;
const SEQUENCE: &str = "sequence";

/// What a child process does in the layout at the root.
#[derive(Clone, Copy)]
enum Role {
    /// Writes and tags three images in each thread.
    Write,
    /// Writes and moves names until it is killed, and sweeps all the while.
    WriteForever,
    /// Tags the images that it finds whole.
    Adopt,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::WriteForever => "write forever",
            Self::Adopt => "adopt",
        }
    }
}

fn spawn(role: Role, root: &Path, number: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env("STORE_CHILD", role.name())
        .env("STORE_ROOT", root)
        .env("STORE_NUMBER", number.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "a process that the other tests start"]
fn child() {
    let Ok(role) = std::env::var("STORE_CHILD") else { return };
    // One thread that fails is the process that fails: the others would go on for ever.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::abort();
    }));
    let root = PathBuf::from(std::env::var_os("STORE_ROOT").unwrap());
    let number: usize = std::env::var("STORE_NUMBER").unwrap().parse().unwrap();
    match role.as_str() {
        "write" => write(&root, number),
        "write forever" => write_forever(&root),
        "adopt" => adopt(&root, number),
        other => panic!("no such role: {other}"),
    }
}

fn write(root: &Path, process: usize) {
    let layout = Layout::create(root).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let layout = &layout;
            scope.spawn(move || {
                for round in 0..3 {
                    let image = put_image(layout, &format!("{process} {thread} {round}"));
                    layout.tag(&format!("own-{process}-{thread}-{round}"), &image).unwrap();
                    layout.tag("everybody's", &image).unwrap();
                }
            });
        }
    });
}

fn write_forever(root: &Path) {
    let layout = Layout::create(root).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let layout = &layout;
            scope.spawn(move || {
                for sequence in 0_u64.. {
                    let name = format!("{thread}-{}", sequence % 3);
                    let mut image = put_image(layout, &format!("{name} {sequence}"));
                    image.annotate(SEQUENCE, sequence.to_string());
                    layout.tag(&name, &image).unwrap();
                    say(&format!("{name} {sequence}"));
                }
            });
        }
        scope.spawn(|| {
            loop {
                Layout::open(root).unwrap().sweep(Sweep::Remove).unwrap();
                Layout::open(root).unwrap().prune(Sweep::Remove, &HashSet::new()).unwrap();
            }
        });
    });
}

fn adopt(root: &Path, number: usize) {
    let layout = Layout::create(root).unwrap();
    let manifests = fs::read_to_string(root.join("manifests")).unwrap();
    let lines: Vec<&str> = manifests.lines().collect();
    for (at, line) in lines.iter().enumerate().cycle().skip(number * 30).take(lines.len()) {
        let (digest, size) = line.split_once(' ').unwrap();
        let manifest =
            Descriptor::new(MediaType::OCI_MANIFEST, digest.parse().unwrap(), size.parse().unwrap());
        if is_whole(&layout, &manifest) {
            layout.tag(&format!("{number}-{at}"), &manifest).unwrap();
            say("adopted");
        }
    }
}

/// Tells the parent, on a line of its own amid what the test harness prints.
fn say(line: &str) {
    io::stdout().write_all(format!("\n@{line}\n").as_bytes()).unwrap();
}

fn put(store: &dyn BlobStore, content: &[u8]) {
    let mut writer = store.writer(Algorithm::Sha256).unwrap();
    writer.write_all(content).unwrap();
    writer.commit().unwrap();
}

/// Writes an image of three layers: one everybody's, one of its own, one of its own that is large.
fn put_image(store: &dyn BlobStore, seed: &str) -> Descriptor {
    let large = seed.repeat(200_000 / seed.len());
    let layers = ["everybody's layer", seed, &large];
    let config = format!("{{\"seed\":\"{seed}\"}}");
    for blob in layers.into_iter().chain([config.as_str()]) {
        put(store, blob.as_bytes());
    }
    let layers = layers.map(|layer| Descriptor::of(MediaType::OCI_LAYER, layer.as_bytes()));
    let manifest =
        Manifest::of_image(Descriptor::of(MediaType::OCI_CONFIG, config.as_bytes()), layers.into());
    let manifest = Raw::write(manifest, MediaType::OCI_MANIFEST);
    put(store, manifest.bytes());
    manifest.descriptor()
}

/// Makes every blob older than any session's grace: a sweep takes what it can get.
fn age(layout: &Layout) {
    for blob in layout.blobs().unwrap() {
        let file = fs::File::open(layout.blob_path(&blob.digest)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3 * 3600)).unwrap();
    }
}

/// Whether an image is here with all that it needs.
fn is_whole(layout: &Layout, manifest: &Descriptor) -> bool {
    let is_here = |blob: &Descriptor| layout.stat(&blob.digest).unwrap().is_some();
    read_document(layout, manifest)
        .is_ok_and(|document| successors(&document).into_iter().all(|(_, blob)| is_here(blob)))
}

/// Holds the layout to its promises while nobody is at work; returns its names.
fn check(root: &Path) -> HashMap<String, Descriptor> {
    let layout = Layout::open(root).unwrap();
    let names: HashMap<String, Descriptor> = layout.names().unwrap().into_iter().collect();
    let mut reached: HashSet<Digest> = HashSet::new();
    for (name, manifest) in &names {
        let document =
            read_document(&layout, manifest).unwrap_or_else(|error| panic!("{name} is broken: {error:?}"));
        reached.insert(manifest.digest);
        for (_, blob) in successors(&document) {
            read_small(&layout, blob, 1 << 20).unwrap_or_else(|error| panic!("{name} lacks: {error:?}"));
            reached.insert(blob.digest);
        }
    }
    assert_eq!(layout.sweep(Sweep::Remove).unwrap().kept_busy, 0);
    let left: HashSet<Digest> = layout.blobs().unwrap().into_iter().map(|blob| blob.digest).collect();
    assert_eq!(left, reached);
    for place in [".oxbox/writing", ".oxbox/sessions"] {
        assert_eq!(fs::read_dir(root.join(place)).unwrap().count(), 0, "{place}");
    }
    names
}

#[test]
fn two_hundred_writers_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    // The layout is not there yet: they race to make it, too.
    let root = directory.path().join("store");
    let mut children: Vec<Child> = (0..PROCESSES).map(|number| spawn(Role::Write, &root, number)).collect();
    // A sweeper gets in everybody's way, for as long as the first writers live.
    while children[0].try_wait().unwrap().is_none() {
        match Layout::open(&root) {
            Ok(layout) => drop(layout.sweep(Sweep::Remove).unwrap()),
            Err(StoreError::NotALayout { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error:?}"),
        }
    }
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let names = check(&root);
    assert_eq!(names.len(), PROCESSES * THREADS * 3 + 1);
    let own = names.keys().filter(|name| name.starts_with("own-")).count();
    assert_eq!(own, PROCESSES * THREADS * 3);
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_valid_layout() {
    let directory = tempfile::tempdir().unwrap();
    drop(Layout::create(directory.path()).unwrap());
    let mut said_in_all = 0;
    for round in 0_usize..40 {
        let mut child = spawn(Role::WriteForever, directory.path(), round);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut lines = lines.filter(|line| line.starts_with('@'));
        // Anywhere from the first moments on, and then at no particular point of four threads' work.
        let mut said: Vec<String> = lines.by_ref().take(round * 7 % 23).collect();
        (0..round * 31 % 200).for_each(|_| std::thread::yield_now());
        assert_eq!(child.try_wait().unwrap(), None, "it failed by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(lines);
        said_in_all += said.len();
        let names = check(directory.path());
        let mut last: HashMap<&str, u64> = HashMap::new();
        for line in &said {
            // The last line may be cut off by the kill.
            let Some((name, Ok(sequence))) =
                line[1..].split_once(' ').map(|(name, sequence)| (name, sequence.parse()))
            else {
                continue;
            };
            last.insert(name, sequence);
        }
        for (name, sequence) in last {
            // A name that was said to be given is given; the next may have been given unsaid.
            let found: u64 = names[name].annotation(SEQUENCE).unwrap().parse().unwrap();
            assert!(found == sequence || found == sequence + 3, "{name}: {found}, said {sequence}");
        }
        // The next round starts anew, or its sequences would be lower than the ones that are here.
        Layout::open(directory.path()).unwrap().update(|entries| entries.retain(|_| false)).unwrap();
    }
    assert!(said_in_all > 40, "the children did next to nothing: {said_in_all}");
}

#[test]
fn a_sweep_takes_nothing_that_a_session_found() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let manifests: Vec<Descriptor> = {
        let layout = Layout::create(root).unwrap();
        (0..100).map(|number| put_image(&layout, &format!("adopted {number}"))).collect()
    };
    let lines: Vec<String> =
        manifests.iter().map(|manifest| format!("{} {}\n", manifest.digest, manifest.size)).collect();
    fs::write(root.join("manifests"), lines.concat()).unwrap();
    let layout = Layout::open(root).unwrap();
    age(&layout);
    let keeper = Layout::create(root).unwrap();
    let mut children: Vec<Child> = (0..3).map(|number| spawn(Role::Adopt, root, number)).collect();
    let mut lines = BufReader::new(children[0].stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with('@')), "nothing was adopted");
    layout.sweep(Sweep::Remove).unwrap();
    assert_eq!(lines.find_map(Result::err).map(|error| error.to_string()), None);
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    drop(keeper);
    assert!(!check(root).is_empty());
}

#[test]
fn a_session_that_begins_while_a_sweep_runs_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for round in 0..30 {
        let images: Vec<Descriptor> = {
            let layout = Layout::create(root).unwrap();
            (0..4).map(|number| put_image(&layout, &format!("found {round} {number}"))).collect()
        };
        age(&Layout::open(root).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| Layout::open(root).unwrap().sweep(Sweep::Remove).unwrap());
            for (number, image) in images.iter().enumerate() {
                scope.spawn(move || {
                    let layout = Layout::create(root).unwrap();
                    if is_whole(&layout, image) {
                        layout.tag(&format!("{round}-{number}"), image).unwrap();
                    }
                });
            }
        });
        check(root);
    }
}

#[test]
fn a_name_given_while_a_sweep_runs_names_a_whole_image_or_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for round in 0..30 {
        let images: Vec<Descriptor> = {
            let layout = Layout::create(root).unwrap();
            (0..4).map(|number| put_image(&layout, &format!("named {round} {number}"))).collect()
        };
        std::thread::scope(|scope| {
            scope.spawn(|| Layout::open(root).unwrap().sweep(Sweep::Remove).unwrap());
            for (number, image) in images.iter().enumerate() {
                // Without a session: nothing but the index's lock keeps the two apart.
                scope.spawn(move || {
                    match Layout::open(root).unwrap().tag(&format!("{round}-{number}"), image) {
                        Ok(_) | Err(StoreError::Unlisted { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                });
            }
        });
        check(root);
    }
}
