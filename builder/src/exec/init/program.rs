//! Between fork and execve: gives up all that the program shall not have, then becomes it.

use std::ffi::CString;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Gid, Uid, chdir, setsid, umask};
use rustix::thread::{
    SecureComputingMode, secure_computing_mode, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::rung::{Processes, Rung};
use crate::exec::sandbox::{Privileges, Sandbox};
use crate::exec::{Process, sys};

use super::first::Given;
use super::{capabilities, chroot, limits, owners, seccomp};

/// Where programs are looked for if the image says nothing: Docker's default.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the program; returns only to say why not. Some of its calls are handed over through `calls`.
pub(super) fn become_it(given: &Given, calls: Option<&UnixStream>) -> Failure {
    match give_up(given, calls) {
        Ok(()) => execute(&given.process, &given.identity.home),
        Err(failure) => failure,
    }
}

fn give_up(given: &Given, calls: Option<&UnixStream>) -> Result<(), Failure> {
    let Given { process, identity, descriptors, .. } = given;
    let sandbox = &process.sandbox;
    if sandbox.terminal.is_none() {
        leave_streams(given.rung)?;
    }
    sys::drop_descriptors(3, sys::Inherited::CloseOnExec).or_fail("close", "descriptors")?;
    sys::reset_signals();
    umask(Mode::from_raw_mode(0o022));
    chdir(Path::new(if process.cwd.is_empty() { "/" } else { &process.cwd }))
        .or_fail("enter", &process.cwd)?;
    limits::set(&sandbox.ulimits, *descriptors)?;
    if given.rung.is_in_user_namespace() && given.processes == Processes::Shared {
        sys::keep_signals_in().or_fail("keep in", "signals")?;
    }
    capabilities::drop_bounding(sandbox.capabilities, given.rung)?;
    if sandbox.privileges == Privileges::Refused {
        sys::refuse_privileges().or_fail("set", "no_new_privs")?;
    }
    filter_calls(sandbox, given.rung)?;
    match (given.rung, calls) {
        (Rung::SingleId, calls) => {
            calls.map_or(Ok(()), owners::hand_over)?;
            // There is nobody else to become.
            return capabilities::keep(sandbox.capabilities, given.rung);
        }
        (_, calls) => calls.map_or(Ok(()), chroot::proc::hand_over)?,
    }
    let groups: Vec<_> = identity.groups.iter().map(|&group| Gid::from_raw(group)).collect();
    set_thread_groups(&groups).or_fail("set", "supplementary groups")?;
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    set_thread_res_gid(gid, gid, gid).or_fail("set", "the group")?;
    capabilities::keep(sandbox.capabilities, given.rung)?;
    // For any other user than root this also clears what is left.
    set_thread_res_uid(uid, uid, uid).or_fail("set", "the user")
}

/// Leaves what the builder's own streams would give it, but for what the program writes.
fn leave_streams(rung: Rung) -> Result<(), Failure> {
    // A session of its own has no terminal, so nothing can be typed into the host's (TIOCSTI).
    setsid().or_fail("start", "a session")?;
    // In a changed root it was replaced by the container's, which is a device for sure.
    if rung != Rung::Chroot {
        let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        rustix::stdio::dup2_stdin(&null.or_fail("open", "/dev/null")?)
            .or_fail("replace", "standard input")?;
    }
    Ok(())
}

/// Keeps the program from calls that no program needs.
fn filter_calls(sandbox: &Sandbox, rung: Rung) -> Result<(), Failure> {
    let is_filtered = || secure_computing_mode().is_ok_and(|mode| mode == SecureComputingMode::Filter);
    if rung == Rung::Chroot && is_filtered() {
        return Ok(());
    }
    let Some(program) = seccomp::program(sandbox)? else { return Ok(()) };
    // While there still is CAP_SYS_ADMIN: without it the kernel wants no_new_privs, and sudo would break.
    match sys::load_seccomp(&program).map_err(Errno::from) {
        Err(Errno(libc::EACCES)) if rung == Rung::Chroot => {
            set_no_new_privs(true).or_fail("set", "no_new_privs")?;
            sys::load_seccomp(&program).or_fail("load", "the seccomp filter")
        }
        loaded => loaded.or_fail("load", "the seccomp filter"),
    }
}

/// How often a program is tried that somebody has open to write, and how long it is waited in between: two seconds.
/// A process that another thread of the builder just starts has all that the builder has open, until it is
/// executed: the program too, if that was just unpacked.
const BUSY_ATTEMPTS: u32 = 200;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

fn execute(process: &Process, home: &str) -> Failure {
    let Some(name) = process.args.first() else { return Failure::NoCommand };
    let mut variables = process.env.clone();
    if !variables.iter().any(|variable| variable.starts_with("HOME=")) {
        variables.push(format!("HOME={home}"));
    }
    let (Some(arguments), Some(environment)) = (c_strings(&process.args), environment(process, &variables))
    else {
        // execve ends a string at its first zero byte; the program would see less than was written.
        return Failure::Io {
            verb: "pass on a zero byte to".to_owned(),
            what: name.clone(),
            errno: Errno(libc::EINVAL),
        };
    };
    let attempt = |path: &str| -> Option<Failure> {
        let file = CString::new(path).ok()?;
        let arguments: Vec<_> = arguments.iter().map(CString::as_c_str).collect();
        let environment: Vec<_> = environment.iter().map(CString::as_c_str).collect();
        let mut error = Errno::from(sys::execve(&file, &arguments, &environment));
        for _ in 0..BUSY_ATTEMPTS {
            if error.0 != libc::ETXTBSY {
                break;
            }
            std::thread::sleep(BUSY_PAUSE);
            error = Errno::from(sys::execve(&file, &arguments, &environment));
        }
        explain(path, error)
    };
    if name.contains('/') {
        return attempt(name).unwrap_or_else(|| Failure::NotFound { program: name.clone() });
    }
    let path =
        variables.iter().rev().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let mut refused = None;
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        match attempt(&format!("{directory}/{name}")) {
            None => {}
            // As shells do: a file that may not be executed does not hide one that may.
            Some(failure @ Failure::NotExecutable { .. }) => refused = refused.or(Some(failure)),
            Some(failure) => return failure,
        }
    }
    refused.unwrap_or_else(|| Failure::NotFound { program: name.clone() })
}

