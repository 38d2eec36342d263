//! A root of busybox, an upper directory over it, and a program to run there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use oxbox_builder::exec::{
    ExecError, Exit, Failure, Interrupt, Mount, Network, Overlay, Process, Root, Sandbox, Stream, run,
};
use tempfile::TempDir;

pub(crate) const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/var/www:/bin/sh\n";
pub(crate) const GROUP: &str = "root:x:0:\nweb:x:34:\nlog:x:90:web\n";

/// One image and one run over it.
pub(crate) struct Room {
    directory: TempDir,
}

/// What a run said and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) stdout: Vec<Vec<u8>>,
    pub(crate) stderr: Vec<Vec<u8>>,
}

impl Room {
    /// An image that holds nothing at all.
    pub(crate) fn scratch() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["lower", "upper", "work", "merged", "shared"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory }
    }

    /// An image with busybox and its applets, two users, a /tmp; no /proc, /sys, /dev, no /etc/hosts.
    pub(crate) fn busybox() -> Self {
        let room = Self::scratch();
        install_busybox(&room.lower());
        room
    }

    /// Adds this very binary, to be run as `/bin/probe probe <what>`.
    pub(crate) fn with_probe(self, mode: u32) -> Self {
        let probe = self.lower().join("bin/probe");
        fs::copy("/proc/self/exe", &probe).unwrap();
        fs::set_permissions(probe, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn lower(&self) -> PathBuf {
        self.path().join("lower")
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.path().join("upper")
    }

    pub(crate) fn process(&self, args: &[&str]) -> Process {
        process(self.path(), args)
    }

    pub(crate) fn shell(&self, script: &str) -> Ran {
        ran(&self.process(&["/bin/sh", "-c", script])).unwrap()
    }
}

/// Puts busybox with its applets into `root`, two users and a /tmp.
pub(crate) fn install_busybox(root: &Path) {
    for name in ["bin", "etc", "tmp", "root"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("install busybox-static");
    let applets = Command::new("/bin/busybox").arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(applets).unwrap().lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), PASSWD).unwrap();
    fs::write(root.join("etc/group"), GROUP).unwrap();
}

/// The process of a room that another process made.
pub(crate) fn process(room: &Path, args: &[&str]) -> Process {
    Process {
        root: Root::Overlay(Overlay {
            directory: room.to_owned(),
            lowers: vec!["lower".into()],
            upper: "upper".into(),
            work: "work".into(),
            mountpoint: "merged".into(),
        }),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: vec!["PATH=/bin".to_owned()],
        secrets: Vec::new(),
        cwd: "/".to_owned(),
        user: String::new(),
        hostname: "sandbox".to_owned(),
        network: Network::Host,
        hosts: Vec::new(),
        mounts: Vec::<Mount>::new(),
        sandbox: Sandbox::default(),
    }
}

pub(crate) fn ran(process: &Process) -> Result<Ran, ExecError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = run(process, &Interrupt::new(), &mut |stream, line| match stream {
        Stream::Stdout => stdout.push(line.to_vec()),
        Stream::Stderr => stderr.push(line.to_vec()),
    })?;
    Ok(Ran { exit, stdout, stderr })
}

pub(crate) fn failure(process: &Process) -> Failure {
    match ran(process) {
        Err(ExecError::Failed(failure)) => failure,
        other => panic!("expected a failure, not {other:?}"),
    }
}

impl Ran {
    /// Standard output of a program that succeeded and said nothing on standard error.
    pub(crate) fn text(&self) -> String {
        let said = |lines: &[Vec<u8>]| String::from_utf8_lossy(&lines.join(&b'\n')).into_owned();
        assert_eq!((self.exit, said(&self.stderr)), (Exit::Code(0), String::new()), "{}", said(&self.stdout));
        said(&self.stdout)
    }
}
