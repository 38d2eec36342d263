use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::fs::MetadataExt as _;

use flate2::write::GzEncoder;
use oxbox_layers::tar::{Entry, Kind, Writer};

use super::{Accept, BringError, Bringer, Brought};
use crate::exec::Interrupt;
use crate::fetch::{Downloaded, FetchError, Validators};
use crate::lent::Lent;

fn bring(content: impl AsRef<[u8]>, accept: Accept) -> Result<Brought, BringError> {
    let state = tempfile::tempdir().unwrap();
    bring_into(state.path(), &mut content.as_ref(), accept, &Interrupt::new())
}

fn bring_into(
    state: &std::path::Path,
    content: &mut dyn Read,
    accept: Accept,
    interrupt: &Interrupt,
) -> Result<Brought, BringError> {
    let download = |request: &crate::UrlRequest<'_>, _: &mut fs::File| {
        Err(FetchError::NoDownloads { url: request.url.to_owned() })
    };
    Bringer { state, download: &download, interrupt, lent: &Lent::default() }.stream("it", content, accept)
}

fn tar(entries: &[(&str, Kind, &str)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (path, kind, content) in entries {
        let mut entry = Entry::new(*path, kind.clone(), 0o640);
        entry.uid = 1234;
        writer.append(&entry, &mut content.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

fn file<'a>(path: &'a str, content: &'a str) -> (&'a str, Kind, &'a str) {
    (path, Kind::File { size: content.len() as u64 }, content)
}

fn link<'a>(path: &'a str, target: &str) -> (&'a str, Kind, &'static str) {
    (path, Kind::Symlink { target: target.into() }, "")
}

/// A tar of one file whose name no writer would take: `..` in it, or a slash at its start.
fn odd_tar(name: &str) -> Vec<u8> {
    let mut tar = tar(&[file(&"x".repeat(name.len()), "hello")]);
    tar[..name.len()].copy_from_slice(name.as_bytes());
    let sum: u64 = tar[..512]
        .iter()
        .enumerate()
        .map(|(at, &byte)| match at {
            148..156 => u64::from(b' '),
            _ => u64::from(byte),
        })
        .sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_tar_is_unpacked_and_is_nobodys() {
    let plain = tar(&[file("Dockerfile", "FROM scratch"), file("a/b", "hello")]);
    let state = tempfile::tempdir().unwrap();
    for content in [plain.clone(), gzip(&plain)] {
        let brought =
            bring_into(state.path(), &mut &content[..], Accept::Archive, &Interrupt::new()).unwrap();
        assert_eq!(brought.dockerfile, None);
        assert_eq!(fs::read_to_string(brought.folder.join("a/b")).unwrap(), "hello");
        let metadata = fs::metadata(brought.folder.join("a/b")).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.uid()), (0o640, rustix::process::geteuid().as_raw()));
        let folder = brought.folder.clone();
        drop(brought);
        assert!(!folder.exists());
    }
}

#[test]
fn a_text_is_a_dockerfile_for_an_empty_context() {
    let state = tempfile::tempdir().unwrap();
    let mut text = &b"FROM scratch\n"[..];
    let brought =
        bring_into(state.path(), &mut text, Accept::ArchiveOrDockerfile, &Interrupt::new()).unwrap();
    assert_eq!(fs::read_dir(&brought.folder).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(brought.dockerfile.as_ref().unwrap()).unwrap(), "FROM scratch\n");
}

#[test]
fn what_is_neither_is_refused() {
    use Accept::{Archive, ArchiveOrDockerfile, Dockerfile};
    for accept in [Archive, ArchiveOrDockerfile, Dockerfile] {
        assert!(matches!(bring("", accept), Err(BringError::Empty { .. })));
        for content in [&b"\x7fELF\0\0"[..], b"\xff\xfe", &gzip(b"no tar")] {
            assert!(matches!(bring(content, accept), Err(BringError::Neither { .. })), "{accept:?}");
        }
    }
    assert!(matches!(bring("FROM scratch", Archive), Err(BringError::Neither { .. })));
    assert!(matches!(bring(tar(&[file("a", "")]), Dockerfile), Err(BringError::Neither { .. })));
}

#[test]
fn an_archive_that_ends_early_is_refused_and_leaves_nothing() {
    let whole = gzip(&tar(&[file("a", &"x".repeat(100_000)), file("b", "y")]));
    let plain = tar(&[file("a", &"x".repeat(100_000))]);
    let state = tempfile::tempdir().unwrap();
    for content in [&whole[..whole.len() - 4], &whole[..whole.len() / 2], &plain[..2000]] {
        let result = bring_into(state.path(), &mut &*content, Accept::Archive, &Interrupt::new());
        assert!(matches!(result, Err(BringError::Read { .. } | BringError::Unpack { .. })), "{result:?}");
    }
    assert_eq!(fs::read_dir(state.path().join("scratch")).unwrap().count(), 0);
}

#[test]
fn nothing_lands_outside_of_the_folder() {
    let state = tempfile::tempdir().unwrap();
    let outside = state.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let target = outside.to_str().unwrap();
    let bring = |content: &[u8]| bring_into(state.path(), &mut &*content, Accept::Archive, &Interrupt::new());
    // By a link to a folder outside, by its absolute path and by a relative one.
    for target in [target, "../../../outside"] {
        let brought = bring(&tar(&[link("out", target), file("out/file", "evil")]));
        assert!(brought.is_err() || brought.unwrap().folder.exists());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{target}");
    }
    // By a hard link to a link.
    let hard = ("hard", Kind::Hardlink { target: b"out".to_vec() }, "");
    let _ = bring(&tar(&[link("out", target), hard, file("hard", "evil")]));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    // By a name.
    for name in ["../../../outside/file", "/outside/file", "a/../../../../outside/file"] {
        let _ = bring(&odd_tar(name));
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{name}");
    }
    assert!(!std::path::Path::new("/outside").exists());
}

#[test]
fn an_interruption_ends_it() {
    let state = tempfile::tempdir().unwrap();
    let interrupt = Interrupt::new();
    interrupt.send(15);
    let content = tar(&[file("a", "")]);
    let result = bring_into(state.path(), &mut &content[..], Accept::Archive, &interrupt);
    assert!(matches!(result, Err(BringError::Interrupted)));
}

#[test]
fn a_url_is_downloaded_and_then_as_a_stream() {
    let state = tempfile::tempdir().unwrap();
    let download = |request: &crate::UrlRequest<'_>, file: &mut fs::File| {
        assert_eq!((request.url, request.at_hand), ("http://u:p@q.io/x?t=1", &Validators::default()));
        file.write_all(b"FROM scratch").unwrap();
        Ok(Downloaded::Body(Validators::default()))
    };
    let interrupt = Interrupt::new();
    let bringer =
        Bringer { state: state.path(), download: &download, interrupt: &interrupt, lent: &Lent::default() };
    let brought = bringer.url("http://u:p@q.io/x?t=1", Accept::ArchiveOrDockerfile).unwrap();
    assert!(brought.dockerfile.is_some());
    let error = bringer.url("http://u:p@q.io/x?t=1", Accept::Archive).unwrap_err();
    assert_eq!(error.to_string(), "http://q.io/x is no tar archive");
}
