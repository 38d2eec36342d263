//! 47–55: what decides whether something is made again. That commands really run or do not is shown by the
//! binary's own tests, which can start one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use oxbox_builder::Request;
use oxbox_builder::op::run;
use oxbox_builder::plan::Op;
use oxbox_builder::solve::{Key, KeyHasher, Reuse};
use oxbox_layers::oci::{ChainId, Config, Digest, MediaType, Raw};

use crate::given;
use crate::room::Room;

/// Builds, and returns the titles of the steps that were made.
fn made(room: &Room, dockerfile: &str) -> Vec<String> {
    made_with(room, dockerfile, Reuse::Allowed)
}

fn made_with(room: &Room, dockerfile: &str, reuse: Reuse) -> Vec<String> {
    room.file("Dockerfile", dockerfile);
    let (result, heard) = room.run(&Request { reuse, ..room.request("localhost/x") });
    result.unwrap();
    let made = heard.iter().filter_map(|line| line.strip_prefix("made ["));
    // What a stage stands on, and what a COPY --link is put upon, is neither made nor remembered.
    let steps = made.filter(|title| !title.contains("] FROM ") && !title.contains("] LINK "));
    steps.map(str::to_owned).collect()
}

/// The key of the last RUN of a Dockerfile, upon the same.
fn run_key(dockerfile: &str, arguments: &[(&str, &str)]) -> Key {
    let plan = given::planned_with(dockerfile, &given::given(arguments));
    let mut runs = plan.graph.vertices.iter().filter_map(|vertex| match &vertex.op {
        Op::Run(run) => Some(run.clone()),
        _ => None,
    });
    run::key(&runs.next_back().unwrap(), Some(ChainId(Digest::sha256(b"below"))), &[], 0)
}

#[test]
fn s47_a_runs_key_is_of_what_it_does_and_not_of_proxies_and_caches() {
    let first = run_key("FROM base\nRUN make\n", &[]);
    for other in [
        "FROM base\nRUN make all\n",
        "FROM base\nRUN [\"make\"]\n",
        "FROM base\nENV A=b\nRUN make\n",
        "FROM base\nARG A=b\nRUN make\n",
        "FROM base\nWORKDIR /x\nRUN make\n",
        "FROM base\nUSER 1\nRUN make\n",
        "FROM base\nRUN --network=none make\n",
        "FROM base\nRUN --mount=type=bind,target=/src make\n",
        "FROM base\nRUN --mount=type=cache,target=/c make\n",
        // That a command may see a secret counts. What it is, nobody is asked.
        "FROM base\nRUN --mount=type=secret,id=s make\n",
        "FROM base\nRUN --mount=type=ssh make\n",
        "FROM base\nRUN --mount=type=tmpfs,target=/t make\n",
    ] {
        assert_ne!(run_key(other, &[]), first, "{other}");
    }
    for same in ["FROM base\nLABEL a=b\nEXPOSE 80\nRUN make\n", "FROM base AS named\nCMD x\nRUN make\n"] {
        assert_eq!(run_key(same, &[]), first, "{same}");
    }
    assert_eq!(run_key("FROM base\nRUN make\n", &[("HTTP_PROXY", "http://p")]), first);
    assert_ne!(run_key("FROM base\nARG HTTP_PROXY\nRUN make\n", &[("HTTP_PROXY", "http://p")]), first);
    let cache = |id: &str| run_key(&format!("FROM base\nRUN --mount=type=cache,target=/c,{id} make\n"), &[]);
    assert_eq!(cache("id=one"), cache("id=two,sharing=locked"));
    let secret = |id: &str| run_key(&format!("FROM base\nRUN --mount=type=secret,{id} make\n"), &[]);
    assert_ne!(secret("id=one"), secret("id=two"));
}

#[test]
fn s48_every_source_of_a_copy_counts_and_so_does_its_name_where_it_shows() {
    let room = Room::new();
    room.file("a.txt", "a").file("b.txt", "b").file("passwd", "app:x:7:7::/:\n");
    let copy = "FROM scratch\nCOPY a.txt b.txt /d/\nCOPY *.txt /all/\nCOPY a.txt /renamed\n";
    assert_eq!(made(&room, copy).len(), 3);
    room.file("b.txt", "B");
    assert_eq!(made(&room, copy).len(), 2, "the second source counts");
    fs::rename(room.at("b.txt"), room.at("c.txt")).unwrap();
    let renamed = copy.replace("b.txt", "c.txt");
    assert_eq!(made(&room, &renamed).len(), 2, "a rename counts");
    fs::rename(room.at("a.txt"), room.at("other")).unwrap();
    let other = "FROM scratch\nCOPY other /renamed\n";
    assert_eq!(made(&room, other), [""; 0], "but not of a file that gets another name");
    // A name of --chown is what the files of what is below say.
    let chown = "FROM scratch\nCOPY passwd /etc/\nCOPY --chown=app other /o\n";
    made(&room, chown);
    room.file("passwd", "app:x:8:8::/:\n");
    assert_eq!(made(&room, chown).len(), 2);
    // With --link nothing is below.
    let link = |below: &str| format!("FROM scratch\nCOPY {below} /below\nCOPY --link other /o\n");
    made(&room, &link("passwd"));
    let made = made(&room, &link("c.txt"));
    assert!(!made.iter().any(|title| title.contains("--link")), "{made:?}");
}

