//! A base image, a context and what a build on them puts into its last layer.

use oxbox_builder::Request;
use oxbox_layers::image::Image;
use oxbox_layers::tar::{Entry, Kind, Writer};

use crate::room::Room;

/// Something of a base or an archive, with its content.
pub(crate) type Thing = (Entry, &'static str);

pub(crate) fn directory(path: &str, mode: u32, owner: u64) -> Thing {
    (Entry { uid: owner, gid: owner, ..Entry::new(path, Kind::Directory, mode) }, "")
}

pub(crate) fn file(path: &str, mode: u32, owner: u64, content: &'static str) -> Thing {
    let kind = Kind::File { size: content.len() as u64 };
    (Entry { uid: owner, gid: owner, ..Entry::new(path, kind, mode) }, content)
}

pub(crate) fn link(path: &str, target: &str) -> Thing {
    (Entry::new(path, Kind::Symlink { target: target.into() }, 0o777), "")
}

pub(crate) fn tar(things: &[Thing]) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for (entry, content) in things {
        tar.append(entry, &mut content.as_bytes()).unwrap();
    }
    tar.finish().unwrap()
}

/// Names the first entry of a tar `./`, which our own writer never would: tars of others begin with it.
pub(crate) fn with_root(mut tar: Vec<u8>) -> Vec<u8> {
    tar[..100].fill(0);
    tar[..2].copy_from_slice(b"./");
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|&byte| u32::from(byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar
}

/// A room whose builds stand on `localhost/base`, which holds these things.
pub(crate) fn on(things: &[Thing]) -> Room {
    let room = Room::new();
    room.file(".base.tar", tar(things)).file("Dockerfile", "FROM scratch\nADD .base.tar /\n");
    room.run(&room.request("localhost/base")).0.unwrap();
    std::fs::remove_file(room.at(".base.tar")).unwrap();
    room
}

pub(crate) trait Scene {
    /// Builds these instructions on the base, and returns the last layer as lines.
    fn last(&self, instructions: &str) -> Vec<String>;

    /// Builds these instructions on the base, and returns why that fails.
    fn refused(&self, instructions: &str) -> String;

    /// Returns a layer as lines.
    fn lines(&self, image: &Image, layer: usize) -> Vec<String>;
}

impl Scene for Room {
    fn last(&self, instructions: &str) -> Vec<String> {
        let image = self.build(&format!("FROM localhost/base\n{instructions}\n"));
        self.lines(&image, image.layers.len() - 1)
    }

    fn refused(&self, instructions: &str) -> String {
        self.file("Dockerfile", format!("FROM localhost/base\n{instructions}\n"));
        let request: Request = self.request("localhost/refused");
        crate::room::causes(&self.run(&request).0.unwrap_err())
    }

    fn lines(&self, image: &Image, layer: usize) -> Vec<String> {
        self.entries(image, layer).iter().map(|(entry, content)| line(entry, content)).collect()
    }
}

/// `mode owner:group path`, and what it holds.
fn line(entry: &Entry, content: &str) -> String {
    let Entry { path, mode, uid, gid, .. } = entry;
    let path = path.escape_ascii();
    let end = match &entry.kind {
        Kind::Directory => "/".to_owned(),
        Kind::File { .. } => format!(" {content:?}"),
        Kind::Hardlink { target } => format!(" => {}", target.escape_ascii()),
        Kind::Symlink { target } => format!(" -> {}", target.escape_ascii()),
        Kind::Fifo => " fifo".to_owned(),
        Kind::BlockDevice { major, minor } | Kind::CharacterDevice { major, minor } => {
            format!(" device {major},{minor}")
        }
    };
    format!("{mode:o} {uid}:{gid} {path}{end}")
}
