//! Builds of what is elsewhere: contexts, Dockerfiles, files and repositories, through the binary.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use oxbox_testdata::elsewhere::{Answer, Daemon, Repository, Web};
use support::{Oxbox, Ran};

/// A context with a file, and a Dockerfile that takes all of it.
const ALL: &str = "FROM scratch\nCOPY . /\n";

/// Runs the binary with something on standard input.
fn run_with(oxbox: &Oxbox, input: &[u8], arguments: &[&str]) -> Ran {
    let mut child = oxbox
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who does not want it all hangs up.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

/// A tar of the test's context, by the tar program.
fn tar(oxbox: &Oxbox, options: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .arg("c")
        .args(options)
        .arg(".")
        .current_dir(oxbox.path("context"))
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Builds into a folder, and returns the files there with their contents.
fn built(oxbox: &Oxbox, input: &[u8], arguments: &[&str]) -> Vec<String> {
    let out = oxbox.path("out");
    let _ = fs::remove_dir_all(&out);
    let ran = run_with(oxbox, input, &[&["build", "-o", "out"], arguments].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![out.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(&out).unwrap().display().to_string();
                found.push(format!("{name}: {}", text.trim_end().lines().next().unwrap_or_default()));
            }
        }
    }
    found.retain(|line| !line.starts_with("Dockerfile"));
    found.sort_unstable();
    found
}

/// What a build left in its state beside what it remembers.
fn leftovers(oxbox: &Oxbox) -> usize {
    ["scratch", "tmp"].iter().filter_map(|name| fs::read_dir(oxbox.root().join(name)).ok()).flatten().count()
}

#[test]
fn a_tar_is_a_context_from_standard_input_and_as_a_file() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile(ALL);
    fs::write(oxbox.path("context/.dockerignore"), "secret\n.dockerignore\n").unwrap();
    fs::write(oxbox.path("context/secret"), "").unwrap();
    for options in [&[][..], &["-z"], &["--zstd"], &["-j"], &["-J"]] {
        let tar = tar(&oxbox, options);
        assert_eq!(built(&oxbox, &tar, &["-"]), ["motd: hello"], "{options:?}");
        fs::write(oxbox.path("context.tar"), &tar).unwrap();
        assert_eq!(built(&oxbox, b"", &["context.tar"]), ["motd: hello"], "{options:?}");
    }
    assert_eq!(leftovers(&oxbox), 0);
}

#[test]
fn the_same_files_are_the_same_image_wherever_they_come_from() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile(ALL);
    let folder = oxbox.ok(["build", "context"]);
    let ran = run_with(&oxbox, &tar(&oxbox, &[]), &["build", "-"]);
    assert_eq!(ran.stdout, folder, "{}", ran.stderr);
}

#[test]
fn a_dockerfile_may_come_alone() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nLABEL wrong=1\n");
    let alone = b"FROM scratch\nCOPY <<end /greeting\nhello\nend\n";
    assert_eq!(built(&oxbox, alone, &["-"]), ["greeting: hello"]);
    assert_eq!(built(&oxbox, ALL.as_bytes(), &["-f", "-", "context"]), ["motd: hello"]);
    let web = Web::start(|_| Answer::new(200, ALL));
    assert_eq!(built(&oxbox, b"", &["-f", &web.url("/x?token=1"), "context"]), ["motd: hello"]);
    // What is wrong with it is shown by where it came from.
    let ran = run_with(&oxbox, b"FROM scratch\nCPY a b\n", &["build", "-f", "-", "context"]);
    ran.fails(2, &["standard input:2", "COPY"]);
    let web = Web::start(|_| Answer::new(200, "FROM scratch\nCOPY none /\n"));
    let url = web.url("/Dockerfile");
    run_with(&oxbox, b"", &["build", "-f", &format!("{url}?token=1"), "context"])
        .fails(1, &[&format!("{url}:2"), "none"]);
    assert_eq!(leftovers(&oxbox), 0);
}

#[test]
fn an_address_is_a_context_if_a_tar_or_a_dockerfile_is_there() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile(ALL);
    let tar = tar(&oxbox, &["-z"]);
    let web = Web::start(move |asked| match asked.path.as_str() {
        "/context.tgz" => Answer::new(200, tar.clone()),
        "/moved" => Answer::new(302, "").header("Location: /context.tgz"),
        "/Dockerfile" => Answer::new(200, "FROM scratch\nCOPY <<x /x\ny\nx\n"),
        _ => Answer::new(404, ""),
    });
    assert_eq!(built(&oxbox, b"", &[&web.url("/context.tgz")]), ["motd: hello"]);
    assert_eq!(built(&oxbox, b"", &[&web.url("/moved")]), ["motd: hello"]);
    assert_eq!(built(&oxbox, b"", &[&web.url("/Dockerfile")]), ["x: y"]);
    let none = web.url("/none");
    oxbox.run(["build", &format!("{none}?token=secret")]).fails(
        1,
        &[
            &format!("error: cannot download {none}\n"),
            &format!("{none} cannot be had: the server answered 404"),
        ],
    );
    assert_eq!(leftovers(&oxbox), 0);
}

