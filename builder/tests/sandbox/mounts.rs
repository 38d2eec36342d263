//! RUN `--mount` in whole builds: each type and each option, and that nothing of it is left in the layer.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::thread;

use oxbox_builder::Request;
use oxbox_builder::lent::{Agents, Secret, Secrets};
use oxbox_builder::mounts::Mounts;
use oxbox_layers::image::Image;

use crate::builds::{Room, causes};
use crate::semantics::busybox;

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    vec![
        ("s46_a_bind_shows_the_context_read_only", s46_a_bind_shows_the_context_read_only),
        ("s46_what_is_ignored_is_not_in_a_bind", s46_what_is_ignored_is_not_in_a_bind),
        ("s46_what_is_written_to_a_bind_is_lost", s46_what_is_written_to_a_bind_is_lost),
        ("s46_a_bind_shows_a_stage_an_image_and_a_context", s46_a_bind_shows_a_stage_an_image_and_a_context),
        ("s46_a_bind_may_be_of_one_file", s46_a_bind_may_be_of_one_file),
        ("s46_links_of_a_source_lead_within_it", s46_links_of_a_source_lead_within_it),
        ("s46_a_missing_source_is_told", s46_a_missing_source_is_told),
        ("s46_a_cache_outlives_the_build", s46_a_cache_outlives_the_build),
        ("s46_a_new_cache_is_as_it_is_asked_for", s46_a_new_cache_is_as_it_is_asked_for),
        ("s46_a_cache_may_be_read_only", s46_a_cache_may_be_read_only),
        ("s46_a_locked_cache_is_one_runs_at_a_time", s46_a_locked_cache_is_one_runs_at_a_time),
        ("s46_two_locked_caches_in_another_order_end", s46_two_locked_caches_in_another_order_end),
        ("s46_a_tmpfs_has_the_size_that_is_asked_for", s46_a_tmpfs_has_the_size_that_is_asked_for),
        ("s46_a_secret_is_a_file_or_a_variable", s46_a_secret_is_a_file_or_a_variable),
        ("s46_a_missing_secret_fails_only_if_required", s46_a_missing_secret_fails_only_if_required),
        ("s46_another_secret_is_the_same_step", s46_another_secret_is_the_same_step),
        ("s46_an_agent_is_reached_by_its_socket", s46_an_agent_is_reached_by_its_socket),
        ("s46_a_missing_agent_fails_only_if_required", s46_a_missing_agent_fails_only_if_required),
        ("s45_no_mount_leaves_anything_in_the_layer", s45_no_mount_leaves_anything_in_the_layer),
        ("s45_mounts_lie_in_each_other", s45_mounts_lie_in_each_other),
        ("s45_a_mount_covers_files_that_stay", s45_a_mount_covers_files_that_stay),
        ("s45_links_of_the_image_lead_to_no_place_outside", s45_links_of_the_image_lead_to_no_place_outside),
        ("s47_files_of_a_bind_are_part_of_the_key", s47_files_of_a_bind_are_part_of_the_key),
    ]
}

/// Builds these instructions on busybox; what must hold, the commands themselves check.
fn built(room: &Room, instructions: &str) -> Image {
    room.build(&format!("FROM localhost/base\n{instructions}\n"))
}

/// The paths of the last layer.
fn last(room: &Room, instructions: &str) -> Vec<String> {
    let image = built(room, instructions);
    room.paths(&image, image.layers.len() - 1)
}

fn ran(room: &Room, request: Request, instructions: &str) -> Result<Vec<String>, String> {
    room.file("Dockerfile", format!("FROM localhost/base\n{instructions}\n"));
    let (result, heard) = room.run(&request);
    result.map(|_| heard).map_err(|error| causes(&error))
}

fn failed(room: &Room, instructions: &str) -> String {
    ran(room, room.request("localhost/x"), instructions).unwrap_err()
}

