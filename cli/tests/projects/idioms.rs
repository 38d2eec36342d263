//! Odd ways to write a Dockerfile: what they come to is written down here, and buildah must agree where it can.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::workshop::Workshop;

/// What buildah's RUN leaves behind: the points on which it mounts.
const MOUNT_POINTS: [&str; 7] = ["dev", "etc/hostname", "etc/hosts", "etc/resolv.conf", "proc", "run", "sys"];

/// A Dockerfile with what it makes: the file `/said`, and some fields of the config.
struct Idiom {
    name: &'static str,
    dockerfile: &'static str,
    said: &'static str,
    config: Value,
}

impl Idiom {
    /// Builds it here alone, for what buildah does not know or does otherwise.
    #[track_caller]
    fn holds(&self) {
        self.check(&Workshop::open(), None);
    }

    /// Builds it here and with buildah.
    #[track_caller]
    fn holds_everywhere(&self) {
        self.holds_everywhere_but(&[]);
    }

    /// The same, with paths that buildah makes for a reason of its own.
    #[track_caller]
    fn holds_everywhere_but(&self, except: &[&str]) {
        self.check(&Workshop::open(), Some(&[&MOUNT_POINTS, except].concat()));
    }

    #[track_caller]
    fn check(&self, workshop: &Workshop, except: Option<&[&str]>) {
        let context = TempDir::new().unwrap();
        fs::write(context.path().join("Dockerfile"), self.dockerfile).unwrap();
        fs::write(context.path().join("motd"), "hello\n").unwrap();
        let image = workshop.build_with(self.name, context.path(), &[]);
        workshop.repeats(self.name, context.path(), &[]);
        let config = image.config();
        for (field, expected) in self.config.as_object().unwrap() {
            assert_eq!(&config["config"][field], expected, "{field}");
        }
        let loaded = image.pulled();
        assert_eq!(fs::read_to_string(loaded.root().join("said")).unwrap(), self.said);
        if let Some(except) = except {
            loaded.is_as_buildah_makes_it(context.path(), &[], except);
        }
    }
}

#[test]
fn comments_and_empty_lines_within_an_instruction_are_left_out() {
    let dockerfile = "FROM localhost/busybox\n\
        RUN echo one \\\n# between\n      two \\\n    # indented\n \\\n\n      three > /said && \\\n\
        \techo \"a # b\" 'c\\\n# gone\nd' \\\\ >> /said\n\
        ENV A=1 \\\n    # about b\n    B=\"two \\\nwords\" \\\n    C=three\n\
        CMD [\"sh\", \\\n  # why\n  \"-c\", \\\n  \"echo \\\n  hi\"]\n";
    Idiom {
        name: "comments",
        dockerfile,
        said: "one two three\na # b cd \\\n",
        config: json!({
            "Env": ["PATH=/bin:/usr/bin", "A=1", "B=two words", "C=three"],
            "Cmd": ["sh", "-c", "echo   hi"],
        }),
    }
    .holds_everywhere();
}

#[test]
fn a_backtick_can_be_the_escape() {
    let dockerfile = "# escape=`\nFROM localhost/busybox\n\
        ENV P=C:\\path\\to Q=\"a `\"b`\" \\n\" R=`$P\n\
        RUN echo \"$P\" `\n  \"$Q\" '$R' > /said\n\
        LABEL l=\"$P\\x\" m='it`s'\nWORKDIR /w`\n/v\n";
    Idiom {
        name: "backtick",
        dockerfile,
        said: "C:\\path\\to a \"b\" \\n $R\n",
        config: json!({
            "Env": ["PATH=/bin:/usr/bin", "P=C:\\path\\to", "Q=a \"b\" \\n", "R=$P"],
            "Labels": { "l": "C:\\path\\to\\x", "m": "it`s" },
            "WorkingDir": "/w/v",
        }),
    }
    // Not with buildah: within quotes, its escape is always the backslash.
    .holds();
}

#[test]
fn a_file_from_windows_is_read() {
    let dockerfile = "\u{feff}# syntax=docker/dockerfile:1\r\nfrom localhost/busybox As Base\r\n\
        Run echo one \\\r\n  two > /said\r\n\r\nfRom BASE\r\n\
        env A=b\r\nlAbEl c=\"d \\\r\ne\"\r\ncmd [ \"sh\" , \"-c\" ]\t \r\n";
    Idiom {
        name: "windows",
        dockerfile,
        said: "one two\n",
        config: json!({
            "Env": ["PATH=/bin:/usr/bin", "A=b"],
            "Labels": { "c": "d e" },
            "Cmd": ["sh", "-c"],
        }),
    }
    .holds();
}

