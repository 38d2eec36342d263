//! Against Debian's docker-registry, with a password, on a port of its own. It must be installed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use oxbox_copy::client::{Access, Client, Repository, TagOrDigest, Trouble};
use oxbox_copy::endpoint::registry::{RegistryDestination, RegistrySource};
use oxbox_copy::endpoint::{BlobStream, Destination as _, Origin, Source as _};
use oxbox_layers::oci::{Algorithm, Descriptor, Document, Manifest, MediaType, Raw};
use tempfile::TempDir;

use crate::setting::{client, client_as, content, layer, pieces, reference, user};

/// `oxbox:secret`; bcrypt is the only form that docker-registry reads.
const HTPASSWD: &str = "oxbox:$2b$04$wBcRZgEb2mp4Vp.si0TSVO933AsnslKcMaijH3YKZ4ourLoIOUKwu\n";

/// A docker-registry that ends with its test.
pub struct Peer {
    pub domain: String,
    process: Child,
    _dir: TempDir,
}

impl Peer {
    pub fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let (root, passwords) = (dir.path().join("data"), dir.path().join("htpasswd"));
        fs::write(&passwords, HTPASSWD).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: info, formatter: text}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  \
             delete: {{enabled: true}}\nhttp: {{addr: '127.0.0.1:0', secret: x}}\nauth:\n  htpasswd: {{realm: r, path: {}}}\n",
            root.display(),
            passwords.display()
        );
        let file = dir.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is installed (apt install docker-registry)");
        let domain = listening_on(&mut process);
        Self { domain, process, _dir: dir }
    }

    fn client(&self) -> Client {
        client_as(&self.domain, user("oxbox:secret"))
    }

    fn repository(&self, path: &str, access: Access) -> Repository {
        self.client().repository(&reference(&self.domain, path), access)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads the log until it names the port, and goes on reading so that the pipe never fills.
fn listening_on(process: &mut Child) -> String {
    let (sender, receiver) = mpsc::channel();
    let log = BufReader::new(process.stderr.take().unwrap());
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("listening on ") {
                let address: String = rest.chars().take_while(|c| !c.is_whitespace() && *c != '"').collect();
                let _ = sender.send(address);
            }
        }
    });
    receiver.recv_timeout(Duration::from_secs(60)).expect("docker-registry says where it listens")
}

/// An image of one layer that compresses to nothing in particular.
fn image() -> (Document, Vec<(Descriptor, Bytes)>) {
    let config = Bytes::from_static(
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
    );
    let small = content(5000);
    let large = content(6_000_000);
    let blobs = vec![
        (Descriptor::of(MediaType::OCI_CONFIG, &config), config),
        (layer(&small), small),
        (layer(&large), large),
    ];
    let layers = blobs[1..].iter().map(|(descriptor, _)| descriptor.clone()).collect();
    let manifest = Manifest::of_image(blobs[0].0.clone(), layers);
    (Document::Manifest(Raw::write(manifest, MediaType::OCI_MANIFEST)), blobs)
}

async fn push(peer: &Peer, name: &str) -> Document {
    let (root, blobs) = image();
    let destination = RegistryDestination::new(&peer.client(), &reference(&peer.domain, name));
    for (descriptor, bytes) in &blobs {
        assert!(!destination.has_blob(descriptor).await.unwrap());
        let content = BlobStream::of_bytes(descriptor, "test:", bytes.clone());
        destination.push_blob(descriptor, content).await.unwrap();
        assert!(destination.has_blob(descriptor).await.unwrap());
    }
    destination.publish(&root).await.unwrap();
    root
}

#[tokio::test]
async fn an_image_comes_back_as_it_went() {
    let peer = Peer::start();
    let root = push(&peer, "team/app:v1").await;
    let source = RegistrySource::new(&peer.client(), &reference(&peer.domain, "team/app:v1"));
    let resolved = source.resolve().await.unwrap();
    assert_eq!(resolved, root.descriptor());
    assert_eq!(source.document(&resolved).await.unwrap(), *root.bytes());
    for (descriptor, bytes) in image().1 {
        let pieces: Vec<Bytes> = source.blob(&descriptor).await.unwrap().try_collect().await.unwrap();
        assert_eq!(pieces.concat(), bytes);
    }
}