fn s46_a_bind_shows_the_context_read_only() {
    let room = busybox();
    room.file("src/a", "A").file("src/run.sh", "#!/bin/sh\nexit 0\n");
    fs::set_permissions(room.at("src/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(room.at("src/a"), Some(1000), Some(1000)).unwrap();
    symlink("a", room.at("src/link")).unwrap();
    built(
        &room,
        "WORKDIR /w\n\
         RUN --mount=type=bind,target=. test \"$(cat src/a)\" = A && test -f Dockerfile\n\
         RUN --mount=target=/m,source=src test \"$(ls /m)\" = \"$(printf 'a\\nlink\\nrun.sh')\"\n\
         RUN --mount=target=/m,src=src test \"$(cat /m/link)\" = A && /m/run.sh && ! touch /m/new\n\
         RUN --mount=target=/m,source=src test \"$(stat -c %u:%g:%a /m/a)\" = 0:0:644",
    );
}

fn s46_what_is_ignored_is_not_in_a_bind() {
    let room = busybox();
    room.file("src/a", "A").file("src/secret", "S").file(".dockerignore", "**/secret\n");
    built(&room, "RUN --mount=target=/m,source=src test \"$(ls /m)\" = a");
    let error = failed(&room, "RUN --mount=target=/m,source=src/secret cat /m");
    assert!(error.contains("excluded by the ignore file"), "{error}");
}

/// A stage `s` with a folder `/s`, before the stage in question.
const STAGE: &str =
    "FROM localhost/base AS s\nRUN mkdir /s && echo S > /s/f && ln -s /s/f /s/link && chown 7 /s/f\n";

fn s46_what_is_written_to_a_bind_is_lost() {
    let room = busybox();
    room.file("src/a", "A");
    let image = room.build(&format!(
        "{STAGE}FROM localhost/base\n\
         RUN --mount=target=/m,source=src,rw --mount=from=s,source=/s,target=/n,readwrite \
             echo new > /m/a && echo more > /m/b && rm /n/f && touch /n/g && test \"$(cat /m/a)\" = new\n\
         RUN --mount=target=/m,source=src --mount=from=s,source=s,target=/n \
             test \"$(cat /m/a)\" = A && test ! -e /m/b && test -e /n/f && test ! -e /n/g\n"
    ));
    assert_eq!(room.paths(&image, 1), [""; 0]);
    assert_eq!(fs::read(room.at("src/a")).unwrap(), b"A");
}

fn s46_a_bind_shows_a_stage_an_image_and_a_context() {
    let room = busybox();
    room.file("other/x", "X");
    let text = format!(
        "{STAGE}FROM scratch AS last\nCOPY --from=localhost/base /bin /bin\nENV PATH=/bin\n\
         RUN --mount=from=s,source=/s,target=/m test \"$(cat /m/f)\" = S && test \"$(stat -c %u /m/f)\" = 7 && ! rm /m/f\n\
         RUN --mount=from=localhost/base,target=/m test \"$(cat /m/d/old)\" = old && test ! -e /d\n\
         RUN --mount=from=more,target=/m test \"$(cat /m/x)\" = X\n\
         RUN --mount=from=scratch,target=/m test -z \"$(ls -A /m)\" && ! touch /m/x\n"
    );
    room.file("Dockerfile", text);
    let mut request = room.request("localhost/x");
    request.contexts.insert("more".to_owned(), room.at("other"));
    request.options.contexts.insert("more".to_owned(), oxbox_builder::plan::Context::Folder);
    room.run(&request).0.unwrap();
}

fn s46_a_bind_may_be_of_one_file() {
    let room = busybox();
    room.file("list", "L");
    let paths = room.build(&format!(
        "{STAGE}FROM localhost/base\n\
         RUN --mount=source=list,target=/tmp/list --mount=from=s,source=/s/f,target=/etc/deep/f \
             test \"$(cat /tmp/list /etc/deep/f)\" = LS && ! rm /tmp/list && ! (echo x > /tmp/list)\n\
         RUN --mount=source=list,target=/f,rw echo new > /f && test \"$(cat /f)\" = new\n\
         RUN test \"$(cat /f)\" = f\n"
    ));
    assert_eq!(room.paths(&paths, 1), [""; 0]);
    let error = failed(&room, "RUN --mount=source=list,target=/d true");
    assert!(error.contains("cannot mount at \"/d\""), "{error}");
}

fn s46_links_of_a_source_lead_within_it() {
    let room = busybox();
    room.file("src/a", "A");
    symlink("/src", room.at("absolute")).unwrap();
    symlink("../../../src/a", room.at("out")).unwrap();
    symlink("/etc/passwd", room.at("host")).unwrap();
    room.build(&format!(
        "{STAGE}FROM localhost/base\n\
         RUN --mount=source=absolute,target=/m test \"$(cat /m/a)\" = A\n\
         RUN --mount=source=out,target=/m test \"$(cat /m)\" = A\n\
         RUN --mount=from=s,source=/s/link,target=/m test \"$(cat /m)\" = S\n"
    ));
    let error = failed(&room, "RUN --mount=source=host,target=/m true");
    assert!(error.contains("\"host\" is not there"), "{error}");
}

fn s46_a_missing_source_is_told() {
    let room = busybox();
    for flags in [
        "source=none,target=/m",
        "from=localhost/base,source=/none,target=/m",
        "from=scratch,source=x,target=/m",
    ] {
        let error = failed(&room, &format!("RUN --mount={flags} true"));
        assert!(error.contains("is not there"), "{flags}: {error}");
    }
}

fn s46_a_cache_outlives_the_build() {
    let room = busybox();
    let step =
        |number: u32| format!("RUN --mount=type=cache,target=/c echo {number} >> /c/log; cat /c/log > /seen");
    for (number, seen) in [(1, "1\n"), (2, "1\n2\n")] {
        let image = built(&room, &step(number));
        assert_eq!(room.entries(&image, 1)[0].1, seen);
    }
    // Not even who makes everything again begins with an empty one, as in BuildKit.
    let request = Request { reuse: oxbox_builder::solve::Reuse::Forbidden, ..room.request("localhost/x") };
    ran(&room, request, "RUN --mount=type=cache,target=/c test \"$(cat /c/log | wc -l)\" = 2").unwrap();
    built(
        &room,
        "RUN --mount=type=cache,id=/c,target=/elsewhere test -s /elsewhere/log\n\
         RUN --mount=type=cache,id=other,target=/c test ! -e /c/log\n\
         RUN --mount=type=cache,target=/a,id=twice --mount=type=cache,target=/b,id=twice touch /a/x && test -e /b/x",
    );
    assert_eq!(Mounts::new(&room.state()).list().unwrap().len(), 3);
}

fn s46_a_new_cache_is_as_it_is_asked_for() {
    let room = busybox();
    room.build(&format!(
        "{STAGE}FROM localhost/base\n\
         RUN --mount=type=cache,target=/c test \"$(stat -c %u:%g:%a /c)\" = 0:0:755\n\
         RUN --mount=type=cache,target=/c,uid=7,gid=8,mode=0700 test \"$(stat -c %u:%g:%a /c)\" = 7:8:700 && touch /c/x\n\
         RUN --mount=type=cache,target=/c,uid=7 test \"$(stat -c %u:%g:%a /c)\" = 7:0:755 && test ! -e /c/x\n\
         RUN --mount=type=cache,target=/c,from=s,source=/s test \"$(cat /c/f)\" = S && echo more >> /c/f && rm /c/link\n\
         RUN --mount=type=cache,target=/c,from=s,source=/s test \"$(cat /c/f)\" = \"$(printf 'S\\nmore')\" && test ! -e /c/link\n\
         RUN --mount=type=cache,target=/c,from=s,source=/s,id=new test \"$(stat -c %u /c/f)\" = 7 && test \"$(cat /c/f)\" = S\n"
    ));
    let error = failed(&room, "RUN --mount=type=cache,target=/c,from=localhost/base,source=/f true");
    assert!(error.contains("which is no directory"), "{error}");
    let error = failed(&room, "RUN --mount=type=cache,target=/c,from=localhost/base,source=/none true");
    assert!(error.contains("is not there"), "{error}");
}

fn s46_a_cache_may_be_read_only() {
    let room = busybox();
    built(
        &room,
        "RUN --mount=type=cache,target=/c touch /c/x\n\
         RUN --mount=type=cache,target=/c,readonly test -e /c/x && ! touch /c/y",
    );
}

fn s46_a_locked_cache_is_one_runs_at_a_time() {
    let room = busybox();
    let stage = |name: &str, sharing: &str| {
        format!(
            "FROM localhost/base AS {name}\n\
             RUN --mount=type=cache,id=c,target=/c,sharing={sharing} \
             echo {name} > /who; mkdir /c/busy && sleep 0.2 && rmdir /c/busy\n"
        )
    };
    let last = |names: &[&str]| {
        let copies = names.iter().map(|name| format!("COPY --from={name} /who /{name}\n"));
        format!("FROM scratch\n{}", copies.collect::<String>())
    };
    let names = ["a", "b", "c"];
    let locked: String = names.iter().map(|name| stage(name, "locked")).collect();
    room.build(&(locked + &last(&names)));
    assert_eq!(Mounts::new(&room.state()).list().unwrap().len(), 1);
    let private: String = ["x", "y"].iter().map(|name| stage(name, "private")).collect();
    room.build(&(private + &last(&["x", "y"])));
    assert_eq!(Mounts::new(&room.state()).list().unwrap().len(), 2, "one for each at once");
}

fn s46_two_locked_caches_in_another_order_end() {
    let room = busybox();
    let stage = |name: &str, caches: [&str; 2]| {
        let mounts = caches.map(|id| format!("--mount=type=cache,id={id},target=/{id},sharing=locked "));
        format!("FROM localhost/base AS {name}\nRUN {}echo {name} > /who; sleep 0.1\n", mounts.concat())
    };
    let stages = stage("a", ["one", "two"]) + &stage("b", ["two", "one"]) + &stage("c", ["two", "one"]);
    room.build(
        &(stages + "FROM scratch\nCOPY --from=a /who /a\nCOPY --from=b /who /b\nCOPY --from=c /who /c\n"),
    );
}

fn s46_a_tmpfs_has_the_size_that_is_asked_for() {
    let room = busybox();
    let paths = last(
        &room,
        "RUN --mount=type=tmpfs,target=/t,size=64k --mount=type=tmpfs,target=/d --mount=type=tmpfs,target=/tmp \
         ! dd if=/dev/zero of=/t/x bs=1k count=128 2>/dev/null && test \"$(stat -c %s /t/x)\" = 65536 \
         && test -z \"$(ls /d)\" && test \"$(stat -c %a /t):$(stat -c %a /tmp):$(stat -c %a /d)\" = 1777:1777:755",
    );
    assert_eq!(paths, [""; 0]);
}

fn secrets(room: &Room) -> Request {
    let secrets = [("token", "hunter2"), ("other", "two\nlines")];
    let secrets: Secrets =
        secrets.into_iter().map(|(id, value)| (id.to_owned(), Secret::new(value))).collect();
    Request { secrets, ..room.request("localhost/x") }
}

fn s46_a_secret_is_a_file_or_a_variable() {
    let room = busybox();
    ran(
        &room,
        secrets(&room),
        "RUN --mount=type=secret,id=token test \"$(cat /run/secrets/token)\" = hunter2 \
             && test \"$(stat -c %u:%g:%a /run/secrets/token)\" = 0:0:400 && ! (echo x > /run/secrets/token) \
             && ! rm /run/secrets/token && test -z \"$token\"\n\
         RUN --mount=type=secret,id=token,target=s,uid=33,gid=7,mode=0644 --mount=type=secret,id=other,target=/d/o \
             test \"$(cat /s)\" = hunter2 && test \"$(stat -c %u:%g:%a /s)\" = 33:7:644 && test \"$(cat /d/o)\" = \"$(printf 'two\\nlines')\"\n\
         USER web\n\
         RUN --mount=type=secret,id=token,uid=33 test \"$(cat /run/secrets/token)\" = hunter2\n\
         RUN --mount=type=secret,id=token ! cat /run/secrets/token 2>/dev/null\n\
         ENV TOKEN=shown\n\
         RUN --mount=type=secret,id=token,env=TOKEN test \"$TOKEN\" = hunter2 && test ! -e /run/secrets/token\n\
         RUN --mount=type=secret,id=other,env=TWO,target=/tmp/t,mode=0444 test \"$TWO\" = \"$(cat /tmp/t)\"\n\
         RUN test \"$TOKEN\" = shown && test ! -e /run/secrets && test ! -e /tmp/t",
    )
    .unwrap();
}

fn s46_a_missing_secret_fails_only_if_required() {
    let room = busybox();
    built(
        &room,
        "RUN --mount=type=secret,id=none,env=NONE --mount=type=secret,id=none test -z \"${NONE+x}\" && test ! -e /run/secrets",
    );
    for flags in ["id=none,required", "id=none,env=NONE,required=true"] {
        let error = failed(&room, &format!("RUN --mount=type=secret,{flags} true"));
        assert!(error.contains("secret \"none\" is required"), "{error}");
    }
}

fn s46_another_secret_is_the_same_step() {
    let room = busybox();
    let step = "RUN --mount=type=secret,id=token cat /proc/sys/kernel/random/uuid > /id";
    ran(&room, secrets(&room), step).unwrap();
    let other: Secrets = [("token".to_owned(), Secret::new("other"))].into_iter().collect();
    let heard = ran(&room, Request { secrets: other, ..room.request("localhost/x") }, step).unwrap();
    assert!(heard.iter().any(|line| line.starts_with("cached") && line.contains("RUN")), "{heard:?}");
    let heard = ran(&room, secrets(&room), &step.replace("id=token", "id=other")).unwrap();
    assert!(heard.iter().any(|line| line.starts_with("made") && line.contains("RUN")), "{heard:?}");
}

fn s46_an_agent_is_reached_by_its_socket() {
    let room = busybox();
    let socket = room.folder.path().join("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    // Answers a list of no keys to each that asks, until nobody can any more.
    let agent = thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::{Read as _, Write as _};
            let mut stream = stream.unwrap();
            let mut request = [0; 5];
            if stream.read_exact(&mut request).is_err() {
                return;
            }
            assert_eq!(request, [0, 0, 0, 1, 11]);
            stream.write_all(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).unwrap();
        }
    });
    let agents: Agents = [("default".to_owned(), socket.clone())].into_iter().collect();
    fs::copy("/proc/self/exe", room.at("probe")).unwrap();
    fs::set_permissions(room.at("probe"), fs::Permissions::from_mode(0o755)).unwrap();
    let ask = "test \"$(/p probe agent)\" = \"$(printf '11: [12, 0, 0, 0, 0]\\n19: [5]')\"";
    let room_request = Request { agents, ..room.request("localhost/x") };
    ran(
        &room,
        room_request,
        &format!(
            "RUN --mount=type=ssh --mount=source=probe,target=/p test $SSH_AUTH_SOCK = /run/buildkit/ssh_agent.0 && test -S $SSH_AUTH_SOCK \
                 && test \"$(stat -c %u:%g:%a $SSH_AUTH_SOCK)\" = 0:0:600 && {ask}\n\
             USER web\n\
             RUN --mount=type=ssh,uid=33,target=/tmp/a/socket,mode=0666 --mount=source=probe,target=/p test -S /tmp/a/socket && {ask}\n\
             RUN test -z \"$SSH_AUTH_SOCK\" && test ! -e /run/buildkit && test ! -e /tmp/a"
        ),
    )
    .unwrap();
    drop(std::os::unix::net::UnixStream::connect(socket).unwrap());
    agent.join().unwrap();
}

