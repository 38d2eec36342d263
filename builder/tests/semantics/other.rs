//! Section 4: the instructions that are neither COPY nor ADD.

use oxbox_builder::dockerfile::ParseErrorKind;
use oxbox_builder::plan::graph::{Mount, MountFiles, MountTree};
use oxbox_builder::plan::{Op, PlanErrorKind};

use crate::given::{
    container, given, history, planned, planned_with, result, runs, unparsed, unplanned, variable,
};

/// Paths and owners of what WORKDIRs make.
fn workdirs(source: &str) -> Vec<(String, String)> {
    let vertices = planned(source).graph.vertices.into_iter();
    let workdir = |op| if let Op::Workdir(made) = op { Some((made.path, made.user)) } else { None };
    vertices.filter_map(|vertex| workdir(vertex.op)).collect()
}

#[test]
fn s38_a_workdir_joins_the_one_before_is_clean_and_made_for_the_user() {
    let made = workdirs("FROM base\nENV d=c\nWORKDIR /a/b/\nUSER u:g\nWORKDIR ./$d/../e\nWORKDIR /x//y\n");
    let wanted = [("/a/b", ""), ("/a/b/e", "u:g"), ("/x/y", "u:g")];
    assert_eq!(made, wanted.map(|(path, user)| (path.to_owned(), user.to_owned())));
    let plan = planned("FROM base\nWORKDIR /a/b/\nWORKDIR /\n");
    assert_eq!(history(&plan), ["WORKDIR /a/b", "WORKDIR /"]);
    let layers: Vec<_> = result(&plan).history.iter().map(|line| line.vertex.is_some()).collect();
    assert_eq!((layers, container(&plan).working_dir.as_deref()), (vec![true, false], Some("/")));
}

#[test]
fn s39_a_user_is_anything_until_something_runs_as_it() {
    let plan = planned("FROM base\nENV u=no\nUSER ${u}body:7\nRUN x\nUSER 4242\nRUN y\n");
    let users: Vec<_> = runs(&plan).into_iter().map(|run| run.user.as_str()).collect();
    assert_eq!(users, ["nobody:7", "4242"]);
    assert_eq!(container(&plan).user.as_deref(), Some("4242"));
}

#[test]
fn s40_an_entrypoint_drops_an_inherited_command_but_not_the_stages_own() {
    let command = |source: &str| container(&planned(source)).cmd.clone();
    assert_eq!(command("FROM full\nENTRYPOINT [\"e\"]\n"), None);
    assert_eq!(command("FROM full\nCMD [\"c\"]\nENTRYPOINT [\"e\"]\n"), Some(vec!["c".to_owned()]));
    assert_eq!(command("FROM full AS a\nCMD [\"c\"]\nFROM a\nENTRYPOINT [\"e\"]\n"), None);
    let plan = planned("FROM full\nENTRYPOINT []\nCMD []\n");
    assert_eq!((container(&plan).entrypoint.clone(), container(&plan).cmd.clone()), (None, Some(Vec::new())));
    assert_eq!(container(&plan).args_escaped, Some(true));
}

#[test]
fn s41_a_shell_stays_and_wraps_what_comes_after_it() {
    let plan = planned("FROM base\nCMD a\nSHELL [\"/s\", \"-c\"]\nRUN r\nENTRYPOINT b\nHEALTHCHECK CMD h\n");
    let found = container(&plan);
    assert_eq!(found.cmd.as_ref().unwrap()[..], ["/bin/sh", "-c", "a"]);
    assert_eq!(runs(&plan)[0].args, ["/s", "-c", "r"]);
    assert_eq!(found.entrypoint.as_ref().unwrap()[..], ["/s", "-c", "b"]);
    assert_eq!(found.healthcheck.as_ref().unwrap().test.as_ref().unwrap()[..], ["CMD-SHELL", "h"]);
    assert_eq!(found.shell.as_ref().unwrap()[..], ["/s", "-c"]);
    assert!(matches!(unparsed("FROM a\nSHELL sh -c\n"), ParseErrorKind::NotJson { .. }));
}