#[test]
fn a_repository_is_a_context() {
    let oxbox = Oxbox::new();
    let repository = Repository::new(oxbox.folder(), "app");
    repository.file("Dockerfile", ALL).file("f", "old").file(".dockerignore", "*.md\n.d*").file("a.md", "");
    repository.commit("first");
    repository.git(&["tag", "v1"]);
    repository.file("f", "new").file("docs/Dockerfile", ALL).file("docs/page", "text").commit("second");
    let daemon = Daemon::start(oxbox.folder());
    let url = daemon.url("app");
    assert_eq!(built(&oxbox, b"", &[&url]), ["docs/Dockerfile: FROM scratch", "docs/page: text", "f: new"]);
    assert_eq!(built(&oxbox, b"", &[&format!("{url}#v1")]), ["f: old"]);
    assert_eq!(built(&oxbox, b"", &[&format!("{url}#:docs")]), ["page: text"]);
    assert_eq!(built(&oxbox, b"", &[&format!("{url}?tag=v1")]), ["f: old"]);
    assert_eq!(
        built(&oxbox, b"", &[&format!("{url}#main"), "-f", "docs/Dockerfile"]),
        ["docs/Dockerfile: FROM scratch", "docs/page: text", "f: new"]
    );
    oxbox.run(["build", &format!("{url}#none")]).fails(1, &["has no branch, tag or commit \"none\""]);
    oxbox.run(["build", &format!("{url}#--upload-pack=touch x")]).fails(1, &["is no branch, tag or commit"]);
    assert!(!oxbox.path("x").exists());
    oxbox
        .run(["build", &format!("{url}#main"), "-f", "none"])
        .fails(1, &["there is no none in the context", "it holds .dockerignore, Dockerfile, a.md, docs, f"]);
    assert_eq!(leftovers(&oxbox), 0);
}

#[test]
fn named_contexts_may_be_elsewhere() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile(ALL);
    let tar = tar(&oxbox, &["-z"]);
    let web = Web::start(move |_| Answer::new(200, tar.clone()));
    Repository::new(oxbox.folder(), "app").file("f", "git").commit("first");
    let daemon = Daemon::start(oxbox.folder());
    fs::write(oxbox.path("x"), "FROM base\nCOPY --from=tar motd /tar\nCOPY --from=git f /git\n").unwrap();
    fs::create_dir(oxbox.path("base")).unwrap();
    fs::write(oxbox.path("base/own"), "1").unwrap();
    let contexts = [
        "--build-context".to_owned(),
        format!("tar={}", web.url("/x.tgz")),
        "--build-context".to_owned(),
        format!("git={}", daemon.url("app")),
        "--build-context=base=base".to_owned(),
    ];
    let arguments: Vec<&str> = contexts.iter().map(String::as_str).chain(["-f", "x", "context"]).collect();
    assert_eq!(built(&oxbox, b"", &arguments), ["git: git", "own: 1", "tar: hello"]);
    let web = Web::start(|_| Answer::new(200, ALL));
    let odd = format!("tar={}", web.url("/x"));
    oxbox
        .run(["build", "--build-context", &odd, "context"])
        .fails(1, &[&format!("{} is no tar archive", web.url("/x"))]);
    assert_eq!(leftovers(&oxbox), 0);
}

