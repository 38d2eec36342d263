//! The thread that draws a picture over and over while something goes on.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::terminal::{self, Line, Size};

/// Between two pictures: as often as times of a tenth of a second change. What is over before the first
/// one never flickers.
const PAUSE: Duration = Duration::from_millis(100);

/// Draws until it is ended.
#[derive(Debug)]
pub(super) struct Painter {
    is_over: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Painter {
    /// Starts to draw what `picture` returns for the terminal as large as it is then.
    pub(super) fn start(picture: impl Fn(Size) -> Vec<Line> + Send + 'static) -> Self {
        let is_over = Arc::new((Mutex::new(false), Condvar::new()));
        let work = {
            let is_over = Arc::clone(&is_over);
            move || {
                while !waited(&is_over) {
                    terminal::paint(picture(terminal::size()));
                }
            }
        };
        // A machine that has no thread left for a picture has other worries.
        let thread = thread::Builder::new().name("painter".to_owned()).spawn(work).ok();
        Self { is_over, thread: Mutex::new(thread) }
    }

    /// Draws no more; the last picture stays.
    pub(super) fn end(&self, last: impl FnOnce(Size) -> Vec<Line>) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let (is_over, changed) = &*self.is_over;
        *is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        // It panics only if a picture does, and then there is none.
        let _ = thread.join();
        terminal::paint(last(terminal::size()));
        terminal::keep();
    }
}

/// Waits for the next picture; returns whether there is to be none.
fn waited((is_over, changed): &(Mutex<bool>, Condvar)) -> bool {
    let is_over = is_over.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = changed.wait_timeout_while(is_over, PAUSE, |is_over| !*is_over);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}
