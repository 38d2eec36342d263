//! Control groups: what all processes of a RUN may use together.

use std::fs;
use std::path::{Path, PathBuf};

use oxbox_builder::exec::Exit;
use oxbox_builder::exec::cgroup::{Group, Reached, sweep};
use oxbox_builder::exec::sandbox::resources::{Quota, Resources, Swap};

use crate::room::{Ran, Room, ran};

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![
        ("a_fork_bomb_is_contained", a_fork_bomb_is_contained),
        ("memory_is_limited", memory_is_limited),
        ("processors_and_their_time_are_limited", processors_and_their_time_are_limited),
        ("a_group_goes_with_its_run", a_group_goes_with_its_run),
        ("a_group_is_made_in_the_parent_that_is_named", a_group_is_made_in_the_parent_that_is_named),
        ("a_parent_that_is_made_can_be_entered", a_parent_that_is_made_can_be_entered),
        ("what_a_killed_builder_left_running_is_swept", what_a_killed_builder_left_running_is_swept),
        ("a_limit_that_the_kernel_refuses_is_told", a_limit_that_the_kernel_refuses_is_told),
    ]
}

/// Runs with limits, and tells which were reached; `None` where there are none to be had.
fn bounded(resources: &Resources, script: &str) -> Option<(Ran, Vec<Reached>)> {
    let room = Room::busybox();
    let group = group(resources, room.path())?;
    let mut process = room.process(&["/bin/sh", "-c", script]);
    group.try_entering().unwrap();
    process.sandbox.groups = group.entrances();
    Some((ran(&process).unwrap(), group.reached()))
}

fn group(resources: &Resources, state: &Path) -> Option<Group> {
    let (group, lacking) = Group::make(resources, state).unwrap();
    match lacking.first() {
        None => Some(group),
        Some(lacking) => {
            eprintln!("SKIPPED: no control groups for --{}: {}", lacking.option, lacking.reason);
            None
        }
    }
}

fn a_fork_bomb_is_contained() {
    let resources = Resources { pids: Some(20), ..Resources::default() };
    // Each copy makes two more until no more can be made; then the shell gives up.
    let Some((ran, reached)) = bounded(
        &resources,
        "bomb() { bomb | bomb & }; bomb; n=0; \
        while [ $n -lt 200 ]; do n=$((n + 1)); (exit 0) || echo refused; done 2>/dev/null; echo over",
    ) else {
        return;
    };
    let said = String::from_utf8(ran.stderr.concat()).unwrap();
    assert!(said.contains("can't fork") || ran.exit != Exit::Code(0), "{ran:?}");
    assert_eq!(reached, [Reached::Processes]);
}

fn memory_is_limited() {
    let resources = Resources {
        memory_bytes: Some(32 << 20),
        memory_and_swap: Some(Swap::Bytes(32 << 20)),
        ..Resources::default()
    };
    // A shell variable of 64 MiB.
    let Some((ran, reached)) =
        bounded(&resources, "x=$(head -c 67108864 /dev/zero | tr '\\0' x); echo ${#x}")
    else {
        return;
    };
    assert_ne!(ran.exit, Exit::Code(0), "{ran:?}");
    assert_eq!(reached, [Reached::Memory]);
    let (ran, reached) =
        bounded(&resources, "x=$(head -c 1048576 /dev/zero | tr '\\0' x); echo ${#x}").unwrap();
    assert_eq!((ran.text().as_str(), reached), ("1048576", Vec::new()));
}

fn processors_and_their_time_are_limited() {
    let resources = Resources {
        cpus: Some("0".to_owned()),
        cpu_quota: Quota::of_cpus(0.5),
        cpu_shares: Some(512),
        ..Resources::default()
    };
    let room = Room::busybox();
    let Some(group) = group(&resources, room.path()) else { return };
    let mut process = room.process(&["grep", "Cpus_allowed_list", "/proc/self/status"]);
    process.sandbox.groups = group.entrances();
    assert_eq!(ran(&process).unwrap().text(), "Cpus_allowed_list:\t0");
    let quota = group.entrances().iter().find_map(|entrance| {
        let folder = entrance.parent().unwrap();
        ["cpu.cfs_quota_us", "cpu.max"].iter().find_map(|name| fs::read_to_string(folder.join(name)).ok())
    });
    assert!(quota.unwrap().starts_with("50000"));
}

