//! Progress as lines: one for each thing that happens.
//!
//! ```text
//! copying 3 blobs, 12.30 MB
//! 0a1b2c3d4e5f   12.00 MB   copied
//! 5e4d3c2b1a0f   300 B      already there
//!
//! #2 RUN make                                    a step begins, and has a number from then on
//! #2 | cc -o hello hello.c                       a line that its command wrote
//! #2 done in 1.20 s
//! ```

use oxbox_builder::progress as build;
use oxbox_copy::progress::{Event, Progress};
use oxbox_copy::transfer::Outcome;

use crate::output::clean;
use crate::table::{count, size};
use crate::terminal::say;

/// Shows a copy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copying;

impl Progress for Copying {
    fn report(&self, event: Event) {
        if let Some(line) = line(&event) {
            say(&line);
        }
    }
}

/// Returns the line of an event, if it is worth one.
pub(super) fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Planned { blobs, bytes } => format!("copying {}, {}", count(*blobs, "blob"), size(*bytes)),
        Event::Restarted { digest, attempts, reason } => {
            format!("{}   attempt {attempts} broke off: {}", digest.short(), clean(reason))
        }
        Event::Finished { descriptor, outcome } => {
            format!("{}   {:<9}   {}", descriptor.digest.short(), size(descriptor.size), word(*outcome))
        }
        Event::Published(root) => format!("{}   published", root.digest.short()),
        Event::Started(_) | Event::Advanced { .. } => return None,
    })
}

/// Shows a build.
#[derive(Debug, Clone, Copy)]
pub(super) struct Building;

impl build::Progress for Building {
    fn event(&self, event: build::Event<'_>) {
        if let Some(line) = build_line(event) {
            say(&line);
        }
    }
}

/// Returns the line, or for warnings the lines, of an event of a build.
pub(super) fn build_line(event: build::Event<'_>) -> Option<String> {
    Some(match event {
        build::Event::Planned { .. } => return None,
        build::Event::Started { vertex, title } => format!("#{} {}", vertex.0, clean(title)),
        build::Event::Cached { vertex, title } => format!("#{} {} (cached)", vertex.0, clean(title)),
        build::Event::Output { vertex, line } => format!("#{} | {}", vertex.0, output(line)),
        build::Event::Done { vertex, elapsed, .. } => {
            format!("#{} done in {:.2} s", vertex.0, elapsed.as_secs_f32())
        }
        build::Event::Warning { message } => message.lines().map(clean).collect::<Vec<_>>().join("\n"),
    })
}

/// A line that a command wrote: whatever drives a terminal is made visible, but for tabs.
pub(super) fn output(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    // Programs that draw their own progress write one line over and over.
    let last = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    last.split('\t').map(clean).collect::<Vec<_>>().join("\t")
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Copied => "copied",
        Outcome::Present => "already there",
        Outcome::Mounted => "mounted",
        Outcome::LeftAtUrls => "left at its urls",
    }
}

#[cfg(test)]
mod tests {
    use super::output;

    #[test]
    fn a_line_that_was_written_over_shows_what_was_last() {
        assert_eq!(output(b"10%\r50%\r100%\r"), "100%");
    }

    #[test]
    fn a_program_cannot_drive_the_terminal_but_may_use_tabs() {
        assert_eq!(output(b"a\tb\x1b[2J"), "a\tb\\u{1b}[2J");
    }
}
