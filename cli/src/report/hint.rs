//! What an error means to the one who typed: how to mend it, and which exit code it is.
//!
//! Looked up by type anywhere in the chain, so that rooms need not know about the command line.

use std::error::Error;
use std::io;

use oxbox_builder::BuildError;
use oxbox_builder::context::BringError;
use oxbox_builder::context::find::FindError;
use oxbox_builder::exec::rung::{IsolationError, Obstacle};
use oxbox_builder::exec::runtime::RuntimeError;
use oxbox_builder::solve::{CacheError, SolveError};
use oxbox_copy::client::{AuthError, ClientError, CredentialsError, ExchangeError, Trouble};
use oxbox_copy::location::{Location, LocationError};
use oxbox_registry::StartError;

use super::chain::links;
use crate::command::{
    AgentError, DeleteError, OptionError, PlaceError, SecretError, SecurityError, TagsError, ValidateError,
    VolumeError, WhyError,
};
use crate::interrupt::{INTERRUPTED, Interrupted};
use crate::local::LocalError;
use crate::settings::{NoHome, NoTerminal};

/// The command failed.
const FAILED: u8 = 1;
/// The command line or a file of the user's cannot be understood.
const MISUNDERSTOOD: u8 = 2;

/// Returns the exit code.
pub(super) fn code(error: &anyhow::Error) -> u8 {
    let links = || links(error.as_ref());
    if links().any(|link| link.is::<Interrupted>()) {
        INTERRUPTED
    } else if links().any(is_misunderstood) {
        MISUNDERSTOOD
    } else {
        FAILED
    }
}

