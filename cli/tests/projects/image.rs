//! What a build made: beside what is expected of it, under podman, and beside what buildah makes of the same.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::containers::succeeded;
use crate::tree;
use crate::workshop::{Workshop, projects, tag};

/// Few enough for any limit of the machine that tests run on.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

/// An image in the local store.
pub(crate) struct Image<'a> {
    workshop: &'a Workshop,
    name: String,
    tag: String,
}

impl<'a> Image<'a> {
    pub(crate) fn new(workshop: &'a Workshop, name: &str) -> Self {
        Self { workshop, name: name.to_owned(), tag: tag(name) }
    }

    /// The config, whole.
    pub(crate) fn config(&self) -> Value {
        serde_json::from_str(&self.workshop.ok(["inspect", "--config", &self.tag])).unwrap()
    }

    /// Compares config and history with the expected ones. `BLESS=1` writes those.
    #[track_caller]
    pub(crate) fn is_as_expected(&self) -> &Self {
        let config = self.config();
        let history: Vec<Value> = config["history"].as_array().unwrap().iter().map(line).collect();
        let found = json!({
            "platform": [&config["os"], &config["architecture"]],
            "config": &config["config"],
            "history": history,
        });
        let file = projects().join("expected").join(format!("{}.json", self.name));
        let found = serde_json::to_string_pretty(&found).unwrap() + "\n";
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &found).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert!(found == expected, "{} should be\n{expected}but is\n{found}", file.display());
        self
    }

    /// Gives it to podman, layers as they are.
    pub(crate) fn pulled(&self) -> Loaded<'a> {
        let source = format!("oci:{}:{}", self.workshop.store(), self.tag);
        let id = self.workshop.containers.podman(["pull", "--quiet", &source]);
        Loaded { workshop: self.workshop, id: id.trim_end().to_owned() }
    }

    /// Gives it to podman as `docker save` would: what only Docker's config knows comes along.
    pub(crate) fn loaded(&self) -> Loaded<'a> {
        let archive = self.workshop.oxbox.path("saved.tar");
        let target = format!("docker-archive:{}:{}", archive.display(), self.tag);
        self.workshop.ok(["copy", &self.tag, &target]);
        // Not `podman load`: that prefers the layout which such archives hold as well.
        let source = format!("docker-archive:{}", archive.display());
        let id = self.workshop.containers.podman(["pull", "--quiet", &source]);
        fs::remove_file(archive).unwrap();
        Loaded { workshop: self.workshop, id: id.trim_end().to_owned() }
    }
}

fn line(entry: &Value) -> Value {
    let by = entry["created_by"].as_str().unwrap_or_default();
    let empty = entry["empty_layer"].as_bool().unwrap_or_default();
    format!("{} {by}", if empty { "-" } else { "+" }).into()
}

/// An image in podman's storage, until dropped.
pub(crate) struct Loaded<'a> {
    workshop: &'a Workshop,
    id: String,
}

