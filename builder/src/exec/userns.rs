//! Entering a user namespace with the whole process, before it has threads.
//!
//! ```text
//! this process   ├─fork▶ helper          stays outside, and so may map ids into the namespace
//!                ├ unshare(user, mount)
//!                ├──"now"──────────────▶ newuidmap PID 0 1000 1 1 100000 65536; newgidmap …
//!                ◀─────────what it said─ │
//!                └ goes on, as root of the namespace
//! ```
//!
//! Nothing is executed anew: the process has one thread, so it may change its namespaces itself, and keeps
//! its id, its terminal and its place among the processes. What it and its programs make belongs to mapped
//! ids, which is why all of the build is in there and not only its programs.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_parent_process_death_signal, waitpid,
};
use rustix::thread::UnshareFlags;

use super::rung::{Ids, Mapping, Obstacle, Rung};
use super::sys;

/// What the name of a user namespace's snapshots begins with.
pub const MARK: &str = "ids-";

/// Enough to tell the few ranges apart that a user ever had.
const MARK_DIGITS: usize = 12;

/// More than any message of newuidmap.
const MAX_SAID_BYTES: u64 = 16 << 10;

static ENTERED: AtomicBool = AtomicBool::new(false);

/// Whether this process entered a user namespace: its root is somebody else outside.
pub fn is_entered() -> bool {
    ENTERED.load(Ordering::Relaxed)
}

/// Returns what names the ids of the user namespace that this process entered; nothing if it entered none.
///
/// What is kept there belongs to other ids than it says in any other one.
pub fn mark() -> io::Result<Option<String>> {
    if !is_entered() {
        return Ok(None);
    }
    let maps = [fs::read("/proc/self/uid_map")?, fs::read("/proc/self/gid_map")?].concat();
    Ok(Some(format!("{MARK}{}", &blake3::hash(&maps).to_hex()[..MARK_DIGITS])))
}

/// Enters a user namespace, and a mount namespace in it.
pub(super) fn enter(mapping: &Mapping) -> Result<(), Obstacle> {
    let rung = match mapping {
        Mapping::Single => Rung::SingleId,
        Mapping::Helped { .. } | Mapping::Direct { .. } => Rung::Rootless,
    };
    match is_entered() {
        // Where many ids could not be had, it is one that there is.
        true if *mapping == Mapping::Single => return Ok(()),
        true => {
            let hint = "ask for one isolation only";
            return Err(Obstacle::missing(rung, "this process is in a user namespace already", hint));
        }
        false => {}
    }
    let failed = |verb: &str, error: &dyn std::fmt::Display| Obstacle {
        rung,
        reason: format!("cannot {verb}: {error}"),
        hint: None,
    };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let unmade = |error: io::Error| failed("make a user namespace", &error);
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
    if *mapping == Mapping::Single {
        sys::unshare(flags).map_err(unmade)?;
        ENTERED.store(true, Ordering::Relaxed);
        return map_own(uid, gid).map_err(|error| failed("map the own id", &error));
    }
    let outside = Outside::start(mapping).map_err(|error| failed("start a helper", &error))?;
    if let Err(error) = sys::unshare(flags) {
        outside.abandon();
        return Err(unmade(error));
    }
    ENTERED.store(true, Ordering::Relaxed);
    // There is no way back out; with one id at least this process stays who it is.
    outside.finish().map_err(|said| {
        let _ = map_own(uid, gid);
        failed("map ids into the user namespace", &said)
    })
}

fn map_own(uid: u32, gid: u32) -> io::Result<()> {
    let own = |outside| lines(&[Ids { inside: 0, outside, count: 1 }]);
    fs::write("/proc/self/uid_map", own(uid))?;
    // Without it nobody may write the map of groups but who has rights outside (CVE-2014-8989).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", own(gid))
}

/// The process that stays outside.
struct Outside {
    child: Pid,
    go: PipeWriter,
    said: PipeReader,
}

impl Outside {
    fn start(mapping: &Mapping) -> io::Result<Self> {
        let (mut wait, go) = io::pipe()?;
        let (said, mut say) = io::pipe()?;
        let process = getpid();
        let child = sys::fork(|| {
            // It holds a copy of the other end too, and so cannot tell by an end of the pipe.
            let watched = set_parent_process_death_signal(Some(Signal::KILL));
            let mut word = [0];
            if watched.is_err() || getppid() != Some(process) || wait.read_exact(&mut word).is_err() {
                return 1;
            }
            match map(mapping, process) {
                Ok(()) => 0,
                Err(text) => {
                    let _ = say.write_all(text.as_bytes());
                    1
                }
            }
        })?;
        Ok(Self { child, go, said })
    }

    /// Has the ids mapped.
    fn finish(mut self) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        self.go.write_all(b"!").map_err(failed)?;
        let mut text = String::new();
        (&self.said).take(MAX_SAID_BYTES).read_to_string(&mut text).map_err(failed)?;
        match (self.wait(), text.as_str()) {
            (true, _) => Ok(()),
            (false, "") => Err("the helper ended by itself".to_owned()),
            (false, text) => Err(text.to_owned()),
        }
    }

    /// Ends it without having anything done.
    fn abandon(self) {
        // It is our own child and not waited for yet, so the id is its.
        let _ = kill_process(self.child, Signal::KILL);
        self.wait();
    }

    /// Waits for its end, and tells whether it did what it should.
    fn wait(&self) -> bool {
        loop {
            match waitpid(Some(self.child), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                ended => return matches!(ended, Ok(Some((_, status))) if status.exit_status() == Some(0)),
            }
        }
    }
}

/// Maps ids into the user namespace of another process. Runs outside of it.
fn map(mapping: &Mapping, process: Pid) -> Result<(), String> {
    let process = process.as_raw_nonzero();
    match mapping {
        Mapping::Single => Ok(()),
        Mapping::Helped { users, groups } => [users, groups].into_iter().try_for_each(|helper| {
            let ids = helper.ids.iter().flat_map(|ids| [ids.inside, ids.outside, ids.count]);
            let mut command = Command::new(&helper.program);
            command.arg(process.to_string()).args(ids.map(|id| id.to_string()));
            let output = command.stdin(Stdio::null()).output();
            let name = helper.program.display();
            match output {
                Ok(output) if output.status.success() => Ok(()),
                Ok(output) => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())),
                Err(error) => Err(format!("{name}: {error}")),
            }
        }),
        Mapping::Direct { users, groups } => {
            [("uid_map", users), ("gid_map", groups)].into_iter().try_for_each(|(name, ids)| {
                let path = format!("/proc/{process}/{name}");
                fs::write(&path, lines(ids)).map_err(|error| format!("{path}: {error}"))
            })
        }
    }
}

fn lines(ids: &[Ids]) -> String {
    ids.iter().map(|ids| format!("{} {} {}\n", ids.inside, ids.outside, ids.count)).collect()
}
