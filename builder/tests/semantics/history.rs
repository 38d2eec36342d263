//! Section 7: history and config.

use oxbox_builder::build::Times;
use oxbox_builder::export::form::{Annotated, Annotation, Form};
use oxbox_builder::plan::{Edits, Options, ResultForm};
use oxbox_builder::{DEFAULT_EPOCH, Request};
use oxbox_layers::compress::Compression;
use oxbox_layers::image::Image;
use oxbox_layers::oci::{Document, Platform};
use oxbox_layers::store::read_document;

use crate::given::{container, environment, given, history, options, planned, planned_with, result};
use crate::room::Room;

#[test]
fn s62_lines_of_history_have_buildkits_forms() {
    let plan = planned(
        "FROM base\nARG A=b\nARG B A=c\nRUN make\nCOPY --link --chown=1 --chmod=u+x --exclude=z a b dst\nADD --link a /x\n\
         COPY --parents a /\nWORKDIR /x\nENV k=v l=\"a b\"\nCMD x\nENTRYPOINT [\"a\\t\\\"\"]\nEXPOSE 80\nUSER u\n\
         VOLUME /v\nHEALTHCHECK --timeout=90s CMD h\nSTOPSIGNAL 9\n",
    );
    let wanted = [
        "ARG A=b",
        "ARG B A=c",
        "RUN |2 A=c B= /bin/sh -c make # buildkit",
        "COPY --chown=1 --chmod=u+x a b dst # buildkit",
        "ADD a /x # buildkit",
        "COPY --parents a / # buildkit",
        "WORKDIR /x",
        "ENV k=v l=a b",
        "CMD [\"/bin/sh\" \"-c\" \"x\"]",
        "ENTRYPOINT [\"a\\t\\\"\"]",
        "EXPOSE [80/tcp]",
        "USER u",
        "VOLUME [/v]",
        "HEALTHCHECK &{[\"CMD-SHELL\" \"h\"] \"0s\" \"1m30s\" \"0s\" \"0s\" '\\x00'}",
        "STOPSIGNAL 9",
    ];
    assert_eq!(history(&plan), wanted);
    let layers: Vec<_> = result(&plan).history.iter().map(|line| line.vertex.is_some()).collect();
    assert_eq!(layers.iter().filter(|layer| **layer).count(), 5);
    assert!(layers[2..7].iter().all(|layer| *layer));
}

#[test]
fn s62_every_line_says_who_made_it_and_when_and_whether_there_is_a_layer() {
    let room = Room::new();
    room.file("a", "a");
    let image = room.build("FROM scratch\nARG A=1\nCOPY a /a\nCMD x\n");
    let lines = image.config.history.as_ref().unwrap();
    let layers: Vec<_> = lines.iter().map(|line| line.empty_layer.unwrap_or(false)).collect();
    assert_eq!(layers, [true, false, true]);
    assert!(lines.iter().all(|line| line.comment.as_deref() == Some("buildkit.dockerfile.v0")));
    assert!(lines.iter().all(|line| line.created.as_deref() == Some("1980-01-01T00:00:00Z")));
}

#[test]
fn s63_a_base_keeps_what_nobody_changed_and_its_environment_its_order() {
    let plan = planned("FROM full\nENV C=new B=own\nENV A=last\nUSER other\n");
    assert_eq!(environment(&plan), ["A=last", "B=own", "PATH=/p", "C=new"]);
    assert_eq!(result(&plan).config.other["vendor"], "v", "what nobody knows survives");
    assert_eq!(container(&plan).other["Hostname"], "kept");
    assert_eq!(result(&plan).config.author.as_deref(), Some("a"));
    assert_eq!(container(&plan).working_dir.as_deref(), Some("/w"));
    let room = Room::new();
    let image = room.build("FROM scratch\nENV a=b\nVOLUME /v\nEXPOSE 1\n");
    let config: serde_json::Value = serde_json::from_slice(image.config.bytes()).unwrap();
    assert_eq!(config["rootfs"]["type"], "layers");
    assert_eq!(config["config"]["Volumes"]["/v"], serde_json::json!({}));
    assert_eq!(config["config"]["ExposedPorts"]["1/tcp"], serde_json::json!({}));
}

