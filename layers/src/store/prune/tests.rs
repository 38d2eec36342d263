use std::collections::HashSet;

use proptest::prelude::*;
use proptest::sample::Index as Pick;

use super::Pruned;
use crate::oci::{Descriptor, Digest, Index, MediaType, Raw};
use crate::store::reach::ReachError;
use crate::store::sweep::tests::Idle;
use crate::store::{BlobStore as _, Layout, Sweep};

fn prune(idle: &Idle) -> Pruned {
    idle.open().prune(Sweep::Remove, &HashSet::new()).unwrap()
}

fn list(layout: &Layout, entries: &[&Descriptor]) {
    layout.update(|index| entries.iter().for_each(|entry| index.add(entry))).unwrap();
}

#[test]
fn entries_without_a_name_go_but_for_what_refers_to_a_named_one() {
    let idle = Idle::new();
    let image = idle.image(b"named", None);
    let signature = idle.image(b"signature", Some(&image));
    let countersignature = idle.image(b"countersignature", Some(&signature));
    let nameless = idle.image(b"nameless", None);
    let its_signature = idle.image(b"of nameless", Some(&nameless));
    idle.open().tag("app", &image).unwrap();
    list(&idle.open(), &[&countersignature, &signature, &its_signature, &nameless]);
    let pruned = prune(&idle);
    assert_eq!(pruned.unnamed, [its_signature, nameless]);
    assert_eq!(pruned.swept.removed.len(), 4);
    assert!(idle.holds(b"named") && idle.holds(b"signature") && idle.holds(b"countersignature"));
    assert!(!idle.holds(b"nameless") && !idle.holds(b"of nameless"));
    assert_eq!(prune(&idle), Pruned::default());
}

#[test]
fn a_signature_outlives_the_name_of_its_image_until_it_is_pruned() {
    let idle = Idle::new();
    let image = idle.image(b"layer", None);
    let signature = idle.image(b"signature", Some(&image));
    idle.open().tag("app", &image).unwrap();
    list(&idle.open(), &[&signature]);
    idle.open().untag("app").unwrap();
    idle.open().sweep(Sweep::Remove).unwrap();
    assert!(idle.holds(b"layer"));
    prune(&idle);
    assert!(!idle.holds(b"layer") && !idle.holds(b"signature"));
}

#[test]
fn a_child_of_a_named_index_needs_no_name() {
    let idle = Idle::new();
    let child = idle.image(b"layer", None);
    let index = Raw::write(Index::of(vec![child.clone()]), MediaType::OCI_INDEX);
    idle.put(MediaType::OCI_INDEX, index.bytes());
    idle.open().tag("app", &index.descriptor()).unwrap();
    list(&idle.open(), &[&child]);
    assert_eq!(prune(&idle), Pruned::default());
    assert_eq!(idle.open().entries().unwrap().iter().count(), 2);
}

#[test]
fn what_is_to_be_kept_stays_though_nothing_reaches_it() {
    let idle = Idle::new();
    let layer = idle.put(MediaType::OCI_LAYER, b"remembered");
    idle.put(MediaType::OCI_LAYER, b"forgotten");
    let pruned = idle.open().prune(Sweep::Remove, &HashSet::from([layer.digest])).unwrap();
    assert_eq!(pruned.swept.bytes, 9);
    assert!(idle.holds(b"remembered") && !idle.holds(b"forgotten"));
}

#[test]
fn the_one_that_prunes_keeps_what_it_wrote() {
    let idle = Idle::new();
    let image = idle.image(b"layer", None);
    let layout = Layout::create(idle.directory.path()).unwrap();
    layout.stat(&image.digest).unwrap().unwrap();
    list(&layout, &[&image]);
    let pruned = layout.prune(Sweep::Remove, &HashSet::new()).unwrap();
    assert_eq!(pruned.unnamed, [image]);
    assert_eq!((pruned.swept.removed.len(), pruned.swept.kept_busy), (0, 3));
    drop(layout);
    assert_eq!(prune(&idle).swept.removed.len(), 3);
}

