//! 19 to 37: COPY and ADD.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use oxbox_layers::tar::Reader;
use oxbox_testdata::elsewhere;

use crate::room::Room;
use crate::scene::{Scene as _, directory, file, link, on, tar, with_root};

/// Nothing below but `/d`, another owner's, and the users of `--chown`.
fn plain() -> Room {
    on(&[
        directory("d", 0o711, 5),
        directory("etc", 0o755, 0),
        file("etc/group", 0o644, 0, "root:x:0:\nstaff:x:50:\n"),
        file("etc/passwd", 0o644, 0, "root:x:0:0::/:\napp:x:7:8::/:\n"),
    ])
}

fn mode(room: &Room, path: &str, mode: u32) {
    fs::set_permissions(room.at(path), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn s19_a_directory_source_copies_its_contents_even_through_a_wildcard() {
    let room = plain();
    room.file("sub/a/one", "1").file("sub/b/two", "2").file("sub/three", "3");
    assert_eq!(
        room.last("COPY sub /new"),
        [
            "755 0:0 new/",
            "755 0:0 new/a/",
            "644 0:0 new/a/one \"1\"",
            "755 0:0 new/b/",
            "644 0:0 new/b/two \"2\"",
            "644 0:0 new/three \"3\"",
        ]
    );
    assert_eq!(
        room.last("COPY sub/* /new/"),
        ["755 0:0 new/", "644 0:0 new/one \"1\"", "644 0:0 new/three \"3\"", "644 0:0 new/two \"2\""]
    );
}

#[test]
fn s20_a_slash_or_an_existing_directory_decides_between_a_name_and_a_place() {
    let room = plain();
    room.file("f", "f").file("g", "g");
    assert_eq!(room.last("COPY f /new"), ["644 0:0 new \"f\""]);
    for destination in ["/new/", "/new/."] {
        let placed = ["755 0:0 new/", "644 0:0 new/f \"f\""];
        assert_eq!(room.last(&format!("COPY f {destination}")), placed, "{destination}");
    }
    assert_eq!(room.last("COPY f /d"), ["711 5:5 d/", "644 0:0 d/f \"f\""]);
    for destination in [".", "./", "\"\"", "$nothing"] {
        let copy = format!("WORKDIR /d\nCOPY f {destination}");
        assert_eq!(room.last(&copy), ["711 5:5 d/", "644 0:0 d/f \"f\""], "{destination}");
    }
    let both = ["755 0:0 new/", "644 0:0 new/f \"f\"", "644 0:0 new/g \"g\""];
    assert_eq!(room.last("COPY f g /new/"), both);
    // As BuildKit does it: one after the other onto the same name.
    assert_eq!(room.last("COPY f g /new"), ["644 0:0 new \"g\""]);
    assert_eq!(room.last("COPY [fg] /new"), ["644 0:0 new \"g\""]);
}

#[test]
fn s21_the_destination_is_relative_to_workdir_and_sources_to_their_root() {
    let room = plain();
    room.file("f", "f").file("sub/g", "g");
    assert_eq!(
        room.last("WORKDIR /d\nCOPY f rel/"),
        ["711 5:5 d/", "755 0:0 d/rel/", "644 0:0 d/rel/f \"f\""]
    );
    let placed = ["644 0:0 x \"f\""];
    for source in ["../../f", "/f", "./sub/../f"] {
        assert_eq!(room.last(&format!("COPY {source} /x")), placed, "{source}");
    }
    let stage = "WORKDIR /d\nCOPY sub/g /d/g\nCOPY f /f\nFROM localhost/base\nCOPY --from=0";
    assert_eq!(room.last(&format!("{stage} f /x")), placed, "not relative to the stage's WORKDIR");
    assert_eq!(room.last(&format!("{stage} ../f /x")), placed);
    assert!(room.refused(&format!("{stage} g /x")).contains("is not there"));
}

#[test]
fn s22_links_are_followed_in_sources_and_destinations_and_kept_inside_directories() {
    let room = on(&[
        directory("real", 0o755, 0),
        file("real/old", 0o600, 0, "old"),
        link("alias", "/real"),
        link("out", "../../../real"),
        link("aim", "real/old"),
        link("real/inner", "old"),
    ]);
    room.file("sub/f", "f").file("nest/alias/f", "f");
    symlink("f", room.at("sub/to")).unwrap();
    symlink("sub", room.at("way")).unwrap();
    symlink("/sub/f", room.at("sub/abs")).unwrap();
    assert_eq!(room.last("COPY way/to /x"), ["644 0:0 x \"f\""]);
    assert_eq!(room.last("COPY way/t* /x"), ["644 0:0 x \"f\""]);
    assert_eq!(room.last("COPY sub/abs /x"), ["644 0:0 x \"f\""], "absolute is from the source's root");
    let kept = ["755 0:0 x/", "777 0:0 x/abs -> /sub/f", "644 0:0 x/f \"f\"", "777 0:0 x/to -> f"];
    assert_eq!(room.last("COPY sub /x"), kept);
    for destination in ["/alias/", "/alias", "/out/"] {
        let placed = ["755 0:0 real/", "644 0:0 real/f \"f\""];
        assert_eq!(room.last(&format!("COPY sub/f {destination}")), placed, "{destination}");
    }
    assert_eq!(room.last("COPY sub/f /aim"), ["755 0:0 real/", "644 0:0 real/old \"f\""]);
    // A link that a directory of the source meets is an error, and one that a file meets is replaced.
    assert!(room.refused("COPY nest /").contains("alias, which is not a directory"));
    room.file("flat/inner", "new");
    assert_eq!(room.last("COPY flat /real"), ["755 0:0 real/", "644 0:0 real/inner \"new\""]);
}

#[test]
fn s23_a_path_that_is_missing_fails_and_a_wildcard_that_matches_nothing_does_not() {
    let room = plain();
    room.file("f", "f").file("sub/g", "");
    assert!(room.refused("COPY none /").contains("\"none\" is not there"));
    assert!(room.refused("COPY f none /x/").contains("\"none\" is not there"));
    assert!(room.refused("COPY none/* /").contains("is not there"));
    assert_eq!(room.last("COPY f none* /x/"), ["755 0:0 x/", "644 0:0 x/f \"f\""]);
    let nothing = room.build("FROM localhost/base\nCOPY none* sub/*.c /x/\n");
    assert_eq!(nothing.layers.len(), 1, "nothing is copied, and nothing is made for it");
}

#[test]
fn s24_a_socket_of_the_context_is_an_empty_file_and_a_pipe_stays_one() {
    let room = plain();
    room.file("sub/f", "f");
    let _listener = std::os::unix::net::UnixListener::bind(room.at("sub/socket")).unwrap();
    let (path, kind) = (room.at("sub/pipe"), rustix::fs::FileType::Fifo);
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, 0o600.into(), 0).unwrap();
    let placed = room.last("COPY sub /x");
    assert_eq!(placed[1..3], ["644 0:0 x/f \"f\"", "600 0:0 x/pipe fifo"]);
    assert!(placed[3].ends_with("0:0 x/socket \"\""), "{placed:?}");
}

#[test]
fn s25_files_of_the_context_are_roots_and_chown_names_come_from_the_image() {
    let room = plain();
    room.file("f", "f");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(room.at("f"), Some(77), Some(78)).unwrap();
    }
    assert_eq!(room.last("COPY f /x"), ["644 0:0 x \"f\""]);
    assert_eq!(room.last("COPY <<EOF /x\ntext\nEOF"), ["644 0:0 x \"text\\n\""]);
    for (chown, owner) in [
        ("app", "7:8"),
        ("app:staff", "7:50"),
        ("app:9", "7:9"),
        ("33", "33:33"),
        ("33:44", "33:44"),
        ("7", "7:7"),
        ("root", "0:0"),
        ("0:staff", "0:50"),
    ] {
        let placed = room.last(&format!("COPY --chown={chown} f /x"));
        assert_eq!(placed, [format!("644 {owner} x \"f\"")], "{chown}");
    }
    // BuildKit makes root of it, against its own documentation.
    assert!(room.refused("COPY --chown=nosuch f /x").contains("user \"nosuch\" is not in /etc/passwd"));
    assert!(room.refused("COPY --chown=app:nosuch f /x").contains("group \"nosuch\" is not in /etc/group"));
    let stage = "COPY --chown=7:8 f /x\nFROM localhost/base\nCOPY --from=0 /x /y";
    assert_eq!(room.last(stage), ["644 7:8 y \"f\""], "what is in a stage keeps its owner");
    // The names are those of the stage that is copied to, not of the one that is copied from.
    let error = room.refused("FROM scratch\nCOPY --from=localhost/base --chown=app /etc /e");
    assert!(error.contains("user \"app\""), "{error}");
}