#[test]
fn s64_annotations_of_a_base_are_not_handed_on_and_labels_given_are_the_targets_alone() {
    let room = Room::new();
    room.file("a", "a").file("Dockerfile", "FROM scratch\nCOPY a /a\n");
    let annotation =
        Annotation { of: Annotated::Manifest, platform: None, key: "k".to_owned(), value: "v".to_owned() };
    let form = Form { annotations: vec![annotation], ..Form::plain(Compression::default()) };
    let base = room.run(&Request { forms: vec![form], ..room.request("localhost/base") }).0.unwrap();
    let base = Image::load(&*room.store, &base.manifest).unwrap();
    assert_eq!(base.manifest.annotations.as_ref().unwrap()["k"], "v");
    let image = room.build("FROM localhost/base\nCOPY a /b\n");
    assert_eq!(image.manifest.annotations, None);
    let labels = [("l".to_owned(), "given".to_owned())].into();
    let plan = planned_with(
        "FROM base AS a\nLABEL l=a\nFROM a\nLABEL m=n\n",
        &Options { edits: Edits { labels, ..Edits::default() }, ..options() },
    );
    assert_eq!(container(&plan).labels.as_ref().unwrap()["l"], "given");
    assert_eq!(history(&plan), ["LABEL l=a", "LABEL m=n"]);
}

#[test]
fn s65_an_image_is_for_the_platform_asked_for_or_else_for_its_bases() {
    let platform = |source: &str, asked: &[&str]| {
        let platforms = asked.iter().map(|platform| platform.parse().unwrap()).collect();
        let plan = planned_with(source, &Options { platforms, ..options() });
        result(&plan).config.platform().to_string()
    };
    assert_eq!(platform("FROM base\n", &[]), "linux/amd64");
    assert_eq!(platform("FROM arm\n", &[]), "linux/arm64", "the variant of v8 is not told");
    assert_eq!(platform("FROM --platform=linux/arm64 arm\n", &[]), "linux/arm64");
    assert_eq!(platform("FROM scratch\n", &["linux/arm64/v8"]), "linux/arm64");
    assert_eq!(platform("FROM scratch\n", &["linux/arm"]), "linux/arm/v7");
    assert_eq!(platform("FROM --platform=linux/amd64 base\n", &["linux/arm64"]), "linux/arm64");
}

#[test]
fn s66_several_platforms_are_an_index_of_nothing_but_images() {
    let room = Room::new();
    room.file("a", "a").file("Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY a /a\nENV arch=$TARGETARCH\n");
    let platforms: Vec<Platform> =
        ["linux/amd64", "linux/arm64"].iter().map(|platform| platform.parse().unwrap()).collect();
    let asked = Options { platforms: platforms.clone(), ..options() };
    let exported = room.run(&Request { options: asked, ..room.request("localhost/x") }).0.unwrap();
    let Document::Index(index) = read_document(&*room.store, &exported.manifest).unwrap() else { panic!() };
    let said: Vec<_> = index.manifests.iter().map(|manifest| manifest.platform.clone().unwrap()).collect();
    assert_eq!(said, platforms);
    assert_eq!(exported.images, index.manifests);
    let images: Vec<_> =
        index.manifests.iter().map(|manifest| Image::load(&*room.store, manifest).unwrap()).collect();
    assert_eq!(images[0].layers, images[1].layers, "one COPY makes both");
    let environment = |image: &Image| image.config.config.as_ref().unwrap().env.as_ref().unwrap()[1].clone();
    assert_eq!([environment(&images[0]), environment(&images[1])], ["arch=amd64", "arch=arm64"]);
    let one = Options { platforms: platforms[..1].to_vec(), ..given(&[("BUILDKIT_MULTI_PLATFORM", "1")]) };
    assert_eq!(planned_with("FROM base\n", &one).form, ResultForm::Index);
}

#[test]
fn s60_the_epoch_of_a_file_dates_its_layers_unless_another_is_given() {
    let room = Room::new();
    room.file("a", "a").file("Dockerfile", "ARG SOURCE_DATE_EPOCH=1000000000\nFROM scratch\nCOPY a /a\n");
    let created = |times: Times| {
        let request = Request { times, ..room.request("localhost/x") };
        let exported = room.run(&request).0.unwrap();
        Image::load(&*room.store, &exported.manifest).unwrap().config.created.clone().unwrap()
    };
    assert_eq!(created(Times::AsPlanned), "2001-09-09T01:46:40Z");
    assert_eq!(created(Times::Cut(DEFAULT_EPOCH)), "1980-01-01T00:00:00Z");
}
