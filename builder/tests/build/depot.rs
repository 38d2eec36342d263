//! Caches elsewhere, in a depot of the test's own: what is asked of it, and what becomes of lies.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use oxbox_builder::depot::listing::LISTING_TYPE;
use oxbox_builder::depot::{
    Asking, Caches, Depot, Failure, Giving, Mode, Mounts, Recompress, Source, Unopened,
};
use oxbox_builder::exec::Interrupt;
use oxbox_builder::progress::{Event, Progress};
use oxbox_builder::{Fetch, FetchError, Request, build};
use oxbox_layers::compress::Compression;
use oxbox_layers::image::Image;
use oxbox_layers::oci::{Algorithm, Descriptor, Digest, Document, Platform, Reference};
use oxbox_layers::store::{BlobStore as _, Layout, read_document, read_small};
use oxbox_layers::validate::validate;

use crate::room::Room;

/// More than any blob here.
const MAX_BYTES: u64 = 1 << 20;

/// Another machine's store, out of which caches come.
struct Remote {
    here: Arc<Layout>,
    there: Arc<Layout>,
    manifest: Descriptor,
    /// Answers in place of what is there, by digest.
    forged: Vec<(Digest, Vec<u8>)>,
    asked: Mutex<Vec<String>>,
}

impl Remote {
    fn note(&self, what: impl Into<String>) {
        self.asked.lock().unwrap().push(what.into());
    }

    fn count(&self, what: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.starts_with(what)).count()
    }
}

impl Fetch for Remote {
    fn base(&self, reference: &Reference, _platform: &Platform) -> Result<Descriptor, FetchError> {
        Err(FetchError::Image { reference: reference.familiar(), source: "there are no bases".into() })
    }

    fn depot(&self) -> Option<&dyn Depot> {
        Some(self)
    }

    fn layer(&self, layer: &Descriptor) -> Result<(), FetchError> {
        self.note(format!("layer {}", layer.digest));
        let content = read_small(&*self.there, layer, MAX_BYTES).unwrap();
        let mut writer = self.here.writer(Algorithm::Sha256).unwrap();
        writer.write_all(&content).unwrap();
        writer.commit().unwrap();
        Ok(())
    }
}

impl Depot for Remote {
    fn root(&self, source: &Source) -> Result<Option<Document>, FetchError> {
        self.note(format!("root {source}"));
        Ok(Some(read_document(&*self.there, &self.manifest).unwrap()))
    }

    fn read(&self, _source: &Source, descriptor: &Descriptor) -> Result<Vec<u8>, FetchError> {
        self.note(format!("read {}", descriptor.media_type));
        let forged = self.forged.iter().find(|(digest, _)| *digest == descriptor.digest);
        Ok(match forged {
            Some((_, content)) => content.clone(),
            None => read_small(&*self.there, descriptor, MAX_BYTES)
                .map_err(|error| FetchError::Cache { source: Box::new(error) })?,
        })
    }

    fn offer(&self, _source: &Source, layers: &[Descriptor]) {
        self.note(format!("offer {}", layers.len()));
    }

    fn has(&self, layer: &Descriptor) -> Result<bool, FetchError> {
        self.note(format!("has {}", layer.digest));
        Ok(self.there.stat(&layer.digest).unwrap().is_some())
    }
}

/// Hears what was given away, what was made, and warnings.
#[derive(Default)]
struct Heard {
    given: Mutex<Vec<Descriptor>>,
    made: Mutex<Vec<String>>,
    warned: Mutex<Vec<String>>,
}

impl Progress for Heard {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Given { manifest, .. } => self.given.lock().unwrap().push(manifest.clone()),
            Event::Done { title, .. } if title.starts_with('[') => {
                self.made.lock().unwrap().push(title.to_owned());
            }
            Event::Warning { message } => self.warned.lock().unwrap().push(message.to_owned()),
            _ => {}
        }
    }
}

const DOCKERFILE: &str = "FROM scratch AS one\nCOPY a /a\nFROM scratch\nCOPY b /b\nCOPY --from=one /a /c\n";

fn room() -> Room {
    let room = Room::new();
    room.file("a", "first").file("b", "second").file("Dockerfile", DOCKERFILE);
    room
}

/// A machine that gave all of its build away: its room, the image, and the cache.
fn giver() -> (Room, Digest, Descriptor) {
    let room = room();
    let (image, cache) = give_away(&room);
    (room, image, cache)
}