#[test]
fn add_takes_files_of_servers_and_asks_them_each_time() {
    let oxbox = Oxbox::new();
    let web = Web::start(|asked| match asked.header("if-none-match") {
        Some("\"1\"") => Answer::new(304, ""),
        _ => Answer::new(200, "hello")
            .header("ETag: \"1\"")
            .header("Last-Modified: Sun, 09 Sep 2001 01:46:40 GMT"),
    });
    oxbox.dockerfile(&format!("FROM scratch\nADD {} /dir/\n", web.url("/a/file.txt")));
    assert_eq!(built(&oxbox, b"", &["context"]), ["dir/file.txt: hello"]);
    let mode = fs::metadata(oxbox.path("out/dir/file.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(web.asked().len(), 1);
    let first = oxbox.ok(["build", "context"]);
    let asked = web.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("if-none-match"), Some("\"1\""));
    // Credentials are for the server, and for no history.
    let secret = web.url("/a/file.txt").replace("//", "//user:hunter2@");
    oxbox.dockerfile(&format!("FROM scratch\nADD {secret} /dir/\n"));
    let ran = oxbox.run(["build", "-t", "secret", "context"]);
    assert!(ran.code == Some(0) && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
    assert!(!oxbox.ok(["inspect", "--json", "secret"]).contains("hunter2"));
    // user:hunter2
    assert_eq!(web.asked()[0].header("authorization"), Some("Basic dXNlcjpodW50ZXIy"));
    // With a checksum nobody is asked.
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    oxbox.dockerfile(&format!("FROM scratch\nADD --checksum={digest} {} /dir/\n", web.url("/a/file.txt")));
    let second = oxbox.ok(["build", "context"]);
    web.asked();
    oxbox.ok(["build", "context"]);
    assert_eq!(web.asked().len(), 0);
    assert_eq!(first, second, "because BuildKit's history does not tell of it either");
    let other = digest.replace("cf24", "cf25");
    oxbox.dockerfile(&format!("FROM scratch\nADD --checksum={other} {} /dir/\n", web.url("/a/file.txt")));
    oxbox.run(["build", "-t", "x", "context"]).fails(1, &[digest, &other, &web.url("/a/file.txt")]);
    assert_eq!(oxbox.run(["inspect", "x"]).code, Some(1));
    assert_eq!(leftovers(&oxbox), 0);
}

#[test]
fn a_server_that_does_not_do_is_an_error_that_says_what_it_did() {
    let oxbox = Oxbox::new();
    let web = Web::start(|asked| match asked.path.split('?').next().unwrap() {
        "/short" => Answer::new(200, "hello").cut_after(2),
        "/loop" => Answer::new(302, "").header("Location: /loop"),
        "/file" => Answer::new(302, "").header("Location: file:///etc/passwd"),
        _ => Answer::new(403, "no"),
    });
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, told) in [
        (web.url("/short"), "broke"),
        (web.url("/loop"), "after 10 redirects"),
        (web.url("/file"), "which is not HTTP"),
        (web.url("/denied"), "403 Forbidden"),
        (format!("http://{free}/x"), "cannot reach"),
        (web.url("/x").replace("http:", "https:"), "cannot reach https:"),
    ] {
        let secret = url.replace("//", "//user:hunter2@") + "?token=hunter2";
        oxbox.dockerfile(&format!("FROM scratch\nADD {secret} /\n"));
        let ran = oxbox.run(["build", "-t", "x", "context"]);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        ran.fails(1, &["context/Dockerfile:2", told]);
    }
    assert_eq!(oxbox.json(["images", "--json"]), serde_json::json!([]));
    assert_eq!(leftovers(&oxbox), 0);
}

#[test]
fn add_takes_repositories() {
    let oxbox = Oxbox::new();
    let repository = Repository::new(oxbox.folder(), "app");
    let commit = repository.file("f", "1").file("sub/g", "2").commit("first");
    let daemon = Daemon::start(oxbox.folder());
    let url = daemon.url("app");
    oxbox.dockerfile(&format!("FROM scratch\nADD {url}#main:sub /dir/\nADD --checksum={commit} {url} /\n"));
    assert_eq!(built(&oxbox, b"", &["context"]), ["dir/g: 2", "f: 1", "sub/g: 2"]);
    daemon.connections();
    let ran = oxbox.run(["build", "context"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!ran.stderr.contains("DONE 0.1"), "{}", ran.stderr);
    assert_eq!(daemon.connections(), 2, "one question for each of them");
    oxbox.dockerfile(&format!("FROM scratch\nADD --keep-git-dir {url} /\n"));
    oxbox.ok(["build", "-o", "out", "context"]);
    assert_eq!(fs::read_to_string(oxbox.path("out/.git/HEAD")).unwrap().trim_end(), commit);
    oxbox.dockerfile(&format!("FROM scratch\nADD --checksum=0123456 {url} /\n"));
    oxbox.run(["build", "context"]).fails(1, &[&commit, "0123456"]);
    assert_eq!(leftovers(&oxbox), 0);
}

#[test]
fn without_git_it_is_said_what_is_missing() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nADD git://127.0.0.1:1/x.git /\n");
    for arguments in [["build", "context"], ["build", "git://127.0.0.1:1/x.git"]] {
        let output = oxbox.command(arguments).env("PATH", "/nowhere").output().unwrap();
        Ran::from(output).fails(1, &["git is not installed", "hint: install git"]);
    }
}

#[test]
fn what_is_no_context_is_refused() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile(ALL);
    let whole = tar(&oxbox, &["-z"]);
    run_with(&oxbox, b"", &["build", "-"]).fails(1, &["standard input is empty"]);
    run_with(&oxbox, b"", &["build", "-f", "-", "context"]).fails(1, &["standard input is empty"]);
    run_with(&oxbox, b"\x7fELF\0", &["build", "-"])
        .fails(1, &["standard input is no tar archive and no Dockerfile"]);
    fs::write(oxbox.path("context/big"), vec![b'x'; 4 << 20]).unwrap();
    for options in [&[][..], &["-z"], &["--zstd"], &["-j"], &["-J"]] {
        let long = tar(&oxbox, options);
        let cut = &long[..long.len() - long.len() / 4];
        // Of what is packed in few blocks, nothing may be there to tell that it was one.
        run_with(&oxbox, cut, &["build", "-"]).fails(1, &["error: ", "standard input"]);
    }
    fs::remove_file(oxbox.path("context/big")).unwrap();
    run_with(&oxbox, &whole, &["build", "-f", "-", "-"]).fails(2, &["cannot both come from standard input"]);
    fs::write(oxbox.path("text"), ALL).unwrap();
    oxbox.run(["build", "text"]).fails(1, &["text is no tar archive"]);
    oxbox.run(["build", "nowhere"]).fails(1, &["nowhere"]);
    oxbox.run(["build", "https://q.io/x.git?odd=1"]).fails(2, &["cannot be used as a context", "odd"]);
    fs::remove_file(oxbox.path("context/Dockerfile")).unwrap();
    run_with(&oxbox, &tar(&oxbox, &[]), &["build", "-"])
        .fails(1, &["no Containerfile or Dockerfile in the context", "it holds motd"]);
    oxbox.run(["build", "context"]).fails(1, &["no Containerfile or Dockerfile in context", "it holds motd"]);
    assert_eq!(leftovers(&oxbox), 0);
}