#[test]
fn s26_made_parents_are_roots_or_chowns_and_existing_directories_keep_or_take() {
    let room =
        on(&[directory("ex", 0o711, 55), directory("ex/e", 0o755, 66), file("ex/e/kept", 0o600, 66, "k")]);
    room.file("sub/e/f", "f").file("g", "g");
    mode(&room, "sub", 0o700);
    mode(&room, "sub/e", 0o750);
    assert_eq!(room.last("COPY sub/e/f /p/q/f"), ["755 0:0 p/", "755 0:0 p/q/", "644 0:0 p/q/f \"f\""]);
    assert_eq!(
        room.last("COPY --chown=3:4 sub /p/q"),
        ["755 3:4 p/", "755 3:4 p/q/", "750 3:4 p/q/e/", "644 3:4 p/q/e/f \"f\""],
        "the top directory is made, and not the source's"
    );
    assert_eq!(
        room.last("COPY --chmod=0777 g /p/q/g"),
        ["777 0:0 p/", "777 0:0 p/q/", "777 0:0 p/q/g \"g\""]
    );
    // At the top the one that is there stays, below it the source's counts.
    assert_eq!(room.last("COPY sub /ex"), ["711 55:55 ex/", "750 0:0 ex/e/", "644 0:0 ex/e/f \"f\""]);
    let stage = "COPY --chown=9 --chmod=700 sub /s\nFROM localhost/base\nCOPY --from=0 /s /t";
    assert_eq!(
        room.last(stage)[0],
        "755 0:0 t/",
        "nor is a stage's directory taken for the one that is made"
    );
}

