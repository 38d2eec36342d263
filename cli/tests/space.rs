//! What takes space, how it is given back, and what an unchanged context costs: du, prune, automatic bounds.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs::{self, File, FileTimes};

use serde_json::{Value, json};
use support::image::{Picture, blob};
use support::{Oxbox, Ran};

/// An image of one layer, and a stage whose layer only the cache knows.
const TWO_STAGES: &str =
    "FROM scratch AS aside\nCOPY motd /aside\nFROM scratch\nCOPY --from=aside /aside /motd\n";

impl Oxbox {
    fn build(&self, dockerfile: &str) -> String {
        self.dockerfile(dockerfile).ok(["build", "-t", "app", "context"])
    }

    /// Builds with a bound of the cache, as if that had not been looked at lately.
    fn build_within(&self, bound: &str, dockerfile: &str) -> Ran {
        let _ = fs::remove_file(self.root().join("locks/housekeeping"));
        self.dockerfile(dockerfile);
        self.command(["build", "-t", "app", "context"]).env("OXBOX_CACHE_MAX", bound).output().unwrap().into()
    }

    fn du(&self) -> Value {
        self.json(["du", "--json"])
    }
}

fn row<'a>(du: &'a Value, kind: &str) -> &'a Value {
    du["types"].as_array().unwrap().iter().find(|row| row["type"] == kind).unwrap()
}

#[test]
fn of_nothing_nothing_is_made() {
    let oxbox = Oxbox::new();
    assert!(oxbox.ok(["du"]).ends_with("total 0 B; prune frees 0 B, prune --all 0 B\n"));
    assert_eq!(oxbox.json(["prune", "--json", "--max-used-space", "1GB"])["bytes"], 0);
    assert!(!oxbox.root().exists());
}

#[test]
fn layers_of_the_cache_and_of_images_are_told_apart() {
    let oxbox = Oxbox::new();
    oxbox.build(TWO_STAGES);
    let du = oxbox.du();
    let layers = du["layers"].as_array().unwrap();
    let mut told: Vec<_> = layers.iter().map(|layer| (&layer["instruction"], &layer["shared"])).collect();
    told.sort_by_key(|(_, shared)| shared.as_bool());
    assert_eq!(told.len(), 2);
    assert!(told[0].0.as_str().unwrap().contains("COPY motd /aside") && told[0].1 == false);
    assert!(told[1].0.as_str().unwrap().contains("COPY --from=aside") && told[1].1 == true);
    assert_eq!(
        (&row(&du, "cached layers")["count"], &row(&du, "blobs of images")["count"]),
        (&json!(1), &json!(3))
    );
    let sum: u64 = du["types"].as_array().unwrap().iter().map(|row| row["bytes"].as_u64().unwrap()).sum();
    assert_eq!(du["total"], sum);
    let text = oxbox.ok(["du", "--verbose"]);
    for word in ["cached layers", "1 more cached layer", "COPY motd /aside", "app:latest", "total "] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}

#[test]
fn what_images_share_is_no_images_own() {
    let oxbox = Oxbox::new();
    oxbox.put("docker.io/library/one:1", &Picture::of("shared", &[7; 5000]).layer("one", b"1"));
    oxbox.put("docker.io/library/two:1", &Picture::of("shared", &[7; 5000]).layer("two", b"2"));
    oxbox.ok(["tag", "one:1", "alias:1"]);
    let du = oxbox.du();
    let images = du["images"].as_array().unwrap();
    let number = |at: usize, key: &str| images[at][key].as_u64().unwrap();
    assert_eq!(images.len(), 3);
    assert_eq!((&images[0]["name"], &images[1]["name"]), (&json!("alias:1"), &json!("one:1")));
    assert_eq!(images[0]["unique"], images[1]["unique"], "two names of one image");
    let both = number(1, "unique") + number(2, "unique");
    assert!(number(1, "unique") < number(1, "bytes"));
    assert!(both < row(&du, "blobs of images")["bytes"].as_u64().unwrap(), "what is shared is nobody's");
}

#[test]
fn du_promises_what_prune_frees() {
    let oxbox = Oxbox::new();
    oxbox.build(TWO_STAGES);
    blob(&oxbox.store(), b"nobody needs this");
    let before = oxbox.du();
    assert_eq!(before["reclaimable"], 17);
    let told = oxbox.json(["prune", "--all", "--dry-run", "--json"]);
    let freed = oxbox.json(["prune", "--all", "--json"]);
    assert_eq!(before["reclaimableWithAll"], freed["bytes"]);
    assert_eq!((&told["bytes"], &told["blobs"]), (&freed["bytes"], &freed["blobs"]));
    assert_eq!((&freed["cacheRecords"], &freed["contexts"]), (&json!(4), &told["contexts"]));
    let after = oxbox.du();
    assert_eq!((&after["reclaimable"], &after["reclaimableWithAll"]), (&json!(0), &json!(0)));
    assert_eq!(after["layers"], json!([]));
    oxbox.ok(["inspect", "--validate", "app"]);
}

