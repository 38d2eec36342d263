//! Options of RUN in a changed root, where nothing can be mounted and no namespace made.

use std::fs;

use crate::support::ladder::{Place, Rung};
use crate::{build, built};

#[test]
fn what_cannot_be_had_in_a_changed_root_is_refused_before_anything_is_made() {
    let place = Place::of_lines(Rung::Chroot, "COPY motd /\nRUN true\n");
    let shared = format!("{}:/in", place.oxbox.folder().display());
    let over = format!("{shared}:O");
    for (options, said) in [
        (vec!["--network=none"], "keep the network away"),
        (vec!["--network=private"], "make a network of its own"),
        (vec!["--device=/dev/zero"], "give devices"),
        (vec!["--volume", &shared], "share a volume that is written to"),
        (vec!["--volume", &over], "lay a volume below"),
    ] {
        let ran = build(&place, &options);
        ran.fails(
            1,
            &["Dockerfile:3: RUN cannot have what it wants", "isolation chroot cannot", said, "hint: "],
        );
        assert!(!ran.stderr.contains("COPY"), "{options:?}: {}", ran.stderr);
    }
    for (line, options, said) in [
        ("RUN --network=none true", vec![], "keep the network away"),
        ("RUN --security=insecure true", vec!["--allow=security.insecure"], "do more than the container may"),
    ] {
        place.oxbox.dockerfile(&format!("FROM localhost/busybox\nCOPY motd /\n{line}\n"));
        let ran = build(&place, &options);
        ran.fails(1, &["isolation chroot cannot", said]);
        assert!(!ran.stderr.contains("COPY"), "{line}: {}", ran.stderr);
    }
    let ran = build(&place, &["--runtime=runc"]);
    ran.fails(1, &["runtime"]);
}

#[test]
fn what_can_be_had_in_a_changed_root_is_there() {
    let place = Place::of_lines(
        Rung::Chroot,
        "RUN touch /mine && chown 1:1 /mine && ulimit -n; cat /etc/hosts /etc/resolv.conf /in/file; \
         echo more > /in/file; ls -d /memory; test ! -e /memory/left && touch /memory/left; id -u\n\
         RUN test ! -e /memory/left && test ! -s /in/file || cat /in/file; ls -l /mine\n",
    );
    fs::create_dir(place.oxbox.path("shared")).unwrap();
    fs::write(place.oxbox.path("shared/file"), "from the host\n").unwrap();
    let volume = format!("{}:/in:ro", place.oxbox.path("shared").display());
    let said = built(
        &place,
        &[
            "--cap-drop=ALL",
            "--cap-add=CHOWN",
            "--ulimit=nofile=55:66",
            "--add-host=there:192.0.2.9",
            "--add-host=here=host-gateway",
            "--dns=192.0.2.53",
            "--dns-search=example.org",
            "--dns-option=ndots:3",
            "--volume",
            &volume,
            "--mount=type=tmpfs,target=/memory",
            "--security-opt=no-new-privileges",
            "--memory=1g",
        ],
    );
    for line in [
        " 55\n",
        "192.0.2.9\tthere",
        "127.0.0.1\there",
        "nameserver 192.0.2.53",
        "search example.org",
        "options ndots:3",
        " from the host\n",
        " /memory\n",
        "--memory, --memory-swap cannot be enforced here",
    ] {
        assert!(said.contains(line), "{line:?} in {said}");
    }
    assert_eq!(said.matches(" from the host\n").count(), 2, "each RUN has a copy of its own: {said}");
    assert_eq!(fs::read_to_string(place.oxbox.path("shared/file")).unwrap(), "from the host\n");
}

#[test]
fn a_capability_that_was_dropped_is_missed_on_every_rung() {
    let lines = "RUN touch /mine && chown 1:1 /mine\n";
    for rung in Rung::ALL {
        let place = Place::of_lines(rung, lines);
        built(&place, &[]);
        if rung == Rung::SingleId {
            // Owners are written down there by somebody else, whatever the command may.
            continue;
        }
        build(&place, &["--cap-drop=CHOWN"]).fails(1, &["Operation not permitted"]);
    }
}

#[test]
fn what_is_lent_to_a_run_in_a_changed_root_is_not_in_the_image() {
    let place = Place::of_lines(
        Rung::Chroot,
        "RUN --mount=type=secret,id=word cat /run/secrets/word > /dev/null && echo kept > /kept\nRUN ls -A / /etc\n",
    );
    let said = built(&place, &["--secret", "id=word,src=word", "--add-host=there:192.0.2.9"]);
    assert!(said.contains(" kept\n") && !said.contains(" run\n"), "{said}");
}