#[test]
fn arguments_before_the_first_stage_are_for_from_alone() {
    let dockerfile = "ARG HOST=localhost\nARG TAG\nARG IMAGE=${HOST:?needed}/busybox:${TAG:-latest}\n\
        FROM ${IMAGE} AS one\nARG HOST\nARG TAG=later\nARG OWN=${HOST%host}\n\
        RUN echo \"$HOST,$TAG,$IMAGE,$OWN\" > /said\n\
        FROM one\nRUN echo \"$HOST,$TAG,$IMAGE,$OWN\" >> /said\n\
        ARG TARGETARCH\nARG TARGETOS\nARG TARGETPLATFORM\nARG BUILDPLATFORM=none\n\
        RUN test \"$TARGETOS/$TARGETARCH\" = \"$TARGETPLATFORM\" && test $BUILDPLATFORM = none\n";
    Idiom {
        name: "arguments",
        dockerfile,
        // A stage knows the arguments of the stage that it is from.
        said: "localhost,later,,local\nlocalhost,later,,local\n",
        config: json!({ "Env": ["PATH=/bin:/usr/bin"] }),
    }
    .holds();
}

#[test]
fn variables_are_set_in_the_old_form_and_in_the_new() {
    let dockerfile = "FROM localhost/busybox\nENV old some  words \nENV quoted \"one 'two'\" three\n\
        ENV path=/a:$old equals=a=b=c empty= blank=a\\ b single='$old' double=\"${old}s\"\n\
        ENV same=$path path=changed late=$path\n\
        ENV unset=${nothing:-default}${old:+,}\n\
        RUN echo \"$old|$quoted|$path|$equals|$empty|$blank|$single|$double|$same|$late|$unset\" > /said\n\
        LABEL old words here\nLABEL \"a b\"=c d=\"e \\\"f\\\" 'g'\" h='i \"j\" $old' k=$old\n";
    Idiom {
        name: "variables",
        dockerfile,
        said: "some  words|one 'two' three|changed|a=b=c||a b|$old|some  wordss|/a:some  words|/a:some  words|default,\n",
        config: json!({
            "Env": [
                "PATH=/bin:/usr/bin", "old=some  words", "quoted=one 'two' three", "path=changed",
                "equals=a=b=c", "empty=", "blank=a b", "single=$old", "double=some  wordss",
                "same=/a:some  words", "late=/a:some  words", "unset=default,",
            ],
            "Labels": { "a b": "c", "d": "e \"f\" 'g'", "h": "i \"j\" $old", "k": "some  words", "old": "words here" },
        }),
    }
    .holds_everywhere();
}

#[test]
fn of_an_argument_and_a_variable_the_later_one_counts() {
    let dockerfile = "FROM localhost/busybox\nENV V=env\nARG V=arg\nRUN echo \"1 $V\" > /said\n\
        ARG W=arg\nENV W=env\nRUN echo \"2 $W\" >> /said\nARG W=again\nRUN echo \"3 $W\" >> /said\n\
        ARG X\nRUN echo \"4 ${X-none}\" >> /said\nENV Y=${W}-${X:-no}\nARG Z=$Y\nRUN echo \"5 $Y $Z\" >> /said\n";
    Idiom {
        name: "shadows",
        dockerfile,
        said: "1 arg\n2 env\n3 again\n4 none\n5 again-no again-no\n",
        config: json!({ "Env": ["PATH=/bin:/usr/bin", "V=env", "W=env", "Y=again-no"] }),
    }
    // Not with buildah: there, what ENV set once hides every ARG.
    .holds();
}

#[test]
fn quotes_within_quotes_reach_the_shell_as_they_are() {
    let dockerfile = "FROM localhost/busybox\n\
        RUN echo \"a 'b' \\\"c\\\" \\$d\" 'e \"f\" $g \\h' > /said; v=w; echo ${v}\\ $((1<<3)) $(echo \"$(echo n)\") >> /said\n\
        RUN [ \"sh\", \"-c\", \"echo \\\"x y\\\" $0 \\u0041\\t. >> /said\", \"zero\" ]\n\
        CMD ['sh', '-c', 'no JSON']\nENTRYPOINT [ \"/bin/sh\" , \"a \\\"b\\\" \\\\\" ] \n";
    Idiom {
        name: "quotes",
        dockerfile,
        said: "a 'b' \"c\" $d e \"f\" $g \\h\nw 8 n\nx y zero A .\n",
        config: json!({
            "Cmd": ["/bin/sh", "-c", "['sh', '-c', 'no JSON']"],
            "Entrypoint": ["/bin/sh", "a \"b\" \\"],
        }),
    }
    .holds_everywhere();
}

