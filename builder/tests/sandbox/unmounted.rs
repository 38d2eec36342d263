//! Runs in a changed root: what is placed and taken away, what cannot be left, and what does not stay.
//!
//! A process stands on one rung, so each run is a builder of its own: this binary, started as `unmounted`. With
//! fewer capabilities it is what a container's root is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use oxbox_builder::exec::rung::{self, Isolation, Rung};
use oxbox_builder::exec::{Exit, Interrupt, Mount, Network, Root, Source, Stream, run};
use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;

use crate::room::{install_busybox, process};

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![
        ("a_changed_root_has_the_files_of_the_run_and_then_its_own", files_are_placed_and_put_back),
        ("what_a_changed_root_had_none_of_is_gone_again", what_lacked_is_gone_again),
        ("a_changed_root_cannot_be_left", a_changed_root_cannot_be_left),
        ("what_cannot_be_taken_away_is_not_got_back", what_cannot_be_taken_away_is_not_got_back),
        ("a_container_without_mknod_has_the_devices_that_matter", devices_without_mknod),
        ("without_a_filter_of_the_container_there_is_ours", there_is_a_filter),
        ("what_is_left_running_in_a_changed_root_is_ended", leftovers_are_ended),
        ("programs_that_start_others_for_ever_are_ended", programs_that_multiply_are_ended),
        ("a_killed_builder_leaves_no_process_in_a_changed_root", a_killed_builder_leaves_no_process),
        ("a_changed_root_has_no_network_of_its_own", no_network_of_its_own),
        ("users_of_a_changed_root_are_the_images", users_are_the_images),
    ]
}

/// A folder with a root in it, beside which there is nothing.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("fs")).unwrap();
        install_busybox(&folder.path().join("fs"));
        Self(folder)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("fs")
    }

    fn command(&self, rights: &[&str], script: &str, extra: &[&str]) -> Command {
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new("setpriv");
        command.args(rights).arg("--").arg(own).arg("unmounted").arg(self.0.path()).arg(script).args(extra);
        command
    }

    /// Runs a script, with what a container of Podman's is allowed; returns what it said.
    #[track_caller]
    fn shell(&self, script: &str) -> String {
        self.shell_with(&["--bounding-set", PODMAN], script)
    }

    #[track_caller]
    fn shell_with(&self, rights: &[&str], script: &str) -> String {
        let output = self.command(rights, script, &[]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Everything that is there, with all that may tell of a run.
    fn look(&self) -> BTreeMap<PathBuf, (u64, u32, i64, i64)> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.0.path().to_owned()];
        while let Some(path) = waiting.pop() {
            let stat = fs::symlink_metadata(&path).unwrap();
            if stat.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            // The folder around it is the test's own.
            if path != self.0.path() {
                found.insert(path, (stat.ino(), stat.mode(), stat.mtime(), stat.mtime_nsec()));
            }
        }
        found
    }
}

/// What Podman gives by default.
const PODMAN: &str = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+net_bind_service,+setfcap,+setgid,+setpcap,\
                      +setuid,+sys_chroot";

/// The builder of one run.
pub(crate) fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let folder = PathBuf::from(arguments.next().unwrap());
    let script = arguments.next().unwrap();
    rung::stand(Isolation::Only(Rung::Chroot), &folder).unwrap();
    let mut process = process(&folder, &["/bin/sh", "-c", &script]);
    process.root = Root::Directory(folder.join("fs"));
    process.mounts = vec![Mount {
        target: "/run/placed/deep".to_owned(),
        source: Source::File { content: b"placed\n".to_vec(), mode: 0o640 },
    }];
    for extra in arguments {
        match extra.as_str() {
            "none" => process.network = Network::None,
            user => process.user = user.to_owned(),
        }
    }
    let mut tell = |stream, line: &[u8]| match stream {
        Stream::Stdout => println!("{}", String::from_utf8_lossy(line)),
        Stream::Stderr => eprintln!("{}", String::from_utf8_lossy(line)),
    };
    match run(&process, &Interrupt::new(), &mut tell) {
        Ok(Exit::Code(0)) => ExitCode::SUCCESS,
        Ok(exit) => {
            eprintln!("{exit:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn files_are_placed_and_put_back() {
    let place = Place::new();
    for (name, content) in [("etc/hosts", "the image's\n"), ("etc/hostname", "image\n")] {
        fs::write(place.root().join(name), content).unwrap();
    }
    fs::create_dir_all(place.root().join("dev/own")).unwrap();
    fs::write(place.root().join("dev/own/file"), "kept").unwrap();
    let before = place.look();
    let said = place.shell(
        "grep -c localhost /etc/hosts; cat /run/placed/deep; stat -c %a /run/placed/deep; ls /sys; \
         ls /proc | grep -cx uptime; test -e /dev/own && exit 1; echo mine > /etc/hosts; echo > /dev/shm/x",
    );
    assert_eq!(said, "2\nplaced\n640\n1\n");
    let after = place.look();
    let changed: Vec<_> = after.iter().filter(|(path, found)| before.get(*path) != Some(found)).collect();
    assert_eq!((changed, after.len()), (vec![], before.len()));
    assert_eq!(fs::read_to_string(place.root().join("etc/hosts")).unwrap(), "the image's\n");
}

fn what_lacked_is_gone_again() {
    let place = Place::new();
    let before = place.look();
    place.shell("cat /etc/hosts /etc/resolv.conf > /dev/null; mv /etc /elsewhere; rm -rf /dev/shm; mv /elsewhere /etc");
    let after = place.look();
    let names = |look: &BTreeMap<PathBuf, _>| look.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before));
}