#[test]
fn a_bound_takes_from_the_cache_and_nothing_from_images() {
    let oxbox = Oxbox::new();
    oxbox.build(TWO_STAGES);
    let kept = oxbox.json(["prune", "--max-used-space", "1GB", "--json"]);
    assert_eq!((&kept["blobs"], &kept["cacheRecords"]), (&json!([]), &json!(0)));
    let told = oxbox.json(["prune", "--max-used-space", "0", "--dry-run", "--json"]);
    let freed = oxbox.json(["prune", "--max-used-space", "0", "--json"]);
    for key in ["blobs", "cacheRecords", "bytes", "indexes"] {
        assert_eq!(told[key], freed[key], "{key}");
    }
    assert_eq!((freed["blobs"].as_array().unwrap().len(), &freed["cacheRecords"]), (1, &json!(2)));
    oxbox.ok(["inspect", "--validate", "app"]);
    // The image's own layer is still found; what it was copied from is made again.
    let again = oxbox.run(["build", "-t", "app", "context"]);
    assert!(again.stderr.contains("CACHED"), "{}", again.stderr);
}

#[test]
fn what_was_of_use_lately_is_kept() {
    let oxbox = Oxbox::new();
    oxbox.build(TWO_STAGES);
    assert_eq!(oxbox.json(["prune", "--filter", "until=24h", "--json"])["cacheRecords"], 0);
    assert_eq!(oxbox.json(["prune", "--all", "--filter", "until=1w", "--json"])["cacheRecords"], 0);
    assert_eq!(oxbox.json(["prune", "--filter", "until=0s", "--json"])["cacheRecords"], 2);
}

#[test]
fn buildxs_names_are_understood_and_nonsense_is_not() {
    let oxbox = Oxbox::new();
    oxbox.ok([
        "prune",
        "-a",
        "-f",
        "--filter",
        "unused-for=24h",
        "--keep-storage",
        "10GiB",
        "--min-free-space",
        "5%",
    ]);
    oxbox.run(["prune", "--max-used-space", "lots"]).fails(2, &["lots", "write 10GB"]);
    oxbox.run(["prune", "--filter", "type=exec.cashmount"]).fails(2, &["until=24h", "type=exec.cachemount"]);
    oxbox.run(["build", "--cache-max", "much", "."]).fails(2, &["much"]);
}

#[test]
fn a_build_keeps_the_cache_in_bounds_and_its_image_whole() {
    let oxbox = Oxbox::new();
    let cached = |oxbox: &Oxbox| row(&oxbox.du(), "cached layers")["count"].clone();
    assert_eq!(oxbox.build_within("1GB", TWO_STAGES).code, Some(0));
    assert_eq!(cached(&oxbox), 1);
    assert_eq!(oxbox.build_within("off", TWO_STAGES).code, Some(0));
    assert_eq!(cached(&oxbox), 1);
    let ran = oxbox.build_within("0", TWO_STAGES);
    assert_eq!((ran.code, cached(&oxbox)), (Some(0), json!(0)), "{}", ran.stderr);
    oxbox.ok(["inspect", "--validate", "app"]);
}

#[test]
fn the_bounds_are_not_looked_at_after_every_build() {
    let oxbox = Oxbox::new();
    assert_eq!(oxbox.build_within("1GB", TWO_STAGES).code, Some(0));
    oxbox.ok(["build", "--cache-max", "0", "-t", "app", "context"]);
    assert_eq!(row(&oxbox.du(), "cached layers")["count"], 1);
}

#[test]
fn a_cache_that_cannot_be_opened_is_done_without() {
    let oxbox = Oxbox::new();
    fs::create_dir_all(oxbox.root().join("cache.db")).unwrap();
    oxbox.dockerfile("FROM scratch\nCOPY motd /motd\n");
    let ran = oxbox.run(["build", "-t", "app", "context"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("building without a cache"), "{}", ran.stderr);
    oxbox.ok(["inspect", "--validate", "app"]);
}

#[test]
fn a_file_that_looks_as_it_was_is_built_as_it_is() {
    let oxbox = Oxbox::new();
    let first = oxbox.build("FROM scratch\nCOPY motd /motd\n");
    assert_eq!(oxbox.ok(["build", "-t", "app", "context"]), first);
    let path = oxbox.path("context/motd");
    let before = fs::metadata(&path).unwrap();
    fs::write(&path, "world\n").unwrap();
    let times = FileTimes::new().set_modified(before.modified().unwrap());
    File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), before.len());
    let second = oxbox.ok(["build", "-t", "app", "context"]);
    assert_ne!(second, first);
    assert_eq!(oxbox.ok(["build", "--no-cache", "-t", "app", "context"]), second);
}

#[test]
fn what_is_known_of_a_context_may_be_damaged_or_removed_at_any_time() {
    let oxbox = Oxbox::new();
    let first = oxbox.build("FROM scratch\nCOPY motd /motd\n");
    // The file was made a moment ago: a build that found it settled has written it down.
    let known = || fs::read_dir(oxbox.root().join("stat")).map_or(0, Iterator::count);
    for _ in 0..100 {
        if known() > 0 {
            break;
        }
        assert_eq!(oxbox.ok(["build", "-t", "app", "context"]), first);
    }
    if known() == 0 {
        return eprintln!("skipped: the times of this filesystem are not believed");
    }
    for path in fs::read_dir(oxbox.root().join("stat")).unwrap() {
        fs::write(path.unwrap().path(), "garbage").unwrap();
    }
    assert_eq!(oxbox.ok(["build", "-t", "app", "context"]), first);
    fs::remove_dir_all(oxbox.root().join("stat")).unwrap();
    assert_eq!(oxbox.ok(["build", "-t", "app", "context"]), first);
}
