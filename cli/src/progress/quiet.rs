//! Nothing, unless a step fails: then what it said last.

use std::sync::{Mutex, PoisonError};

use super::record::Record;
use super::{Listener, News};
use crate::terminal::say;

/// Shows a build that is not to be seen.
#[derive(Debug)]
pub(super) struct Quiet {
    record: Mutex<Record>,
}

impl Quiet {
    pub(super) fn new() -> Self {
        Self { record: Mutex::new(Record::new()) }
    }
}

impl Listener for Quiet {
    fn hear(&self, news: News<'_>) {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).hear(news);
    }

    fn end(&self) {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        for step in record.failed() {
            step.tail.epitaph(&step.title).iter().for_each(|line| say(line));
        }
    }
}
