//! Servers as Debian packages them: nginx, and Redis with a volume.

use crate::workshop::{Workshop, projects};

#[test]
fn nginx_serves_pages_for_nobody_in_particular() {
    let workshop = Workshop::open();
    let arguments = ["--build-arg", "BUILD_NUMBER=7"];
    let loaded =
        workshop.build_with("pages", &projects().join("pages"), &arguments).is_as_expected().loaded();
    let container = loaded.start(&[]);
    assert_eq!(
        container.get(8080, "/"),
        "<!doctype html><title>index</title>\n<h1>Welcome</h1>\nto the pages\n"
    );
    assert_eq!(container.get(8080, "/build.txt"), "7\n");
    assert_eq!(
        container.exec(&["sh", "-c", "ls /usr/share/nginx/html | tr '\\n' ' '"]),
        "about.html build.txt index.html style.css "
    );
    container.is_healthy();
    assert_eq!(container.stop(), "0", "nginx ends well at SIGQUIT");
    let logs = container.logs();
    for line in
        ["running /docker-entrypoint.d/20-template.sh", "90-broken.sh, not executable", "\"GET / HTTP"]
    {
        assert!(logs.contains(line), "{line:?} is not in\n{logs}");
    }
    workshop.repeats("pages", &projects().join("pages"), &arguments);
    // Its RUN leaves what it mounted on, and useradd writes down the day: here, that of SOURCE_DATE_EPOCH.
    loaded.is_as_buildah_makes_it(&projects().join("pages"), &arguments, &["etc/hosts", "etc/shadow"]);
}

#[test]
fn redis_keeps_its_data_in_a_volume() {
    let workshop = Workshop::open();
    let loaded = workshop.build("store").is_as_expected().loaded();
    let container = loaded.start(&[]);
    container.has_said("Ready to accept connections");
    assert_eq!(container.exec(&["redis-cli", "set", "key", "value"]), "OK\n");
    assert_eq!(container.exec(&["redis-cli", "save"]), "OK\n");
    assert_eq!(
        container.exec(&["stat", "-c", "%U %n", "/data", "/data/dump.rdb"]),
        "redis /data\nredis /data/dump.rdb\n"
    );
    assert_eq!(
        container.exec(&["sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline; stat -c %U /proc/1"]),
        "redis-server *:6379 redis\n"
    );
    assert_eq!(container.stop(), "0");
}
