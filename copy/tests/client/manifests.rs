use oxbox_copy::client::{ClientError, TagOrDigest, Trouble};
use oxbox_copy::endpoint::registry::{RegistryDestination, RegistrySource};
use oxbox_copy::endpoint::{Destination as _, EndpointError, Source as _};
use oxbox_layers::oci::{Descriptor, Digest, Document, Index, Manifest, MediaType, Raw};

use crate::scripted::{Reply, Scripted};
use crate::setting::{client, pulling, pushing, reference};

/// Bytes as nobody would print them, to see that nobody did.
const MANIFEST: &str = concat!(
    "{ \"schemaVersion\":2,\n\"x\":1, \"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",",
    "\"digest\":\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"size\":2},",
    "\"layers\":[]}\n"
);

fn tag() -> TagOrDigest {
    TagOrDigest::Tag("v1".to_owned())
}

fn digest() -> Digest {
    Digest::sha256(MANIFEST.as_bytes())
}

fn manifest() -> Reply {
    Reply::new(200)
        .header("content-type", format!("{}; charset=utf-8", MediaType::OCI_MANIFEST))
        .body(MANIFEST)
}

#[tokio::test]
async fn a_manifest_comes_byte_for_byte_with_its_own_digest() {
    let registry = Scripted::start(|_| manifest()).await;
    let fetched = pulling(&client(), &registry.domain()).fetch_manifest(&tag()).await.unwrap().unwrap();
    assert_eq!((fetched.bytes.as_ref(), fetched.digest), (MANIFEST.as_bytes(), digest()));
    assert_eq!(fetched.label, Some(MediaType::OCI_MANIFEST.into()));
    let accept = registry.last().header("accept").to_owned();
    for media_type in
        [MediaType::OCI_MANIFEST, MediaType::OCI_INDEX, MediaType::DOCKER_MANIFEST, MediaType::DOCKER_LIST]
    {
        assert!(accept.contains(media_type), "{media_type}");
    }
    assert!(!accept.contains("v1+prettyjws"));
}

#[tokio::test]
async fn other_bytes_than_the_digest_names_are_refused() {
    let registry = Scripted::start(|_| manifest()).await;
    let name = TagOrDigest::Digest(Digest::sha256(b"else"));
    let result = pulling(&client(), &registry.domain()).fetch_manifest(&name).await;
    assert!(matches!(result, Err(ClientError::WrongDigest { .. })));
}

#[tokio::test]
async fn a_registry_that_lies_about_a_tags_digest_is_refused() {
    let lie = Digest::sha256(b"lie").to_string();
    let registry = Scripted::start(move |_| manifest().header("docker-content-digest", &lie)).await;
    let result = pulling(&client(), &registry.domain()).fetch_manifest(&tag()).await;
    assert!(matches!(result, Err(ClientError::WrongDigest { .. })));
}

#[tokio::test]
async fn a_manifest_larger_than_any_is_not_read() {
    let registry = Scripted::start(|_| Reply::new(200).body(vec![b' '; 4 * 1024 * 1024 + 1])).await;
    let error = pulling(&client(), &registry.domain()).fetch_manifest(&tag()).await.unwrap_err();
    assert!(error.to_string().ends_with("is larger than 4194304 bytes"), "{error}");
}

#[tokio::test]
async fn a_manifest_that_breaks_off_is_asked_for_again() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let registry = Scripted::start(move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => manifest(),
        1 | 2 => manifest().cut_half(),
        _ => manifest(),
    })
    .await;
    let fetched = pulling(&client(), &registry.domain()).fetch_manifest(&tag()).await.unwrap().unwrap();
    assert_eq!((fetched.bytes.as_ref(), registry.seen().len()), (MANIFEST.as_bytes(), 3));
}

