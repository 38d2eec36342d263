//! What is kept of a build: `--trace` as Chrome reads it, `--report` in a real browser.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::Oxbox;

/// Two stages that go on at once, and one that needs both.
const STAGES: &str = "FROM localhost/busybox AS a\nRUN echo from a; sleep 0.2; echo a > /a\n\
     FROM localhost/busybox AS b\nRUN sleep 0.3; echo b > /b\n\
     FROM localhost/busybox\nCOPY --from=a /a /a\nCOPY --from=b /b /b\nENV COLOUR=blue\nCMD [\"cat\", \"/a\"]\n";

fn stages() -> Oxbox {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile(STAGES);
    oxbox
}

/// A page as it stands once its scripts have run, and what the browser said meanwhile.
struct Opened {
    dom: String,
    log: String,
}

/// Opens a page in Chromium, which is a thing of its own: another one, in another language.
fn open(oxbox: &Oxbox, page: &Path, options: &[&str]) -> Opened {
    let mut browser = oxbox.isolated(Command::new("chromium"));
    browser.args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    browser.arg(format!("--user-data-dir={}", oxbox.path("chromium").display()));
    browser.args(["--enable-logging=stderr", "--v=0", "--dump-dom"]).args(options);
    browser.arg(format!("file://{}", page.display()));
    let output = browser.output().expect("chromium must be installed");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    Opened { dom: String::from_utf8(output.stdout).unwrap(), log }
}

impl Opened {
    /// What the page or its policy complained about.
    fn complaints(&self) -> Vec<&str> {
        self.log.lines().filter(|line| line.contains("CONSOLE")).collect()
    }

    fn count(&self, text: &str) -> usize {
        self.dom.matches(text).count()
    }
}

/// Returns the data that a page holds, as other tools would read it.
fn data(page: &Path) -> Value {
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("<script id=\"data\" type=\"application/json\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

fn trace(oxbox: &Oxbox) -> Vec<Value> {
    let trace: Value = serde_json::from_str(&fs::read_to_string(oxbox.path("trace.json")).unwrap()).unwrap();
    trace["traceEvents"].as_array().unwrap().clone()
}

fn slice<'a>(events: &'a [Value], name: &str) -> &'a Value {
    events.iter().find(|event| event["ph"] == "X" && event["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn a_trace_has_a_lane_for_each_that_works_and_slices_that_nest() {
    let oxbox = stages();
    oxbox.ok(["build", "--jobs", "2", "--trace", "trace.json", "context"]);
    let events = trace(&oxbox);
    let mut lanes: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let (begin, length) = (event["ts"].as_u64().unwrap(), event["dur"].as_u64().unwrap());
        lanes.entry(event["tid"].as_u64().unwrap()).or_default().push((begin, begin + length));
    }
    assert_eq!(lanes.len(), 3, "the build and two jobs: {lanes:?}");
    for slices in lanes.values() {
        for (at, (begin, end)) in slices.iter().enumerate() {
            for (from, to) in &slices[..at] {
                let nested = (from <= begin && end <= to) || (begin <= from && to <= end);
                assert!(nested || to <= begin || end <= from, "{slices:?}");
            }
        }
    }
    let run = slice(&events, "[b 2/2] RUN sleep 0.3; echo b > /b");
    assert!(run["dur"].as_u64().unwrap() >= 300_000, "{run}");
    assert_eq!((&run["args"]["verdict"], &run["args"]["line"]), (&json!("made"), &json!(4)));
    assert!(
        run["args"]["layerSize"].as_u64().unwrap() > 0 && run["args"]["layerDigest"].is_string(),
        "{run}"
    );
    let arrows = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    // Each RUN and COPY stands on one; each COPY needs another.
    assert_eq!((arrows("s"), arrows("f")), (6, 6));
}

#[test]
fn a_second_trace_says_that_all_was_cached() {
    let oxbox = stages();
    let digest = oxbox.ok(["build", "context"]);
    oxbox.ok(["build", "--trace", "trace.json", "context"]);
    let events = trace(&oxbox);
    assert_eq!(slice(&events, "[b 2/2] RUN sleep 0.3; echo b > /b")["args"]["verdict"], "cached");
    assert_eq!(slice(&events, "build")["args"], json!({"outcome": "built", "digest": digest.trim_end()}));
}

#[test]
fn a_failed_build_and_an_interrupted_one_are_told_of_too() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nRUN echo no luck && exit 7\n");
    let files = ["--trace", "trace.json", "--report", "report.html"];
    oxbox.run([&["build", "context"][..], &files].concat()).fails(1, &["exited with code 7"]);
    let step = slice(&trace(&oxbox), "[2/2] RUN echo no luck && exit 7")["args"].clone();
    assert_eq!(step["verdict"], "failed");
    assert!(step["error"].as_str().unwrap().ends_with("exited with code 7"), "{step}");
    let failed = data(&oxbox.path("report.html"));
    assert_eq!((&failed["outcome"], &failed["image"]), (&json!("failed"), &Value::Null));
    oxbox.dockerfile("FROM localhost/busybox\nRUN echo started && exec sleep 1000\n");
    let mut command = oxbox.command([&["build", "context"][..], &files].concat());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().ends_with(" started")));
    support::server::send(&child, Signal::INT);
    assert_eq!((lines.count() > 0, child.wait().unwrap().code()), (true, Some(130)));
    let interrupted = data(&oxbox.path("report.html"));
    assert_eq!(interrupted["outcome"], "interrupted");
    assert_eq!(interrupted["steps"][1]["verdict"], "cancelled");
    assert_eq!(interrupted["steps"][1]["output"]["lines"][0]["text"], "started");
}