#[test]
fn s42_triggers_run_right_after_from_once_and_may_need_stages_of_their_own() {
    let plan = planned("FROM base AS tools\nRUN tools\nFROM trigger AS a\nRUN x\nFROM a\nRUN y\n");
    let lines: Vec<_> = runs(&plan).into_iter().map(|run| run.args[2].as_str()).collect();
    assert_eq!(lines, ["tools", "t", "x", "y"]);
    assert_eq!(container(&plan).on_build, None);
    let plan = planned("FROM base AS a\nONBUILD RUN <<E\n$b\nE\nONBUILD COPY a  b\nFROM a\nRUN y\n");
    let lines: Vec<_> = runs(&plan).into_iter().map(|run| run.args[2].as_str()).collect();
    assert_eq!(lines, ["$b\n", "y"]);
    let plan = planned("FROM base\nONBUILD RUN <<E\n$b\nE\nONBUILD copy a  b\n");
    assert_eq!(container(&plan).on_build.as_ref().unwrap()[..], ["RUN <<E\n$b\nE", "copy a  b"]);
    for trigger in ["ONBUILD RUN x", "FROM x", "MAINTAINER x"] {
        let kind = unparsed(&format!("FROM a\nONBUILD {trigger}\n"));
        assert!(matches!(kind, ParseErrorKind::InvalidTrigger { .. }), "{trigger}");
    }
}

#[test]
fn s43_a_volume_is_a_mark_and_takes_nothing_away() {
    let plan = planned("FROM base\nVOLUME /v w\nRUN x\nVOLUME [\"/a b\"]\n");
    let volumes: Vec<_> = container(&plan).volumes.as_ref().unwrap().keys().collect();
    assert_eq!(volumes, ["/a b", "/v", "w"]);
    assert_eq!(plan.graph.vertices.len(), 2, "no directory is made");
}