#[test]
fn s27_modes_are_kept_with_their_special_bits_unless_chmod_says_otherwise() {
    let room = plain();
    room.file("sub/dir/f", "f").file("sub/x", "x");
    mode(&room, "sub/x", 0o6755);
    mode(&room, "sub/dir", 0o3775);
    mode(&room, "sub/dir/f", 0o640);
    let modes = |flags: &str| {
        let placed = room.last(&format!("COPY {flags} sub /n"));
        placed.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(modes(""), ["755", "3775", "640", "6755"]);
    assert_eq!(modes("--chmod=0600"), ["600"; 4]);
    assert_eq!(modes("--chmod=4711"), ["711", "4711", "4711", "4711"]);
    assert_eq!(modes("--chmod=u=rwX,go=rX"), ["755", "755", "644", "755"]);
    assert_eq!(modes("--chmod=a+X"), ["755", "3775", "640", "6755"]);
    assert_eq!(modes("--chmod=go-rwx,u+s"), ["755", "7700", "4600", "6700"], "bits that nobody names stay");
    for bad in ["10000", "9", "u=q", "-1"] {
        assert!(room.refused(&format!("COPY --chmod={bad} sub /n")).contains(bad), "{bad}");
    }
}

#[test]
fn s28_files_keep_their_times_up_to_the_epoch_and_what_is_made_has_the_epochs() {
    let room = plain();
    room.file("old", "").file("new", "").file("sub/f", "");
    let date = |path: &str, seconds: u64| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, 999_999_999);
        fs::File::open(room.at(path)).unwrap().set_modified(time).unwrap();
    };
    date("old", 1000);
    date("sub/f", 3000);
    date("sub", 2000);
    let image = room.build("FROM localhost/base\nCOPY old new /p/q/\nCOPY sub /d\nCOPY <<E /h\nE\n");
    let times = |layer: usize| {
        let times = room.entries(&image, layer).into_iter().map(|(entry, _)| entry.mtime);
        times.collect::<Vec<_>>()
    };
    let epoch = oxbox_builder::DEFAULT_EPOCH;
    assert_eq!(times(1), [epoch, epoch, epoch, 1000], "p, p/q, p/q/new, p/q/old, in whole seconds");
    assert_eq!(times(2), [2000, 3000], "a directory that takes in another takes its time");
    assert_eq!(times(3), [epoch]);
}