/// Says why `program` was not executed; `None` if there is no such file.
fn explain(program: &str, errno: Errno) -> Option<Failure> {
    let program = program.to_owned();
    match errno.0 {
        libc::ENOENT if Path::new(&program).exists() => Some(Failure::NoInterpreter { program }),
        libc::ENOENT | libc::ENOTDIR => None,
        libc::EACCES => Some(Failure::NotExecutable { program, errno }),
        libc::ENOEXEC => Some(Failure::WrongFormat { program, machine: std::env::consts::ARCH.to_owned() }),
        _ => Some(Failure::Io { verb: "run".to_owned(), what: program, errno }),
    }
}

/// Returns the variables as the kernel takes them, secret ones in the place of others.
fn environment(process: &Process, variables: &[String]) -> Option<Vec<CString>> {
    let is_secret = |variable: &&String| {
        let name = variable.split('=').next().unwrap_or_default();
        process.secrets.iter().any(|secret| secret.name == name)
    };
    let plain =
        variables.iter().filter(|variable| !is_secret(variable)).map(|text| CString::new(text.as_str()));
    let secrets = process
        .secrets
        .iter()
        .map(|secret| CString::new([secret.name.as_bytes(), b"=", secret.value.expose()].concat()));
    plain.chain(secrets).collect::<Result<_, _>>().ok()
}

fn c_strings(texts: &[String]) -> Option<Vec<CString>> {
    texts.iter().map(|text| CString::new(text.as_str()).ok()).collect()
}