#[tokio::test]
async fn skopeo_reads_what_was_pushed() {
    let peer = Peer::start();
    let root = push(&peer, "team/app:v1").await;
    let raw = Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false", "--creds", "oxbox:secret"])
        .arg(format!("docker://{}/team/app:v1", peer.domain))
        .output()
        .expect("skopeo is installed (apt install skopeo)");
    assert!(raw.status.success(), "{}", String::from_utf8_lossy(&raw.stderr));
    assert_eq!(raw.stdout, root.bytes().as_ref());
}

#[tokio::test]
async fn blobs_are_mounted_between_repositories() {
    let peer = Peer::start();
    push(&peer, "team/app:v1").await;
    let destination = RegistryDestination::new(&peer.client(), &reference(&peer.domain, "team/copy:v1"));
    let origin = Origin { registry: peer.domain.clone(), repository: "team/app".to_owned() };
    for (descriptor, _) in image().1 {
        assert!(destination.mount(&descriptor, &origin).await.unwrap());
        assert!(destination.has_blob(&descriptor).await.unwrap());
    }
    assert!(!destination.mount(&layer(b"not there"), &origin).await.unwrap());
}

#[tokio::test]
async fn content_of_unknown_size_is_taken() {
    let peer = Peer::start();
    let repository = peer.repository("team/app", Access::Push);
    let bytes = content(3_000_000);
    let (digest, size) = repository.push_unknown(pieces(&bytes), Algorithm::Sha256).await.unwrap();
    assert_eq!(repository.stat_blob(&digest).await.unwrap(), Some(Some(size)));
}

#[tokio::test]
async fn tags_and_repositories_are_listed_and_images_deleted() {
    let peer = Peer::start();
    let root = push(&peer, "team/app:v1").await;
    let destination = RegistryDestination::new(&peer.client(), &reference(&peer.domain, "team/app:v2"));
    destination.publish(&root).await.unwrap();
    let repository = peer.repository("team/app", Access::Delete);
    assert_eq!(repository.tags().await.unwrap().unwrap(), ["v1", "v2"]);
    let catalog = peer.client().registry(&peer.domain).catalog().await.unwrap();
    assert_eq!(catalog.unwrap(), ["team/app"]);
    assert!(repository.delete_manifest(&TagOrDigest::Digest(root.digest())).await.unwrap());
    let gone = repository.resolve(&TagOrDigest::Tag("v1".to_owned())).await.unwrap();
    assert_eq!(gone, None);
}

#[tokio::test]
async fn referrers_are_kept_under_a_tag() {
    let peer = Peer::start();
    let root = push(&peer, "team/app:v1").await;
    let destination = RegistryDestination::new(&peer.client(), &reference(&peer.domain, "team/app:v1"));
    let mut manifest = Manifest::of_image(image().1[0].0.clone(), Vec::new());
    manifest.artifact_type = Some("application/vnd.example.sbom".to_owned());
    manifest.subject = Some(root.descriptor());
    let sbom = Document::Manifest(Raw::write(manifest, MediaType::OCI_MANIFEST));
    destination.push_document(&sbom).await.unwrap();
    let source = RegistrySource::new(&peer.client(), &reference(&peer.domain, "team/app:v1"));
    let referrers = source.referrers(&root.digest()).await.unwrap();
    assert_eq!(referrers.iter().map(|referrer| referrer.digest).collect::<Vec<_>>(), [sbom.digest()]);
}

#[tokio::test]
async fn a_wrong_password_and_none_are_clear_errors() {
    let peer = Peer::start();
    let wrong = client_as(&peer.domain, user("oxbox:wrong"));
    let error = wrong.registry(&peer.domain).ping().await.unwrap_err();
    assert_eq!(error.trouble(), Trouble::Denied);
    assert!(error.to_string().contains("refuses the credentials from --creds"), "{error}");
    let error = client().registry(&peer.domain).ping().await.unwrap_err();
    assert!(error.to_string().contains("wants credentials and none are known"), "{error}");
}
