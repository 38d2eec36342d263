//! The image's config and history.

use super::super::{Edits, Options};
use super::{container, history, options, plan_with, planned};

#[test]
fn entrypoint_drops_an_inherited_command_but_not_the_stages_own() {
    let command = |source: &str| container(&planned(source)).cmd.clone();
    assert_eq!(command("FROM full\nENTRYPOINT [\"e\"]\n"), None);
    assert_eq!(command("FROM full\nCMD [\"c\"]\nENTRYPOINT [\"e\"]\n"), Some(vec!["c".to_owned()]));
    assert_eq!(command("FROM full AS a\nCMD [\"c\"]\nFROM a\nENTRYPOINT [\"e\"]\n"), None);
}

#[test]
fn an_empty_entrypoint_is_none_and_an_empty_command_is_empty() {
    let plan = planned("FROM full\nENTRYPOINT []\nCMD []\n");
    assert_eq!(container(&plan).entrypoint, None);
    assert_eq!(container(&plan).cmd.as_deref(), Some(&[][..]));
    assert_eq!(container(&plan).args_escaped, Some(true));
}

#[test]
fn the_shell_wraps_commands_of_the_lines_after_it() {
    let plan = planned("FROM alpine\nCMD a\nSHELL [\"/s\", \"-c\"]\nENTRYPOINT b\nHEALTHCHECK CMD c\n");
    let found = container(&plan);
    assert_eq!(found.cmd.as_ref().unwrap()[0], "/bin/sh");
    assert_eq!(found.entrypoint.as_ref().unwrap()[..], ["/s", "-c", "b"]);
    assert_eq!(found.healthcheck.as_ref().unwrap().test.as_ref().unwrap()[..], ["CMD-SHELL", "c"]);
    assert_eq!(found.shell.as_ref().unwrap()[..], ["/s", "-c"]);
}

#[test]
fn a_volume_is_a_mark_and_no_layer() {
    let plan = planned("FROM alpine\nVOLUME /v\n");
    assert_eq!(plan.graph.vertices.len(), 1);
    assert!(container(&plan).volumes.as_ref().unwrap().contains_key("/v"));
}

#[test]
fn ports_are_listed_in_the_order_of_their_words() {
    let plan = planned("FROM alpine\nENV p='1 2/udp'\nEXPOSE 90 443/TCP 80-81 $p\n");
    assert_eq!(history(&plan)[1], "EXPOSE [1/tcp 2/udp 443/tcp 80/tcp 81/tcp 90/tcp]");
}

#[test]
fn labels_of_the_caller_win_and_are_the_targets_only() {
    let labels = [("a".to_owned(), "given".to_owned())].into();
    let plan = plan_with(
        "FROM alpine\nLABEL a=file b=file\n",
        &Options { edits: Edits { labels, ..Edits::default() }, ..options() },
    );
    let found: Vec<_> = container(&plan).labels.as_ref().unwrap().values().collect();
    assert_eq!(found, ["given", "file"]);
    assert_eq!(history(&plan), ["LABEL a=file b=file"]);
}

#[test]
fn the_base_keeps_what_nobody_changed() {
    let plan = planned("FROM full\nUSER new\n");
    assert_eq!(plan.results[0].config.other["docker_version"], "kept");
    assert_eq!(container(&plan).other["Hostname"], "kept");
    assert_eq!(plan.results[0].config.history.as_ref().unwrap().len(), 2);
}

#[test]
fn environment_is_replaced_in_place_and_appended() {
    let plan = planned("FROM full\nENV Z=1 A=2\nENV Z=3\n");
    let environment = container(&plan).env.as_ref().unwrap();
    assert_eq!((environment[0].as_str(), environment[1].as_str()), ("A=2", "B=base"));
    assert_eq!(environment.last().unwrap(), "Z=3");
}

#[test]
fn the_platform_asked_for_is_that_of_the_image() {
    let asked = |platform: &str| Options { platforms: vec![platform.parse().unwrap()], ..options() };
    let config =
        plan_with("FROM --platform=linux/amd64 full\n", &asked("linux/arm/v6")).results.remove(0).config;
    assert_eq!((config.architecture.as_str(), config.variant.as_deref()), ("arm", Some("v6")));
    let config = plan_with("FROM scratch\n", &asked("linux/arm64/v8")).results.remove(0).config;
    assert_eq!((config.architecture.as_str(), config.variant), ("arm64", None));
}

#[test]
fn lines_of_history_have_buildkits_forms() {
    let plan = planned(
        "FROM alpine\nARG A=b\nRUN make\nCOPY --chown=1 src dst\nWORKDIR /x\nENV k=v l=\"a b\"\nCMD x\n\
         EXPOSE 80\nUSER u\nVOLUME /v\nMAINTAINER me\nSHELL [\"/s\", \"-c\"]\nONBUILD RUN x\n",
    );
    assert_eq!(
        history(&plan),
        [
            "ARG A=b",
            "RUN |1 A=b /bin/sh -c make # buildkit",
            "COPY --chown=1 src dst # buildkit",
            "WORKDIR /x",
            "ENV k=v l=a b",
            "CMD [\"/bin/sh\" \"-c\" \"x\"]",
            "EXPOSE [80/tcp]",
            "USER u",
            "VOLUME [/v]",
            "MAINTAINER me",
            "SHELL [/s -c]",
        ]
    );
    let layers: Vec<_> = plan.results[0].history.iter().map(|line| line.vertex.is_some()).collect();
    assert_eq!(layers[..5], [false, true, true, true, false]);
    assert!(layers[5..].iter().all(|layer| !layer));
}

#[test]
fn arguments_in_the_history_are_told_once_in_the_order_of_declaration() {
    let plan = planned("FROM alpine\nARG B=1\nARG A=2\nARG B=3\nENV A=4\nRUN x\n");
    assert_eq!(history(&plan).last(), Some(&"RUN |2 B=3 A=4 /bin/sh -c x # buildkit"));
}
