//! Vertices that bring files from elsewhere: a server's, a repository's, a named context's.

use std::sync::Arc;

use oxbox_layers::layer::Layer;

use super::downloads::Download;
use super::job::Job;
use super::schedule::Step;
use super::solver::{SolveError, Solved};
use crate::context::FileTree as _;
use crate::context::{Directory, Ignore};
use crate::fetch::Validators;
use crate::op::copy::{CopyError, Dates};
use crate::op::{git, http, local};
use crate::plan::graph;

impl Job<'_> {
    /// The server is asked at every build, unless a checksum says that the answer could only be one.
    pub(super) fn http(&mut self, http: &graph::Http) -> Result<Step<Solved>, SolveError> {
        let workshop = self.workshop;
        if let Some(checksum) = &http.checksum
            && let Some((layer, _)) = self.downloaded(http, &http::source_of_checksum(checksum))?
        {
            return Ok(Step::Made(Solved::of(Vec::new()).with(layer)));
        }
        let at_hand = self.downloaded(http, &http::source_of_url(http))?;
        let at_hand = at_hand.filter(|_| http.checksum.is_none());
        let validators =
            at_hand.as_ref().map_or_else(Validators::default, |(_, validators)| validators.clone());
        if at_hand.is_none() {
            self.announce()?;
        }
        let body = http::download(http, &validators, (workshop.fetch, &workshop.secrets), &workshop.spool)?;
        match (body, at_hand) {
            (Some(body), _) => self.body(http, body),
            (None, Some((layer, _))) => Ok(Step::Made(Solved::of(Vec::new()).with(layer))),
            // Who was told of nothing at hand cannot know that it is unchanged.
            (None, None) => Err(http::HttpError::Nothing { url: crate::fetch::shown(&http.url) }.into()),
        }
    }

    /// Returns the layer of what a source gave before, if it is still there.
    fn downloaded(
        &mut self,
        http: &graph::Http,
        source: &super::Key,
    ) -> Result<Option<(Layer, Validators)>, SolveError> {
        let workshop = self.workshop;
        if self.is_fresh() {
            return Ok(None);
        }
        let here = workshop.cache.download(source)?;
        let elsewhere = || workshop.stocks.download(source).cloned();
        let Some(Download { digest, validators }) = here.or_else(elsewhere) else { return Ok(None) };
        let key = http::key(http, &digest, &validators, workshop.epoch);
        let was_cached = self.cached;
        let layer = self.cached(&key)?;
        match layer {
            Some(_) => self.content = Some(key),
            None => self.cached = was_cached,
        }
        Ok(layer.map(|layer| (layer, validators)))
    }

    fn body(&mut self, http: &graph::Http, mut body: http::Body) -> Result<Step<Solved>, SolveError> {
        let workshop = self.workshop;
        let key = http::key(http, &body.digest, &body.validators, workshop.epoch);
        let download = Download { digest: body.digest, validators: body.validators.clone() };
        let made = self.found_or_made(key, &Arc::new(Solved::of(Vec::new())), |mut writer| {
            http::write(http, &mut body, &mut writer, workshop.epoch)?;
            Ok(writer.finish_noted()?)
        })?;
        let Step::Made(_) = &made else { return Ok(made) };
        // Afterwards: a note without its layer would be a request in vain.
        workshop.cache.put_download(&http::source_of_url(http), &download, workshop.now)?;
        if let Some(checksum) = &http.checksum {
            workshop.cache.put_download(&http::source_of_checksum(checksum), &download, workshop.now)?;
        }
        Ok(made)
    }

    /// The repository is asked what the reference stands for at every build, and for nothing else if that
    /// was built before.
    pub(super) fn git(&mut self, git: &graph::Git) -> Result<Step<Solved>, SolveError> {
        let workshop = self.workshop;
        let resolved = workshop.repositories.resolve(git)?;
        let key = git::key(git, &resolved, workshop.epoch);
        let nothing = Arc::new(Solved::of(Vec::new()));
        let below = workshop.tree(&nothing)?;
        self.found_or_made(key, &nothing, |mut writer| {
            let scratch = workshop.repositories.scratch()?;
            let checked_out = workshop.repositories.check_out(git, &resolved, scratch.path())?;
            let tree = Directory::open(&checked_out.folder, Ignore::default()).map_err(CopyError::Tree)?;
            let planned = local::plan(Arc::new(Arc::new(tree).look()), &below)?;
            let dates = Dates::of_epoch(workshop.epoch, workshop.now);
            planned.write(&mut writer, dates, &workshop.interrupt)?;
            Ok(writer.finish_noted()?)
        })
    }

    pub(super) fn local(&mut self, local: &graph::Local) -> Result<Step<Solved>, SolveError> {
        let context = self.workshop.context(&Some(local.name.clone()))?;
        let nothing = Arc::new(Solved::of(Vec::new()));
        if context.children(b"").map_err(CopyError::Tree)?.is_empty() {
            return Ok(Step::Made(nothing.unchanged()));
        }
        let mut planned = local::plan(context, &self.workshop.tree(&nothing)?)?;
        self.planned(&mut planned, &nothing)
    }
}