#[test]
fn a_tar_context_shows_nothing_of_this_machine() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile(ALL);
    fs::write(oxbox.path("secret"), "FROM hunter2\n").unwrap();
    fs::remove_file(oxbox.path("context/Dockerfile")).unwrap();
    symlink(oxbox.path("secret"), oxbox.path("context/Dockerfile")).unwrap();
    let ran = run_with(&oxbox, &tar(&oxbox, &[]), &["build", "-"]);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    ran.fails(1, &["no Containerfile or Dockerfile in the context"]);
}

#[test]
fn checks_work_on_what_is_elsewhere() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nmaintainer me\n");
    let ran = run_with(&oxbox, &tar(&oxbox, &[]), &["build", "--check", "-"]);
    assert!(ran.stdout.contains("--> Dockerfile:2:1"), "{}{}", ran.stdout, ran.stderr);
    let ran = run_with(&oxbox, b"FROM scratch AS a\n", &["build", "--call=targets", "-"]);
    assert!(ran.stdout.contains("a (default)"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn what_a_killed_build_left_is_removed_by_the_next() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile(ALL);
    let mut child = oxbox.command(["build", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than is looked at before the folder is made, and not all of it.
    fs::write(oxbox.path("context/big"), vec![b'x'; 2 << 20]).unwrap();
    let tar = tar(&oxbox, &[]);
    stdin.write_all(&tar[..tar.len() - 4096]).unwrap();
    while leftovers(&oxbox) == 0 {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(leftovers(&oxbox), 1);
    assert_eq!(built(&oxbox, b"FROM scratch\nCOPY <<x /x\ny\nx\n", &["-"]), ["x: y"]);
    assert_eq!(leftovers(&oxbox), 0);
}

#[test]
fn a_repository_is_reached_by_ssh_as_the_user_does() {
    let oxbox = Oxbox::new();
    Repository::new(oxbox.folder(), "app").file("Dockerfile", ALL).file("f", "1").commit("first");
    // It does what the other side would be asked to do, which is the last of its arguments.
    let ssh = oxbox.path("ssh");
    fs::write(&ssh, "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n").unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let path = oxbox.path("app.git");
    for url in [format!("git@127.0.0.1:{}", path.display()), format!("ssh://git@127.0.0.1{}", path.display())]
    {
        let _ = fs::remove_dir_all(oxbox.path("out"));
        let output =
            oxbox.command(["build", "-o", "out", &url]).env("GIT_SSH_COMMAND", &ssh).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs::read_to_string(oxbox.path("out/f")).unwrap(), "1");
    }
}

#[test]
fn a_signal_ends_what_waits_for_somebody_elsewhere() {
    let oxbox = Oxbox::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    oxbox.dockerfile(&format!("FROM scratch\nADD http://{address}/file /\n"));
    for context in ["context".to_owned(), format!("http://{address}/x.tar"), format!("git://{address}/x.git")]
    {
        let child = oxbox.command(["build", &context]).stderr(Stdio::piped()).spawn().unwrap();
        // It is asked, and never answers.
        let connection = silent.accept().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(130), "{context}: {}", ran.stderr);
        drop(connection);
        assert_eq!(leftovers(&oxbox), 0, "{context}");
    }
}