#[test]
fn a_damaged_document_stops_it_before_anything_is_removed() {
    let idle = Idle::new();
    let (image, nameless) = (idle.image(b"layer", None), idle.image(b"nameless", None));
    idle.open().tag("app", &image).unwrap();
    list(&idle.open(), &[&nameless]);
    std::fs::write(idle.open().blob_path(&image.digest), b"{}").unwrap();
    let result = idle.open().prune(Sweep::Remove, &HashSet::new());
    assert!(matches!(result, Err(ReachError::Unreadable { digest, .. }) if digest == image.digest));
    assert_eq!(idle.open().entries().unwrap().iter().count(), 2);
    assert!(idle.holds(b"nameless"));
}

/// One image more: what it refers to and how it is listed.
#[derive(Debug, Clone)]
struct Drawn {
    layer: u8,
    subject: Option<Pick>,
    child: Option<Pick>,
    listed: Listed,
}

#[derive(Debug, Clone, Copy)]
enum Listed {
    Named,
    Unnamed,
    Not,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let listed = prop_oneof![Just(Listed::Named), Just(Listed::Unnamed), Just(Listed::Not)];
    let pick = || proptest::option::weighted(0.4, any::<Pick>());
    (0..4_u8, pick(), pick(), listed).prop_map(|(layer, subject, child, listed)| Drawn {
        layer,
        subject,
        child,
        listed,
    })
}

/// Writes what was drawn; indexes and subjects name what came before.
fn write(idle: &Idle, images: &[Drawn]) -> Vec<Descriptor> {
    let mut written: Vec<Descriptor> = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let before = |pick: &Option<Pick>| pick.filter(|_| number > 0).map(|pick| pick.get(&written).clone());
        let root = match (before(&image.child), before(&image.subject)) {
            (Some(child), _) => {
                let index = Raw::write(Index::of(vec![child]), MediaType::OCI_INDEX);
                idle.put(MediaType::OCI_INDEX, index.bytes())
            }
            (None, subject) => idle.image(&[image.layer], subject.as_ref()),
        };
        match image.listed {
            Listed::Named => drop(idle.open().tag(&number.to_string(), &root).unwrap()),
            Listed::Unnamed => list(&idle.open(), &[&root]),
            Listed::Not => {}
        }
        written.push(root);
    }
    written
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_dry_run_tells_what_the_next_one_does(
        images in proptest::collection::vec(drawn(), 1..7),
        lost in proptest::option::of(any::<Pick>()),
        spared in proptest::collection::vec(any::<Pick>(), 0..3),
    ) {
        let idle = Idle::new();
        write(&idle, &images);
        if let Some(lost) = lost {
            let blobs = idle.open().blobs().unwrap();
            idle.open().remove(&lost.get(&blobs).digest).unwrap();
        }
        let there = idle.open().blobs().unwrap();
        let keep: HashSet<Digest> =
            spared.iter().filter(|_| !there.is_empty()).map(|pick| pick.get(&there).digest).collect();
        let names = idle.open().names().unwrap();

        let told = idle.open().prune(Sweep::DryRun, &keep).unwrap();
        prop_assert_eq!(idle.open().blobs().unwrap().len(), there.len());
        let mut done = idle.open().prune(Sweep::Remove, &keep).unwrap();
        let mut told_sorted = told.clone();
        for pruned in [&mut done, &mut told_sorted] {
            // A folder lists its files in no order.
            pruned.swept.removed.sort_by_key(|blob| blob.digest.to_string());
        }
        prop_assert_eq!(&done, &told_sorted);

        prop_assert_eq!(idle.open().names().unwrap(), names);
        let gone: HashSet<Digest> = done.swept.removed.iter().map(|blob| blob.digest).collect();
        prop_assert!(gone.is_disjoint(&keep));
        prop_assert_eq!(idle.open().blobs().unwrap().len(), there.len() - gone.len());
        prop_assert_eq!(idle.open().prune(Sweep::Remove, &keep).unwrap(), Pruned::default());
    }
}