impl Loaded<'_> {
    /// Runs it; returns what it printed.
    #[track_caller]
    pub(crate) fn run(&self, options: &[&str], arguments: &[&str]) -> String {
        let how = ["run", "--rm", "--network", "none"];
        let words = how.iter().chain(&LIMITS).chain(options).copied();
        self.workshop.containers.podman(words.chain([self.id.as_str()]).chain(arguments.iter().copied()))
    }

    /// Runs it in the background.
    #[track_caller]
    pub(crate) fn start(&self, options: &[&str]) -> Container<'_> {
        let how = ["run", "--detach", "--network", "none"];
        let words = how.iter().chain(&LIMITS).chain(options).copied();
        let id = self.workshop.containers.podman(words.chain([self.id.as_str()]));
        Container { workshop: self.workshop, id: id.trim_end().to_owned() }
    }

    /// Builds the same with buildah, and compares files and config. What is excepted is so for a reason that
    /// stands beside it.
    #[track_caller]
    pub(crate) fn is_as_buildah_makes_it(&self, context: &Path, arguments: &[&str], except: &[&str]) {
        let containers = &self.workshop.containers;
        self.workshop.share_bases(context);
        let how = ["build", "--quiet", "--format", "docker", "--isolation", "chroot", "--layers=false"];
        let words = how.iter().chain(arguments).copied();
        let context = context.to_str().unwrap();
        let id = containers.buildah(words.chain([context])).unwrap_or_else(|error| panic!("{error}"));
        let peer = Loaded { workshop: self.workshop, id: id.trim_end().to_owned() };
        let (ours, theirs) = (containers.mount(&self.id), containers.mount(&peer.id));
        let difference = tree::difference(&ours, &theirs, except);
        assert!(difference.is_empty(), "- here, + buildah:\n{difference}");
        assert_eq!(self.inspected(), peer.inspected(), "here, and what buildah makes");
    }

    /// The config as podman reads it, without what marks buildah's.
    fn inspected(&self) -> Value {
        let text = self.workshop.containers.podman(["image", "inspect", &self.id]);
        let mut config: Value = serde_json::from_str(&text).unwrap();
        let mut config = config[0]["Config"].take();
        if let Some(labels) = config["Labels"].as_object_mut() {
            labels.remove("io.buildah.version");
        }
        let fields = config.as_object_mut().unwrap();
        // BuildKit says so of every CMD, buildah never does.
        fields.remove("ArgsEscaped");
        // The directory of an image from scratch, which runtimes take as well if there is none.
        fields.retain(|name, value| name != "WorkingDir" || value != "/");
        // Absent and empty are the same.
        fields.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty()));
        config
    }

    /// Returns where its files are to be seen.
    pub(crate) fn root(&self) -> PathBuf {
        self.workshop.containers.mount(&self.id)
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        // What was not mounted cannot be unmounted; what stays behind is removed with the folder.
        let _ = self.workshop.containers.buildah(["rmi", "--force", &self.id]);
    }
}

/// A container that runs, until dropped.
pub(crate) struct Container<'a> {
    workshop: &'a Workshop,
    id: String,
}

impl Container<'_> {
    /// Fetches a page from within its network, once it answers.
    #[track_caller]
    pub(crate) fn get(&self, port: u16, path: &str) -> String {
        let process =
            self.workshop.containers.podman(["container", "inspect", "--format", "{{.State.Pid}}", &self.id]);
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", process.trim_end()));
        command.args(["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--retry", "100"]);
        command.args(["--retry-connrefused", "--retry-delay", "0", "--retry-max-time", "30"]);
        succeeded(command.arg(format!("http://127.0.0.1:{port}{path}")))
    }

    /// Runs a program in it; returns what it printed.
    #[track_caller]
    pub(crate) fn exec(&self, arguments: &[&str]) -> String {
        self.workshop.containers.podman(["exec", &self.id].iter().chain(arguments))
    }

    /// Returns what it has said so far, on both streams.
    pub(crate) fn logs(&self) -> String {
        succeeded(
            self.workshop.containers.command("podman").args(["logs", &self.id]).stderr(Stdio::inherit()),
        )
    }

    /// Waits until it says something.
    #[track_caller]
    pub(crate) fn has_said(&self, words: &str) {
        let mut follow = self.workshop.containers.command("podman");
        follow.args(["logs", "--follow", &self.id]).stdout(Stdio::piped());
        let mut child = follow.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let found = lines.map(Result::unwrap).any(|line| line.contains(words));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found, "it ended without {words:?}");
    }

    /// Does what HEALTHCHECK says.
    #[track_caller]
    pub(crate) fn is_healthy(&self) {
        self.workshop.containers.podman(["healthcheck", "run", &self.id]);
    }

    /// Stops it as its image wants; returns its exit code.
    #[track_caller]
    pub(crate) fn stop(&self) -> String {
        self.workshop.containers.podman(["stop", "--time", "10", &self.id]);
        let format = ["container", "inspect", "--format", "{{.State.ExitCode}}", &self.id];
        self.workshop.containers.podman(format).trim_end().to_owned()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.workshop.containers.podman(["rm", "--force", "--time", "0", &self.id]);
    }
}
