//! The builders that are compared, each from the same folder: `base.tar` below, `context` to copy from.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use oxbox_builder::build::Times;
use oxbox_builder::exec::Interrupt;
use oxbox_builder::export::form::Form;
use oxbox_builder::lent::{Agents, Secrets};
use oxbox_builder::plan::Options;
use oxbox_builder::progress::{Event, Progress};
use oxbox_builder::solve::Reuse;
use oxbox_builder::{DEFAULT_EPOCH, Fetch, FetchError, Origin, Request, build};
use oxbox_layers::compress::Compression;
use oxbox_layers::image::Image;
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{Config, Descriptor, MediaType, Platform, Raw, Reference, RootFs};
use oxbox_layers::stack::{Contents, LayerIndex, Stack};
use oxbox_layers::store::{BlobStore, Layout};
use oxbox_layers::validate::validate;

use crate::tree::{self, Tree};

/// The name of the base everywhere.
pub(crate) const BASE: &str = "localhost/base:1";

/// What a build came to.
pub(crate) enum Outcome {
    /// The filesystem.
    Built(Tree),
    /// What was said instead.
    Failed(String),
}

/// The stores of all builders, with the same base in each.
pub(crate) struct Base {
    folder: PathBuf,
    store: Arc<Layout>,
}

impl Base {
    /// Makes the base and gives it to Buildah; to Docker when it is first asked.
    pub(crate) fn make(folder: &Path) -> Self {
        let root = folder.join("base");
        make_base(&root);
        let tar = folder.join("base.tar");
        ran(Command::new("tar").args(["--numeric-owner", "-C"]).arg(&root).arg("-cf").arg(&tar).arg("."));
        let store = Arc::new(Layout::create(folder.join("state/store")).unwrap());
        let descriptor = image_of(&*store, &tar);
        store.update(|entries| entries.tag(BASE, &descriptor)).unwrap();
        let base = Self { folder: folder.to_owned(), store };
        let file = folder.join("Basefile");
        fs::write(&file, "FROM scratch\nADD base.tar /\n").unwrap();
        ran(base.buildah("build").args(["-q", "-t", BASE, "-f"]).arg(file).arg(folder));
        base
    }

    pub(crate) fn build_here(&self, room: &Path) -> Outcome {
        let request = Request {
            surroundings: Default::default(),
            state: self.folder.join("state"),
            store: Arc::clone(&self.store),
            context: room.join("context"),
            contexts: BTreeMap::new(),
            dockerfile: Some(room.join("Dockerfile")),
            ignore: None,
            origin: Origin::default(),
            options: Options::default(),
            names: Vec::new(),
            forms: vec![Form::plain(Compression::None)],
            files: Vec::new(),
            secrets: Secrets::default(),
            agents: Agents::default(),
            times: Times::Cut(DEFAULT_EPOCH),
            reuse: Reuse::Allowed,
            caches: oxbox_builder::depot::Caches::default(),
            jobs: NonZero::new(2).unwrap(),
        };
        let fetch: Arc<dyn Fetch> = Arc::new(Local(Arc::clone(&self.store)));
        let built = match build(&request, &fetch, &Silent, &Interrupt::new()) {
            Ok(mut built) => built.remove(0),
            Err(error) => return Outcome::Failed(causes(&error)),
        };
        let faults = validate(&*self.store, &built.manifest).faults;
        assert!(faults.is_empty(), "{faults:?}");
        Outcome::Built(self.flattened(&Image::load(&*self.store, &built.manifest).unwrap()))
    }

    pub(crate) fn build_with_buildah(&self, room: &Path) -> Outcome {
        let tar = room.join("out.tar");
        let mut command = self.buildah("build");
        command.args(["-q", "--isolation", "chroot", "--layers=false", "-f"]).arg(room.join("Dockerfile"));
        command.arg("--output").arg(format!("type=tar,dest={}", tar.display())).arg(room.join("context"));
        outcome(&command.output().expect("buildah is installed"), &tar)
    }

