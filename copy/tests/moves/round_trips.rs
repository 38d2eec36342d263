//! Every pair of places moves every kind of image without changing a byte.

use crate::place::Place;
use oxbox_testdata::image::{Blobs, Family, Hash, Layer};
use proptest::prelude::*;
use serde_json::Value;

/// Places that hold anything; a docker-archive holds single images only.
const ANYTHING: [&str; 4] = ["oci", "oci-archive", "dir", "store"];
const IMAGES: [&str; 5] = ["oci", "oci-archive", "dir", "store", "docker-archive"];

/// What the root of a test image is.
#[derive(Debug, Clone)]
enum Shape {
    Artifact(u8),
    Image(Family, Vec<(u8, bool)>),
    Index(Family, Vec<Shape>),
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Oci), Just(Family::Docker)]
}

/// Few seeds, so that layers come twice in an image and in several images; sometimes none at all.
fn image() -> impl Strategy<Value = Shape> {
    (family(), prop::collection::vec((0u8..4, prop::bool::weighted(0.2)), 0..4))
        .prop_map(|(family, layers)| Shape::Image(family, layers))
}

fn anything() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![3 => image(), 1 => (0u8..4).prop_map(Shape::Artifact)];
    leaf.prop_recursive(3, 12, 4, |inner| {
        (family(), prop::collection::vec(inner, 0..4))
            .prop_map(|(family, children)| Shape::Index(family, children))
    })
}

fn keep(blobs: &mut Blobs, shape: &Shape) -> Value {
    match shape {
        Shape::Artifact(seed) => {
            // Its subject is not there, which is allowed.
            let subject = blobs.clone().image(Family::Oci, "amd64", &[Layer::of_file(*seed, 3)]);
            blobs.artifact(&[*seed], Some(&subject))
        }
        Shape::Image(family, layers) => {
            let layers: Vec<Layer> = layers
                .iter()
                .map(|&(seed, long)| Layer {
                    hash: if long { Hash::Sha512 } else { Hash::Sha256 },
                    ..Layer::of_file(seed, usize::from(seed) * 100_000)
                })
                .collect();
            blobs.image(*family, "amd64", &layers)
        }
        Shape::Index(family, children) => {
            let children: Vec<Value> = children.iter().map(|child| keep(blobs, child)).collect();
            blobs.index(*family, &children)
        }
    }
}

fn spell(kind: &str, stem: &str) -> String {
    match kind {
        "store" => format!("store:example.org/{stem}:v1"),
        "docker-archive" => format!("docker-archive:{{}}/{stem}.docker.tar:example.org/{stem}:v1"),
        "dir" => format!("dir:{{}}/{stem}.dir"),
        kind => format!("{kind}:{{}}/{stem}.{kind}:example.org/{stem}:v1"),
    }
}

/// Copies a generated image into one place, from there into another, and back into a layout.
fn check(shape: &Shape, first: &str, second: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let place = Place::new();
    let mut blobs = Blobs::default();
    let root = keep(&mut blobs, shape);
    let expected = blobs.reachable(&root);
    blobs.write_layout(&place.join("start"), &[(Some("start"), root.clone())]);
    let (a, b) = (spell(first, "a"), spell(second, "b"));
    for (from, to) in [("oci:{}/start:start", a.as_str()), (&a, &b), (&b, "oci:{}/end")] {
        let report = runtime.block_on(place.copy(from, to));
        let report = report.unwrap_or_else(|error| panic!("{from} to {to}: {error:?}"));
        assert_eq!(report.root.digest.to_string(), root["digest"], "{from} to {to}");
    }
    assert_eq!(Blobs::read_layout(&place.join("end")), expected, "{first} to {second}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn any_image_keeps_every_digest_between_any_places(shape in anything()) {
        for first in ANYTHING {
            for second in ANYTHING {
                check(&shape, first, second);
            }
        }
    }

    #[test]
    fn a_single_image_keeps_every_digest_through_a_docker_archive(shape in image()) {
        for other in IMAGES {
            check(&shape, other, "docker-archive");
            check(&shape, "docker-archive", other);
        }
    }
}

#[test]
fn an_index_within_an_index_is_copied_whole() {
    let image = |seed| Shape::Image(Family::Oci, vec![(seed, false)]);
    let inner = Shape::Index(Family::Docker, vec![image(1), image(2)]);
    // The inner image is named again beside the index that names it: it must come before both.
    let shape = Shape::Index(Family::Oci, vec![image(1), inner, Shape::Artifact(1)]);
    check(&shape, "oci-archive", "dir");
}