#[test]
fn pulls_and_pushes_take_their_time_too() {
    let there = stages();
    let server = there.serve();
    let (base, result) = (server.name("base:1"), server.name("app:1"));
    there.ok(["copy", "localhost/busybox", &server.at("base:1")]);
    let oxbox = Oxbox::new();
    oxbox.dockerfile(&format!("FROM {base}\nRUN echo made > /made\n"));
    let files = ["--trace", "trace.json", "--report", "report.html"];
    let ran = oxbox.run([&["build", "--push", "-t", &result, "context"][..], &files].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("\npush {result}\ncopying ")), "{}", ran.stderr);
    let events = trace(&oxbox);
    for title in [format!("pull {base}"), format!("push {result}")] {
        let slice = slice(&events, &title);
        assert_eq!(
            (&slice["cat"], &slice["args"]["verdict"]),
            (&json!("transfer"), &json!("made")),
            "{title}"
        );
        assert!(slice["args"]["movedBytes"].as_u64().unwrap() > 0, "{slice}");
    }
    let told = data(&oxbox.path("report.html"));
    let end = |moved: &Value| moved["end"].as_f64().unwrap();
    let (pull, push) = (&told["transfers"][0], &told["transfers"][1]);
    let step = &told["steps"][1];
    assert!(
        end(pull) <= step["begin"].as_f64().unwrap() && end(step) <= push["begin"].as_f64().unwrap(),
        "{told}"
    );
}

#[test]
fn what_is_linked_is_made_once() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPY --link motd /a\n");
    oxbox.ok(["build", "--report", "report.html", "context"]);
    let told = data(&oxbox.path("report.html"));
    let steps = told["steps"].as_array().unwrap();
    let verdicts: Vec<_> = steps.iter().map(|step| (&step["kind"], &step["verdict"])).collect();
    let (made, put) = ((&json!("copy"), &json!("made")), (&json!("link"), &json!("base")));
    assert!(verdicts.contains(&made) && verdicts.contains(&put), "{verdicts:?}");
    assert_eq!(steps.iter().filter(|step| step["layer"].is_object()).count(), 1);
}

#[test]
fn a_dockerfile_that_is_none_is_told_of_too() {
    let oxbox = Oxbox::new();
    oxbox.dockerfile("FROM scratch\nCOPPY motd /\n");
    oxbox.run(["build", "--report", "report.html", "context"]).fails(2, &["COPPY"]);
    let told = data(&oxbox.path("report.html"));
    assert_eq!((&told["outcome"], &told["steps"]), (&json!("failed"), &json!([])));
    assert!(told["error"].as_str().unwrap().contains("COPPY"), "{told}");
}