    pub(crate) fn build_with_docker(&self, room: &Path, socket: &str) -> Outcome {
        let docker = || {
            let mut command = Command::new("/usr/bin/docker");
            command.args(["-H", socket]).env("DOCKER_BUILDKIT", "1");
            command
        };
        let has_base = docker().args(["image", "inspect", BASE]).output().unwrap();
        if !has_base.status.success() {
            ran(docker().arg("import").arg(self.folder.join("base.tar")).arg(BASE));
        }
        let tar = room.join("out.tar");
        let mut command = docker();
        command.args(["build", "-q", "-f"]).arg(room.join("Dockerfile")).arg("--output");
        command.arg(format!("type=tar,dest={}", tar.display())).arg(room.join("context"));
        outcome(&command.output().unwrap(), &tar)
    }

    fn buildah(&self, verb: &str) -> Command {
        let mut command = Command::new("buildah");
        let (root, run) = (self.folder.join("buildah/root"), self.folder.join("buildah/run"));
        command.args(["--storage-driver", "vfs", "--root"]).arg(root).arg("--runroot").arg(run).arg(verb);
        command
    }

    fn flattened(&self, image: &Image) -> Tree {
        let store = &*self.store;
        let indexes = image.layers.iter().map(|layer| LayerIndex::of_layer(layer, store).unwrap().into());
        let stack = Stack::of(indexes.collect()).unwrap();
        let wanted = stack.walk(b"").filter_map(|found| found.content);
        let mut contents = Contents::gather(store, &image.layers, wanted, &self.folder).unwrap();
        let mut tree = Tree::new();
        for found in stack.walk(b"").filter(|found| !found.entry.path.is_empty()) {
            let mut bytes = Vec::new();
            if let Some(content) = &found.content {
                std::io::Read::read_to_end(&mut contents.open(content).unwrap(), &mut bytes).unwrap();
            }
            tree.insert(tree::text(&found.entry.path), tree::line(&found.entry, &bytes));
        }
        tree
    }
}

/// A root with all that a destination can meet.
fn make_base(root: &Path) {
    let script = "
        mkdir -p etc d/sub usr/lib x/y/z sticky own/e
        printf 'root:x:0:0:root:/root:/bin/sh\\napp:x:1000:1001::/:/bin/sh\\n' > etc/passwd
        printf 'root:x:0:\\nstaff:x:50:app\\n' > etc/group
        for file in d/file d/sub/file file usr/lib/a own/e/f; do echo base > $file; done
        ln -s sub d/ln; ln -s file d/lf; ln -s d/sub lnk; ln -s /d abs; ln -s nowhere dang; ln -s loop loop
        ln -s ../../d up; ln -s d/file lfile; ln -s usr/lib lib; ln -s /x/new dangdir
        chmod 1777 sticky; chown 7:8 sticky; chmod 700 d/sub; chown 5:6 d/sub; chmod 640 file
        chown 3:4 file; chown -R 55:66 own; chmod 2751 own/e";
    fs::create_dir_all(root).unwrap();
    ran(Command::new("sh").arg("-euc").arg(script).current_dir(root));
}

fn image_of(store: &dyn BlobStore, tar: &Path) -> Descriptor {
    let mut file = fs::File::open(tar).unwrap();
    let layer = Layer::of_tar(store, &mut file, Compression::None, 1).unwrap();
    let rootfs = RootFs { diff_ids: vec![layer.diff_id], ..RootFs::default() };
    let config = Config { rootfs, ..Config::scratch(&Platform::host()) };
    let config = Raw::write(config, MediaType::OCI_CONFIG);
    Image::assemble(config, vec![layer], BTreeMap::new()).unwrap().write(store).unwrap()
}

fn outcome(output: &Output, tar: &Path) -> Outcome {
    if !output.status.success() {
        return Outcome::Failed(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Outcome::Built(tree::of_tar(std::io::BufReader::new(fs::File::open(tar).unwrap())))
}

pub(crate) fn ran(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", causes(cause)),
        None => error.to_string(),
    }
}

struct Local(Arc<Layout>);

impl Fetch for Local {
    fn base(&self, reference: &Reference, _platform: &Platform) -> Result<Descriptor, FetchError> {
        Ok(self.0.resolve(&reference.to_string()).unwrap().expect("the base was made"))
    }

    fn layer(&self, layer: &Descriptor) -> Result<(), FetchError> {
        Err(FetchError::Layer { digest: layer.digest, source: "every image here is whole".into() })
    }
}

struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event<'_>) {}
}
