//! Caches that are broken, gone, out of reach, somebody else's, or lie.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oxbox_layers::oci::{Digest, MediaType};
use serde_json::{Value, json};

use super::support::Oxbox;
use super::{RANDOM, build, files, layers, machine, made, manifest, registry, two_stages};

/// What becomes of a manifest and its config.
type Forgery = fn(&mut Value, &mut Value);

/// Gives a folder's cache other content: `change` sees the manifest and its config.
fn forge(folder: &Path, change: impl FnOnce(&mut Value, &mut Value)) {
    let blob = |digest: &str| folder.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
    let read = |digest: &Value| -> Value {
        serde_json::from_slice(&fs::read(blob(digest.as_str().unwrap())).unwrap()).unwrap()
    };
    let write = |descriptor: &mut Value, document: &Value| {
        let bytes = serde_json::to_vec(document).unwrap();
        let digest = Digest::sha256(&bytes).to_string();
        fs::write(blob(&digest), &bytes).unwrap();
        descriptor["digest"] = digest.into();
        descriptor["size"] = bytes.len().into();
    };
    let path = folder.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut manifest = read(&index["manifests"][0]["digest"]);
    let mut config = read(&manifest["config"]["digest"]);
    change(&mut manifest, &mut config);
    write(&mut manifest["config"], &config);
    write(&mut index["manifests"][0], &manifest);
    fs::write(&path, serde_json::to_vec(&index).unwrap()).unwrap();
}

/// A machine that gave its cache to the folder `shared`.
fn giver() -> Oxbox {
    let oxbox = machine(&two_stages());
    build(&oxbox, &["--cache-to", "type=local,dest=shared,mode=max"]);
    oxbox
}

/// Builds on a new machine with the cache of another one; returns what was told.
fn build_from(giver: &Oxbox) -> String {
    let b = machine(&two_stages());
    let (digest, told) =
        build(&b, &["--cache-from", &format!("type=local,src={}", giver.path("shared").display())]);
    let files = files(&b, &digest);
    assert!(files["taken"].starts_with("hello\n"), "{told}");
    told
}

#[test]
fn a_cache_that_cannot_be_read_is_done_without() {
    let cases: [(&str, Forgery); 5] = [
        ("records are of version 9", |_, config| config["version"] = 9.into()),
        ("a record names layer 77 of 5", |_, config| config["records"][0]["layer"] = 77.into()),
        ("the records cannot be read", |_, config| config["records"] = "none".into()),
        ("it is BuildKit's", |manifest, _| {
            manifest["config"]["mediaType"] = "application/vnd.buildkit.cacheconfig.v0".into();
        }),
        ("it is no cache and no image, but \"text/x-other\"", |manifest, _| {
            manifest["config"]["mediaType"] = "text/x-other".into();
            manifest["artifactType"] = "text/x-other".into();
        }),
    ];
    let giver = giver();
    let first = fs::read(giver.path("shared/index.json")).unwrap();
    for (words, change) in cases {
        fs::write(giver.path("shared/index.json"), &first).unwrap();
        forge(&giver.path("shared"), change);
        let told = build_from(&giver);
        assert!(told.contains("is not used: ") && told.contains(words), "{told}");
        assert_eq!(made(&told).len(), 5, "{told}");
    }
}

#[test]
fn buildkits_index_and_images_with_its_records_are_told_by_name() {
    let giver = giver();
    let path = giver.path("shared/index.json");
    let layer = json!({"mediaType": MediaType::OCI_LAYER_GZIP, "digest": Digest::sha256(b"x"), "size": 1});
    let keys = json!({
        "mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": Digest::sha256(b"y"), "size": 1
    });
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [layer, keys]});
    let bytes = serde_json::to_vec(&index).unwrap();
    let digest = Digest::sha256(&bytes);
    fs::write(giver.path("shared/blobs/sha256").join(digest.hex()), &bytes).unwrap();
    let mut listed: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    listed["manifests"][0]["mediaType"] = MediaType::OCI_INDEX.into();
    listed["manifests"][0]["digest"] = digest.to_string().into();
    listed["manifests"][0]["size"] = bytes.len().into();
    fs::write(&path, serde_json::to_vec(&listed).unwrap()).unwrap();
    assert!(build_from(&giver).contains("it is BuildKit's"));
    build(&giver, &["-t", "app", "-o", "type=oci,tar=false,dest=shared,name=latest"]);
    assert!(build_from(&giver).contains("is not used"), "an image under another name");
}

#[test]
fn a_cache_that_lies_of_a_layer_is_not_believed() {
    let giver = giver();
    let other = Digest::sha256(b"another tar").to_string();
    forge(&giver.path("shared"), |_, config| {
        config["diffIds"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|diff_id| *diff_id = other.clone().into());
    });
    let told = build_from(&giver);
    assert!(told.contains("cannot be used, and is made again"), "{told}");
    // A key that leads to a layer of another key is believed: that is what a cache is trusted for.
    let giver = self::giver();
    forge(&giver.path("shared"), |_, config| {
        config["derivations"].as_array_mut().unwrap().clear();
    });
    assert_eq!(made(&build_from(&giver)), Vec::<&str>::new(), "keys of contents are enough");
}