fn s46_a_missing_agent_fails_only_if_required() {
    let room = busybox();
    built(&room, "RUN --mount=type=ssh test ! -e /run/buildkit");
    let error = failed(&room, "RUN --mount=type=ssh,id=git,required true");
    assert!(error.contains("ssh agent \"git\" is required"), "{error}");
}

fn s45_no_mount_leaves_anything_in_the_layer() {
    let room = busybox();
    room.file("src/a", "A");
    let mounts = "--mount=target=/deep/er/m,source=src --mount=type=cache,target=/root/.cache/x \
                  --mount=type=tmpfs,target=/d/t --mount=type=secret,id=token --mount=type=ssh \
                  --mount=from=localhost/base,source=/d,target=/opt/n,rw --mount=source=src/a,target=/d/new";
    let with = |flags: &str| {
        ran(&room, secrets(&room), &format!("RUN {flags} mkdir /made && echo x > /made/x")).unwrap();
        room.store.resolve("localhost/x:latest").unwrap().unwrap().digest
    };
    let layers = |digest| {
        let _ = digest;
        let manifest = room.store.resolve("localhost/x:latest").unwrap().unwrap();
        Image::load(&*room.store, &manifest).unwrap().layers.last().unwrap().diff_id
    };
    let plain = layers(with(""));
    assert_eq!(layers(with(mounts)), plain, "not one byte differs");
}

