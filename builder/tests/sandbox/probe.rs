//! A program inside a sandbox that tries what no busybox applet does.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use rustix::io::Errno;

pub(crate) fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    match arguments.next().as_deref() {
        Some("ids") => {
            let (uid, euid) = (rustix::process::getuid(), rustix::process::geteuid());
            println!("uid {} euid {}", uid.as_raw(), euid.as_raw());
        }
        Some("refused") => refused(),
        Some("sockets") => sockets(),
        Some("overwrite") => overwrite(),
        Some("agent") => agent(),
        Some("files") => return files(),
        Some("calls") => calls(),
        Some("typing") => typing(),
        other => panic!("no such probe: {other:?}"),
    }
    ExitCode::SUCCESS
}

fn tell<T>(what: &str, result: Result<T, Errno>) {
    match result {
        Ok(_) => println!("{what} works"),
        Err(Errno::PERM) => println!("{what} EPERM"),
        Err(error) => println!("{what} {error}"),
    }
}

fn refused() {
    use rustix::mount::{FsOpenFlags, MountFlags, fsopen, mount};
    tell("mount", mount("none", "/tmp", "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>));
    tell("fsopen", fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC));
    // A user namespace needs no capability, so only the filter can refuse it.
    #[allow(deprecated)]
    let unshared = rustix::thread::unshare(rustix::thread::UnshareFlags::NEWUSER);
    tell("unshare", unshared);
    let own = std::fs::File::open("/proc/self/ns/uts").unwrap();
    let entered = rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&own), None);
    tell("setns", entered);
    tell("sethostname", rustix::system::sethostname(b"x"));
    // The C library asks for clone3 first and must be able to fall back.
    let child = Command::new("/bin/true").status().map_err(|error| Errno::from_io_error(&error).unwrap());
    tell("spawn", child);
}

fn sockets() {
    use rustix::net::{AddressFamily, SocketType, socket};
    tell("inet", socket(AddressFamily::INET, SocketType::DGRAM, None));
    tell("unix", UnixStream::pair().map_err(|error| Errno::from_io_error(&error).unwrap()));
    tell("vsock", socket(AddressFamily::VSOCK, SocketType::STREAM, None));
}

/// Asks the agent for its keys, and for something that it may not be asked for.
fn agent() {
    let mut stream = UnixStream::connect(std::env::var("SSH_AUTH_SOCK").unwrap()).unwrap();
    for kind in [11, 19] {
        stream.write_all(&[0, 0, 0, 1, kind]).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).unwrap();
        println!("{kind}: {answer:?}");
    }
}

fn overwrite() {
    // Opening it would say that it is busy: that is what an attacker waits for to end.
    match rustix::fs::access("/proc/self/exe", rustix::fs::Access::WRITE_OK) {
        Ok(()) => println!("writable"),
        Err(Errno::ROFS) => println!("EROFS"),
        Err(error) => println!("{error}"),
    }
}

/// Opens ten thousand files.
fn files() -> ExitCode {
    let mut open = Vec::new();
    while open.len() < 10_000 {
        match std::fs::File::open("/dev/null") {
            Ok(file) => open.push(file),
            Err(_) => return ExitCode::FAILURE,
        }
    }
    println!("{} open", open.len());
    ExitCode::SUCCESS
}

/// Makes calls that Docker refuses, by number and with zeros.
#[allow(unsafe_code)]
fn calls() {
    const CALLS: [(&str, i64); 11] = [
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("kexec_load", libc::SYS_kexec_load),
        ("init_module", libc::SYS_init_module),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("clone3", libc::SYS_clone3),
        ("ptrace", libc::SYS_ptrace),
    ];
    let name = |error: std::io::Error| match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM".to_owned(),
        Some(libc::ENOSYS) => "ENOSYS".to_owned(),
        Some(libc::ESRCH) => "ESRCH".to_owned(),
        _ => error.to_string(),
    };
    let tell = |call: &str, result: i64| match result {
        -1 => println!("{call} {}", name(std::io::Error::last_os_error())),
        _ => println!("{call} works"),
    };
    for (call, number) in CALLS {
        // PTRACE_ATTACH to a process that is not there; the others get as far as zeros take them.
        let first = if call == "ptrace" { 16 } else { 0 };
        // SAFETY: each is refused before it looks at its arguments; if not, null pointers and zeros do nothing.
        tell(call, unsafe { libc::syscall(number, first, 999_999, 0, 0, 0, 0) });
    }
    // SAFETY: a socket of a kind that is refused, and a clone that is refused: both take plain numbers.
    unsafe {
        tell("AF_ALG", libc::syscall(libc::SYS_socket, libc::AF_ALG, libc::SOCK_SEQPACKET, 0));
        tell("newuser", libc::syscall(libc::SYS_clone, libc::CLONE_NEWUSER, 0, 0, 0, 0));
    }
}

/// Tries to type into the terminal that the builder may have.
fn typing() {
    match std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty") {
        Ok(_) => println!("a terminal"),
        Err(_) => println!("no terminal"),
    }
}