#[test]
fn a_layer_that_is_gone_is_made_again() {
    let (_server, _running, registry) = registry();
    let cache = registry.name("cache");
    let a = machine(&two_stages());
    let (first, _) = build(&a, &["--cache-to", &format!("type=registry,ref={cache},mode=max")]);
    let own = files(&a, &first)["own"].clone();
    // The layers of the image: its RUN is of the first two, whichever it is.
    let lost: Vec<String> = layers(&manifest(&a, &cache));
    for (digest, push) in lost.iter().flat_map(|digest| [(digest, false), (digest, true)]) {
        let (_server, _running, registry) = super::registry();
        let cache = registry.name("cache");
        build(&a, &["--cache-to", &format!("type=registry,ref={cache},mode=max")]);
        registry.lose(digest);
        let b = machine(&two_stages());
        let app = registry.name("app");
        let options = ["--cache-from", &cache, "--push", "-t", &app, "--load"];
        let (second, told) = build(&b, &options[..if push { 5 } else { 2 }]);
        match made(&told).as_slice() {
            [] => assert_eq!(second, first, "nobody needed {digest}: {told}"),
            made => {
                assert!(told.contains(&format!("cached layer {digest} cannot be used")), "{told}");
                assert!(made.len() <= 3, "{told}");
                if !push {
                    assert!(files(&b, &second)["taken"].starts_with("hello\n"));
                    let is_own = made.contains(&format!("RUN {RANDOM} > /own").as_str());
                    assert_eq!(files(&b, &second)["own"] != own, is_own, "{told}");
                }
            }
        }
    }
}

#[test]
fn a_registry_out_of_reach_costs_nothing_but_a_warning_and_cannot_be_given_to() {
    let nowhere = "127.0.0.1:1/cache";
    let b = machine(&two_stages());
    let (_, told) = build(&b, &["--cache-from", nowhere]);
    assert!(told.contains("warning: cache 127.0.0.1:1/cache:latest is not used: "), "{told}");
    let ran = b.run(["build", "--cache-to", nowhere, "context"]);
    ran.fails(1, &["127.0.0.1:1"]);
    let (_, told) = build(&b, &["--cache-to", &format!("type=registry,ref={nowhere},ignore-error=true")]);
    assert!(told.contains("was not written"), "{told}");
    // Whatever is known here is not asked elsewhere.
    let (_, told) = build(&b, &["--cache-from", nowhere]);
    assert!(!told.contains("warning"), "{told}");
}

#[test]
fn two_that_give_at_once_leave_a_whole_cache() {
    let (_server, _running, registry) = registry();
    let cache = registry.name("cache");
    let to = format!("type=registry,ref={cache},mode=max");
    let machines = [machine(&two_stages()), machine(&two_stages())];
    let digests: Vec<Digest> = std::thread::scope(|scope| {
        let building: Vec<_> =
            machines.iter().map(|oxbox| scope.spawn(|| build(oxbox, &["--cache-to", &to]).0)).collect();
        building.into_iter().map(|building| building.join().unwrap()).collect()
    });
    let (third, told) = build(&machine(&two_stages()), &["--cache-from", &cache]);
    assert!(digests.contains(&third) && made(&told).is_empty(), "{told}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let oxbox = machine(&two_stages());
    for (option, words) in [
        ("--cache-to=type=gha", "need a service that oxbox does not talk to"),
        ("--cache-from=type=s3,bucket=x", "need a service that oxbox does not talk to"),
        ("--cache-to=type=registry", "type=registry needs ref="),
        ("--cache-from=type=inline", "type=inline is for --cache-to"),
    ] {
        let ran = oxbox.run(["build", option, "context"]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}

/// A web server of one file that is known by its ETag; returns its address, and counts how often it was sent.
fn web() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, sent) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&sent);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let is_known = String::from_utf8_lossy(&head).to_lowercase().contains("if-none-match: \"1\"");
            let answer = match is_known {
                true => "304 Not Modified\r\nETag: \"1\"\r\nConnection: close\r\n\r\n",
                false => "200 OK\r\nETag: \"1\"\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfile",
            };
            count.fetch_add(usize::from(!is_known && head.starts_with(b"GET")), Ordering::SeqCst);
            let _ = write!(stream, "HTTP/1.1 {answer}");
        }
    });
    (address, sent)
}

#[test]
fn a_file_of_a_web_server_is_sent_once_for_all_machines() {
    let (_server, _running, registry) = registry();
    let (web, sent) = web();
    let dockerfile = format!("FROM scratch\nADD http://{web}/file /there/\n");
    let cache = registry.name("cache");
    let (first, _) =
        build(&machine(&dockerfile), &["--cache-to", &format!("type=registry,ref={cache},mode=max")]);
    let before = sent.load(Ordering::SeqCst);
    assert!(before > 0);
    let b = machine(&dockerfile);
    let (second, told) = build(&b, &["--cache-from", &cache]);
    assert_eq!((second, made(&told)), (first, vec![]), "{told}");
    assert_eq!((sent.load(Ordering::SeqCst), files(&b, &second)["there/file"].as_str()), (before, "file"));
}