fn s45_mounts_lie_in_each_other() {
    let room = busybox();
    room.file("src/sub/a", "A").file("src/file", "F");
    symlink("sub", room.at("src/to")).unwrap();
    built(
        &room,
        "RUN --mount=type=tmpfs,target=/a/b/c --mount=type=cache,target=/a --mount=type=tmpfs,target=/a/b \
             touch /a/1 /a/b/2 /a/b/c/3 && test \"$(find /a -type f | wc -l)\" = 3 && test \"$(ls /a/b)\" = \"$(printf '2\\nc')\"\n\
         RUN --mount=type=cache,target=/a test -e /a/1 && test ! -e /a/b/2\n\
         RUN --mount=source=src,target=/m --mount=type=tmpfs,target=/m/sub --mount=source=src/sub/a,target=/m/file \
             test -z \"$(ls /m/sub)\" && test \"$(cat /m/file)\" = A && touch /m/sub/x && ! touch /m/x\n\
         RUN --mount=source=src,target=/m,rw --mount=type=tmpfs,target=/m/to/new touch /m/sub/new/x && test -e /m/to/new/x",
    );
    let error = failed(&room, "RUN --mount=source=src,target=/m --mount=type=tmpfs,target=/m/none true");
    assert!(error.contains("/m/none") || error.contains("m/none"), "{error}");
}

