//! What is kept of a build in files, if that is asked for: how it went, for people and for tools.
//!
//! ```text
//! News ─▶ Record ─▶ timeline ─┬─▶ trace    --trace FILE     Chrome's trace events
//!                   lanes     └─▶ page     --report FILE    one page that needs nothing else
//! ```
//!
//! A file is begun before the build is, so that a place that cannot be written to is told at once, and
//! gets its name when the build is over, however it ended. docs/formats.md has the formats.

mod aside;
mod page;
mod timeline;
mod trace;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oxbox_builder::Exported;
use oxbox_builder::solve::Indexes;
use oxbox_layers::image::Image;
use oxbox_layers::store::Layout;

use crate::progress::record::Record;
use crate::progress::{Listener, News};
use aside::Aside;

pub(crate) use aside::AsideError;

/// The files, and what goes into them.
pub(crate) struct Chronicle {
    subject: Subject,
    record: Arc<Kept>,
    trace: Option<Aside>,
    page: Option<Aside>,
}

/// What is built.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// How people call it: its first name, or its context.
    pub(crate) name: String,
    /// All names that it gets.
    pub(crate) names: Vec<String>,
    /// The folder of the cache.
    pub(crate) state: PathBuf,
    /// Where the image is, if there is one.
    pub(crate) store: Arc<Layout>,
}

/// How a build ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending<'a> {
    /// It is done; there is an image unless only plain files were asked for.
    Built(Option<&'a Exported>),
    /// There is none.
    Failed(&'a anyhow::Error),
    /// Somebody stopped it.
    Interrupted,
}

/// A record that is written to while it is listened.
#[derive(Debug)]
struct Kept(Mutex<Record>);

impl Listener for Kept {
    fn hear(&self, news: News<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hear(news);
    }

    fn end(&self) {}
}

/// A build that is over, as both files tell of it.
struct Account<'a> {
    subject: &'a Subject,
    record: &'a Record,
    ending: Ending<'a>,
    total: Duration,
    /// The image, if it can be read.
    image: Option<Image>,
    /// What is known of layers, if it can be read.
    indexes: Option<Indexes>,
}

impl Chronicle {
    /// Begins the files that are asked for; `None` if none is.
    pub(crate) fn begin(
        subject: Subject,
        trace: Option<&Path>,
        page: Option<&Path>,
    ) -> Result<Option<Self>, AsideError> {
        if trace.is_none() && page.is_none() {
            return Ok(None);
        }
        let trace = trace.map(Aside::begin).transpose()?;
        let page = page.map(Aside::begin).transpose()?;
        Ok(Some(Self { subject, record: Arc::new(Kept(Mutex::new(Record::new()))), trace, page }))
    }

    /// Returns what must listen to the build.
    pub(crate) fn listener(&self) -> Arc<dyn Listener> {
        Arc::clone(&self.record) as Arc<dyn Listener>
    }

    /// Writes the files, and gives them their names.
    pub(crate) fn close(self, ending: Ending<'_>) -> Result<(), AsideError> {
        let record = self.record.0.lock().unwrap_or_else(PoisonError::into_inner);
        let image = match ending {
            // One that only went elsewhere is not in the store; the build is told of all the same.
            Ending::Built(Some(exported)) => Image::load(&*self.subject.store, &exported.manifest).ok(),
            Ending::Built(None) | Ending::Failed(_) | Ending::Interrupted => None,
        };
        let account = Account {
            subject: &self.subject,
            record: &record,
            ending,
            total: record.elapsed(),
            image,
            indexes: Indexes::open(&self.subject.state.join("indexes")).ok(),
        };
        if let Some(file) = self.trace {
            file.publish(trace::write(&account).as_bytes())?;
        }
        if let Some(file) = self.page {
            file.publish(page::write(&account).as_bytes())?;
        }
        Ok(())
    }
}

impl Ending<'_> {
    /// Returns a word for it.
    fn word(&self) -> &'static str {
        match self {
            Self::Built(_) => "built",
            Self::Failed(_) => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// Returns why there is no image.
    fn error(&self) -> Option<String> {
        match self {
            Self::Failed(error) => Some(crate::report::sentence(error.as_ref())),
            Self::Built(_) | Self::Interrupted => None,
        }
    }
}
