use std::time::Duration;

use oxbox_builder::plan::VertexId;
use oxbox_builder::progress::Event;

use super::{all, picture};
use crate::progress::News;
use crate::progress::record::Record;
use crate::progress::script::{self, fail, graph, pull};
use crate::progress::spoken::width;
use crate::terminal::{Line, Size};

/// Draws what is known of the failing build at a time.
fn at(milliseconds: u64, columns: usize, rows: usize) -> Vec<String> {
    let (mut record, now) = (Record::new(), Duration::from_millis(milliseconds));
    fail(|time, news| {
        if time <= now {
            record.hear_at(time, news);
        }
    });
    texts(picture(&record, Size { columns, rows }, now))
}

fn texts(lines: Vec<Line>) -> Vec<String> {
    lines.into_iter().map(|line| line.text).collect()
}

/// So many steps, of which some are over and some under way.
fn many(over: usize, under_way: usize) -> Record {
    let titles: Vec<String> = (0..over + under_way + 5).map(|number| format!("RUN {number}")).collect();
    let vertices: Vec<(&str, &[usize])> = titles.iter().map(|title| (title.as_str(), &[0][..])).collect();
    let graph = graph(&vertices);
    let mut record = Record::new();
    record.hear_at(Duration::ZERO, News::Build(Event::Planned { graph: &graph }));
    for (number, title) in titles.iter().enumerate().take(over + under_way) {
        let (vertex, now) = (VertexId(number), Duration::from_secs(number as u64));
        record.hear_at(now, News::Build(Event::Looking { vertex, title }));
        record.hear_at(now, News::Build(Event::Output { vertex, line: b"said" }));
        // The first one takes longest.
        if number > 0 && number <= over {
            let layer = None;
            record.hear_at(now, News::Build(Event::Cached { vertex, title, layer }));
        }
    }
    record
}

#[test]
fn a_build_under_way_looks_like_one_of_buildx() {
    assert_eq!(
        at(1700, 50, 24),
        [
            "[+] Building 1.7s (2/6)",
            " => [base 1/3] FROM busybox                  0.5s",
            " => CACHED [base 2/3] COPY motd /motd        0.1s",
            " => [work 2/2] RUN make                      0.7s",
            " => => # cc -o hello    hello.c",
            " => => # warning: unused",
            " => [other 2/2] RUN sleep 9                  0.6s",
        ]
    );
}

#[test]
fn the_last_picture_has_everything_and_no_output() {
    let record = script::failing();
    let lines = all(&record, Size { columns: 50, rows: 3 }, Duration::from_millis(6200));
    assert_eq!(
        texts(lines),
        [
            "[+] Building 6.2s (5/6) FAILED",
            " => [base 1/3] FROM busybox                  0.5s",
            " => CACHED [base 2/3] COPY motd /motd        0.1s",
            " => [work 2/2] RUN make                      1.5s",
            " => CANCELED [other 2/2] RUN sleep 9         5.0s",
            " => ERROR [stage-2 3/4] RUN false            3.5s",
        ]
    );
}

#[test]
fn a_pull_shows_what_is_under_way_of_it() {
    let mut record = Record::new();
    pull(|now, news| record.hear_at(now, news));
    let lines = picture(&record, Size { columns: 60, rows: 24 }, Duration::from_millis(1300));
    assert_eq!(
        texts(lines),
        [
            "[+] Building 1.3s (0/0)",
            " => pull docker.io/library/busybox:1                   1.3s",
            " => => 3.00 MB of 8.00 MB",
        ]
    );
}

#[test]
fn what_is_under_way_stays_where_there_is_not_room_for_all() {
    let titles = |rows| {
        let lines = texts(picture(&many(50, 3), Size { columns: 40, rows }, Duration::from_secs(60)));
        assert!(lines.len() < rows, "{lines:?}");
        let steps = lines.into_iter().filter(|line| line.starts_with(" => RUN") || line.contains("CACHED"));
        steps
            .map(|line| line.split_whitespace().filter(|word| word.parse::<u32>().is_ok()).collect())
            .collect()
    };
    let shown: Vec<String> = titles(8);
    assert_eq!(shown, ["0", "48", "49", "50", "51", "52"]);
    let shown: Vec<String> = titles(4);
    assert_eq!(shown.len(), 2);
    assert!(titles(2).is_empty());
}

#[test]
fn no_line_is_as_wide_as_the_terminal_and_no_picture_as_high() {
    let mut record = Record::new();
    let graph = graph(&[("RUN 漢字漢字漢字漢字 \u{1b}[31m \u{202e}", &[0]), ("RUN x", &[0])]);
    record.hear(News::Build(Event::Planned { graph: &graph }));
    for vertex in [VertexId(0), VertexId(1)] {
        let title = &graph.vertices[vertex.0].title;
        record.hear(News::Build(Event::Looking { vertex, title }));
        for _ in 0..9 {
            record.hear(News::Build(Event::Output { vertex, line: "\t漢\u{1b}[2J\u{1b}[".as_bytes() }));
        }
    }
    for columns in 0..60 {
        for rows in 0..20 {
            let lines = texts(picture(&record, Size { columns, rows }, Duration::from_secs(1234)));
            assert!(lines.len() <= rows.saturating_sub(1), "{rows}: {lines:?}");
            for line in lines {
                assert!(width(&line) <= columns.saturating_sub(1), "{columns}: {line:?}");
                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
}
