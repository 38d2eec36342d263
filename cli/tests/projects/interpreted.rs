//! Programs that an interpreter runs: Python with pip, Node with npm, shells.

use std::process::Command;

use crate::containers::succeeded;
use crate::workshop::{Workshop, projects};

#[test]
fn a_python_service_with_packages_from_pip_answers() {
    let workshop = Workshop::open();
    let loaded = workshop.build("notes").is_as_expected().loaded();
    let container = loaded.start(&[]);
    assert_eq!(container.get(8000, "/"), "nothing yet\n");
    container.get(8000, "/add?text=milk");
    assert_eq!(container.get(8000, "/"), "milk\n");
    assert_eq!(container.exec(&["stat", "-c", "%U", "/var/lib/notes/all.txt"]), "appuser\n");
    assert_eq!(container.exec(&["sh", "-c", "echo *; ls -a"]), "notes\n.\n..\nnotes\n");
    container.is_healthy();
    // Cut times must not make what Python compiled stale: it would compile all again at each start.
    let stale = "python3 -v -c 'import asyncio, flask' 2>&1 | grep -c 'bytecode is stale'; true";
    assert_eq!(container.exec(&["sh", "-c", stale]), "0\n");
    assert_eq!(container.stop(), "0", "gunicorn ends at SIGINT");
    assert!(container.logs().starts_with("notes as appuser in /app\n"), "{}", container.logs());

    // The stage in the middle alone, made already.
    let middle = workshop.build_on("notes", &projects().join("notes"), &["--target", "test"]).pulled();
    assert!(middle.run(&[], &["cat", "/tmp/report"]).ends_with("\nOK\n"));
    let seen = middle.run(&[], &["ls", "/build"]);
    assert_eq!(seen, "README.md\nentrypoint.sh\nnotes\nrequirements.txt\ntests\n", "the rest is ignored");
}

#[test]
fn a_node_program_with_packages_from_npm_runs() {
    let workshop = Workshop::open();
    let loaded = workshop.build("poem").is_as_expected().pulled();
    let said = loaded.run(&[], &[]);
    assert_eq!(
        said,
        "My name is Ozymandias, King of Kings (1818)\nas 1000 in /home/node/app, for production\n"
    );
    let modules = loaded.run(&["--entrypoint", "ls"], &["node_modules"]);
    assert_eq!(modules, "mri\npicocolors\n", "what only the tests need stays behind");
}

#[test]
fn a_service_of_shell_scripts_keeps_count() {
    let workshop = Workshop::open();
    let context = workshop.copy("counter");
    let folder = context.path();
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--mtime=@1600000000", "-C"])
        .arg(folder.join("assets"));
    succeeded(tar.args(["-czf"]).arg(folder.join("assets.tar.gz")).arg("."));
    let loaded = workshop.build_with("counter", folder, &[]).is_as_expected().pulled();
    {
        let container = loaded.start(&[]);
        assert_eq!(container.get(8080, "/cgi-bin/count%20one.sh"), "41\n");
        assert_eq!(container.get(8080, "/cgi-bin/count%20one.sh"), "42\n");
        assert_eq!(container.get(8080, "/assets/main.css"), "h1 {}\n");
        assert_eq!(container.exec(&["id", "-un"]), "counter\n");
    }
    // Its RUN leaves what it mounted on, and what comes out of an archive is root's whatever --chown says.
    let except =
        ["dev", "etc/hostname", "etc/hosts", "etc/resolv.conf", "proc", "run", "sys", "srv/www/assets"];
    loaded.is_as_buildah_makes_it(folder, &[], &except);
}

#[test]
fn a_dockerfile_of_heredocs_says_what_it_should() {
    let workshop = Workshop::open();
    let loaded = workshop.build("almanac").is_as_expected().pulled();
    let said = "\
==> first <==
shell 5, edition 2026
pipefail holds

==> second <==
1 4 9 16 25

==> third <==
left $EDITION alone
and \\n too

==> fourth <==
one
two

==> fifth <==
inner of 2026

==> parts/empty <==

==> parts/plain <==
plain 2026 of Ghent (BE) and $EDITION and \\

==> parts/quoted <==
quoted ${EDITION} of $CITY
";
    assert_eq!(loaded.run(&[], &[]), said);
    let config = loaded.run(&[], &["cat", "config.json", "link.json"]);
    assert_eq!(config, "{ \"edition\": \"26\", \"cities\": [\"Ghent\"] }\n".repeat(2));
    let modes = loaded.run(&[], &["stat", "-c", "%a %U:%G %n", "config.json", "/usr/local/bin/almanac"]);
    assert_eq!(modes, "600 root:root config.json\n751 games:staff /usr/local/bin/almanac\n");
    assert_eq!(loaded.run(&[], &["sed", "-n", "2p", "/usr/local/bin/almanac"]), "# by 2026\n");
}
