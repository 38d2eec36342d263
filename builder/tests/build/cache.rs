//! What is made again and what is not, and that no accident makes a wrong image.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use oxbox_builder::build::Times;
use oxbox_builder::export::form::Form;
use oxbox_builder::solve::Reuse;
use oxbox_builder::{BuildError, Request};
use oxbox_layers::compress::Compression;
use oxbox_layers::image::Image;
use oxbox_layers::oci::Digest;
use oxbox_layers::store::BlobStore as _;
use oxbox_layers::validate::validate;

use crate::room::Room;

/// What is done to a room between two builds, and its name.
type Change = (&'static str, Box<dyn FnOnce(&Room)>);

/// Builds and returns the digest, and the titles of the steps that the cache did not have; what a stage
/// stands on is no step.
fn built(room: &Room, request: &Request) -> (Digest, Vec<String>) {
    let (result, heard) = room.run(request);
    let made = heard.into_iter().filter(|line| line.starts_with("made [")).collect();
    let exported = result.unwrap();
    let faults = validate(&*room.store, &exported.manifest).faults;
    assert!(faults.is_empty(), "{faults:?}");
    (exported.manifest.digest, made)
}

/// Changes something after a first build: what is made again in the second, and that it comes out as if
/// there had been no first.
fn made_after(room: &Room, change: impl FnOnce(&Room)) -> Vec<String> {
    let request = room.request("localhost/x");
    built(room, &request);
    change(room);
    let (cached, made) = built(room, &request);
    let (cold, _) = built(room, &Request { reuse: Reuse::Forbidden, ..room.request("localhost/x") });
    assert_eq!(cached, cold, "the cache shows in the image");
    made
}

/// Four megabytes in files of 60 KB, which a COPY takes.
fn several_chunks(room: &Room) {
    room.file("Dockerfile", "FROM scratch\nCOPY d /d\n");
    for number in 0..70_u64 {
        let line =
            |at: u64| format!("{number} {at} {}\n", (at * at + number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        room.file(&format!("d/{number:02}"), (0..2400).map(line).collect::<String>());
    }
}

#[test]
fn a_layer_with_chunks_of_the_last_one_is_as_if_there_had_been_none() {
    let changes: [fn(&Room); 3] = [
        |room| _ = room.file("d/35", "changed"),
        |room| _ = room.file("d/00a", "new"),
        |room| fs::remove_file(room.at("d/35")).unwrap(),
    ];
    for change in changes {
        let room = Room::new();
        several_chunks(&room);
        assert_eq!(made_after(&room, change).len(), 1);
        let database = rusqlite::Connection::open(room.state().join("cache.db")).unwrap();
        let chunks: i64 =
            database.query_row("SELECT max(length(chunks)) FROM last", [], |row| row.get(0)).unwrap();
        assert!(chunks > 3 * 76, "{chunks} bytes: a layer of some chunks was noted");
    }
}

#[test]
fn chunks_of_a_layer_that_was_damaged_since_are_made_again() {
    let room = Room::new();
    several_chunks(&room);
    let damage = |room: &Room| {
        for blob in room.store.blobs().unwrap() {
            let path = room.store.blob_path(&blob.digest);
            let mut bytes = fs::read(&path).unwrap();
            bytes.iter_mut().skip(1000).step_by(50_000).for_each(|byte| *byte ^= 0x40);
            fs::write(&path, bytes).unwrap();
        }
        room.file("d/35", "changed");
    };
    assert_eq!(made_after(&room, damage).len(), 1);
}

#[test]
fn everything_that_changes_the_layer_changes_the_key() {
    let mode = |path: &str, mode| {
        let path = path.to_owned();
        move |room: &Room| fs::set_permissions(room.at(&path), fs::Permissions::from_mode(mode)).unwrap()
    };
    let file = |path: &'static str, text: &'static str| {
        move |room: &Room| {
            room.file(path, text);
        }
    };
    let changes: Vec<Change> = vec![
        ("content of the same length", Box::new(file("d/a", "B"))),
        ("mode of a file", Box::new(mode("d/a", 0o600))),
        ("mode of a folder", Box::new(mode("d/sub", 0o700))),
        ("name", Box::new(|room: &Room| fs::rename(room.at("d/a"), room.at("d/b")).unwrap())),
        ("new file", Box::new(file("d/new", ""))),
        ("new folder", Box::new(|room: &Room| fs::create_dir(room.at("d/empty")).unwrap())),
        (
            "link target",
            Box::new(|room: &Room| {
                fs::remove_file(room.at("d/link")).unwrap();
                symlink("elsewhere", room.at("d/link")).unwrap();
            }),
        ),
        (
            "file becomes hard link",
            Box::new(|room: &Room| {
                fs::remove_file(room.at("d/same")).unwrap();
                fs::hard_link(room.at("d/a"), room.at("d/same")).unwrap();
            }),
        ),
        ("--chown", Box::new(file("Dockerfile", "FROM scratch\nCOPY --chown=1 d /d\n"))),
        ("--chmod", Box::new(file("Dockerfile", "FROM scratch\nCOPY --chmod=700 d /d\n"))),
        ("destination", Box::new(file("Dockerfile", "FROM scratch\nCOPY d /e\n"))),
        ("ignore file", Box::new(file(".dockerignore", "d/a\n"))),
    ];
    for (what, change) in changes {
        let room = Room::new();
        room.file("d/a", "A").file("d/same", "A").file("d/sub/x", "x");
        symlink("a", room.at("d/link")).unwrap();
        room.file("Dockerfile", "FROM scratch\nCOPY d /d\n");
        assert_eq!(made_after(&room, change).len(), 1, "{what}");
    }
}

#[test]
fn what_does_not_change_the_layer_does_not_change_the_key() {
    let touch = |room: &Room| {
        let file = fs::File::options().write(true).open(room.at("d/a")).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(9999)).unwrap();
    };
    let changes: Vec<Change> = vec![
        ("time of a file", Box::new(touch)),
        (
            "owner of a file",
            Box::new(|room: &Room| {
                std::os::unix::fs::chown(room.at("d/a"), Some(12), Some(13)).unwrap();
            }),
        ),
        (
            "file beside",
            Box::new(|room: &Room| {
                room.file("other", "o");
            }),
        ),
        (
            "another way to say it",
            Box::new(|room: &Room| {
                room.file("Dockerfile", "FROM scratch\nARG X=/d\nCOPY ./d/ $X/\nLABEL a=b\n");
            }),
        ),
        (
            "a whole build of something else",
            Box::new(|room: &Room| {
                room.file("Dockerfile", "FROM scratch\nCOPY d /other\n");
                room.run(&room.request("localhost/y")).0.unwrap();
                room.file("Dockerfile", "FROM scratch\nCOPY d /d\n");
            }),
        ),
    ];
    for (what, change) in changes {
        let room = Room::new();
        room.file("d/a", "A").file("Dockerfile", "FROM scratch\nCOPY d /d\n");
        assert_eq!(made_after(&room, change), [""; 0], "{what}");
    }
}

#[test]
fn heredocs_archives_owners_by_name_and_the_epoch_are_part_of_the_key() {
    let room = Room::new();
    let heredoc = |text: &str| format!("FROM scratch\nCOPY <<EOF /f\n{text}\nEOF\n");
    room.file("Dockerfile", heredoc("one"));
    assert_eq!(
        made_after(&room, |room| {
            room.file("Dockerfile", heredoc("two"));
        })
        .len(),
        1
    );

    let archive = |content: &str| {
        let mut tar = oxbox_layers::tar::Writer::new(Vec::new());
        let kind = oxbox_layers::tar::Kind::File { size: content.len() as u64 };
        tar.append(&oxbox_layers::tar::Entry::new("f", kind, 0o644), &mut content.as_bytes()).unwrap();
        tar.finish().unwrap()
    };
    room.file("a.tar", archive("one")).file("Dockerfile", "FROM scratch\nADD a.tar /\n");
    assert_eq!(
        made_after(&room, |room| {
            room.file("a.tar", archive("two"));
        })
        .len(),
        1
    );

    room.file("passwd", "app:x:7:7::/:\n").file("f", "f");
    room.file("Dockerfile", "FROM scratch\nCOPY passwd /etc/\nCOPY --chown=app f /f\n");
    assert_eq!(
        made_after(&room, |room| {
            room.file("passwd", "app:x:8:8::/:\n");
        })
        .len(),
        2
    );

    let (first, _) = built(&room, &room.request("localhost/x"));
    let later = Request { times: Times::Cut(1_000_000_000), ..room.request("localhost/x") };
    assert_ne!(built(&room, &later).0, first);
}

#[test]
fn the_level_of_compression_shows_as_without_a_cache() {
    let room = Room::new();
    room.file("f", "text ".repeat(100_000)).file("Dockerfile", "FROM scratch\nCOPY f /f\n");
    let request = |level, reuse| Request {
        forms: vec![Form::plain(Compression::Gzip { level })],
        reuse,
        ..room.request("localhost/x")
    };
    let (fast, _) = built(&room, &request(1, Reuse::Allowed));
    let (small, _) = built(&room, &request(9, Reuse::Allowed));
    assert_ne!(fast, small);
    assert_eq!(built(&room, &request(1, Reuse::Allowed)), (fast, Vec::new()), "both are remembered");
    assert_eq!(built(&room, &request(9, Reuse::Forbidden)).0, small);
}

#[test]
fn a_layer_whose_blob_is_gone_is_made_again() {
    let room = Room::new();
    room.file("a", "a").file("Dockerfile", "FROM scratch\nCOPY a /a\nCOPY a /b\n");
    let request = room.request("localhost/x");
    let manifest = room.run(&request).0.unwrap().manifest;
    let image = Image::load(&*room.store, &manifest).unwrap();
    room.store.remove(&image.layers[0].descriptor.digest).unwrap();
    let (digest, made) = built(&room, &request);
    assert_eq!((digest, made.len()), (manifest.digest, 1));
}

#[test]
fn a_state_that_is_deleted_in_parts_is_made_again() {
    for part in ["cache.db", "indexes", "snapshots", "tmp"] {
        let room = Room::new();
        room.file("a", "a")
            .file("Dockerfile", "FROM scratch AS one\nCOPY a /a\nFROM one\nCOPY --from=one /a /b\n");
        let request = room.request("localhost/x");
        let (first, _) = built(&room, &request);
        let path = room.state().join(part);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        assert_eq!(built(&room, &request).0, first, "without {part}");
    }
}

#[test]
fn a_cache_that_is_garbage_does_not_stop_a_build() {
    let room = Room::new();
    room.file("a", "a").file("Dockerfile", "FROM scratch\nCOPY a /a\n");
    let request = room.request("localhost/x");
    let (first, _) = built(&room, &request);
    fs::write(room.state().join("cache.db"), [0x5a; 10_000]).unwrap();
    assert_eq!(built(&room, &request).0, first);
}

#[test]
fn builds_at_the_same_time_come_out_the_same() {
    let room = Room::new();
    for file in 0..50 {
        room.file(&format!("d/{file}"), file.to_string().repeat(1000));
    }
    room.file("Dockerfile", "FROM scratch AS one\nCOPY d /d\nFROM one\nCOPY --from=one /d /e\nCOPY d/1 /f\n");
    let digests: Vec<Digest> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let request = room.request(&format!("localhost/x{number}"));
                let room = &room;
                scope.spawn(move || built(room, &request).0)
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    assert_eq!(room.store.names().unwrap().len(), 6);
}

#[test]
fn an_interrupted_build_names_nothing() {
    let room = Room::new();
    room.file("a", "a").file("Dockerfile", "FROM scratch\nCOPY a /a\n");
    let result = room.run_interrupted(&room.request("localhost/x"));
    assert!(matches!(result, Err(BuildError::Interrupted)), "{result:?}");
    assert_eq!(room.store.names().unwrap(), []);
}

#[test]
fn an_archive_is_decompressed_once() {
    let room = Room::new();
    let mut tar = oxbox_layers::tar::Writer::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::fast(),
    ));
    let kind = oxbox_layers::tar::Kind::File { size: 1 };
    tar.append(&oxbox_layers::tar::Entry::new("f", kind, 0o644), &mut &b"f"[..]).unwrap();
    room.file("a.tgz", tar.finish().unwrap().finish().unwrap());
    room.file("Dockerfile", "FROM scratch\nADD a.tgz /\n");
    let request = room.request("localhost/x");
    let (first, _) = built(&room, &request);
    let blobs = room.store.blobs().unwrap();
    let aside = blobs.iter().find(|blob| blob.size % 512 == 0).unwrap();
    // It may go at any time, and another that says the same may not be asked to come.
    let path = room.store.blob_path(&aside.digest);
    let changed =
        |path: &std::path::Path| std::os::unix::fs::MetadataExt::ctime_nsec(&fs::metadata(path).unwrap());
    let before = changed(&path);
    assert_eq!(built(&room, &request), (first, Vec::new()));
    assert_eq!(changed(&path), before);
    room.store.remove(&aside.digest).unwrap();
    assert_eq!(built(&room, &request).0, first);
}

/// Where the process that is killed finds the room that it builds in.
const ROOM: &str = "OXBOX_TEST_ROOM";

#[test]
fn a_build_that_is_killed_leaves_nothing_that_harms_the_next() {
    if let Ok(folder) = std::env::var(ROOM) {
        let room = Room::open(folder.as_ref());
        let _ = room.run(&room.request("localhost/killed"));
        return;
    }
    let room = Room::new();
    for file in 0..400 {
        room.file(&format!("d/{file}"), file.to_string().repeat(5000));
    }
    room.file("Dockerfile", "FROM scratch AS one\nCOPY d /d\nFROM one\nCOPY --from=one /d /e\n");
    let other = Room::new();
    let copied = Command::new("cp").arg("-aT").arg(room.at("")).arg(other.at("")).status().unwrap();
    assert!(copied.success());
    let (expected, _) = built(&other, &other.request("localhost/x"));
    for number in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cache::a_build_that_is_killed_leaves_nothing_that_harms_the_next"])
            .env(ROOM, room.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Each a little later than the one before: wherever that is, the next build must not notice.
        std::thread::park_timeout(std::time::Duration::from_millis(5 + 20 * number));
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert_eq!(built(&room, &room.request("localhost/x")).0, expected);
}
