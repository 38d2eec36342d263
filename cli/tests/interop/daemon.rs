//! Daemons of other tools: started for one test, on sockets and folders below its own.
//!
//! Readiness is told by the protocol that service managers use: the daemon writes `READY=1` to the
//! socket that `NOTIFY_SOCKET` names (sd_notify(3)).

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::Oxbox;
use crate::support::server::send;

/// Longer than any of them takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon that is stopped with the test.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Daemon {
    /// Docker's.
    pub(crate) fn docker(oxbox: &Oxbox) -> Self {
        let path = |name: &str| oxbox.path(name).to_str().unwrap().to_owned();
        let host = format!("unix://{}", path("docker.sock"));
        let arguments = [
            ["--host", &host],
            ["--data-root", &path("docker-data")],
            ["--exec-root", &path("docker-exec")],
            ["--pidfile", &path("docker.pid")],
            ["--config-file", &path("docker.json")],
            ["--storage-driver", "vfs"],
        ];
        fs::write(path("docker.json"), "{}").unwrap();
        let mut command = oxbox.isolated(Command::new("dockerd"));
        command
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args(arguments.as_flattened());
        Self::start(oxbox, command, "docker.sock")
    }

    /// containerd alone.
    pub(crate) fn containerd(oxbox: &Oxbox) -> Self {
        let path = |name: &str| oxbox.path(name).to_str().unwrap().to_owned();
        // Kubernetes' part wants the host's network configuration.
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n",
            path("containerd-root"),
            path("containerd-state"),
            path("containerd.sock")
        );
        fs::write(path("containerd.toml"), config).unwrap();
        let mut command = oxbox.isolated(Command::new("containerd"));
        command.args(["--config", &path("containerd.toml")]);
        Self::start(oxbox, command, "containerd.sock")
    }

    fn start(oxbox: &Oxbox, mut command: Command, socket: &str) -> Self {
        let (log, notify) = (oxbox.path("daemon.log"), oxbox.path("notify.sock"));
        let ready = UnixDatagram::bind(&notify).unwrap();
        ready.set_read_timeout(Some(PATIENCE)).unwrap();
        let output = File::create(&log).unwrap();
        command.env("NOTIFY_SOCKET", &notify).stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} must be installed: {error}"));
        let daemon = Self { child, socket: oxbox.path(socket) };
        let mut message = [0; 512];
        loop {
            let Ok(length) = ready.recv(&mut message) else {
                panic!("{command:?} is not ready:\n{}", fs::read_to_string(&log).unwrap());
            };
            if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == "READY=1") {
                return daemon;
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        send(&self.child, Signal::TERM);
        // It fails only if it was waited for already.
        let _ = self.child.wait();
    }
}
