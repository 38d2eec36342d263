//! Progress as bars: one for each blob or step under way; what is done is a line above them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use oxbox_builder::plan::VertexId;
use oxbox_builder::progress as build;
use oxbox_copy::progress::{Event, Progress};
use oxbox_layers::oci::{Descriptor, Digest};

use super::lines;
use super::steps::{self, Tail, number, seconds};
use crate::output::clean;
use crate::terminal;

/// Shows a copy.
#[derive(Debug, Default)]
pub(super) struct Copying {
    under_way: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Progress for Copying {
    fn report(&self, event: Event) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        match &event {
            Event::Started(descriptor) => {
                under_way.insert(descriptor.digest, bar(descriptor));
            }
            Event::Advanced { digest, bytes } => {
                if let Some(bar) = under_way.get(digest) {
                    bar.inc(*bytes);
                }
            }
            Event::Restarted { digest, .. } => {
                if let Some(bar) = under_way.get(digest) {
                    bar.reset();
                }
            }
            Event::Finished { descriptor, .. } => {
                if let Some(bar) = under_way.remove(&descriptor.digest) {
                    bar.finish_and_clear();
                }
            }
            Event::Planned { .. } | Event::Published(_) => {}
        }
        drop(under_way);
        if let Some(line) = lines::line(&event) {
            terminal::say(&line);
        }
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        // A copy that failed leaves no bars behind, below which the error would stand.
        for bar in self.under_way.lock().unwrap_or_else(PoisonError::into_inner).values() {
            bar.finish_and_clear();
        }
    }
}

fn bar(descriptor: &Descriptor) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix}   [{bar:24}] {decimal_bytes}/{decimal_total_bytes}   {decimal_bytes_per_sec}   {eta}",
    );
    let style = style.expect("because the template is written here").progress_chars("=> ");
    let bar = ProgressBar::new(descriptor.size).with_style(style).with_prefix(descriptor.digest.short());
    terminal::bars().add(bar)
}

/// Characters of a title beside a spinner: half a line of a wide terminal.
const MAX_TITLE: usize = 60;

/// Shows a build.
#[derive(Debug, Default)]
pub(super) struct Building {
    steps: Mutex<Steps>,
}

#[derive(Debug, Default)]
struct Steps {
    under_way: BTreeMap<VertexId, Step>,
    /// What had been written before a step failed, with its title.
    failed: Vec<(String, Tail)>,
}

/// A step under way.
#[derive(Debug)]
struct Step {
    spinner: ProgressBar,
    tail: Tail,
}

impl build::Progress for Building {
    fn event(&self, event: build::Event<'_>) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            build::Event::Planned { .. } => {}
            build::Event::Warning { message } => terminal::say(&steps::warning(message)),
            build::Event::Started { vertex, title } => {
                let spinner = spinner(format!("{} {}", number(vertex), beginning(&clean(title))));
                steps.under_way.insert(vertex, Step { spinner, tail: Tail::default() });
            }
            build::Event::Output { vertex, line } => {
                if let Some(step) = steps.under_way.get_mut(&vertex) {
                    let line = steps::output(line);
                    step.spinner.set_message(line.clone());
                    step.tail.push(line);
                }
            }
            build::Event::Cached { vertex, title } => drop(steps.end(vertex, title, "CACHED")),
            build::Event::Cancelled { vertex, title } => drop(steps.end(vertex, title, "CANCELLED")),
            build::Event::Done { vertex, title, elapsed } => {
                drop(steps.end(vertex, title, &seconds(elapsed)));
            }
            build::Event::Failed { vertex, title, elapsed } => {
                let tail = steps.end(vertex, title, &format!("FAILED {}", seconds(elapsed)));
                steps.failed.extend(tail.map(|tail| (title.to_owned(), tail)));
            }
        }
    }
}

impl Steps {
    /// Puts a line in place of a step's spinner; returns what its command wrote last.
    fn end(&mut self, vertex: VertexId, title: &str, how: &str) -> Option<Tail> {
        let step = self.under_way.remove(&vertex);
        step.iter().for_each(|step| step.spinner.finish_and_clear());
        terminal::say(&format!("{} {} {how}", number(vertex), clean(title)));
        step.map(|step| step.tail).filter(|tail| !tail.is_empty())
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        let steps = self.steps.get_mut().unwrap_or_else(PoisonError::into_inner);
        steps.under_way.values().for_each(|step| step.spinner.finish_and_clear());
        for (title, tail) in &steps.failed {
            tail.show(title, &terminal::say);
        }
    }
}

/// Cuts a title that would push out of sight what the command writes.
fn beginning(title: &str) -> String {
    match title.char_indices().nth(MAX_TITLE) {
        Some((end, _)) => format!("{}…", &title[..end]),
        None => title.to_owned(),
    }
}

fn spinner(title: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}");
    let style = style.expect("because the template is written here");
    let spinner = ProgressBar::new_spinner().with_style(style).with_prefix(title);
    let spinner = terminal::bars().add(spinner);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
