//! What RUN may be given, and that secrets stay secret.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use super::build;
use super::support::Oxbox;

#[test]
fn what_run_is_given_it_finds() {
    let oxbox = Oxbox::of_lines(
        "RUN cat /proc/self/status | grep CapEff; ulimit -n; hostname; grep there /etc/hosts; \
        cat /etc/resolv.conf; df -k /dev/shm | tail -n 1; cat /in/file; touch /in/x; test -c /dev/mine; \
        head -c 4 /dev/mine | od -An -tx1; df /memory | tail -n 1; stat -c %a:%t:%T /elsewhere; ls /over && echo > /over/new\n",
    );
    fs::create_dir_all(oxbox.path("shared")).unwrap();
    fs::write(oxbox.path("shared/file"), "from the host\n").unwrap();
    let shared = oxbox.path("shared").display().to_string();
    let ran = oxbox.run(build(&[
        "--cap-drop=ALL",
        "--cap-add=CHOWN",
        "--ulimit=nofile=55:66",
        "--hostname=forge",
        "--add-host=there:192.0.2.9",
        "--dns=192.0.2.53",
        "--dns-search=example.org",
        "--shm-size=5m",
        "--volume",
        &format!("{shared}:/in:ro"),
        "--volume",
        &format!("{shared}:/over:O"),
        "--device=/dev/zero:/dev/mine:r",
        "--device=/dev/null:/elsewhere",
        "--mount=type=tmpfs,target=/memory,tmpfs-size=3m",
    ]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for line in [
        "CapEff:\t0000000000000001",
        " 55\n",
        " forge\n",
        "192.0.2.9\tthere",
        "nameserver 192.0.2.53",
        "search example.org",
        " 5120 ",
        "from the host",
        "Read-only file system",
        " 00 00 00 00",
        " 3072 ",
        ":1:3\n",
    ] {
        assert!(ran.stderr.contains(line), "{line:?} in {}", ran.stderr);
    }
    assert!(!oxbox.path("shared/new").exists());
}

#[test]
fn nothing_of_the_machine_can_be_opened_through_a_node() {
    let oxbox = Oxbox::of_lines(
        "RUN mknod /zero c 1 5 && mknod /dev/kmsg-too c 1 11 && ! head -c 1 /zero && ! head -c 1 /dev/kmsg-too && rm /zero\n",
    );
    let ran = oxbox.run(build(&[]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn calls_are_refused_as_by_our_own_sandbox() {
    let oxbox = Oxbox::of_lines(
        "RUN ! unshare -m true && ! mount -t tmpfs none /bin && grep -q 'Seccomp:.*2' /proc/self/status && \
        grep -q 'NoNewPrivs:.*0' /proc/self/status\n",
    );
    let ran = oxbox.run(build(&[]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    oxbox.run(build(&["--security-opt=no-new-privileges"])).fails(1, &["exited with code 1"]);
    fs::write(
        oxbox.path("profile.json"),
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}"#,
    )
    .unwrap();
    oxbox.dockerfile("FROM localhost/busybox\nRUN touch /f && chmod 600 /f && ! mkdir /d\n");
    let ran = oxbox.run(build(&["--security-opt=seccomp=profile.json"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("No space left on device"), "{}", ran.stderr);
}

#[test]
fn an_insecure_run_is_more_than_a_sandbox_once_it_is_allowed() {
    let oxbox = Oxbox::of_lines(
        "RUN --security=insecure mkdir /mnt && mount -t tmpfs none /mnt && mkdir /mnt/x && \
        mknod /mnt/zero c 1 5 && head -c 1 /mnt/zero | od -An -tx1 && echo mounted\n",
    );
    let ran = oxbox.run(build(&["--allow=security.insecure"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains(" mounted"), "{}", ran.stderr);
}

#[test]
fn a_private_network_has_a_way_out_and_none_has_none() {
    let oxbox = Oxbox::of_lines("RUN ip route; ip link | grep -c LOOPBACK,UP\n");
    let ran = oxbox.run(build(&["--network=private"]));
    assert!(ran.stderr.contains("default via 10.0.2.2"), "{}", ran.stderr);
    let ran = oxbox.run(build(&["--network=none"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!ran.stderr.contains("default via"), "{}", ran.stderr);
}

#[test]
fn which_runtime_it_was_does_not_decide_about_the_cache() {
    let oxbox = Oxbox::of_lines("RUN echo made > /made\n");
    let image = oxbox.ok(["build", "context"]);
    let ran = oxbox.run(["build", "--progress", "plain", "--runtime", "runc", "context"]);
    assert_eq!((ran.code, &ran.stdout), (Some(0), &image), "{}", ran.stderr);
    assert!(ran.stderr.contains("CACHED"), "{}", ran.stderr);
    let mut command = oxbox.command(["build", "--no-cache", "context"]);
    let output = command.env("OXBOX_RUNTIME", "runc").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), image);
}

#[test]
fn an_image_that_says_nothing_of_path_has_its_programs_found() {
    let oxbox = Oxbox::of_lines("");
    oxbox.dockerfile("FROM localhost/busybox\nENV PATH=\nRUN [\"/bin/touch\", \"/made\"]\n");
    let ran = oxbox.run(build(&[]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    fs::create_dir_all(oxbox.path("plain/bin")).unwrap();
    fs::copy("/bin/busybox", oxbox.path("plain/bin/busybox")).unwrap();
    fs::write(
        oxbox.path("plain/Dockerfile"),
        "FROM scratch\nCOPY bin /bin\nRUN [\"busybox\", \"touch\", \"/made\"]\n",
    )
    .unwrap();
    let with = oxbox.run(["build", "--runtime", "runc", "plain"]);
    assert_eq!(with.code, Some(0), "{}", with.stderr);
    assert_eq!(with.stdout, oxbox.ok(["build", "--no-cache", "plain"]));
}

/// A word that is nowhere else.
const SECRET: &str = "nobody-shall-read-this-word";

#[test]
fn a_secret_is_neither_on_a_command_line_nor_left_anywhere() {
    let oxbox = Oxbox::of_lines(
        "RUN --mount=type=secret,id=word,env=WORD --mount=type=secret,id=word,target=/word \
        test $WORD = $(cat /word) && echo ready && until test -e /in/go; do :; done\n",
    );
    fs::create_dir_all(oxbox.path("shared")).unwrap();
    let volume = format!("{}:/in", oxbox.path("shared").display());
    let mut command = oxbox.command(build(&["--secret=id=word,env=SECRET", "--volume", &volume]));
    let mut child =
        command.env("SECRET", SECRET).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    while !said.contains(" ready") {
        let mut bytes = [0; 512];
        let count = stderr.read(&mut bytes).unwrap();
        assert!(count > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!holds(&line), "{}", String::from_utf8_lossy(&line));
    }
    assert_eq!(places(oxbox.folder()), Vec::<String>::new());
    fs::write(oxbox.path("shared/go"), "").unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(!said.contains(SECRET));
    assert_eq!(places(oxbox.folder()), Vec::<String>::new());
}

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes())
}

/// The files below a folder that hold the secret.
fn places(folder: &Path) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        // A build that goes on may take something away meanwhile.
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.map(Result::unwrap) {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && fs::read(entry.path()).is_ok_and(|bytes| holds(&bytes)) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}
