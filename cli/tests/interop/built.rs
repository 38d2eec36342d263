//! What `oxbox build` makes, in the hands of other tools.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::peer::Peer;
use crate::support::Oxbox;

/// Builds an image that says hello, in two stages, as `app:1`.
fn build(oxbox: &Oxbox) {
    fs::create_dir(oxbox.path("context")).unwrap();
    fs::copy("/bin/busybox", oxbox.path("context/busybox")).expect("busybox-static must be installed");
    let dockerfile = "FROM scratch AS base\nCOPY busybox /bin/busybox\n\
         RUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo hello > /tmp-motd; busybox chmod 600 /tmp-motd\"]\n\
         FROM scratch\nCOPY --from=base /bin/busybox /bin/\nCOPY --from=base /tmp-motd /etc/motd\n\
         WORKDIR /etc\nENTRYPOINT [\"/bin/busybox\", \"cat\"]\nCMD [\"motd\"]\n";
    fs::write(oxbox.path("context/Dockerfile"), dockerfile).unwrap();
    oxbox.ok(["build", "--tag", "app:1", "context"]);
}

#[test]
fn skopeo_makes_a_docker_archive_of_it() {
    let oxbox = Oxbox::new();
    build(&oxbox);
    oxbox.ok(["copy", "app:1", "oci:layout:app"]);
    let skopeo = Peer::new(&oxbox, "skopeo", &["--insecure-policy"]);
    skopeo.ok(["copy", "oci:layout:app", "docker-archive:saved.tar:app:1"]);
    oxbox.ok(["copy", "docker-archive:saved.tar", "saved:1"]);
    // A docker-archive holds plain tars, and the same config: it names the same diff_ids.
    assert_eq!(oxbox.ok(["inspect", "--config", "saved:1"]), oxbox.ok(["inspect", "--config", "app:1"]));
    let inspected = skopeo.ok(["inspect", "oci:layout:app"]);
    assert!(inspected.contains("\"Architecture\""), "{inspected}");
}

#[test]
fn umoci_unpacks_it() {
    let oxbox = Oxbox::new();
    build(&oxbox);
    oxbox.ok(["copy", "app:1", "oci:layout:app"]);
    Peer::new(&oxbox, "umoci", &[]).ok(["unpack", "--image", "layout:app", "bundle"]);
    let motd = oxbox.path("bundle/rootfs/etc/motd");
    assert_eq!(fs::read_to_string(&motd).unwrap(), "hello\n");
    assert_eq!(fs::metadata(&motd).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn podman_loads_and_runs_it() {
    let oxbox = Oxbox::new();
    build(&oxbox);
    let podman = Peer::with_storage(&oxbox, "podman");
    for archive in ["docker-archive", "oci-archive"] {
        let (file, name) = (format!("{archive}.tar"), format!("localhost/{archive}:1"));
        oxbox.ok(["copy", "app:1", &format!("{archive}:{file}:{name}")]);
        podman.ok(["load", "--input", &file]);
        // Debian's crun wants a cgroup hierarchy of one kind, and limits beyond these may be refused.
        let how = ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "--rm", "--network", "none"];
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", &name];
        assert_eq!(podman.ok(how.iter().chain(&limits)), "hello\n");
    }
}