#[test]
fn s29_hard_links_of_one_copy_stay_and_point_to_a_relative_name() {
    let room = plain();
    room.file("sub/one", "1");
    fs::hard_link(room.at("sub/one"), room.at("sub/two")).unwrap();
    let linked = ["755 0:0 x/", "644 0:0 x/one \"1\"", "644 0:0 x/two => x/one"];
    for instruction in ["COPY sub /x", "COPY sub/* /x/", "ADD sub/* /x/"] {
        assert_eq!(room.last(instruction), linked, "{instruction}");
    }
    let image = room.build("FROM localhost/base\nCOPY sub/one /x\nCOPY sub/two /y\n");
    assert_eq!(room.lines(&image, 2), ["644 0:0 y \"1\""], "across layers they are copies");
    let stage = "COPY sub /x\nFROM localhost/base\nCOPY --from=0 /x /y";
    assert_eq!(room.last(stage)[2], "644 0:0 y/two => y/one", "those of a stage are kept too");
}

#[test]
fn s30_file_capabilities_survive_chown_and_other_attributes_stay_behind() {
    let room = plain();
    room.file("f", "f");
    let (user, capability) = ("user.note", "security.capability");
    // Version 2, CAP_NET_RAW.
    let value = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let set = |name: &str, value: &[u8]| {
        rustix::fs::setxattr(room.at("f"), name, value, rustix::fs::XattrFlags::empty())
    };
    if set(capability, &value).is_err() {
        eprintln!("SKIPPED: file capabilities need root");
        return;
    }
    // Where the filesystem has none of these, there is nothing to leave behind.
    let _ = set(user, b"note");
    let image = room.build("FROM localhost/base\nCOPY --chown=7 f /x\nFROM scratch\nCOPY --from=0 /x /y\n");
    let entries = room.entries(&image, 0);
    let xattrs: Vec<_> = entries[0].0.xattrs.iter().collect();
    assert_eq!(xattrs, [(&capability.as_bytes().to_vec(), &value.to_vec())]);
    assert_eq!(entries[0].0.uid, 7);
}

#[test]
fn s31_parents_keeps_the_path_from_the_root_or_the_first_pivot() {
    let room = on(&[directory("d", 0o711, 5), directory("d/x", 0o1777, 6)]);
    room.file("x/y/a.txt", "a").file("x/y/b.txt", "b").file("x/c.md", "c").file("top.txt", "t");
    mode(&room, "x", 0o750);
    symlink("x", room.at("way")).unwrap();
    let a = |to: &str| format!("644 0:0 {to}a.txt \"a\"");
    assert_eq!(
        room.last("COPY --parents x/y/a.txt /n"),
        ["755 0:0 n/".to_owned(), "750 0:0 n/x/".into(), "755 0:0 n/x/y/".into(), a("n/x/y/")],
        "the parents are the source's"
    );
    let file = ["755 0:0 n/", "644 0:0 n/top.txt \"t\""];
    assert_eq!(room.last("COPY --parents ./top.txt /n"), file, "the destination is a directory anyway");
    let pivoted = ["755 0:0 n/".to_owned(), "755 0:0 n/y/".into(), a("n/y/")];
    assert_eq!(room.last("COPY --parents ./x/./y/a.txt /n/"), pivoted);
    assert_eq!(room.last("COPY --parents x/./y/./a.txt /n"), pivoted, "only the first counts");
    assert_eq!(room.last("COPY --parents way/./y/a.txt /n"), pivoted, "before it links are followed");
    assert_eq!(room.last("COPY --parents x/*/./a.txt /n"), ["755 0:0 n/".to_owned(), a("n/")]);
    let texts = room.last("COPY --parents **/*.txt /n");
    assert_eq!(texts.len(), 6, "{texts:?}");
    assert_eq!(room.last("COPY --parents x/**/*.txt /n").len(), 5);
    assert_eq!(room.last("COPY --parents **/y /n").len(), 5, "a directory brings all that is in it");
    assert_eq!(room.last("COPY --parents x/y top.txt **/*.none /n").len(), 6);
    assert_eq!(room.last("COPY --parents **/none /n"), ["755 0:0 n/"], "nothing under a wildcard is well");
    for missing in ["x/none", "none/./x", "x/./none", "way/y", "none"] {
        let error = room.refused(&format!("COPY --parents {missing} /n"));
        assert!(error.contains("is not there"), "{missing}: {error}");
    }
    let into = room.last("COPY --parents --chown=3 x/c.md /d");
    assert_eq!(
        into,
        ["711 5:5 d/", "750 6:6 d/x/", "644 3:3 d/x/c.md \"c\""],
        "mode from the source, no owner"
    );
    let made = room.last("COPY --parents --chown=3 --chmod=700 x/c.md /n");
    assert_eq!(made, ["700 3:3 n/", "700 3:3 n/x/", "700 3:3 n/x/c.md \"c\""]);
    let stage = "COPY x /s/t\nFROM localhost/base\nCOPY --parents --from=0";
    assert_eq!(room.last(&format!("{stage} /s/./**/a.txt /n")).len(), 4);
}