fn is_misunderstood(error: &(dyn Error + 'static)) -> bool {
    error.is::<LocationError>()
        || error.is::<CredentialsError>()
        || error.is::<OptionError>()
        || error.is::<SecurityError>()
        || error.is::<VolumeError>()
        || error.is::<NoTerminal>()
        || error.is::<PlaceError>()
        || error.is::<AgentError>()
        || error.is::<SecretError>()
        || matches!(error.downcast_ref(), Some(BuildError::Dockerfile { .. }))
        || matches!(error.downcast_ref(), Some(LocalError::Name { .. } | LocalError::DigestInName { .. }))
        || matches!(error.downcast_ref(), Some(DeleteError::NotARegistry { .. }))
        || matches!(error.downcast_ref(), Some(TagsError::NoTags { .. }))
        || matches!(error.downcast_ref(), Some(ValidateError::Elsewhere { .. }))
}

/// Returns the hints, each once.
pub(super) fn of(error: &anyhow::Error) -> Vec<String> {
    let mut hints = Vec::new();
    for link in links(error.as_ref()) {
        let hint = of_link(link, error);
        hints.extend(hint.filter(|hint| !hints.contains(hint)));
    }
    hints
}

fn of_link(link: &(dyn Error + 'static), whole: &anyhow::Error) -> Option<String> {
    if let Some(BuildError::Network(_)) = link.downcast_ref() {
        return Some(
            "install Debian's package passt or slirp4netns; --network=host and --network=none need neither"
                .to_owned(),
        );
    }
    if let Some(BuildError::NoIsolation { standing, .. }) = link.downcast_ref() {
        return Some(isolation(&standing.not_taken));
    }
    if let Some(BuildError::Unable { source, .. }) = link.downcast_ref() {
        return source.hint().map(str::to_owned);
    }
    if let Some(error) = link.downcast_ref::<IsolationError>() {
        return error.obstacle.hint.clone();
    }
    if let Some(error) = link.downcast_ref::<RuntimeError>() {
        return Some(error.hint());
    }
    if let Some(error) = link.downcast_ref::<AgentError>() {
        return error.hint().map(str::to_owned);
    }
    if let Some(OptionError::Nameless) = link.downcast_ref() {
        return Some("give it one with --tag, or name= of --output".to_owned());
    }
    if let Some(error) = link.downcast_ref::<LocalError>() {
        return local(error);
    }
    if let Some(error) = link.downcast_ref::<LocationError>() {
        return location(error);
    }
    if let Some(error) = link.downcast_ref::<ClientError>() {
        return client(error, whole);
    }
    if let Some(BuildError::Step { source, .. }) = link.downcast_ref() {
        match &**source {
            SolveError::Run(error) => return error.hint().map(str::to_owned),
            SolveError::Git(error) => return error.hint().map(str::to_owned),
            _ => {}
        }
    }
    if let Some(BringError::Git(error)) = link.downcast_ref() {
        return error.hint().map(str::to_owned);
    }
    if whole.is::<BuildError>() && is_full(link) {
        return Some("the disk is full; `oxbox prune` removes what no image needs".to_owned());
    }
    if let Some(BuildError::Find(FindError::NoDockerfile { there, .. } | FindError::NotThere { there, .. })) =
        link.downcast_ref()
    {
        return Some(match there.as_slice() {
            [] => "it is empty; --file names a Dockerfile elsewhere".to_owned(),
            there => format!("it holds {}; --file names another", there.join(", ")),
        });
    }
    if let Some(StartError::Listen { address, source }) = link.downcast_ref()
        && source.kind() == io::ErrorKind::AddrInUse
    {
        let port = address.port();
        return Some(format!(
            "another program has port {port}; --listen {}:0 takes a free one",
            address.ip()
        ));
    }
    if link.is::<NoHome>() {
        return Some("name a folder with --root or OXBOX_ROOT".to_owned());
    }
    if matches!(link.downcast_ref(), Some(WhyError::NotBuilt { .. } | WhyError::NoStep { .. })) {
        return Some("the last 50 builds are remembered; `oxbox why` alone shows the last".to_owned());
    }
    if matches!(link.downcast_ref(), Some(DeleteError::NotARegistry { .. })) {
        return Some("`oxbox rmi` takes names from the local store".to_owned());
    }
    if matches!(link.downcast_ref(), Some(ValidateError::Elsewhere { .. })) {
        return Some("copy it into the local store first".to_owned());
    }
    None
}

/// Whether there was no room on the disk. Errors that are shown as another's text are no links of their own.
fn is_full(link: &(dyn Error + 'static)) -> bool {
    let cache = match link.downcast_ref() {
        Some(BuildError::Cache(error)) => Some(error),
        Some(BuildError::Step { source, .. }) => match &**source {
            SolveError::Cache(error) => Some(error),
            _ => None,
        },
        _ => None,
    };
    let io = link.downcast_ref::<io::Error>();
    cache.is_some_and(CacheError::is_full)
        || io.is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
}

/// What would make RUN work, one line for each way.
fn isolation(obstacles: &[Obstacle]) -> String {
    let hints = obstacles.iter().filter_map(|one| Some(format!("{}: {}", one.rung, one.hint.as_ref()?)));
    let hints: Vec<_> = hints.collect();
    match hints.as_slice() {
        [] => "--isolation auto takes the best that there is".to_owned(),
        hints => format!("one of these would do\n{}", hints.join("\n")),
    }
}

fn local(error: &LocalError) -> Option<String> {
    match error {
        LocalError::Missing { similar, .. } if !similar.is_empty() => {
            Some(format!("there is {}", similar.join(", ")))
        }
        LocalError::Missing { name, .. } => {
            Some(format!("`oxbox images` lists what there is; docker://{name} is a registry's"))
        }
        LocalError::Name { .. } | LocalError::DigestInName { .. } => None,
    }
}

fn location(error: &LocationError) -> Option<String> {
    match error {
        LocationError::Unsupported { .. } | LocationError::NoSlashes { .. } | LocationError::Empty => {
            Some(format!("locations are\n{}", Location::transports()))
        }
        LocationError::NoPath { .. }
        | LocationError::Name { .. }
        | LocationError::Position { .. }
        | LocationError::DigestInArchive { .. }
        | LocationError::Reference { .. } => None,
    }
}

fn client(error: &ClientError, whole: &anyhow::Error) -> Option<String> {
    match error {
        ClientError::Exchange(ExchangeError::Unreachable { .. } | ExchangeError::Broken { .. })
            if links(whole.as_ref()).any(|link| link.is::<rustls::Error>()) =>
        {
            Some(
                "--tls-verify=false takes any certificate, and plain HTTP; --cert-dir names authorities of your own"
                    .to_owned(),
            )
        }
        ClientError::Auth(error) => auth(error),
        ClientError::Refused { status, .. } if status.as_u16() == 405 => {
            Some("the registry does not allow this; many must be told to allow deletes".to_owned())
        }
        error if error.trouble() == Trouble::Denied => {
            Some("these credentials may not do this; --creds gives others".to_owned())
        }
        _ => None,
    }
}

fn auth(error: &AuthError) -> Option<String> {
    match error {
        AuthError::NoCredentials { registry, .. } | AuthError::Rejected { registry, origin: None, .. } => {
            Some(format!(
                "give --creds USER:PASSWORD (copy: --src-creds, --dest-creds), or use `podman login {registry}`"
            ))
        }
        AuthError::Rejected { origin: Some(_), .. } | AuthError::Refused { .. } => {
            Some("check user and password; --creds (copy: --src-creds, --dest-creds) gives others".to_owned())
        }
        _ => None,
    }
}
