//! Images of unusual shape: a root of a few packages, images with triggers, and one for each machine.

use std::fs;

use crate::workshop::{Workshop, projects};

#[test]
fn a_root_of_a_few_packages_has_no_shell() {
    let workshop = Workshop::open();
    let image = workshop.build("distroless");
    let loaded = image.is_as_expected().pulled();
    assert_eq!(loaded.run(&[], &[]), "2001-09-09 07:16:40 +0530 as 65532 in /home/nonroot\n");
    let root = loaded.root();
    assert!(!root.join("usr/bin/sh").exists());
    assert_eq!(fs::read_link(root.join("lib")).unwrap().to_str(), Some("usr/lib"));
    assert!(root.join("usr/lib/zone.c").is_file(), "copied through the link");
    let packages: Vec<String> = fs::read_dir(root.join("var/lib/dpkg/status.d"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(packages.len(), 5, "{packages:?}");
}

#[test]
fn what_a_parent_wants_done_is_done_in_its_child_alone() {
    let workshop = Workshop::open();
    let folder = projects().join("onbuild");
    let arguments = ["--build-arg", "SITE=seaside"];
    let parent = workshop.build_with("parent", &folder.join("parent"), &[]);
    parent.is_as_expected();
    let child = workshop.build_with("child", &folder.join("child"), &arguments);
    let loaded = child.is_as_expected().loaded();
    let said = loaded.run(&[], &[]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["seaside as app in /opt/app/public", "index"]);
    assert!(lines[2].starts_with("-rw-------") && lines[2].contains("root"), "{}", lines[2]);
    let page = loaded.root().join("opt/app/page.html");
    assert_eq!(fs::read_to_string(page).unwrap(), "<p>seaside by 3.1</p>\n");
    assert_eq!(fs::read_to_string(loaded.root().join("etc/site")).unwrap(), "name: seaside\nby: 3.1\n");
    assert!(fs::read_to_string(loaded.root().join("seen")).unwrap().contains("app:x:"));
    let grandchild = workshop.build_with("grandchild", &folder.join("grandchild"), &[]);
    let loaded = grandchild.is_as_expected().pulled();
    assert_eq!(loaded.run(&[], &["cat copy.txt"]), "name: seaside\nby: 3.1\n");
}

#[test]
fn one_dockerfile_builds_for_each_machine() {
    let workshop = Workshop::open();
    for (platform, machine, name) in [
        ("linux/amd64", "x86_64", "amd64"),
        ("linux/arm64", "aarch64", "arm64"),
        ("linux/arm/v7", "armv7l", "armv7"),
    ] {
        let context = projects().join("probe");
        let image = workshop.build_with("probe", &context, &["--platform", platform]);
        let config = image.config();
        assert_eq!(
            format!("linux/{}", config["config"]["Labels"]["arch"].as_str().unwrap()),
            *platform.trim_end_matches("/v7")
        );
        let loaded = image.pulled();
        let read = |path| fs::read_to_string(loaded.root().join(path)).unwrap();
        assert_eq!(read("machine"), format!("{machine} for {platform} by linux/amd64\n"));
        assert_eq!(read("probe"), format!("probe for {name}\n"));
        assert!(loaded.root().join(format!("all/probe-{name}")).exists());
    }
    let mut unsupported = workshop.command(["build", "--platform", "linux/s390x"]);
    let output = unsupported.arg(projects().join("probe")).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("probe-s390x"), "no such stage");
}
