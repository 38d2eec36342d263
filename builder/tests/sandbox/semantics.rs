//! The numbered semantics that need a RUN: 45, 56, 57, 67 and part of 61, in whole builds. The others have a folder of
//! their own.

use oxbox_layers::image::Image;
use oxbox_layers::tar::{Entry, Kind, Writer};

use crate::builds::{Room, causes};
use crate::room;

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![
        (
            "s45_a_run_has_its_environment_and_leaves_nothing_of_it_behind",
            s45_a_run_has_its_environment_and_leaves_nothing_of_it_behind,
        ),
        (
            "s67_a_root_of_more_than_127_layers_can_be_run_in",
            s67_a_root_of_more_than_127_layers_can_be_run_in,
        ),
        (
            "s56_what_is_removed_is_hidden_only_if_it_was_there",
            s56_what_is_removed_is_hidden_only_if_it_was_there,
        ),
        ("s56_a_directory_made_anew_hides_each_old_name", s56_a_directory_made_anew_hides_each_old_name),
        ("s56_markers_are_never_files_of_the_root", s56_markers_are_never_files_of_the_root),
        ("s56_files_and_directories_replace_each_other", s56_files_and_directories_replace_each_other),
        ("s56_a_file_of_a_markers_name_is_refused", s56_a_file_of_a_markers_name_is_refused),
        ("s57_only_what_changed_is_in_the_layer", s57_only_what_changed_is_in_the_layer),
        (
            "s61_a_run_that_changes_nothing_has_an_empty_layer",
            s61_a_run_that_changes_nothing_has_an_empty_layer,
        ),
    ]
}

/// A room whose `localhost/base` is busybox with a folder `/d` and a file in it.
pub(crate) fn busybox() -> Room {
    let room = Room::new();
    let base = room.at("base");
    std::fs::create_dir(&base).unwrap();
    room::install_busybox(&base);
    room.file("base/d/old", "old").file("base/d/other", "other").file("base/f", "f");
    room.file("Dockerfile", "FROM scratch\nCOPY base /\nENV PATH=/bin\n");
    room.run(&room.request("localhost/base")).0.unwrap();
    std::fs::remove_dir_all(&base).unwrap();
    room
}

/// Builds these instructions on the base.
fn built(room: &Room, instructions: &str) -> Image {
    room.build(&format!("FROM localhost/base\n{instructions}\n"))
}

/// The paths of the last layer.
fn last(room: &Room, instructions: &str) -> Vec<String> {
    let image = built(room, instructions);
    room.paths(&image, image.layers.len() - 1)
}

fn s45_a_run_has_its_environment_and_leaves_nothing_of_it_behind() {
    let room = busybox();
    built(
        &room,
        "ARG A=1\nENV B=2\nWORKDIR /w\n\
         RUN test \"$A$B$PWD\" = 12/w && test -n \"$HOME\" && test -z \"$(cat)\" && test -s /etc/hosts && test -d /proc/1",
    );
    // No mount point, no stub of /etc; and what is left running does not keep the build.
    assert_eq!(last(&room, "RUN echo > /x; sleep 1000 &"), ["x"]);
    room.file("Dockerfile", "FROM localhost/base\nRUN exit 7\n");
    let error = causes(&room.run(&room.request("localhost/x")).0.unwrap_err());
    assert!(error.contains("exited with code 7"), "{error}");
}

fn s67_a_root_of_more_than_127_layers_can_be_run_in() {
    let room = busybox();
    let files: String = (0..140).map(|n| format!("COPY <<EOF /many/{n}\n{n}\nEOF\n")).collect();
    let image = built(&room, &format!("{files}RUN ls /many | wc -l > /count"));
    assert_eq!(image.layers.len(), 142);
    assert_eq!(room.entries(&image, 141)[0].1, "140\n");
}