#[test]
fn a_place_that_cannot_be_written_to_is_told_before_anything_is_built() {
    let oxbox = stages();
    let ran = oxbox.run(["build", "--trace", "absent/trace.json", "context"]);
    ran.fails(1, &["cannot write absent/trace.json"]);
    assert!(!ran.stderr.contains("RUN"), "{}", ran.stderr);
}

#[test]
fn the_data_of_a_report_says_what_was_made_and_what_is_in_it() {
    let oxbox = stages();
    let digest = oxbox.ok(["build", "-t", "app", "--report", "report.html", "context"]);
    let told = data(&oxbox.path("report.html"));
    assert_eq!(
        (&told["version"], &told["subject"], &told["outcome"]),
        (&json!(1), &json!("app:latest"), &json!("built"))
    );
    let copy = told["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["title"] == "[stage-2 3/3] COPY --from=b /b /b");
    let copy = copy.unwrap();
    assert_eq!((&copy["verdict"], &copy["kind"], &copy["line"]), (&json!("made"), &json!("copy"), &json!(7)));
    assert_eq!((&copy["critical"], &copy["why"]), (&json!(true), &json!("never built here")));
    assert_eq!(copy["layer"]["content"], json!({"entries": 1, "bytes": 2}));
    let image = &told["image"];
    assert_eq!(
        (&image["digest"], &image["config"]["Cmd"]),
        (&json!(digest.trim_end()), &json!(["cat", "/a"]))
    );
    let layers = image["layers"].as_array().unwrap();
    assert_eq!(layers.last().unwrap()["step"], copy["number"]);
    assert_eq!(layers[0]["step"], Value::Null);
    let size: u64 = layers.iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
    assert_eq!(oxbox.json(["images", "--json"])[0]["size"], size, "{}", oxbox.ok(["images", "--json"]));
    // Nothing else is left beside it.
    let hidden = fs::read_dir(oxbox.folder())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".oxbox"));
    assert_eq!(hidden.count(), 0);
}

#[test]
fn a_browser_shows_every_step_layer_and_line() {
    let oxbox = stages();
    oxbox.ok(["build", "-t", "app", "--report", "report.html", "context"]);
    let page = open(&oxbox, &oxbox.path("report.html"), &[]);
    assert_eq!(page.complaints(), Vec::<&str>::new());
    let steps = data(&oxbox.path("report.html"))["steps"].as_array().unwrap().len();
    assert!(steps >= 5 && page.dom.contains(&format!("data-drawn=\"{steps}\"")), "{}", page.dom);
    assert_eq!(page.count("class=\"bar "), steps);
    assert_eq!(page.count("<tr data-step=\""), steps + 2, "steps, and the layers that they made");
    for text in ["[b 2/2] RUN sleep 0.3; echo b &gt; /b", "COLOUR=blue", "cat /a", ">built<", "app:latest"] {
        assert!(page.dom.contains(text), "{text}");
    }
}

#[test]
fn a_browser_shows_hostile_text_as_text() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile(
        "FROM localhost/busybox\n\
         RUN echo '</script><script>document.body.id=\"pwned\"</script>' '\"><img src=x onerror=\"document.body.id=1\">'\n\
         RUN echo '<!--<script>' '{{script}}' '&lt;b&gt;' && exit 3\n",
    );
    let context = "\"><img src=x onerror=alert(1)><script>";
    fs::rename(oxbox.path("context"), oxbox.path(context)).unwrap();
    oxbox.run(["build", "--report", "report.html", context]).fails(1, &["exited with code 3"]);
    let page = open(&oxbox, &oxbox.path("report.html"), &["--force-dark-mode"]);
    assert_eq!(page.complaints(), Vec::<&str>::new());
    assert!(page.dom.contains("data-drawn=\"3\""), "{}", page.dom);
    assert_eq!((page.count("pwned\"</script>"), page.count("<img")), (0, 0));
    assert_eq!(page.count("<body id"), 0);
    assert_eq!(page.count("<script"), 2, "{}", page.dom);
    for text in [
        "&lt;/script&gt;&lt;script&gt;",
        "&lt;img src=x",
        "&lt;!--&lt;script&gt;",
        "&amp;lt;b&amp;gt;",
        "id=\"failure\"",
    ] {
        assert!(page.dom.contains(text), "{text}");
    }
}
