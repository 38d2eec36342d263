//! Docker's daemon takes what is written for it, and what it saves is read here.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use oxbox_testdata::image::{Blobs, Family, Layer};
use serde_json::Value;

use crate::place::Place;

/// A daemon of its own, which ends with the test.
struct Daemon<'a> {
    place: &'a Place,
    child: Child,
}

impl<'a> Daemon<'a> {
    fn start(place: &'a Place) -> Self {
        let arguments = "--iptables=false --ip6tables=false --bridge=none --storage-driver vfs \
             --data-root {}/data --exec-root {}/exec -p {}/pid -H unix://{}/sock";
        let mut command = Command::new("dockerd");
        command.args(arguments.split_whitespace().map(|word| place.spell(word)));
        let mut child = command.stderr(Stdio::piped()).spawn().expect("dockerd is installed");
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = log.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("API listen on")), "dockerd did not start");
        // It must find somebody who reads its log.
        std::thread::spawn(move || lines.count());
        Self { place, child }
    }

    fn run(&self, line: &str) -> String {
        let mut command = Command::new("docker");
        command.args(["-H", &self.place.spell("unix://{}/sock")]);
        command.args(line.split(' ').map(|word| self.place.spell(word)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // Politely, so that it ends its containerd too.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn docker_loads_what_is_written_and_its_archives_are_read() {
    let place = Place::new();
    let mut blobs = Blobs::default();
    // The same layer twice: Docker saves the second as a link to the first.
    let layers = [1, 2, 1].map(|seed| Layer::of_file(seed, 50_000));
    let image = blobs.image(Family::Oci, "amd64", &layers);
    blobs.write_layout(&place.join("layout"), &[(None, image.clone())]);
    place.copy("oci:{}/layout", "docker-archive:{}/x.tar:example.org/x:v1").await.unwrap();

    let daemon = Daemon::start(&place);
    assert!(daemon.run("load -i {}/x.tar").contains("example.org/x:v1"));
    let inspected: Value = serde_json::from_str(&daemon.run("image inspect example.org/x:v1")).unwrap();
    let manifest: Value = serde_json::from_slice(&blobs.0[image["digest"].as_str().unwrap()]).unwrap();
    // Its image id is the digest of the config: not a byte of that has changed.
    assert_eq!(inspected[0]["Id"], manifest["config"]["digest"]);

    daemon.run("save -o {}/saved.tar example.org/x:v1");
    place.copy("docker-archive:{}/saved.tar:example.org/x:v1", "oci:{}/again:v1").await.unwrap();
    place.copy("oci:{}/again:v1", "docker-archive:{}/again.tar:example.org/again:v1").await.unwrap();
    daemon.run("load -i {}/again.tar");
    let again: Value = serde_json::from_str(&daemon.run("image inspect example.org/again:v1")).unwrap();
    assert_eq!(again[0]["Id"], inspected[0]["Id"]);
    assert!(fs::metadata(place.join("saved.tar")).unwrap().len() > 100_000);
}