#[test]
fn s44_other_instructions_only_write_the_config() {
    let mut options = given(&[]);
    options.edits.labels.insert("a".to_owned(), "given".to_owned());
    let source = "FROM base\nENV p='9 8/udp'\nEXPOSE 443/TCP 80-82/udp $p\nSTOPSIGNAL SIGINT\nLABEL a=file b=c\n\
                  MAINTAINER me\nHEALTHCHECK --interval=1m30s --retries=0 CMD x\n";
    let plan = planned_with(source, &options);
    let found = container(&plan);
    assert_eq!(history(&plan)[1], "EXPOSE [9/tcp 8/udp 443/tcp 80/udp 81/udp 82/udp]");
    assert_eq!(found.exposed_ports.as_ref().unwrap().len(), 6);
    assert_eq!(found.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(found.labels.as_ref().unwrap().values().collect::<Vec<_>>(), ["given", "c"]);
    assert_eq!(result(&plan).config.author.as_deref(), Some("me"));
    assert_eq!(found.healthcheck.as_ref().unwrap().interval, Some(90_000_000_000));
    let none = planned("FROM base\nHEALTHCHECK NONE\n");
    assert_eq!(container(&none).healthcheck.as_ref().unwrap().test.as_ref().unwrap()[..], ["NONE"]);
    assert!(matches!(unplanned("FROM base\nEXPOSE x\n"), PlanErrorKind::InvalidPort { .. }));
    assert!(matches!(unplanned("FROM base\nSTOPSIGNAL x\n"), PlanErrorKind::InvalidSignal { .. }));
    let kind = unparsed("FROM base\nHEALTHCHECK --timeout=1us CMD x\n");
    assert!(matches!(kind, ParseErrorKind::DurationTooShort { .. }));
}

/// The mounts of a RUN below `/w`, after an ENV and beside a stage.
fn mounts(flags: &str) -> Vec<Mount> {
    let source = format!("FROM base AS s\nRUN s\nFROM base\nWORKDIR /w\nENV d=dir n=7\nRUN {flags} x\n");
    let options = given(&[("BUILDKIT_CACHE_MOUNT_NS", "")]);
    runs(&planned_with(&source, &options)).last().unwrap().mounts.clone()
}

#[test]
fn s46_targets_of_mounts_are_expanded_and_joined_and_a_bind_is_read_only() {
    let [Mount::Bind { target, files, read_only }] = &mounts("--mount=target=$d/x,source=../$d")[..] else {
        panic!()
    };
    let context = MountFiles { tree: MountTree::Context(None), path: "dir".to_owned() };
    assert_eq!((target.as_str(), files, *read_only), ("/w/dir/x", &context, true));
    let [Mount::Bind { files, read_only, .. }] = &mounts("--mount=type=bind,from=S,target=/t,rw")[..] else {
        panic!()
    };
    assert!(matches!(files.tree, MountTree::Vertex(_)));
    assert!(!read_only, "what is written is lost");
    assert!(matches!(&mounts("--mount=source=x")[0], Mount::Bind { target, .. } if target == "/w"));
    for flags in ["target=/", "target=/w/..", "type=tmpfs,target=../", "type=cache,target=//"] {
        let kind = unplanned(&format!("FROM base\nWORKDIR /w\nRUN --mount={flags} x\n"));
        assert!(matches!(kind, PlanErrorKind::MountOnRoot), "{flags}: {kind:?}");
    }
    assert!(matches!(unparsed("FROM a\nRUN --mount=from=$d,target=/x y\n"), ParseErrorKind::VariableInFrom));
    assert!(
        matches!(unplanned("FROM base\nRUN --mount=from=0,target=/x y\n"), PlanErrorKind::Base { .. }),
        "no number"
    );
}

#[test]
fn s46_a_cache_is_known_by_its_clean_target() {
    let [Mount::Cache { target, id, files, owner, .. }] =
        &mounts("--mount=type=cache,target=./$d/,uid=$n,mode=0700")[..]
    else {
        panic!()
    };
    assert_eq!((target.as_str(), id.as_str(), files), ("/w/dir", "dir", &None));
    assert_eq!((owner.uid, owner.gid, owner.mode), (Some(7), None, Some(0o700)));
    let source = "FROM base\nRUN --mount=type=cache,target=/c/. x\n";
    let plan = planned_with(source, &given(&[("BUILDKIT_CACHE_MOUNT_NS", "mine")]));
    assert!(matches!(&runs(&plan)[0].mounts[0], Mount::Cache { id, .. } if id == "mine//c"));
}

#[test]
fn s46_a_secret_is_a_file_unless_only_a_variable_is_asked_for() {
    let file = |flags: &str| match &mounts(flags)[..] {
        [Mount::Secret { target, env, required, .. }] => (target.clone(), env.clone(), *required),
        other => panic!("{other:?}"),
    };
    assert_eq!(file("--mount=type=secret,id=a/b"), (Some("/run/secrets/b".into()), None, false));
    assert_eq!(file("--mount=type=secret,id=a,env=E"), (None, Some("E".into()), false));
    let both = file("--mount=type=secret,id=a,env=E,target=t,required");
    assert_eq!(both, (Some("/w/t".into()), Some("E".into()), true));
}

#[test]
fn s46_agents_are_numbered_and_the_first_is_told_to_programs_but_is_no_part_of_the_key() {
    let plan = planned("FROM base\nRUN --mount=type=ssh --mount=type=ssh,id=x,required y\n");
    let run = runs(&plan)[0];
    let sockets: Vec<_> = run
        .mounts
        .iter()
        .map(|mount| {
            if let Mount::Ssh { id, target, .. } = mount { (id.as_str(), target.as_str()) } else { panic!() }
        })
        .collect();
    assert_eq!(sockets, [("default", "/run/buildkit/ssh_agent.0"), ("x", "/run/buildkit/ssh_agent.1")]);
    assert_eq!(variable(run, "SSH_AUTH_SOCK"), Some("/run/buildkit/ssh_agent.0"));
    assert_eq!(run.env_outside_key, ["SSH_AUTH_SOCK"]);
    assert_eq!(history(&plan), ["RUN /bin/sh -c y # buildkit"], "mounts leave no trace in the history");
}
