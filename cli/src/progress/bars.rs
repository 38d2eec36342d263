//! Progress as bars: one for each blob or step under way; what is done is a line above them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use oxbox_builder::plan::VertexId;
use oxbox_builder::progress as build;
use oxbox_copy::progress::{Event, Progress};
use oxbox_layers::oci::{Descriptor, Digest};

use super::lines;
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

/// Lines of a step's output that are shown if it fails: enough for an error, too few to hide it.
const TAIL_LINES: usize = 30;

/// Shows a build.
#[derive(Debug, Default)]
pub(super) struct Building {
    under_way: Mutex<BTreeMap<VertexId, Step>>,
}

/// A step under way.
#[derive(Debug)]
struct Step {
    spinner: ProgressBar,
    tail: VecDeque<String>,
}

impl build::Progress for Building {
    fn event(&self, event: build::Event<'_>) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            build::Event::Started { vertex, title } => {
                let title = format!("#{} {}", vertex.0, clean(title));
                under_way.insert(vertex, Step { spinner: spinner(title), tail: VecDeque::new() });
            }
            build::Event::Output { vertex, line } => {
                if let Some(step) = under_way.get_mut(&vertex) {
                    step.write(lines::output(line));
                }
            }
            build::Event::Done { vertex, title, elapsed } => {
                end(under_way.remove(&vertex));
                let (title, seconds) = (clean(title), elapsed.as_secs_f32());
                terminal::say(&format!("#{} {title} ({seconds:.2} s)", vertex.0));
            }
            build::Event::Cached { vertex, .. } => {
                end(under_way.remove(&vertex));
                lines::build_line(event).iter().for_each(|line| terminal::say(line));
            }
            build::Event::Planned { .. } | build::Event::Warning { .. } => {
                lines::build_line(event).iter().for_each(|line| terminal::say(line));
            }
        }
    }
}

impl Step {
    fn write(&mut self, line: String) {
        self.spinner.set_message(line.clone());
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

fn end(step: Option<Step>) {
    if let Some(step) = step {
        step.spinner.finish_and_clear();
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        // What is still under way has failed, or was given up because something else did.
        let under_way = self.under_way.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (vertex, step) in std::mem::take(under_way) {
            step.spinner.finish_and_clear();
            step.tail.iter().for_each(|line| terminal::say(&format!("#{} | {line}", vertex.0)));
        }
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
