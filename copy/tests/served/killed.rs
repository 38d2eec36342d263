//! A registry that is killed at any moment keeps what it has said it keeps.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use oxbox_copy::client::{ClientError, Repository};
use oxbox_layers::oci::Digest;
use oxbox_layers::oci::graph::successors;
use oxbox_registry::{ServeConfig, Server};
use tokio::task::JoinSet;

use crate::setting::{CONFIG, client, content, image, push_blob, repository, tag};

const ROOT: &str = "OXBOX_TEST_KILLED_ROOT";

/// Not a test: what the test below runs as another process.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "serves until it is killed"]
async fn serves_until_killed() {
    let root = std::env::var_os(ROOT).unwrap();
    let server = Server::bind(ServeConfig::new(root, "127.0.0.1:0".parse().unwrap())).await.unwrap();
    println!("listening on {}", server.local_addr());
    server.run(std::future::pending()).await;
}

struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(root: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::serves_until_killed", "--ignored", "--nocapture"])
            .env(ROOT, root)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let told =
            |line: String| line.split_once("listening on ").map(|(_, address)| address.parse().unwrap());
        let address = lines.find_map(told).expect("the registry listens");
        // It must find somebody who reads what it prints.
        std::thread::spawn(move || lines.count());
        Self { child, address }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL: nothing of it is orderly.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Pushes images until the registry is gone, and notes what was answered.
async fn push(repository: Repository, pusher: u64, kept: Arc<Mutex<Vec<(String, Digest)>>>) {
    for number in 0.. {
        let layers = [content(number % 3, 70_000), content(pusher * 100_000 + number, 5000)];
        let pushed = async {
            for bytes in layers.iter().chain(&[Bytes::from_static(CONFIG)]) {
                push_blob(&repository, bytes).await?;
            }
            let (image, name) = (image(&layers), format!("v{pusher}-{number}"));
            repository.put_manifest(&image, &tag(&name)).await?;
            Ok::<_, ClientError>((name, image.digest()))
        };
        match pushed.await {
            Ok(done) => kept.lock().unwrap().push(done),
            Err(_) => return,
        }
    }
}

async fn assert_whole(repository: &Repository, name: &str) -> Digest {
    let fetched = repository.fetch_manifest(&tag(name)).await.unwrap();
    let document = fetched.unwrap_or_else(|| panic!("{name} is not there")).document().unwrap();
    for (_, named) in successors(&document) {
        let download = repository.open_blob(named).await.unwrap().expect("what a manifest names is there");
        download.verified().try_for_each(|_| async { Ok(()) }).await.unwrap();
    }
    document.digest()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let kept = Arc::new(Mutex::new(Vec::new()));
    for round in 1..=3 {
        let process = Process::start(directory.path());
        let mut pushers = JoinSet::new();
        for pusher in 0..6 {
            let repository = repository(&client(), process.address, "app");
            pushers.spawn(push(repository, round * 10 + pusher, Arc::clone(&kept)));
        }
        while kept.lock().unwrap().len() < 40 * round as usize {
            tokio::task::yield_now().await;
        }
        drop(process);
        pushers.join_all().await;
    }
    let process = Process::start(directory.path());
    let repository = repository(&client(), process.address, "app");
    let kept = kept.lock().unwrap().clone();
    for (name, digest) in &kept {
        assert_eq!(assert_whole(&repository, name).await, *digest);
    }
    // And what was not answered is there whole or not at all.
    for name in repository.tags().await.unwrap().unwrap() {
        assert_whole(&repository, &name).await;
    }
}