#[test]
fn s32_exclude_is_about_paths_below_each_source_and_prunes() {
    let room = plain();
    room.file("sub/a.c", "").file("sub/a.o", "").file("sub/deep/b.o", "").file("sub/deep/c.c", "");
    let copied = |flags: &str, sources: &str| {
        let image = room.build(&format!("FROM localhost/base\nCOPY {flags} {sources} /n/\n"));
        let paths = room.paths(&image, image.layers.len() - 1);
        paths.join(" ").replace("n/", "")
    };
    assert_eq!(copied("--exclude=*.o", "sub"), "n a.c deep deep/b.o deep/c.c", "* stops at slashes");
    assert_eq!(copied("--exclude=**/*.o", "sub"), "n a.c deep deep/c.c");
    assert_eq!(copied("--exclude=deep", "sub"), "n a.c a.o");
    assert_eq!(copied("--exclude=deep --exclude=a.o", "sub"), "n a.c");
    assert_eq!(copied("--exclude=* --exclude=!deep/c.c", "sub"), "n deep deep/c.c");
    assert_eq!(copied("--exclude=*", "sub"), "n", "the destination is made though nothing is left");
    assert_eq!(
        copied("--exclude=sub/a.o --exclude=/a.o", "sub").split(' ').count(),
        6,
        "neither is a path there"
    );
    assert_eq!(copied("--exclude=sub/deep --exclude=Dockerfile", "."), "n sub sub/a.c sub/a.o");
    assert_eq!(copied("--exclude=b.o", "sub/*"), "n a.c a.o c.c", "relative to each directory that matches");
    // Against the documentation, BuildKit copies what the source itself names (moby/buildkit#5489).
    assert_eq!(copied("--exclude=a.o", "sub/a.o"), "n a.o");
    assert_eq!(copied("--exclude=*.o", "sub/a.*"), "n a.c a.o");
    let stage = "COPY sub /s\nFROM localhost/base\nCOPY --from=0 --exclude=deep /s /n/";
    assert_eq!(room.last(stage), ["755 0:0 n/", "644 0:0 n/a.c \"\"", "644 0:0 n/a.o \"\""]);
    assert_eq!(copied("--parents --exclude=**/*.o", "sub/deep"), "n sub sub/deep sub/deep/c.c");
    room.file("t.tar", tar(&[file("a.o", 0o600, 0, "")]));
    assert_eq!(room.last("ADD --exclude=*.o t.tar /n"), ["755 0:0 n/", "600 0:0 n/a.o \"\""]);
    let error = room.refused("COPY --exclude=[ sub /n");
    assert!(error.contains("\"[\""), "{error}");
}

#[test]
fn s32_exclude_is_in_the_key_only_by_what_it_leaves() {
    let room = plain();
    room.file("sub/a", "a").file("sub/b.o", "b");
    let diff_id = |flags: &str| {
        let image = room.build(&format!("FROM localhost/base\nCOPY {flags} sub /n/\n"));
        image.layers[1].diff_id
    };
    let without = diff_id("--exclude=*.o");
    room.file("sub/b.o", "changed").file("sub/c.o", "");
    room.file("Dockerfile", "FROM localhost/base\nCOPY --exclude=**/*.o sub /n/\n");
    let (built, heard) = room.run(&room.request("localhost/x"));
    built.unwrap();
    assert!(heard.iter().any(|line| line.starts_with("cached") && line.contains("COPY")), "{heard:?}");
    assert_eq!(diff_id("--exclude=**/*.o"), without);
    assert_ne!(diff_id(""), without);
}

