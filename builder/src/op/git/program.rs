//! Runs the git binary: in an environment of ours, within bounds, and until somebody gives up.
//!
//! Nothing of the user's configuration counts (no aliases, hooks, filters, credential helpers, no
//! `insteadOf`), so that a repository is the same files for everybody. What git needs to get somewhere
//! does: PATH, proxies, certificates, the ssh agent, and HOME for `.netrc` and ssh's own files.
//!
//! Settings and credentials go by environment, which other users cannot see in a list of processes.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::GitError;
use super::address::PROTOCOLS;
use crate::exec::Interrupt;

/// 64 MiB: a list of half a million references.
const MAX_OUTPUT: u64 = 64 << 20;
/// What is kept of what git says on standard error: its end.
const MAX_SAID: usize = 8 << 10;
/// Lines of it that are told.
const MAX_LINES: usize = 4;
/// How often it is looked whether somebody gave up.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long git may take to end once it was asked to.
const GRACE_LOOKS: usize = 20;

/// What git gets of our own environment.
const PASSED: [&str; 19] = [
    "ALL_PROXY",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_NO_VERIFY",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PATH",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Settings that hold for every command.
const SETTINGS: [(&str, &str); 17] = [
    ("advice.detachedHead", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.autocrlf", "false"),
    ("core.fileMode", "true"),
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.symlinks", "true"),
    // One pack for each fetch: a mirror of small ones is no heap of loose files.
    ("fetch.unpackLimit", "1"),
    ("gc.auto", "0"),
    // A server that sends less than this for three minutes is gone.
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "180"),
    ("init.defaultBranch", "main"),
    ("maintenance.auto", "false"),
    // Deltas that do not depend on the number of processors.
    ("pack.threads", "1"),
    ("protocol.version", "2"),
    ("submodule.recurse", "false"),
    ("transfer.bundleURI", "false"),
];

/// A way to run git for one repository elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Program<'a> {
    /// The repository, as errors name it.
    pub(super) remote: &'a str,
    /// Value of `Authorization` for its origin.
    pub(super) authorization: Option<(&'a str, &'a str)>,
    /// Where ssh finds keys, if not where it usually does.
    pub(super) agent: Option<&'a Path>,
    pub(super) interrupt: &'a Interrupt,
}

/// One command.
pub(super) struct Call<'c> {
    /// What it does, as errors say it: `fetch`.
    pub(super) verb: &'static str,
    pub(super) arguments: &'c [&'c OsStr],
    pub(super) environment: &'c [(&'c str, &'c OsStr)],
}

impl Program<'_> {
    /// Runs a command and returns what it wrote.
    pub(super) fn run(&self, call: &Call<'_>) -> Result<Vec<u8>, GitError> {
        if self.interrupt.is_sent() {
            return Err(GitError::Interrupted);
        }
        let mut child = self.command(call).spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => GitError::Missing { remote: self.remote.to_owned(), source },
            _ => GitError::Io { verb: "start", path: "git".into(), source },
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            let output = scope.spawn(move || stdout.map_or(Ok(Vec::new()), start));
            let said = scope.spawn(move || stderr.map_or(String::new(), end));
            let status = self.wait(&mut child);
            let output = output.join().expect("because it does not panic");
            let said = said.join().expect("because it does not panic");
            self.judge(call, status?, output, &said)
        })
    }

    fn judge(
        &self,
        call: &Call<'_>,
        status: ExitStatus,
        output: io::Result<Vec<u8>>,
        said: &str,
    ) -> Result<Vec<u8>, GitError> {
        if self.interrupt.is_sent() {
            return Err(GitError::Interrupted);
        }
        let output = output.map_err(GitError::io("read from", "git"))?;
        let remote = self.remote.to_owned();
        if output.len() as u64 > MAX_OUTPUT {
            return Err(GitError::TooMuch { remote, limit: MAX_OUTPUT });
        }
        if status.success() {
            return Ok(output);
        }
        let said = if said.is_empty() { status.to_string() } else { said.to_owned() };
        Err(GitError::Failed { what: format!("{} {remote}", call.verb), said })
    }

    fn command(&self, call: &Call<'_>) -> Command {
        let mut command = Command::new("git");
        command.env_clear();
        for name in PASSED {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(self.agent.map(|agent| ("SSH_AUTH_SOCK", agent)));
        command
            .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C");
        if std::env::var_os("GIT_SSH_COMMAND").is_none() && std::env::var_os("GIT_SSH").is_none() {
            // Nobody is there to answer a question.
            command.env(
                "GIT_SSH_COMMAND",
                "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=60",
            );
        }
        let own = self
            .authorization
            .map(|(origin, value)| (format!("http.{origin}.extraHeader"), format!("Authorization: {value}")));
        let settings = SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut count = 0;
        for (name, value) in settings.chain(own) {
            command.env(format!("GIT_CONFIG_KEY_{count}"), name);
            command.env(format!("GIT_CONFIG_VALUE_{count}"), value);
            count += 1;
        }
        command.env("GIT_CONFIG_COUNT", count.to_string());
        command.envs(call.environment.iter().copied());
        command.args(call.arguments);
        command.current_dir("/");
        // A group of its own: what git starts ends with it, and a Ctrl-C reaches us alone.
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, GitError> {
        let failed = |source| GitError::Io { verb: "wait for", path: "git".into(), source };
        let pid = Pid::from_child(child);
        let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed(errno.into()))?;
        let mut looks_since = 0;
        loop {
            let mut ends = [PollFd::new(&process, PollFlags::IN)];
            let ended = poll(&mut ends, Some(&LOOK)).is_ok_and(|count| count > 0);
            if ended {
                return child.wait().map_err(failed);
            }
            if self.interrupt.is_sent() {
                let signal = if looks_since < GRACE_LOOKS { Signal::TERM } else { Signal::KILL };
                looks_since += 1;
                // An error says that it is gone already.
                let _ = kill_process_group(pid, signal);
            }
        }
    }
}

/// Names a command's arguments.
pub(super) fn arguments<const N: usize>(texts: [&str; N]) -> [&OsStr; N] {
    texts.map(OsStr::new)
}

/// Names a folder for a variable of the environment.
pub(super) fn variable<'c>(name: &'c str, path: &'c Path) -> (&'c str, &'c OsStr) {
    (name, path.as_os_str())
}

/// Reads as much as is taken and one byte more; the rest is read and dropped, for git waits for us.
fn start(mut source: impl Read) -> io::Result<Vec<u8>> {
    let mut taken = Vec::new();
    source.by_ref().take(MAX_OUTPUT + 1).read_to_end(&mut taken)?;
    io::copy(&mut source, &mut io::sink())?;
    Ok(taken)
}

/// Reads all, and returns the last lines.
fn end(mut source: impl Read) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    // What cannot be read any more is not missed: the status tells the most of it.
    while let Ok(length @ 1..) = source.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..length]);
        let excess = kept.len().saturating_sub(MAX_SAID);
        kept.drain(..excess);
    }
    let text = String::from_utf8_lossy(&kept);
    let lines: Vec<&str> = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(MAX_LINES)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::end;

    #[test]
    fn the_last_lines_are_what_git_says() {
        assert_eq!(end(&b"1\n2\r3\n\n4\n5\nfatal: no\n"[..]), "3; 4; 5; fatal: no");
        let long = "x".repeat(20_000);
        assert_eq!(end(long.as_bytes()).len(), super::MAX_SAID);
        assert_eq!(end(&b""[..]), "");
    }
}