/// Builds, and gives all of it away.
fn give_away(room: &Room) -> (Digest, Descriptor) {
    let giving = Giving {
        mode: Mode::Max,
        compression: Compression::GZIP,
        recompress: Recompress::Plain,
        mounts: Mounts::Left,
        failure: Failure::Fails,
    };
    let caches = Caches { to: vec![giving], ..Caches::default() };
    let heard = Heard::default();
    let fetch: Arc<dyn Fetch> = Arc::new(Remote {
        here: Arc::clone(&room.store),
        there: Arc::clone(&room.store),
        manifest: Descriptor::of("application/octet-stream", b""),
        forged: Vec::new(),
        asked: Mutex::default(),
    });
    let request = Request { caches, ..room.request("localhost/x") };
    let images = build(&request, &fetch, &heard, &Interrupt::new()).unwrap();
    let cache = heard.given.lock().unwrap().remove(0);
    (images[0].manifest.digest, cache)
}

/// Builds in a room with a cache of another one.
fn take(room: &Room, remote: &Arc<Remote>, unopened: Unopened) -> (Descriptor, Heard) {
    let source = Source::Registry("localhost/cache:1".parse().unwrap());
    let from = vec![Asking { source, mounts: Mounts::Left }];
    let caches = Caches { from, unopened, ..Caches::default() };
    let request = Request { caches, ..room.request("localhost/x") };
    let (heard, fetch) = (Heard::default(), Arc::clone(remote) as Arc<dyn Fetch>);
    let images = build(&request, &fetch, &heard, &Interrupt::new()).unwrap();
    (images[0].manifest.clone(), heard)
}

fn remote(room: &Room, there: &Room, manifest: &Descriptor) -> Arc<Remote> {
    Arc::new(Remote {
        here: Arc::clone(&room.store),
        there: Arc::clone(&there.store),
        manifest: manifest.clone(),
        forged: Vec::new(),
        asked: Mutex::default(),
    })
}

#[test]
fn layers_stay_where_they_are_unless_the_image_is_to_be_whole() {
    let (there, image, cache) = giver();
    for (unopened, fetched, asked) in [(Unopened::Leave, 0, 2), (Unopened::Bring, 2, 0)] {
        let room = room();
        let remote = remote(&room, &there, &cache);
        let (taken, heard) = take(&room, &remote, unopened);
        assert_eq!((taken.digest, heard.made.lock().unwrap().len()), (image, 0));
        assert_eq!((remote.count("layer"), remote.count("has")), (fetched, asked));
        assert_eq!((remote.count("root"), remote.count("read")), (1, 1), "a manifest and its keys");
        assert_eq!(validate(&*room.store, &taken).faults.is_empty(), unopened == Unopened::Bring);
    }
}

#[test]
fn a_copy_that_must_be_made_brings_what_it_copies_from_and_not_what_it_stands_on() {
    let (there, image, cache) = giver();
    let room = room();
    room.file("Dockerfile", DOCKERFILE.replace("/c\n", "/d\n"));
    let remote = remote(&room, &there, &cache);
    let (taken, heard) = take(&room, &remote, Unopened::Leave);
    assert_ne!(taken.digest, image);
    assert_eq!(heard.made.lock().unwrap().len(), 1);
    assert_eq!(remote.count("layer"), 1);
}

/// The config of a cache, with its listings changed.
fn forged(
    there: &Room,
    cache: &Descriptor,
    forge: impl Fn(&mut serde_json::Value),
) -> Vec<(Digest, Vec<u8>)> {
    let Document::Manifest(manifest) = read_document(&*there.store, cache).unwrap() else {
        panic!("a cache is a manifest")
    };
    let config = read_small(&*there.store, &manifest.config, MAX_BYTES).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["listings"].as_array_mut().unwrap().iter_mut().for_each(forge);
    vec![(manifest.config.digest, serde_json::to_vec(&config).unwrap())]
}

#[test]
fn a_listing_that_cannot_be_read_costs_the_layer() {
    let (there, _, cache) = giver();
    let others = DOCKERFILE.replace("/c\n", "/d\n");
    let expected = {
        let room = room();
        room.file("Dockerfile", &others);
        room.run(&room.request("localhost/x")).0.unwrap().manifest.digest
    };
    let broken: [&dyn Fn(&mut serde_json::Value); 3] = [
        &|listing| listing["data"] = "".into(),
        &|listing| listing["data"] = "AAAA".into(),
        // Of somebody else's layer.
        &|listing| listing["layer"] = Digest::sha256(b"another").to_string().into(),
    ];
    for forge in broken {
        let room = room();
        room.file("Dockerfile", &others);
        let remote = remote(&room, &there, &cache);
        let forged = forged(&there, &cache, forge);
        let remote = Arc::new(Remote { forged, ..Arc::into_inner(remote).unwrap() });
        let (taken, _) = take(&room, &remote, Unopened::Leave);
        assert_eq!((taken.digest, remote.count("layer")), (expected, 2));
    }
}