#[test]
fn s33_link_lays_out_on_nothing_and_stands_on_anything() {
    let room = on(&[
        directory("tmp", 0o1777, 5),
        directory("real", 0o700, 5),
        link("alias", "real"),
        directory("etc", 0o755, 0),
        file("etc/passwd", 0o644, 0, "app:x:7:8::/:\n"),
    ]);
    room.file("f", "f");
    assert_eq!(room.last("COPY --link f /tmp/"), ["755 0:0 tmp/", "644 0:0 tmp/f \"f\""], "1777 is gone");
    assert_eq!(room.last("COPY f /tmp/"), ["1777 5:5 tmp/", "644 0:0 tmp/f \"f\""]);
    let real = ["755 0:0 alias/", "644 0:0 alias/f \"f\""];
    assert_eq!(room.last("COPY --link f /alias/"), real, "a link below is not followed");
    assert_eq!(room.last("COPY --link f /real"), ["644 0:0 real \"f\""], "nor is a directory seen");
    let owned = ["755 7:8 n/", "644 7:8 n/f \"f\""];
    assert_eq!(room.last("COPY --link --chown=app f /n/"), owned, "the names are those of what is below");
    let refused = room.refused("COPY --link --chown=nosuch f /n/");
    assert!(refused.contains("user \"nosuch\" is not in /etc/passwd"), "{refused}");
    // As in BuildKit: with --chmod it is no link.
    assert_eq!(room.last("COPY --link --chmod=600 f /alias/"), ["700 5:5 real/", "600 0:0 real/f \"f\""]);
    room.file("t.tar", tar(&[file("x", 0o600, 9, "x")]));
    assert_eq!(room.last("ADD --link t.tar /real/"), ["755 0:0 real/", "600 9:9 real/x \"x\""]);
}

#[test]
fn s33_the_layer_of_a_link_outlives_what_is_below() {
    let room = plain();
    room.file("f", "f").file("below", "1");
    let dockerfile = "FROM localhost/base\nCOPY below /tmp/below\nCOPY --link f /tmp/f\n";
    let first = room.build(dockerfile);
    room.file("below", "2");
    let (second, heard) = room.run(&room.request("localhost/test"));
    let second = oxbox_layers::image::Image::load(&*room.store, &second.unwrap().manifest).unwrap();
    assert_eq!(first.layers[2], second.layers[2]);
    assert_ne!(first.layers[1], second.layers[1]);
    assert!(heard.iter().any(|line| line.starts_with("cached") && line.contains("--link")), "{heard:?}");
    let lines = second.config.history.as_ref().unwrap().iter().filter(|line| line.empty_layer != Some(true));
    assert_eq!(lines.count(), second.layers.len());
}

#[test]
fn s34_unpack_false_leaves_an_archive_as_it_is() {
    let room = plain();
    room.file("t.tar", tar(&[file("x", 0o600, 9, "x")]));
    assert_eq!(room.last("ADD t.tar /n/"), room.last("ADD --unpack t.tar /n/"));
    let image = room.build("FROM localhost/base\nADD --unpack=false t.tar /n/\n");
    assert_eq!(room.paths(&image, 1), ["n", "n/t.tar"]);
}

