//! A client that is not ours.

use oci_client::client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{IMAGE_LAYER_GZIP_MEDIA_TYPE, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};

use crate::connections::serve;

fn client() -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::new(ClientConfig { protocol: ClientProtocol::Http, ..Default::default() })
}

fn layers() -> Vec<ImageLayer> {
    let content: Vec<u8> = (0..2_000_000_u32).map(|n| (n * 13) as u8).collect();
    let layer = |data: Vec<u8>| ImageLayer::new(data, IMAGE_LAYER_GZIP_MEDIA_TYPE.to_owned(), None);
    vec![layer(content), layer(b"small".to_vec())]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_in_and_out() {
    let root = tempfile::tempdir().unwrap();
    let server = serve(root.path()).await;
    let client = client();
    let image: Reference = format!("{}/team/app:v1", server.address).parse().unwrap();
    let auth = RegistryAuth::Anonymous;
    let config = Config::oci_v1(b"{\"os\":\"linux\"}".to_vec(), None);
    client.push(&image, &layers(), config, &auth, None).await.unwrap();
    let pulled = client.pull(&image, &auth, vec![IMAGE_LAYER_GZIP_MEDIA_TYPE]).await.unwrap();
    let mut data: Vec<_> = pulled.layers.iter().map(|layer| layer.data.to_vec()).collect();
    data.sort_by_key(Vec::len);
    assert!(data == [layers()[1].data.to_vec(), layers()[0].data.to_vec()]);
    assert_eq!(&pulled.config.data[..], b"{\"os\":\"linux\"}");
    let tags = client.list_tags(&image, &auth, None, None).await.unwrap();
    assert_eq!(tags.tags, ["v1"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_and_mounts_work() {
    let root = tempfile::tempdir().unwrap();
    let server = serve(root.path()).await;
    let client = client();
    let image: Reference = format!("{}/team/app:v1", server.address).parse().unwrap();
    let auth = RegistryAuth::Anonymous;
    let config = Config::oci_v1(b"{}".to_vec(), None);
    client.push(&image, &layers(), config, &auth, None).await.unwrap();
    let digest = client.fetch_manifest_digest(&image, &auth).await.unwrap();
    let (mut referrer, _) = client.pull_image_manifest(&image, &auth).await.unwrap();
    let text = serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1});
    referrer.subject = Some(serde_json::from_value(text).unwrap());
    referrer.artifact_type = Some("application/vnd.example".to_owned());
    push_manifest(&client, &image, &referrer).await;
    let subject: Reference = format!("{}/team/app@{digest}", server.address).parse().unwrap();
    let found = client.pull_referrers(&subject, Some("application/vnd.example")).await.unwrap();
    assert_eq!(found.manifests.len(), 1);
    let other: Reference = format!("{}/team/other:v1", server.address).parse().unwrap();
    client.auth(&other, &auth, RegistryOperation::Push).await.unwrap();
    client.mount_blob(&other, &image, &referrer.layers[0].digest).await.unwrap();
    server.stop().await;
}

async fn push_manifest(client: &Client, image: &Reference, manifest: &OciImageManifest) {
    let image: Reference = format!("{}/{}:ref", image.registry(), image.repository()).parse().unwrap();
    client.push_manifest(&image, &manifest.clone().into()).await.unwrap();
}