fn s45_a_mount_covers_files_that_stay() {
    let room = busybox();
    room.file("src/a", "A");
    let paths = last(
        &room,
        "RUN --mount=source=src,target=/d test \"$(ls /d)\" = a\nRUN test \"$(cat /d/old)\" = old && \
         test \"$(stat -c %Y /)\" != 0",
    );
    assert_eq!(paths, [""; 0]);
}

fn s45_links_of_the_image_lead_to_no_place_outside() {
    let room = busybox();
    room.file("src/a", "A");
    let outside = room.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let host = outside.display();
    built(
        &room,
        &format!(
            "RUN ln -s {host} /abs && ln -s ../../../../../..{host}/x /up && ln -s /d /in && ln -s loop /loop\n\
             RUN --mount=source=src,target=/abs,rw --mount=type=cache,target=/up test -e {host}/a && touch {host}/x/y\n\
             RUN --mount=type=tmpfs,target=/in touch /d/x && test ! -e /d/old"
        ),
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(
        failed(&room, "RUN ln -s loop /loop\nRUN --mount=type=tmpfs,target=/loop true").contains("/loop")
    );
}

fn s47_files_of_a_bind_are_part_of_the_key() {
    let room = busybox();
    room.file("src/a", "A").file("beside", "1");
    let step = "RUN --mount=source=src,target=/m cat /proc/sys/kernel/random/uuid > /id";
    let made = |room: &Room| {
        let heard = ran(room, room.request("localhost/x"), step).unwrap();
        heard.iter().any(|line| line.starts_with("made") && line.contains("RUN"))
    };
    assert!(made(&room));
    room.file("beside", "2");
    assert!(!made(&room));
    room.file("src/a", "B");
    assert!(made(&room));
    // Of a stage that was made again and holds the same there, nothing else counts.
    let of_stage = |other: &str| {
        room.file("Dockerfile", format!(
            "{STAGE}RUN echo {other} > /other\nFROM localhost/base\nRUN --mount=from=s,source=/s,target=/m cat /m/f\n"
        ));
        room.run(&room.request("localhost/x")).1
    };
    of_stage("1");
    let heard = of_stage("2");
    assert!(heard.iter().any(|line| line.starts_with("cached") && line.contains("source=/s")), "{heard:?}");
}