#[test]
fn s34_add_unpacks_what_is_a_tar_by_its_content_and_nothing_else() {
    let room = on(&[directory("d", 0o1777, 5), directory("usr", 0o755, 0), link("lnk", "usr")]);
    let archive = with_root(tar(&[
        directory("root", 0o700, 9),
        directory("in", 0o750, 21),
        file("in/f", 0o640, 22, "f"),
        file("d/implied", 0o600, 0, "i"),
        file("lnk/x", 0o600, 0, "x"),
        link("abs", "/d"),
    ]));
    let bzip2 = include_bytes!("../../src/op/archive/testdata/archive.tar.bz2");
    let xz = include_bytes!("../../src/op/archive/testdata/archive.tar.xz");
    room.file("no.name", &archive).file("a.gz", "no gzip").file("b.tar.bz2", bzip2).file("c.txz", xz);
    room.file("only.xz", include_bytes!("../../src/op/archive/testdata/content.xz"));
    // Owners and modes are the archive's; its root entry and what it does not name say nothing.
    let unpacked = |to: &str, top: &str| {
        [
            format!("{top} {to}/"),
            format!("777 0:0 {to}/abs -> /d"),
            format!("755 0:0 {to}/d/"),
            format!("600 0:0 {to}/d/implied \"i\""),
            format!("750 21:21 {to}/in/"),
            format!("640 22:22 {to}/in/f \"f\""),
            format!("755 0:0 {to}/lnk/"),
            format!("600 0:0 {to}/lnk/x \"x\""),
        ]
    };
    assert_eq!(room.last("ADD no.name /new"), unpacked("new", "755 0:0"));
    assert_eq!(room.last("ADD no.name /d"), unpacked("d", "1777 5:5"));
    let at_root = room.last("ADD no.name /");
    assert!(at_root.contains(&"1777 5:5 d/".to_owned()), "what is only implied stays as it is: {at_root:?}");
    assert!(
        at_root.contains(&"600 0:0 usr/x \"x\"".to_owned()),
        "links on the way are followed: {at_root:?}"
    );
    let owned = room.last("ADD --chown=3:4 no.name /new");
    assert_eq!(owned[0], "755 3:4 new/");
    assert_eq!(owned[4..6], ["750 3:4 new/in/", "640 3:4 new/in/f \"f\""]);
    for name in ["b.tar.bz2", "c.txz"] {
        assert_eq!(
            room.last(&format!("ADD {name} /n/")),
            ["755 0:0 n/", "644 5:6 n/file \"content\""],
            "{name}"
        );
    }
    let both = ["755 0:0 n/", "644 0:0 n/a.gz \"no gzip\"", "644 5:6 n/file \"content\""];
    assert_eq!(room.last("ADD [abc].* /n/"), both, "every match for itself");
    let image = room.build("FROM localhost/base\nADD only.xz /n/\nCOPY no.name /kept\n");
    let sizes = |layer: usize| {
        let mut reader = Reader::new(image.layers[layer].open_tar(&*room.store).unwrap());
        std::iter::from_fn(|| reader.next().unwrap().map(|entry| entry.size())).collect::<Vec<_>>()
    };
    assert_eq!(sizes(1), [0, 64], "n and n/only.xz, which is packed, but no tar");
    assert_eq!(sizes(2), [archive.len() as u64], "COPY never unpacks");
}

#[test]
fn s34_a_download_is_unpacked_only_if_that_is_said() {
    let room = plain();
    room.serve("a.txz", include_bytes!("../../src/op/archive/testdata/archive.tar.xz"));
    let unpacked = ["755 0:0 n/", "644 5:6 n/file \"content\""];
    assert_eq!(room.last("ADD --unpack http://host/a.txz /n/"), unpacked);
    let image = room
        .build("FROM localhost/base\nADD http://host/a.txz /n/\nADD --unpack=false http://host/a.txz /n/\n");
    let mut reader = Reader::new(image.layers[1].open_tar(&*room.store).unwrap());
    let sizes: Vec<_> = std::iter::from_fn(|| reader.next().unwrap().map(|entry| entry.size())).collect();
    assert_eq!(sizes, [0, 160]);
    assert_eq!(image.layers[1], image.layers[2], "as it is unless told otherwise");
    room.serve("text", "no archive");
    assert_eq!(
        room.last("ADD --unpack http://host/text /n/"),
        ["755 0:0 n/", "600 0:0 n/text \"no archive\""]
    );
}

#[test]
fn s35_a_url_is_a_private_file_named_by_its_path_and_asked_for_each_time() {
    let room = plain();
    room.serve("f", "f").serve("index", "i").serve("dated", "dated");
    assert_eq!(room.last("ADD http://host/f?query#part /n/"), ["755 0:0 n/", "600 0:0 n/f \"f\""]);
    assert_eq!(room.last("ADD http://host/f /n"), ["600 0:0 n \"f\""]);
    assert_eq!(room.last("ADD http://host/f /d"), ["711 5:5 d/", "600 0:0 d/f \"f\""]);
    for bare in ["http://host", "http://host/"] {
        assert_eq!(
            room.last(&format!("ADD {bare} /n/")),
            ["755 0:0 n/", "600 0:0 n/__unnamed__ \"i\""],
            "{bare}"
        );
    }
    let flags = "ADD --chown=app --chmod=644 http://host/f /n/";
    assert_eq!(room.last(flags), ["644 7:8 n/", "644 7:8 n/f \"f\""]);
    let image = room.build("FROM localhost/base\nADD http://host/dated http://host/f /\n");
    let times: Vec<_> = room.entries(&image, 1).iter().map(|(entry, _)| entry.mtime).collect();
    assert_eq!(times, [100, 0], "as the server says, or 1970");
    room.serve("f", "changed");
    assert_eq!(room.last("ADD http://host/f /n"), ["600 0:0 n \"changed\""]);
    assert!(room.refused("ADD http://host/none /n").contains("http://host/none"));
}