fn a_changed_root_cannot_be_left() {
    let place = Place::new();
    let said = place.shell(
        "mkdir /x && cd /x; chroot /x /bin/true 2>&1; ls -d ../../../../etc/shadow 2>&1; ls /proc/1/root 2>&1; \
         mknod /sda b 8 0 2>&1; mount -t tmpfs none /x 2>&1; true",
    );
    assert!(said.contains("chroot: can't change root directory to '/x': Operation not permitted"), "{said}");
    assert!(said.contains("../../../../etc/shadow: No such file"), "{said}");
    assert!(said.contains("/proc/1/root: No such file"), "{said}");
    assert!(said.contains("mknod: /sda: Operation not permitted"), "{said}");
    assert!(!Path::new("/sda").exists());
}

fn what_cannot_be_taken_away_is_not_got_back() {
    let place = Place::new();
    let rights = PODMAN.replace(",+setpcap", "");
    let said = place.shell_with(&["--bounding-set", &rights], "mkdir /x; chroot /x /bin/true 2>&1; true");
    assert!(said.contains("Operation not permitted"), "{said}");
}

fn devices_without_mknod() {
    let script = "echo gone > /dev/null; sleep 0.1; test -z \"$(cat /dev/null)\" || exit 1; \
                  head -c 100000 /dev/zero | tr -d '\\0' | wc -c; head -c 100000 /dev/urandom | wc -c; \
                  test \"$(head -c 16 /dev/random | md5sum)\" != \"$(head -c 16 /dev/random | md5sum)\" && echo noise";
    let place = Place::new();
    assert_eq!(place.shell(script), "0\n100000\nnoise\n");
    let said = place.shell_with(&["--bounding-set", "+all"], &format!("{script}; stat -c %F /dev/null"));
    assert_eq!(said, "0\n100000\nnoise\ncharacter special file\n");
    assert!(!place.root().join("dev").exists());
}

fn there_is_a_filter() {
    let place = Place::new();
    // Busybox makes a user namespace without any capability, if it is let.
    let script = "unshare -U true 2>&1; true";
    assert!(place.shell(script).contains("Operation not permitted"));
    assert!(place.shell_with(&["--bounding-set", "+all"], script).contains("Operation not permitted"));
}

fn is_alive(pid: &str) -> bool {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    test_kill_process(pid).is_ok()
}

fn leftovers_are_ended() {
    let place = Place::new();
    let said = place.shell(
        "sleep 1000 & echo $!; (setsid sh -c 'echo $$; trap \"\" TERM HUP INT; sleep 1000' &); sleep 0.2; \
         (sleep 1000 & echo $! ) ; true",
    );
    let pids: Vec<&str> = said.lines().collect();
    assert_eq!(pids.len(), 3, "{said}");
    for pid in pids {
        assert!(!is_alive(pid), "{pid}");
    }
}

fn programs_that_multiply_are_ended() {
    let place = Place::new();
    let marker = format!("oxbox-multiplies-{}", std::process::id());
    place.shell(&format!(
        "f() {{ (sleep 0.01; f) & (exec -a {marker} sleep 0.05) & }}; f; f; sleep 0.5; true"
    ));
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("root"));
    let inside =
        processes.filter(|root| fs::read_link(root).is_ok_and(|root| root.starts_with(place.root())));
    assert_eq!(inside.count(), 0);
}

fn a_killed_builder_leaves_no_process() {
    use std::io::BufRead as _;
    let place = Place::new();
    let mut command = place.command(&[], "echo $$; sleep 1000", &[]);
    let mut builder = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(builder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(is_alive(&line));
    builder.kill().unwrap();
    builder.wait().unwrap();
    // The init sees the end of its socket and ends what it started; nothing tells when, so it is asked.
    for _ in 0..1000 {
        if !is_alive(&line) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{line} is alive");
}

fn no_network_of_its_own() {
    let output = Place::new().command(&[], "true", &["none"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("isolation chroot cannot keep the network away"), "{said}");
}

fn users_are_the_images() {
    let place = Place::new();
    fs::set_permissions(place.root().join("root"), fs::Permissions::from_mode(0o700)).unwrap();
    let output =
        place.command(&["--bounding-set", PODMAN], "id; ls /root; echo $HOME", &["web"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "uid=33(web) gid=34(web) groups=34(web),90(log)\n/var/www\n");
}