#[test]
fn variables_are_replaced_in_what_describes_the_image() {
    let dockerfile = "FROM localhost/busybox\nARG U=7 G=8\nENV PORT=80 DIR=/data SUB=sub SIG=USR1\n\
        EXPOSE $PORT ${PORT}81/udp\nSTOPSIGNAL SIG$SIG\nVOLUME [\"$DIR/a\", \"/b c\"]\nVOLUME $DIR/d $DIR/e\n\
        WORKDIR $DIR\nWORKDIR ${SUB}/../x/\nCOPY --chown=$U:$G motd $SUB/\n\
        RUN stat -c '%u:%g %n' $DIR/x/sub/motd > /said; pwd >> /said\nUSER ${U}:$G\nRUN id -u; echo $HOME\n\
        ONBUILD RUN echo $PORT\n";
    Idiom {
        name: "described",
        dockerfile,
        said: "7:8 /data/x/sub/motd\n/data/x\n",
        config: json!({
            "User": "7:8",
            "ExposedPorts": { "80/tcp": {}, "8081/udp": {} },
            "StopSignal": "SIGUSR1",
            "Volumes": { "/b c": {}, "/data/a": {}, "/data/d": {}, "/data/e": {} },
            "WorkingDir": "/data/x",
            "OnBuild": ["RUN echo $PORT"],
        }),
    }
    // Volumes are folders there.
    .holds_everywhere_but(&["b c", "data/a", "data/d", "data/e"]);
}

#[test]
fn users_have_homes_and_folders() {
    let dockerfile = "FROM localhost/busybox\n\
        RUN echo app:x:5:6::/home/app:/bin/sh >> /etc/passwd; echo grp:x:6: >> /etc/group; echo more:x:9:app >> /etc/group\n\
        RUN echo \"1 $HOME $(id -u):$(id -G)\" > /said; chmod 666 /said; mkdir -m 777 /free\n\
        USER app\nWORKDIR /made/deep\nRUN echo \"2 $HOME $(id -u):$(id -G)\" >> /said\n\
        USER app:0\nRUN echo \"3 $HOME $(id -u):$(id -G)\" >> /said\n\
        USER 5\nRUN echo \"4 $HOME $(id -u):$(id -G)\" >> /said\n\
        USER 77:78\nRUN echo \"5 $HOME $(id -u):$(id -G)\" >> /said\n\
        COPY motd /free/\nRUN stat -c '%u:%g %n' /made /made/deep /free/motd >> /said; touch /free/own\n";
    Idiom {
        name: "users",
        dockerfile,
        said: "1 /root 0:0\n2 /home/app 5:6 9\n3 /home/app 5:0\n4 /home/app 5:6 9\n5 / 77:78\n\
            5:6 /made\n5:6 /made/deep\n0:0 /free/motd\n",
        config: json!({ "User": "77:78", "WorkingDir": "/made/deep" }),
    }
    .holds_everywhere();
}

#[test]
fn a_shell_of_ones_own_is_for_all_shell_forms() {
    let dockerfile = "FROM localhost/busybox\nSHELL [\"/bin/sh\", \"-xc\"]\nRUN echo one > /said\n\
        SHELL [\"/bin/sh\", \"-c\", \"echo \\\"[$0]\\\" >> /said\"]\nRUN as a name\nRUN [\"/bin/sh\", \"-c\", \"echo plain >> /said\"]\n\
        CMD run me\nHEALTHCHECK CMD check me\nENTRYPOINT start me\n";
    Idiom {
        name: "shell",
        dockerfile,
        said: "one\n[as a name]\nplain\n",
        config: json!({
            "Shell": ["/bin/sh", "-c", "echo \"[$0]\" >> /said"],
            "Cmd": ["/bin/sh", "-c", "echo \"[$0]\" >> /said", "run me"],
            "Entrypoint": ["/bin/sh", "-c", "echo \"[$0]\" >> /said", "start me"],
            "Healthcheck": { "Test": ["CMD-SHELL", "check me"] },
        }),
    }
    .holds();
}

#[test]
fn commands_know_the_latest_time_unless_they_are_told_another() {
    let dockerfile = "FROM localhost/busybox\nRUN echo $SOURCE_DATE_EPOCH > /said\n\
        ENV SOURCE_DATE_EPOCH=500000000\nRUN echo $SOURCE_DATE_EPOCH >> /said\n";
    let idiom = Idiom {
        name: "epoch",
        dockerfile,
        said: "315532800\n500000000\n",
        config: json!({ "Env": ["PATH=/bin:/usr/bin", "SOURCE_DATE_EPOCH=500000000"] }),
    };
    // Not with buildah, which keeps times.
    idiom.holds();
}