#[test]
fn s36_files_of_a_repository_have_the_modes_of_git() {
    let room = plain();
    let folder = tempfile::tempdir().unwrap();
    let daemon = elsewhere::Daemon::start(folder.path());
    let repository = elsewhere::Repository::new(folder.path(), "r");
    repository.file("dir/run", "#!").file("private", "p");
    let mode =
        |path: &str, mode| fs::set_permissions(repository.work.join(path), fs::Permissions::from_mode(mode));
    mode("dir/run", 0o700).unwrap();
    mode("dir", 0o700).unwrap();
    mode("private", 0o600).unwrap();
    repository.commit("first");
    let files = ["755 0:0 n/", "755 0:0 n/dir/", "755 0:0 n/dir/run \"#!\"", "644 0:0 n/private \"p\""];
    assert_eq!(room.last(&format!("ADD {} /n", daemon.url("r"))), files, "and no .git");
    let folder = room.last(&format!("ADD {}#main:dir /n", daemon.url("r")));
    assert_eq!(folder, ["755 0:0 n/", "755 0:0 n/run \"#!\""]);
    let part = room.last(&format!("ADD --chown=3 --exclude=private {} /n", daemon.url("r")));
    assert_eq!(part, ["755 3:3 n/", "755 3:3 n/dir/", "755 3:3 n/dir/run \"#!\""]);
}

#[test]
fn s37_the_last_pattern_of_the_ignore_file_that_matches_decides() {
    let copied = |ignore: &str| {
        let room = plain();
        for path in ["a.md", "README.md", "src/x.md", "src/deep/y.md", "src/main.c", "src/deep/keep", "s p"] {
            room.file(path, "");
        }
        room.file(".dockerignore", format!("Dockerfile\n.dockerignore\n{ignore}"));
        let image = room.build("FROM localhost/base\nCOPY . /x\n");
        let paths = room.paths(&image, image.layers.len() - 1);
        paths
            .iter()
            .map(|path| path.strip_prefix("x").unwrap().trim_start_matches('/').to_owned())
            .skip(1)
            .collect::<Vec<_>>()
            .join(",")
    };
    let all = "README.md,a.md,s p,src,src/deep,src/deep/keep,src/deep/y.md,src/main.c,src/x.md";
    assert_eq!(copied(""), all);
    assert_eq!(copied("# *\n\n  \n"), all, "comments and blank lines");
    assert_eq!(
        copied("\u{feff}#x\nsrc/**\n"),
        "README.md,a.md,s p,src",
        "a/** is not a, and so an empty a stays"
    );
    for pattern in ["src", "/src/", "./src//", " src ", "x/../src", "sr?", "[r-t]*c"] {
        assert_eq!(copied(pattern), "README.md,a.md,s p", "{pattern}");
    }
    assert_eq!(copied("*.md"), "s p,src,src/deep,src/deep/keep,src/deep/y.md,src/main.c,src/x.md");
    for pattern in ["**.md", "**/*.md"] {
        assert_eq!(copied(pattern), "s p,src,src/deep,src/deep/keep,src/main.c", "{pattern}");
    }
    assert_eq!(copied("*.md\n!README.md"), copied("a.md"));
    assert_eq!(copied("!README.md\n*.md"), copied("*.md"));
    assert_eq!(copied("*\n!src/deep/keep"), "src,src/deep,src/deep/keep", "back from below what is excluded");
    assert_eq!(copied("src\n!src/deep\nsrc/deep/y*"), "README.md,a.md,s p,src,src/deep,src/deep/keep");
    assert_eq!(copied("src/*/*.md"), all.replace(",src/deep/y.md", ""));
    assert_eq!(copied("s p"), all.replace(",s p", ""));
    let room = plain();
    room.file("secret", "s").file("sub/f", "").file(".dockerignore", "secret\nsub\nDockerfile");
    assert!(room.refused("COPY secret /").contains("\"secret\" is excluded by the ignore file"));
    assert!(room.refused("COPY sub/f /").contains("ignore file"));
    room.last("COPY s* /x/\nCOPY <<secret /\ntext\nsecret");
}