#[tokio::test]
async fn a_web_page_is_no_manifest() {
    let page = || Reply::new(200).header("content-type", "text/html").body("<html>log in</html>");
    let registry = Scripted::start(move |_| page()).await;
    let error = pulling(&client(), &registry.domain()).resolve(&tag()).await.unwrap_err();
    assert!(matches!(error, ClientError::NotARegistry { .. }), "{error}");
}

#[tokio::test]
async fn a_head_is_enough_to_resolve() {
    let registry =
        Scripted::start(|_| manifest().header("docker-content-digest", digest().to_string())).await;
    let descriptor = pulling(&client(), &registry.domain()).resolve(&tag()).await.unwrap().unwrap();
    let expected = Descriptor::new(MediaType::OCI_MANIFEST, digest(), MANIFEST.len() as u64);
    assert_eq!(descriptor, expected);
    assert_eq!(registry.lines(), ["HEAD /v2/team/app/manifests/v1"]);
}

#[tokio::test]
async fn a_registry_that_cannot_head_is_asked_by_get() {
    let registry = Scripted::start(|seen| match seen.method.as_str() {
        "HEAD" => Reply::new(405),
        _ => manifest(),
    })
    .await;
    let descriptor = pulling(&client(), &registry.domain()).resolve(&tag()).await.unwrap().unwrap();
    assert_eq!(descriptor.digest, digest());
}

#[tokio::test]
async fn a_missing_manifest_is_none() {
    let registry = Scripted::start(|_| Reply::error(404, "MANIFEST_UNKNOWN", "?")).await;
    assert_eq!(pulling(&client(), &registry.domain()).resolve(&tag()).await.unwrap(), None);
    let source = RegistrySource::new(&client(), &reference(&registry.domain(), "team/app:v1"));
    assert!(matches!(source.resolve().await, Err(EndpointError::Absent { .. })));
}

#[tokio::test]
async fn a_tag_is_resolved_once() {
    let registry =
        Scripted::start(|_| manifest().header("docker-content-digest", digest().to_string())).await;
    let source = RegistrySource::new(&client(), &reference(&registry.domain(), "team/app:v1"));
    assert_eq!(source.resolve().await.unwrap(), source.resolve().await.unwrap());
    assert_eq!(registry.seen().len(), 1);
}

#[tokio::test]
async fn a_refused_manifest_quotes_the_registry() {
    let registry = Scripted::start(|seen| match seen.method.as_str() {
        "PUT" => Reply::error(400, "MANIFEST_INVALID", "no layers"),
        _ => Reply::new(200),
    })
    .await;
    let document = Document::parse(MANIFEST, None).unwrap();
    let error = pushing(&client(), &registry.domain()).put_manifest(&document, &tag()).await.unwrap_err();
    let url = registry.url("/v2/team/app/manifests/v1");
    assert_eq!(
        error.to_string(),
        format!("PUT {url} was refused with 400 Bad Request: MANIFEST_INVALID \"no layers\"")
    );
    assert_eq!(error.trouble(), Trouble::Failed);
}

#[tokio::test]
async fn children_are_pushed_by_digest_and_the_root_by_its_tag() {
    let registry = Scripted::start(|_| Reply::new(201)).await;
    let destination = RegistryDestination::new(&client(), &reference(&registry.domain(), "team/app:v1"));
    let child = Document::parse(MANIFEST, None).unwrap();
    let root = Document::Index(Raw::write(Index::of(vec![child.descriptor()]), MediaType::OCI_INDEX));
    destination.push_document(&child).await.unwrap();
    destination.publish(&root).await.unwrap();
    let lines =
        [format!("PUT /v2/team/app/manifests/{}", digest()), "PUT /v2/team/app/manifests/v1".to_owned()];
    assert_eq!(registry.lines(), lines);
    assert_eq!(registry.last().header("content-type"), MediaType::OCI_INDEX);
    assert_eq!(registry.seen()[0].body, MANIFEST);
}

