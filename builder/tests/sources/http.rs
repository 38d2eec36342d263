//! A file of a server as a layer.

use oxbox_builder::Validators;
use oxbox_builder::op::http::HttpError;
use oxbox_builder::plan::graph::{Http, Op};
use oxbox_builder::solve::{Reuse, SolveError};
use oxbox_layers::oci::Digest;

use super::room::{Room, Server, told};

const URL: &str = "https://user:pw@q.io/dir/file?token=1";
const DAY: &str = "Sun, 09 Sep 2001 01:46:40 GMT";

fn http(checksum: Option<&str>) -> Op {
    let checksum = checksum.map(|text| text.parse().unwrap());
    Op::Http(Http { url: URL.to_owned(), name: "file".to_owned(), checksum })
}

fn tagged(etag: &str) -> Validators {
    Validators { etag: Some(etag.to_owned()), last_modified: Some(DAY.to_owned()) }
}

/// A server whose file is what it is until it is told otherwise.
fn constant(body: &'static str) -> Server {
    Server::new(move |_, at_hand| Ok((at_hand.etag.is_none()).then(|| (tagged("1"), body.into()))))
}

#[test]
fn a_file_is_roots_and_private_and_as_old_as_its_server_says() {
    let made = Room::new().make(http(None), &constant("hello")).unwrap();
    assert_eq!(made.tree(), ["file 600 hello"]);
    assert_eq!(made.files[0].0.mtime, 1_000_000_000);
    let ageless = Server::new(|_, _| Ok(Some((Validators::default(), b"x".to_vec()))));
    assert_eq!(Room::new().make(http(None), &ageless).unwrap().files[0].0.mtime, 0);
    let room = Room { epoch: 7, ..Room::new() };
    assert_eq!(room.make(http(None), &constant("hello")).unwrap().files[0].0.mtime, 7);
}

#[test]
fn a_second_build_asks_and_transfers_nothing() {
    let (room, server) = (Room::new(), constant("hello"));
    let first = room.make(http(None), &server).unwrap();
    let second = room.make(http(None), &server).unwrap();
    assert_eq!((first.how, second.how, server.count()), ("made", "cached", 2));
    assert_eq!(first.layers, second.layers);
}

#[test]
fn the_same_body_under_another_tag_is_the_same_layer() {
    let room = Room::new();
    let first = room.make(http(None), &constant("hello")).unwrap();
    let server = Server::new(|_, at_hand| {
        assert_eq!(*at_hand, tagged("1"));
        Ok(Some((tagged("2"), b"hello".to_vec())))
    });
    let second = room.make(http(None), &server).unwrap();
    assert_eq!((second.how, second.layers), ("cached", first.layers));
    let third = Server::new(|_, _| Ok(Some((tagged("3"), b"other".to_vec()))));
    assert_eq!(room.make(http(None), &third).unwrap().tree(), ["file 600 other"]);
}

#[test]
fn with_a_checksum_nobody_is_asked_twice() {
    let checksum = Digest::sha256(b"hello").to_string();
    let (room, server) = (Room::new(), constant("hello"));
    room.make(http(Some(&checksum)), &server).unwrap();
    assert_eq!(room.make(http(Some(&checksum)), &Server::none()).unwrap().how, "cached");
    // From wherever it came.
    let mirror = Op::Http(Http {
        url: "https://mirror.io/file".to_owned(),
        name: "file".to_owned(),
        checksum: Some(checksum.parse().unwrap()),
    });
    assert_eq!(room.make(mirror, &Server::none()).unwrap().how, "cached");
}

#[test]
fn another_body_than_promised_is_an_error_that_names_both_and_leaves_nothing() {
    let (room, server) = (Room::new(), constant("hello"));
    let (promised, actual) = (Digest::sha256(b"other"), Digest::sha256(b"hello"));
    let error = room.make(http(Some(&promised.to_string())), &server).err().unwrap();
    assert!(matches!(error, SolveError::Http(HttpError::Checksum { .. })));
    assert_eq!(told(&error), format!("https://q.io/dir/file is {actual}, not {promised}"));
    assert_eq!(std::fs::read_dir(room.state().join("store/blobs/sha256")).map_or(0, Iterator::count), 0);
    assert_eq!(room.leftovers(), [""; 0]);
    // Nor is it taken for the promised one later.
    room.make(http(Some(&promised.to_string())), &server).err().unwrap();
}

#[test]
fn a_file_that_cannot_be_had_is_an_error_even_if_it_was_had_before() {
    let room = Room::new();
    room.make(http(None), &constant("hello")).unwrap();
    let gone = Server::new(|_, _| Err("nobody is there".to_owned()));
    let error = room.make(http(None), &gone).err().unwrap();
    assert!(told(&error).ends_with("nobody is there"), "{}", told(&error));
}

#[test]
fn a_layer_that_is_gone_is_downloaded_again() {
    let (room, server) = (Room::new(), constant("hello"));
    let made = room.make(http(None), &server).unwrap();
    std::fs::remove_file(
        room.state().join("store/blobs/sha256").join(made.layers[0].descriptor.digest.hex()),
    )
    .unwrap();
    let again = room.make(http(None), &server).unwrap();
    assert_eq!((again.how, again.layers), ("made", made.layers));
}

#[test]
fn without_the_cache_all_comes_again() {
    let mut room = Room::new();
    room.make(http(None), &constant("hello")).unwrap();
    room.reuse = Reuse::Forbidden;
    let server = Server::new(|_, at_hand| {
        assert_eq!(*at_hand, Validators::default());
        Ok(Some((tagged("1"), b"hello".to_vec())))
    });
    assert_eq!(room.make(http(None), &server).unwrap().how, "made");
    let odd = Server::new(|_, _| Ok(None));
    let error = room.make(http(None), &odd).err().unwrap();
    assert!(matches!(error, SolveError::Http(HttpError::Nothing { .. })));
}

#[test]
fn a_name_that_means_a_deletion_or_leads_elsewhere_is_refused() {
    for name in ["", "..", "a/b", ".wh.passwd"] {
        let op = Op::Http(Http { url: URL.to_owned(), name: name.to_owned(), checksum: None });
        let error = Room::new().make(op, &Server::none()).err().unwrap();
        assert!(matches!(error, SolveError::Http(HttpError::Name { .. })), "{name}");
    }
}
