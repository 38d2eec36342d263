//! Keys of what comes from elsewhere.

use oxbox_testdata::elsewhere::{Daemon, Repository};

use crate::room::Room;
use crate::scene::{Scene as _, on};

/// Builds, and returns the titles of what was fetched: `made FETCH …`, `cached FETCH …`.
fn fetched(room: &Room, instructions: &str) -> Vec<String> {
    room.file("Dockerfile", format!("FROM scratch\n{instructions}\n"));
    let (built, heard) = room.run(&room.request("localhost/x"));
    built.unwrap();
    let heard = heard.into_iter().filter_map(|line| {
        let (how, title) = line.split_once(' ')?;
        Some(format!("{how} {}", title.split_once("FETCH ")?.1))
    });
    heard.collect()
}

#[test]
fn s51_a_download_is_known_by_its_body_wherever_it_comes_from() {
    let room = Room::new();
    room.serve("f", "same").serve("g", "same");
    assert_eq!(fetched(&room, "ADD http://host/f /"), ["made http://host/f"]);
    assert_eq!(fetched(&room, "ADD http://host/f?mirror /"), ["cached http://host/f"]);
    assert_eq!(fetched(&room, "ADD http://host/g /"), ["made http://host/g"], "its name counts");
    room.serve("f", "other");
    assert_eq!(fetched(&room, "ADD http://host/f /"), ["made http://host/f"]);
    room.serve("f", "same");
    assert_eq!(fetched(&room, "ADD http://host/f /"), ["cached http://host/f"]);
}

#[test]
fn s51_a_repository_is_known_by_its_commit_folder_and_git_dir() {
    let (room, folder) = (Room::new(), tempfile::tempdir().unwrap());
    let repository = Repository::new(folder.path(), "r");
    let commit = repository.file("d/f", "1").commit("first");
    repository.git(&["tag", "v1"]);
    repository.show();
    let url = Daemon::start(folder.path()).url("r");
    let how = |address: &str, flags: &str| {
        fetched(&room, &format!("ADD {flags} {address} /")).concat().split(' ').next().unwrap().to_owned()
    };
    assert_eq!(how(&url, ""), "made");
    assert_eq!(how(&format!("{url}#v1"), ""), "cached");
    assert_eq!(how(&format!("{url}#{commit}"), ""), "cached");
    assert_eq!(how(&format!("{url}#:d"), ""), "made");
    assert_eq!(how(&url, "--keep-git-dir"), "made");
    assert_eq!(how(&url, "--keep-git-dir"), "cached");
    repository.commit("second, of the same files");
    assert_eq!(how(&url, ""), "made");
}

#[test]
fn s51_what_a_base_says_of_itself_is_no_concern_of_the_layers_above() {
    let room = on(&[]);
    room.file("f", "1");
    room.last("COPY f /");
    room.file("Dockerfile", "FROM localhost/base\nLABEL other=1\n");
    room.run(&room.request("localhost/labelled")).0.unwrap();
    room.file("Dockerfile", "FROM localhost/labelled\nCOPY f /\n");
    let (built, heard) = room.run(&room.request("localhost/x"));
    built.unwrap();
    assert!(heard.iter().any(|line| line.starts_with("cached") && line.ends_with("COPY f /")), "{heard:?}");
}
