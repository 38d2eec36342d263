//! A build that has a little of everything that a kill could leave behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::below;
use crate::support::image::Picture;
use crate::support::ladder::{Place, Rung};
use crate::support::{Oxbox, Ran};

/// Two stages at a time, files by the hundred, caches of each kind, a secret, what runs on in the background.
const DOCKERFILE: &str = r#"
FROM localhost/busybox AS left
ARG ROUND=0
COPY many /many
RUN : $ROUND; for n in $(seq 300); do echo $n > /many/made-$n; done; rm -r /many/3*
RUN --mount=type=cache,target=/cache,id=shared : $ROUND; echo line >> /cache/log; \
    for n in $(seq 200); do echo $n > /out-$n; done; echo kept > /cache/file-$$; sleep 0.05

FROM localhost/busybox AS right
ARG ROUND=0
RUN --mount=type=cache,target=/c,id=locked,sharing=locked : $ROUND; echo x > /c/file; sleep 0.05; \
    dd if=/dev/zero of=/blob bs=64k count=32 2> /dev/null
RUN --mount=type=cache,target=/c,id=private,sharing=private --mount=type=secret,id=word : $ROUND; \
    (setsid sleep 1000 &) ; (trap '' TERM INT; sleep 1000 &) ; cat /run/secrets/word > /dev/null; echo > /c/$$
RUN --mount=type=tmpfs,target=/t : $ROUND; cp /blob /t/blob && ln /blob /linked && chown 5:6 /linked; sleep 0.05

FROM localhost/busybox
COPY --from=left /many /many
COPY --from=left /out-* /out/
COPY --from=right /blob /linked /
RUN --mount=type=secret,id=word,env=WORD --mount=type=bind,from=right,target=/r,rw test ${#WORD} = 15 && \
    echo changed > /r/blob && cp -r /many /again && rm -r /many && sleep 0.02
COPY many /many
WORKDIR /many/below
RUN --mount=type=cache,target=/cache,id=shared,readonly test -e /cache/log; mv /again /moved; chmod 600 /blob
"#;

const APPLETS: [&str; 17] = [
    "sh", "cat", "sleep", "echo", "seq", "dd", "cp", "rm", "mv", "mkdir", "setsid", "test", "ln", "chown",
    "chmod", "ls", "true",
];

/// A place where it can be built.
pub(crate) fn place(rung: Rung) -> Place {
    Place::new(rung, furnish)
}

fn furnish(oxbox: &Oxbox) {
    let busybox = fs::read("/bin/busybox").expect("busybox-static must be installed");
    let mut picture = Picture::of("bin/busybox", &busybox).user("root");
    picture = APPLETS.iter().fold(picture, |picture, name| picture.link(&format!("bin/{name}"), "busybox"));
    oxbox.put("localhost/busybox:latest", &picture);
    oxbox.dockerfile(DOCKERFILE);
    fs::create_dir(oxbox.path("context/many")).unwrap();
    for number in 0..150 {
        fs::write(oxbox.path(&format!("context/many/{number}")), "line\n".repeat(number * 10)).unwrap();
    }
}

/// What is said of each build: limits too, where they can be had.
pub(crate) fn arguments<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let usual = ["build", "--progress", "plain", "--secret", "id=word,src=word", "-t", "app"];
    [&usual[..], &["--memory", "1g", "--pids-limit", "500", "--jobs", "3"], options, &["context"]].concat()
}

/// Builds it to the end; returns the image's digest, and how long that took.
#[track_caller]
pub(crate) fn build(place: &Place, options: &[&str]) -> (String, Duration) {
    let begun = Instant::now();
    let mut command = place.command(&arguments(options));
    let ran = Ran::from(command.stdin(Stdio::null()).output().unwrap());
    assert_eq!(ran.code, Some(0), "{:?} {options:?}: {}", place.rung, ran.stderr);
    (ran.stdout, begun.elapsed())
}

/// A build under way.
pub(crate) struct Building {
    pub(crate) child: Child,
    /// The builder itself, as this process sees it.
    pub(crate) builder: rustix::process::Pid,
    /// Where what it says goes.
    said: PathBuf,
}

impl Building {
    /// Starts one; what it says goes to a file of this name.
    #[track_caller]
    pub(crate) fn start(place: &Place, options: &[&str], name: &str) -> Self {
        Self::of(place, &arguments(options), name)
    }

    #[track_caller]
    fn of(place: &Place, arguments: &[&str], name: &str) -> Self {
        let said = place.oxbox.path(name);
        let output = fs::File::create(&said).unwrap();
        let mut command: Command = place.command(arguments);
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let (child, builder) = below::start_builder(&mut command, &said);
        Self { child, builder, said }
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }
}

/// Sizes of files by their paths.
pub(crate) type Listing = std::collections::BTreeMap<String, u64>;

/// All files of a folder with their sizes, by their paths in it.
pub(crate) fn listing(folder: &Path) -> Listing {
    let mut found = Listing::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            if metadata.is_dir() {
                folders.push(path);
            }
            found.insert(name, if metadata.is_file() { metadata.len() } else { 0 });
        }
    }
    found
}

/// Returns the files of a folder that hold these bytes.
pub(crate) fn holding(folder: &Path, bytes: &[u8]) -> Vec<String> {
    let files = listing(folder).into_keys().filter(|name| {
        let content = fs::read(folder.join(name)).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes)
    });
    files.collect()
}

/// A build of a place's Dockerfile, of which one RUN is waited for.
pub(crate) struct Program {
    pub(crate) building: Building,
}

impl Program {
    #[track_caller]
    pub(crate) fn start(place: &Place) -> Self {
        Self { building: Building::of(place, &["build", "--progress", "plain", "context"], "said") }
    }

    /// Waits until what it said, or something else, is as it should be.
    #[track_caller]
    pub(crate) fn until(&self, is_there: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !is_there(&self.building.said()) {
            assert!(begun.elapsed() < below::PATIENCE, "{}", self.building.said());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
