//! A named context as a filesystem.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use oxbox_builder::plan::graph::{Local, Op};

use super::room::{Room, Server};

fn local() -> Op {
    Op::Local(Local { name: "named".to_owned() })
}

#[test]
fn all_of_a_folder_is_one_layer() {
    let room = Room::new();
    fs::create_dir(room.named().join("etc")).unwrap();
    fs::write(room.named().join("etc/motd"), "hello").unwrap();
    fs::write(room.named().join(".dockerignore"), "*").unwrap();
    fs::set_permissions(room.named().join("etc"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(room.named().join("etc/motd"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(room.named().join(".dockerignore"), fs::Permissions::from_mode(0o644)).unwrap();
    symlink("motd", room.named().join("etc/issue")).unwrap();
    let made = room.make(local(), &Server::none()).unwrap();
    let tree: Vec<String> = made.tree().into_iter().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(tree, [".dockerignore 644 *", "etc 711 /", "etc/issue -> motd", "etc/motd 640 hello"]);
}

#[test]
fn its_key_is_of_what_is_in_it() {
    let room = Room::new();
    fs::write(room.named().join("a"), "1").unwrap();
    let first = room.make(local(), &Server::none()).unwrap();
    assert_eq!(room.make(local(), &Server::none()).unwrap().how, "cached");
    fs::write(room.named().join("a"), "2").unwrap();
    let second = room.make(local(), &Server::none()).unwrap();
    assert_eq!(second.how, "made");
    assert_ne!(first.layers, second.layers);
}

#[test]
fn an_empty_folder_is_no_layer() {
    assert_eq!(Room::new().make(local(), &Server::none()).unwrap().layers, []);
}
