//! What tests find elsewhere: git repositories, and servers on the loopback that do as they are told.
//!
//! ```text
//! Daemon    git:// by `git daemon --inetd`, one for each connection; counts them
//! Static    http:// of files as they lie there, as old servers do; asks for a password if told to
//! Web       http:// by a function from what is asked to what is answered; remembers what was asked
//! ```
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A repository with files, and the bare one that servers show.
pub struct Repository {
    /// Where files are put.
    pub work: PathBuf,
    bare: PathBuf,
}

/// Runs git without anybody's settings.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_ALLOW_PROTOCOL", "file")
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@b"), ("GIT_COMMITTER_NAME", "a")])
        .envs([("GIT_COMMITTER_EMAIL", "a@b"), ("GIT_AUTHOR_DATE", "1000000000 +0000")])
        .env("GIT_COMMITTER_DATE", "1000000000 +0000")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

impl Repository {
    /// Makes `<base>/<name>.git` and the folder that it is fed from.
    pub fn new(base: &Path, name: &str) -> Self {
        let (work, bare) = (base.join(format!("{name}.work")), base.join(format!("{name}.git")));
        fs::create_dir_all(&work).unwrap();
        git(&work, &["init", "--quiet", "--initial-branch=main"]);
        git(base, &["init", "--quiet", "--bare", "--initial-branch=main", bare.to_str().unwrap()]);
        Self { work, bare }
    }

    /// Writes a file.
    pub fn file(&self, path: &str, content: &str) -> &Self {
        let path = self.work.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Commits all that is there, and shows it; returns the commit.
    pub fn commit(&self, message: &str) -> String {
        git(&self.work, &["add", "--all"]);
        git(&self.work, &["commit", "--quiet", "--allow-empty", "--message", message]);
        self.show();
        git(&self.work, &["rev-parse", "HEAD"])
    }

    /// Runs git in the folder.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.work, arguments)
    }

    /// Has the servers show what there is.
    pub fn show(&self) {
        let bare = self.bare.to_str().unwrap();
        git(
            &self.work,
            &["push", "--quiet", "--force", bare, "refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*"],
        );
        git(&self.bare, &["update-server-info"]);
    }
}

/// A server of `git://`.
pub struct Daemon {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Daemon {
    /// Starts one for the repositories below a folder; it ends with the process.
    pub fn start(base: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (base, connections) = (base.to_owned(), Arc::new(AtomicUsize::new(0)));
        let counted = connections.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                counted.fetch_add(1, Ordering::Relaxed);
                let socket = OwnedFd::from(socket.unwrap());
                let base = format!("--base-path={}", base.display());
                let child = Command::new("git")
                    .args(["daemon", "--inetd", "--export-all", &base])
                    .stdin(Stdio::from(socket.try_clone().unwrap()))
                    .stdout(Stdio::from(socket))
                    .stderr(Stdio::null())
                    .spawn();
                thread::spawn(move || child.unwrap().wait().unwrap());
            }
        });
        Self { address, connections }
    }

    /// Returns the address of a repository.
    pub fn url(&self, name: &str) -> String {
        format!("git://{}/{name}.git", self.address)
    }

    /// How many connections there were since this was asked last.
    pub fn connections(&self) -> usize {
        self.connections.swap(0, Ordering::Relaxed)
    }
}

/// A server of files, as they lie there.
pub struct Static(Web);

impl Static {
    /// Starts one that answers only to this `Authorization`, if one is given.
    pub fn start(base: &Path, authorization: Option<&'static str>) -> Self {
        let base = base.to_owned();
        Self(Web::start(move |asked| {
            if authorization.is_some() && asked.header("authorization") != authorization {
                return Answer::new(401, "").header("WWW-Authenticate: Basic realm=x");
            }
            let path = base.join(asked.path.split('?').next().unwrap_or_default().trim_start_matches('/'));
            match fs::read(path) {
                Ok(body) => Answer::new(200, body),
                Err(_) => Answer::new(404, ""),
            }
        }))
    }

    /// Returns the address of a repository; `credentials` end in an @ or are empty.
    pub fn url(&self, credentials: &str, name: &str) -> String {
        format!("http://{credentials}{}/{name}.git", self.0.address)
    }
}

/// A server that follows a script.
pub struct Web {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// What a server was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Path and query.
    pub path: String,
    headers: Vec<String>,
}

/// What a server answers.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
    cut: Option<usize>,
}

impl Asked {
    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.headers.iter().filter_map(|line| line.split_once(": "));
        pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

impl Answer {
    /// An honest answer.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None }
    }

    /// Adds a whole header.
    #[must_use]
    pub fn header(mut self, line: impl Into<String>) -> Self {
        self.headers.push(line.into());
        self
    }

    /// Hangs up after so many bytes of the body.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }
}

impl Web {
    /// Starts a server; it ends with the process.
    pub fn start(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (script, asked) = (Arc::new(script), Arc::new(Mutex::new(Vec::new())));
        let noted = asked.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (script, noted) = (script.clone(), noted.clone());
                thread::spawn(move || serve(socket.unwrap(), &*script, &noted));
            }
        });
        Self { address, asked }
    }

    /// Returns an address there.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns all that was asked since this was called last.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// Answers one request; the connection ends with it.
fn serve(mut socket: TcpStream, script: &dyn Fn(&Asked) -> Answer, noted: &Mutex<Vec<Asked>>) {
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let asked = Asked { path, headers: lines.take_while(|line| !line.is_empty()).collect() };
    let answer = script(&asked);
    noted.lock().unwrap().push(asked);
    let mut head = format!("HTTP/1.1 {} Told\r\nConnection: close\r\n", answer.status);
    if answer.status != 304 {
        head.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
    }
    head.extend(answer.headers.iter().map(|line| format!("{line}\r\n")));
    let body = &answer.body[..answer.cut.unwrap_or(answer.body.len())];
    // Who hung up does not want it.
    let _ = socket.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| socket.write_all(body));
}
