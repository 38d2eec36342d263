//! Copies as a picture: a line for each blob under way; what is done is said above them.
//!
//! ```text
//! 0a1b2c3d4e5f   12.00 MB    copied
//! 5e4d3c2b1a0f   [=====>          ]   4.10 MB of 12.30 MB   2.05 MB/s
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use oxbox_copy::progress::{Event, Progress};

use super::lines;
use super::painter::Painter;
use super::spoken::cut;
use super::transfer::{Blob, Transfer};
use crate::table::size;
use crate::terminal::{self, Colour, Line, Size};

/// Cells of a bar.
const BAR: usize = 24;

/// Shows a copy.
#[derive(Debug)]
pub(super) struct Copying {
    began: Instant,
    copy: Arc<Mutex<Transfer>>,
    painter: Painter,
}

impl Copying {
    pub(super) fn new() -> Self {
        let (began, copy) = (Instant::now(), Arc::new(Mutex::new(Transfer::default())));
        let shown = Arc::clone(&copy);
        let picture = move |size| {
            let copy = shown.lock().unwrap_or_else(PoisonError::into_inner);
            picture(&copy.blobs, size, began.elapsed())
        };
        Self { began, copy, painter: Painter::start(picture) }
    }
}

impl Progress for Copying {
    fn report(&self, event: Event) {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner).moved(self.began.elapsed(), &event);
        if let Some(line) = lines::line(&event) {
            terminal::say(&line);
        }
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        // A copy that failed leaves no bars behind, below which the error would stand.
        self.painter.end(|_| Vec::new());
    }
}

/// Draws as many blobs as there is room for.
fn picture(blobs: &[Blob], Size { columns, rows }: Size, now: Duration) -> Vec<Line> {
    let line = |blob: &Blob| {
        let bar = format!("{}   [{}]   {}", blob.descriptor.digest.short(), bar(blob), moved(blob));
        let text = cut(&format!("{bar}   {}/s", size(rate(blob, now))), columns.saturating_sub(1));
        Line { text, colour: Colour::Usual }
    };
    blobs.iter().take(rows.saturating_sub(1)).map(line).collect()
}

/// How much of a blob has moved.
pub(super) fn moved(blob: &Blob) -> String {
    format!("{} of {}", size(blob.bytes), size(blob.descriptor.size))
}

fn bar(blob: &Blob) -> String {
    let share = blob.bytes.min(blob.descriptor.size) as f64 / blob.descriptor.size.max(1) as f64;
    let done = (share * BAR as f64) as usize;
    let head = if done < BAR { ">" } else { "" };
    format!("{:<BAR$}", "=".repeat(done) + head)
}

/// Bytes for each second so far.
fn rate(blob: &Blob, now: Duration) -> u64 {
    let elapsed = now.saturating_sub(blob.began).as_secs_f64();
    if elapsed > 0.0 { (blob.bytes as f64 / elapsed) as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oxbox_layers::oci::{Descriptor, Digest, MediaType};

    use super::picture;
    use crate::progress::transfer::Blob;
    use crate::terminal::Size;

    fn blob(size: u64, bytes: u64) -> Blob {
        let mut descriptor = Descriptor::of(MediaType::OCI_LAYER_GZIP, b"blob");
        descriptor.size = size;
        Blob { descriptor, began: Duration::from_secs(2), bytes }
    }

    fn drawn(blobs: &[Blob], columns: usize, rows: usize) -> Vec<String> {
        let lines = picture(blobs, Size { columns, rows }, Duration::from_secs(4));
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_bar_grows_with_its_blob() {
        let lines = drawn(&[blob(12_300_000, 4_100_000), blob(10, 10), blob(0, 0)], 100, 24);
        let digest = Digest::sha256(b"blob").short();
        assert_eq!(
            lines[0],
            format!("{digest}   [========>               ]   4.10 MB of 12.30 MB   2.05 MB/s")
        );
        assert!(lines[1].contains("[========================]   10 B of 10 B"), "{}", lines[1]);
        assert!(lines[2].contains("[>                       ]"), "{}", lines[2]);
    }

    #[test]
    fn a_small_terminal_shows_what_fits() {
        let lines = drawn(&[blob(9, 1), blob(9, 1), blob(9, 1)], 20, 3);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.chars().count() <= 19));
    }
}
