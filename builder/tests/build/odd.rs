//! Contexts that nobody would make on purpose: none may hang a build, or lead out of the context.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use oxbox_builder::Request;
use oxbox_layers::tar::Kind;

use crate::room::Room;

#[test]
fn pipes_and_sockets_are_never_opened() {
    let room = Room::new();
    room.file("d/f", "f");
    let mode = rustix::fs::Mode::from_raw_mode(0o640);
    let (folder, kind) = (room.at("d/pipe"), rustix::fs::FileType::Fifo);
    rustix::fs::mknodat(rustix::fs::CWD, &folder, kind, mode, 0).unwrap();
    let _listener = UnixListener::bind(room.at("d/socket")).unwrap();
    for instruction in ["COPY d /d", "ADD d/* /d/"] {
        let image = room.build(&format!("FROM scratch\n{instruction}\n"));
        let entries = room.entries(&image, 0);
        let kinds: Vec<_> = entries.iter().map(|(entry, _)| (entry.path.as_slice(), &entry.kind)).collect();
        assert_eq!(kinds[1], (&b"d/f"[..], &Kind::File { size: 1 }));
        assert_eq!(kinds[2], (&b"d/pipe"[..], &Kind::Fifo));
        assert_eq!(kinds[3], (&b"d/socket"[..], &Kind::File { size: 0 }), "as BuildKit makes of it");
    }
}

#[test]
fn names_that_are_no_text_are_copied() {
    let room = Room::new();
    room.file("d/x", "");
    let names: [&[u8]; 4] = [b"new\nline", b"bad\xff\xfe", b"-dash", b"back\\slash"];
    for name in names {
        fs::write(room.at("d").join(OsStr::from_bytes(name)), name).unwrap();
    }
    let image = room.build("FROM scratch\nCOPY d /d\nCOPY d/back* d/?dash d/new* d/bad?? /e/\n");
    for (layer, count) in [(0, 6), (1, 5)] {
        let mut reader = oxbox_layers::tar::Reader::new(image.layers[layer].open_tar(&*room.store).unwrap());
        let mut paths = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            paths.push(entry.path);
        }
        assert_eq!(paths.len(), count, "{paths:?}");
        assert!(names.iter().all(|name| paths.iter().any(|path| path.ends_with(name))), "{paths:?}");
    }
}

#[test]
fn links_do_not_lead_out_of_the_context() {
    let room = Room::new();
    room.file("d/f", "f");
    fs::write(room.folder.path().join("secret"), "s").unwrap();
    symlink("../secret", room.at("up")).unwrap();
    symlink("/etc", room.at("host")).unwrap();
    symlink("/", room.at("d/root")).unwrap();
    for source in ["up", "host/passwd", "host/*", "d/root/etc/passwd", "../secret", "/etc/passwd", "*p"] {
        let error = room.error(&format!("FROM scratch\nCOPY {source} /x/\n"));
        assert!(error.contains("not there"), "{source}: {error}");
    }
    let image = room.build("FROM scratch\nCOPY d /d\nCOPY */passwd d/root/d/f /e/\n");
    assert_eq!(room.paths(&image, 0), ["d", "d/f", "d/root"]);
    assert_eq!(room.paths(&image, 1), ["e", "e/f"]);
}

#[test]
fn the_hint_about_the_ignore_file_is_for_what_it_hides_and_nothing_else() {
    let room = Room::new();
    room.file("sub/secret", "s").file(".dockerignore", "sub\n*.key\n");
    fs::write(room.folder.path().join("outside.key"), "s").unwrap();
    for source in ["./sub/secret", "sub", "/sub/", "x/../sub/./secret"] {
        let error = room.error(&format!("FROM scratch\nCOPY {source} /x/\n"));
        assert!(error.contains("ignore file"), "{source}: {error}");
    }
    for source in ["../outside.key", "nothing.key"] {
        let error = room.error(&format!("FROM scratch\nCOPY {source} /x/\n"));
        assert!(!error.contains("ignore file"), "{source}: {error}");
    }
}

#[test]
fn a_context_may_be_a_link_and_paths_may_be_deep() {
    let room = Room::new();
    let deep = vec!["deep"; 300].join("/");
    room.file(&format!("{deep}/f"), "f").file("Dockerfile", "FROM scratch\nCOPY . /\n");
    let link = room.folder.path().join("link");
    symlink(room.at(""), &link).unwrap();
    let linked = room.run(&Request { context: link, ..room.request("localhost/x") }).0.unwrap();
    let direct = room.run(&room.request("localhost/x")).0.unwrap();
    assert_eq!(linked, direct);
}

#[test]
fn a_file_that_is_linked_and_copied_under_both_names_is_two_files() {
    let room = Room::new();
    room.file("lib/libx.so.1", "x").file("lib/hard", "h");
    symlink("libx.so.1", room.at("lib/libx.so")).unwrap();
    fs::hard_link(room.at("lib/hard"), room.at("lib/hard2")).unwrap();
    let image =
        room.build("FROM scratch AS one\nCOPY lib /lib\nFROM scratch\nCOPY --from=one /lib/* /lib/\n");
    let entries = room.entries(&image, 0);
    let kinds: Vec<_> = entries.iter().map(|(entry, _)| &entry.kind).collect();
    let hard = Kind::Hardlink { target: b"lib/hard".to_vec() };
    let file = Kind::File { size: 1 };
    assert_eq!(kinds, [&Kind::Directory, &file, &hard, &file, &file]);
}

#[test]
fn an_ignore_file_that_takes_back_deep_files_is_quick() {
    let room = Room::new();
    // 2^10 folders, all of which must be looked through, but not once for every level above them.
    let mut folders = vec![room.at("tree")];
    for _ in 0..10 {
        folders = folders.iter().flat_map(|path| [path.join("a"), path.join("b")]).collect();
    }
    folders.iter().for_each(|path| fs::create_dir_all(path).unwrap());
    fs::write(folders[17].join("keep"), "k").unwrap();
    room.file(".dockerignore", "tree\n!**/keep\n");
    let image = room.build("FROM scratch\nCOPY tree /t\n");
    assert_eq!(room.paths(&image, 0).len(), 12);
}