fn s56_what_is_removed_is_hidden_only_if_it_was_there() {
    let room = busybox();
    assert_eq!(last(&room, "RUN rm /d/old"), ["d", "d/.wh.old"]);
    assert_eq!(last(&room, "RUN rm -r /d /f"), [".wh.d", ".wh.f"], "a directory is hidden once");
    assert_eq!(last(&room, "RUN touch /d/new && rm /d/new"), [""; 0]);
    assert_eq!(last(&room, "RUN touch /d/new\nRUN rm /d/new"), ["d", "d/.wh.new"]);
    let image = built(&room, "RUN rm /d/old");
    let entries = room.entries(&image, 1);
    assert_eq!((entries[1].0.mtime, entries[1].0.size()), (0, 0), "an empty file of 1970");
}

fn s56_a_directory_made_anew_hides_each_old_name() {
    let room = busybox();
    let mut anew = last(&room, "RUN rm -r /d && mkdir /d && touch /d/new /d/old");
    anew.sort();
    assert_eq!(anew, ["d", "d/.wh.other", "d/new", "d/old"]);
    built(&room, "RUN rm -r /d && mkdir /d && touch /d/new\nRUN test \"$(ls /d)\" = new");
}

fn s56_markers_are_never_files_of_the_root() {
    let room = busybox();
    let removing = "RUN rm /d/old && rm -r /bin/ash";
    built(&room, &format!("{removing}\nRUN test -z \"$(find / -xdev -name '.wh.*')\""));
    let copied = last(&room, &format!("{removing}\nFROM scratch\nCOPY --from=0 /d /e"));
    assert_eq!(copied, ["e", "e/other"], "a stage's deletions are not copied");
}

fn s56_files_and_directories_replace_each_other() {
    let room = busybox();
    built(
        &room,
        "RUN rm /f && mkdir /f && touch /f/in\nRUN test -f /f/in && rm -r /f && touch /f\nRUN test -f /f",
    );
    built(&room, "RUN rm -r /d && touch /d\nRUN test -f /d && rm /d && mkdir /d\nRUN test -z \"$(ls /d)\"");
    // An ADD can do it too: a file in the place of a directory, and a directory again.
    let tar = |path: &str| {
        let mut tar = Writer::new(Vec::new());
        let entry = Entry::new(path, Kind::File { size: 0 }, 0o644);
        tar.append(&entry, &mut std::io::empty()).unwrap();
        tar.finish().unwrap()
    };
    built(room.file("1.tar", tar("d")), "ADD 1.tar /\nRUN test -f /d");
    let mut directory = Writer::new(Vec::new());
    directory.append(&Entry::new("d", Kind::Directory, 0o755), &mut std::io::empty()).unwrap();
    room.file("2.tar", directory.finish().unwrap()).file("3.tar", tar("d/new"));
    built(&room, "ADD 1.tar 2.tar 3.tar /\nRUN test \"$(ls /d)\" = new");
}

fn s56_a_file_of_a_markers_name_is_refused() {
    let room = busybox();
    room.file("Dockerfile", "FROM localhost/base\nRUN touch /d/.wh.x\n");
    let error = causes(&room.run(&room.request("localhost/x")).0.unwrap_err());
    assert!(error.contains(".wh.x"), "{error}");
}

fn s57_only_what_changed_is_in_the_layer() {
    let room = busybox();
    assert_eq!(last(&room, "RUN touch /d/new"), ["d", "d/new"], "and the directories that lead to it");
    assert_eq!(last(&room, "RUN chmod 700 /d"), ["d"]);
    assert_eq!(last(&room, "RUN chown 7 /d/old"), ["d", "d/old"]);
    for nothing in ["touch -d @0 /d", "chmod 644 /f", "mv /f /g && mv /g /f", "touch /d/x && rm /d/x"] {
        assert_eq!(last(&room, &format!("RUN {nothing}")), [""; 0], "{nothing}");
    }
    assert_eq!(last(&room, "RUN echo more >> /f"), ["f"]);
}

fn s61_a_run_that_changes_nothing_has_an_empty_layer() {
    let room = busybox();
    let image = built(&room, "RUN true");
    assert_eq!(image.layers.len(), 2);
    let mut tar = Vec::new();
    let mut reader = image.layers[1].open_tar(&*room.store).unwrap();
    std::io::Read::read_to_end(&mut reader, &mut tar).unwrap();
    assert_eq!(tar, [0; 1024]);
    assert_eq!(image.config.history_layers(), Some(2));
}