/// The folders of a group.
fn folders(group: &Group) -> Vec<PathBuf> {
    group.entrances().iter().map(|entrance| entrance.parent().unwrap().to_owned()).collect()
}

fn a_group_goes_with_its_run() {
    let state = tempfile::tempdir().unwrap();
    let resources = Resources { pids: Some(9), memory_bytes: Some(64 << 20), ..Resources::default() };
    let Some(group) = group(&resources, state.path()) else { return };
    let folders = folders(&group);
    assert!(!folders.is_empty() && folders.iter().all(|folder| folder.exists()));
    assert_eq!(fs::read_dir(state.path().join("groups")).unwrap().count(), 1);
    drop(group);
    assert!(folders.iter().all(|folder| !folder.exists()));
    assert_eq!(fs::read_dir(state.path().join("groups")).unwrap().count(), 0);
}

fn a_group_is_made_in_the_parent_that_is_named() {
    let state = tempfile::tempdir().unwrap();
    let name = format!("oxbox-test-{}", std::process::id());
    let parent = Some(PathBuf::from(format!("/{name}/inner")));
    let Some(group) = group(&Resources { pids: Some(9), parent, ..Resources::default() }, state.path())
    else {
        return;
    };
    let folders = folders(&group);
    assert!(
        folders.iter().all(|folder| folder.parent().unwrap().ends_with(format!("{name}/inner"))),
        "{folders:?}"
    );
    drop(group);
    remove_parents(&folders);
}

/// Removes what was made for groups to be in: in version 1 there is one for each controller.
fn remove_parents(folders: &[PathBuf]) {
    for parent in folders.iter().filter_map(|folder| folder.parent()) {
        fs::remove_dir(parent).unwrap();
        fs::remove_dir(parent.parent().unwrap()).unwrap();
    }
}

fn a_parent_that_is_made_can_be_entered() {
    let state = tempfile::tempdir().unwrap();
    let name = format!("oxbox-test-entered-{}", std::process::id());
    let parent = Some(PathBuf::from(format!("/{name}/inner")));
    let (group, lacking) = Group::make(&Resources { parent, ..Resources::default() }, state.path()).unwrap();
    if let Some(lacking) = lacking.first() {
        eprintln!("SKIPPED: no control groups: {}", lacking.reason);
        return;
    }
    let entered = group.try_entering();
    let folders = folders(&group);
    drop(group);
    remove_parents(&folders);
    // In version 1 a new group of cpuset has no processors, and lets nobody in.
    entered.unwrap();
}

fn what_a_killed_builder_left_running_is_swept() {
    let state = tempfile::tempdir().unwrap();
    let Some(group) = group(&Resources { pids: Some(9), ..Resources::default() }, state.path()) else {
        return;
    };
    let folder = folders(&group).remove(0);
    let mut child = std::process::Command::new("sleep").arg("100000").spawn().unwrap();
    fs::write(folder.join("cgroup.procs"), child.id().to_string()).unwrap();
    // As the record of somebody who is dead.
    let records = state.path().join("groups");
    let record = fs::read_dir(&records).unwrap().next().unwrap().unwrap().path();
    let text = fs::read(&record).unwrap();
    fs::remove_file(&record).unwrap();
    fs::write(&record, text).unwrap();
    sweep(state.path()).unwrap();
    assert!(!folder.exists() && !record.exists());
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

fn a_limit_that_the_kernel_refuses_is_told() {
    let state = tempfile::tempdir().unwrap();
    let resources = Resources { cpus: Some("100000".to_owned()), ..Resources::default() };
    let (_, lacking) = Group::make(&resources, state.path()).unwrap();
    assert_eq!(lacking.iter().map(|one| one.option).collect::<Vec<_>>(), ["cpuset-cpus"]);
}