#[test]
fn s49_modes_and_contents_count_and_times_do_not() {
    let room = Room::new();
    room.file("d/a", "a");
    let copy = "FROM scratch\nCOPY d /d\n";
    made(&room, copy);
    let file = fs::File::options().write(true).open(room.at("d/a")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
    assert_eq!(made(&room, copy), [""; 0]);
    fs::set_permissions(room.at("d/a"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(made(&room, copy).len(), 1);
}

#[test]
fn s50_other_content_of_the_same_size_and_time_is_noticed() {
    let room = Room::new();
    room.file("f", "one");
    let time = fs::metadata(room.at("f")).unwrap().modified().unwrap();
    let copy = "FROM scratch\nCOPY f /f\n";
    made(&room, copy);
    assert_eq!(made(&room, copy), [""; 0]);
    room.file("f", "two");
    fs::File::options().write(true).open(room.at("f")).unwrap().set_modified(time).unwrap();
    assert_eq!(made(&room, copy).len(), 1);
}

/// Names an image with the layers of another and another config.
fn with_config(room: &Room, name: &str, change: impl FnOnce(&mut Config)) {
    let base = room.store.resolve("localhost/base:latest").unwrap().unwrap();
    let base = oxbox_layers::image::Image::load(&*room.store, &base).unwrap();
    let mut config = base.config.view().clone();
    change(&mut config);
    let config = Raw::write(config, MediaType::OCI_CONFIG);
    let image = oxbox_layers::image::Image::assemble(config, base.layers, Default::default()).unwrap();
    let manifest = image.write(&*room.store).unwrap();
    room.store.tag(name, &manifest).unwrap();
}

#[test]
fn s51_of_a_base_its_layers_count_and_what_steps_take_of_its_config() {
    let room = Room::new();
    room.file("a", "a").file("Dockerfile", "FROM scratch\nCOPY a /base\n");
    room.run(&room.request("localhost/base")).0.unwrap();
    let copy = "FROM localhost/base\nCOPY a /a\nWORKDIR /w\n";
    assert_eq!(made(&room, copy).len(), 2);
    with_config(&room, "localhost/base:latest", |config| {
        let container = config.config.get_or_insert_default();
        container.labels = Some([("a".to_owned(), "b".to_owned())].into_iter().collect());
        config.author = Some("somebody".to_owned());
    });
    assert_eq!(made(&room, copy), [""; 0]);
    with_config(&room, "localhost/base:latest", |config| {
        config.config.get_or_insert_default().user = Some("5".to_owned());
    });
    assert_eq!(made(&room, copy).len(), 1, "WORKDIR makes directories of the user");
}

#[test]
fn s52_looking_goes_on_after_a_miss() {
    let room = Room::new();
    room.file("a", "a").file("b", "b");
    let copy =
        "FROM scratch AS build\nCOPY a /a\nCOPY b /b\nFROM scratch\nCOPY --from=build /b /b\nCOPY b /c\n";
    made(&room, copy);
    room.file("a", "changed");
    assert_eq!(made(&room, copy), ["build 1/2] COPY a /a"]);
}

#[test]
fn s53_fields_of_keys_are_framed() {
    let key = |first: &str, second: &str| KeyHasher::new("k").field("a", first).field("a", second).finish();
    assert_ne!(key("x-", "y"), key("x", "-y"));
    assert_ne!(
        run_key("FROM base\nRUN [\"a\", \"b c\"]\n", &[]),
        run_key("FROM base\nRUN [\"a b\", \"c\"]\n", &[])
    );
}

#[test]
fn s54_a_base_that_was_made_again_the_same_is_the_same() {
    let room = Room::new();
    room.file("a", "a").file("Dockerfile", "FROM scratch\nCOPY a /base\n");
    room.run(&room.request("localhost/base")).0.unwrap();
    let copy = "FROM localhost/base\nCOPY a /a\n";
    made(&room, copy);
    with_config(&room, "localhost/base:latest", |config| {
        config.created = Some("2031-01-01T00:00:00Z".to_owned());
        for line in config.history.iter_mut().flatten() {
            line.created = Some("2031-01-01T00:00:00Z".to_owned());
            line.created_by = Some("another way to say it".to_owned());
        }
    });
    assert_eq!(made(&room, copy), [""; 0]);
}

#[test]
fn s55_no_cache_makes_everything_again_but_nothing_twice() {
    let room = Room::new();
    room.file("a", "a");
    let copy = "FROM scratch AS one\nCOPY a /x\nFROM scratch AS two\nCOPY ./a /x\n\
                FROM scratch\nCOPY --from=one /x /1\nCOPY --from=two /x /2\n";
    made(&room, copy);
    let again = made_with(&room, copy, Reuse::Forbidden);
    let of_stages = again.iter().filter(|title| title.contains(" /x") && !title.contains("--from"));
    assert_eq!((again.len(), of_stages.count()), (3, 1), "{again:?}");
    let named = Reuse::Except(["TWO".to_owned()].into());
    assert_eq!(made_with(&room, copy, named), ["two 1/1] COPY ./a /x"]);
}