#[test]
fn what_a_cache_says_of_a_layer_is_not_noted_here() {
    let (there, _, cache) = giver();
    let room = room();
    room.file("Dockerfile", DOCKERFILE.replace("/c\n", "/d\n"));
    take(&room, &remote(&room, &there, &cache), Unopened::Leave);
    let below = there.store.clone();
    let Document::Manifest(manifest) = read_document(&*below, &cache).unwrap() else { panic!() };
    let config = read_small(&*below, &manifest.config, MAX_BYTES).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    let listed: Vec<_> = config["listings"].as_array().unwrap().iter().collect();
    assert_eq!(listed.len(), 3, "{config:#}");
    let noted = |listing: &&&serde_json::Value| {
        let layer: Digest = listing["layer"].as_str().unwrap().parse().unwrap();
        room.state().join("indexes").join(layer.hex()).exists()
    };
    assert_eq!(listed.iter().filter(noted).count(), 1, "what was copied from");
}

#[test]
fn a_listing_of_many_files_is_a_blob_of_its_own() {
    let room = room();
    let files: Vec<String> = (0..100).map(|number| format!("many/{number}")).collect();
    files.iter().for_each(|file| _ = room.file(file, file));
    let dockerfile = "FROM scratch\nCOPY many /many\nCOPY b /many\n";
    room.file("Dockerfile", dockerfile);
    let (_, cache) = give_away(&room);
    let there = room;
    for (gone, fetched) in [(false, 0), (true, 1)] {
        let room = self::room();
        files.iter().for_each(|file| _ = room.file(file, file));
        room.file("Dockerfile", dockerfile).file("b", "other");
        if gone {
            let Document::Manifest(manifest) = read_document(&*there.store, &cache).unwrap() else {
                panic!()
            };
            let is_listing = |layer: &&Descriptor| layer.media_type.as_str() == LISTING_TYPE;
            let listing = manifest.layers.iter().find(is_listing).unwrap();
            there.store.remove(&listing.digest).unwrap();
        }
        let remote = remote(&room, &there, &cache);
        let (taken, heard) = take(&room, &remote, Unopened::Leave);
        assert_eq!((remote.count("layer"), heard.made.lock().unwrap().len()), (fetched, 1));
        // It is what a build that has everything makes.
        let whole = self::room();
        files.iter().for_each(|file| _ = whole.file(file, file));
        whole.file("Dockerfile", dockerfile).file("b", "other");
        assert_eq!(whole.run(&whole.request("localhost/x")).0.unwrap().manifest.digest, taken.digest);
    }
}

#[test]
fn what_is_known_here_is_asked_of_nobody() {
    let (there, image, cache) = giver();
    let room = room();
    room.run(&room.request("localhost/x")).0.unwrap();
    let remote = remote(&room, &there, &cache);
    let (taken, heard) = take(&room, &remote, Unopened::Bring);
    assert_eq!((taken.digest, remote.asked.lock().unwrap().len()), (image, 0));
    assert_eq!(*heard.warned.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn what_was_taken_over_is_noted_here_once_it_is_here() {
    let (there, image, cache) = giver();
    for (unopened, made) in [(Unopened::Bring, 0), (Unopened::Leave, 3)] {
        let room = room();
        let remote = remote(&room, &there, &cache);
        take(&room, &remote, unopened);
        let (built, heard) = room.run(&room.request("localhost/x"));
        assert_eq!(built.unwrap().manifest.digest, image);
        let again = heard.iter().filter(|line| line.starts_with("made [")).count();
        assert_eq!(again, made, "{heard:?}");
    }
}

#[test]
fn no_cache_says_what_is_in_a_blob_that_is_here() {
    let (there, image, cache) = giver();
    let room = room();
    // The blobs are here, under the names of tars that they do not hold.
    let manifest = match read_document(&*there.store, &cache).unwrap() {
        Document::Manifest(manifest) => manifest,
        Document::Index(_) => panic!("a cache is a manifest"),
    };
    for layer in &manifest.layers {
        let mut writer = room.store.writer(Algorithm::Sha256).unwrap();
        writer.write_all(&read_small(&*there.store, layer, MAX_BYTES).unwrap()).unwrap();
        writer.commit().unwrap();
    }
    let config = read_small(&*there.store, &manifest.config, MAX_BYTES).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    let lie = Digest::sha256(b"the tar of some other layer");
    for diff_id in config["diffIds"].as_array_mut().unwrap() {
        *diff_id = lie.to_string().into();
    }
    let forged = vec![(manifest.config.digest, serde_json::to_vec(&config).unwrap())];
    let remote = Arc::new(Remote { forged, ..Arc::into_inner(remote(&room, &there, &cache)).unwrap() });
    let (taken, heard) = take(&room, &remote, Unopened::Bring);
    assert_eq!((taken.digest, heard.made.lock().unwrap().len()), (image, 3));
    assert!(heard.warned.lock().unwrap().iter().any(|line| line.contains("cannot be used")));
    assert!(!room.state().join("indexes").join(lie.hex()).exists());
    assert!(Image::load(&*room.store, &taken).unwrap().layers.iter().all(|layer| layer.diff_id.0 != lie));
}
