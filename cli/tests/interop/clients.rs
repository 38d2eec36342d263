//! Four clients, each pulling from one `oxbox serve` and pushing to another, which is empty: nothing can be
//! mounted there, so that every blob is really uploaded.
//!
//! Docker and Podman keep layers unpacked and compress them anew, so that their manifests may differ:
//! for them, the config is compared, which holds the diff_id of every layer.

use crate::daemon::Daemon;
use crate::peer::Peer;
use crate::support::Oxbox;
use crate::support::image::Picture;
use crate::support::server::Server;

/// Serves an image as `app:1`.
fn serve(oxbox: &Oxbox) -> Server {
    let picture = Picture::of("etc/motd", b"hello\n").layer("etc/issue", b"welcome\n");
    oxbox.put("docker.io/library/app:1", &picture);
    let server = oxbox.serve();
    oxbox.ok(["copy", "app:1", &server.at("app:1")]);
    server
}

#[track_caller]
fn assert_same(oxbox: &Oxbox, form: &str, pulled: &str, pushed: &str) {
    let inspect = |image| oxbox.ok(["inspect", form, image]);
    assert_eq!(inspect(pulled), inspect(pushed));
}

#[test]
fn skopeo_pulls_and_pushes() {
    let oxbox = Oxbox::new();
    let server = serve(&oxbox);
    let other = Oxbox::new();
    let empty = other.serve();
    let skopeo = Peer::new(&oxbox, "skopeo", &["--insecure-policy"]);
    skopeo.ok(["copy", "--src-tls-verify=false", &server.at("app:1"), "oci:pulled:app"]);
    skopeo.ok(["copy", "--dest-tls-verify=false", "oci:pulled:app", &empty.at("pushed:1")]);
    assert_same(&oxbox, "--raw", &server.at("app:1"), &empty.at("pushed:1"));
    let tags = skopeo.ok(["list-tags", "--tls-verify=false", &empty.at("pushed")]);
    assert!(tags.contains("\"1\""), "{tags}");
    skopeo.ok(["delete", "--tls-verify=false", &empty.at("pushed:1")]);
    assert_eq!(oxbox.ok(["tags", &empty.at("pushed")]), "");
}

#[test]
fn podman_pulls_and_pushes() {
    let oxbox = Oxbox::new();
    let server = serve(&oxbox);
    let other = Oxbox::new();
    let empty = other.serve();
    let podman = Peer::with_storage(&oxbox, "podman");
    podman.ok(["pull", "--tls-verify=false", &server.name("app:1")]);
    podman.ok(["push", "--tls-verify=false", &server.name("app:1"), &empty.name("pushed:1")]);
    assert_same(&oxbox, "--config", &server.at("app:1"), &empty.at("pushed:1"));
}

#[test]
fn docker_pulls_and_pushes() {
    let oxbox = Oxbox::new();
    let server = serve(&oxbox);
    let other = Oxbox::new();
    let empty = other.serve();
    let daemon = Daemon::docker(&oxbox);
    let host = format!("unix://{}", daemon.socket.display());
    let docker = Peer::new(&oxbox, "docker", &["--host", &host]);
    docker.ok(["pull", &server.name("app:1")]);
    docker.ok(["tag", &server.name("app:1"), &empty.name("pushed:1")]);
    docker.ok(["push", &empty.name("pushed:1")]);
    assert_same(&oxbox, "--config", &server.at("app:1"), &empty.at("pushed:1"));
}

#[test]
fn containerds_ctr_pulls_and_pushes() {
    let oxbox = Oxbox::new();
    let server = serve(&oxbox);
    let other = Oxbox::new();
    let empty = other.serve();
    let daemon = Daemon::containerd(&oxbox);
    let ctr = Peer::new(&oxbox, "ctr", &["--address", daemon.socket.to_str().unwrap()]);
    ctr.ok(["images", "pull", "--plain-http", "--snapshotter", "native", &server.name("app:1")]);
    ctr.ok(["images", "push", "--plain-http", &empty.name("pushed:1"), &server.name("app:1")]);
    assert_same(&oxbox, "--raw", &server.at("app:1"), &empty.at("pushed:1"));
}