#[tokio::test]
async fn a_root_is_not_published_under_another_digest() {
    let registry = Scripted::start(|_| Reply::new(201)).await;
    let name = format!("team/app:v1@{}", Digest::sha256(b"else"));
    let destination = RegistryDestination::new(&client(), &reference(&registry.domain(), &name));
    let root = Document::parse(MANIFEST, None).unwrap();
    assert!(matches!(destination.publish(&root).await, Err(EndpointError::Unsupported { .. })));
    assert!(registry.seen().is_empty());
}

fn signature(subject: &Descriptor) -> Document {
    let mut manifest = Manifest::of_image(Descriptor::of(MediaType::OCI_EMPTY, b"{}"), Vec::new());
    manifest.artifact_type = Some("application/vnd.example.signature".to_owned());
    manifest.subject = Some(subject.clone());
    Document::Manifest(Raw::write(manifest, MediaType::OCI_MANIFEST))
}

#[tokio::test]
async fn a_registry_that_links_subjects_is_left_to_it() {
    let registry = Scripted::start(|_| Reply::new(201).header("oci-subject", digest().to_string())).await;
    let destination = RegistryDestination::new(&client(), &reference(&registry.domain(), "team/app:v1"));
    let subject = Document::parse(MANIFEST, None).unwrap().descriptor();
    destination.push_document(&signature(&subject)).await.unwrap();
    assert_eq!(registry.seen().len(), 1);
}

#[tokio::test]
async fn a_registry_without_referrers_gets_a_list_under_a_tag() {
    let stored = std::sync::Mutex::new(None);
    let fallback = format!("/v2/team/app/manifests/sha256-{}", digest().hex());
    let path = fallback.clone();
    let registry = Scripted::start(move |seen| match (seen.method.as_str(), seen.path == path) {
        ("PUT", true) => {
            *stored.lock().unwrap() = Some(seen.body.clone());
            Reply::new(201)
        }
        ("GET", true) => match stored.lock().unwrap().clone() {
            None => Reply::error(404, "MANIFEST_UNKNOWN", "?"),
            Some(body) => Reply::new(200).header("content-type", MediaType::OCI_INDEX).body(body),
        },
        ("PUT", false) => Reply::new(201),
        _ => Reply::new(404),
    })
    .await;
    let destination = RegistryDestination::new(&client(), &reference(&registry.domain(), "team/app:v1"));
    let subject = Document::parse(MANIFEST, None).unwrap().descriptor();
    let signature = signature(&subject);
    destination.push_document(&signature).await.unwrap();
    destination.push_document(&signature).await.unwrap();
    let referrers = pulling(&client(), &registry.domain()).referrers(&digest()).await.unwrap();
    assert_eq!(referrers.len(), 1);
    assert_eq!(referrers[0].digest, signature.digest());
    assert_eq!(referrers[0].artifact_type.as_deref(), Some("application/vnd.example.signature"));
}

#[tokio::test]
async fn a_list_that_others_change_is_read_and_written_again() {
    let puts = std::sync::atomic::AtomicUsize::new(0);
    let index = || serde_json::to_vec(&Index::of(Vec::new())).unwrap();
    let registry = Scripted::start(move |seen| match seen.method.as_str() {
        "GET" => {
            Reply::new(200).header("content-type", MediaType::OCI_INDEX).header("etag", "\"1\"").body(index())
        }
        _ if !seen.path.contains("manifests/sha256-") => Reply::new(201),
        _ if puts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 => Reply::new(412),
        _ => Reply::new(201),
    })
    .await;
    let subject = Document::parse(MANIFEST, None).unwrap().descriptor();
    let repository = pushing(&client(), &registry.domain());
    repository.link_to_subject(&signature(&subject)).await.unwrap();
    assert_eq!(registry.seen().iter().filter(|seen| seen.method == "PUT").count(), 2);
    assert!(
        registry
            .seen()
            .iter()
            .filter(|seen| seen.method == "PUT")
            .all(|seen| seen.header("if-match") == "\"1\"")
    );
}
