//! What the command line and the environment mean: where things are, and how progress looks.
//!
//! ```text
//! $OXBOX_ROOT, --root     else /var/lib/oxbox for root, else $XDG_DATA_HOME/oxbox, else ~/.local/share/oxbox
//!   store/                a standard OCI image layout       cache.db    what was built, by what it was built from
//!   snapshots/            unpacked layers                   tmp/        archives being unpacked
//! ```
//!
//! Nothing is made here: folders come with the first thing that is written into them.

use std::env;
use std::ffi::OsString;
use std::io::{IsTerminal as _, stderr};
use std::path::{Path, PathBuf};

use crate::args::{Arguments, Progress, State};
use crate::log;

/// What holds for every command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// How progress looks; none if it cannot.
    look: Option<Look>,
    /// Whether more was asked for.
    pub(crate) verbose: bool,
}

/// A picture is wanted where there is nothing to draw on.
#[derive(Debug, thiserror::Error)]
#[error("--progress tty needs a terminal on standard error")]
pub(crate) struct NoTerminal;

/// How progress looks, now that it is known where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// A picture of what goes on now.
    Picture,
    /// One line for each thing that happens.
    Lines,
    /// One JSON object in each line.
    Json,
    /// What a failed step said last.
    Quiet,
    /// Nothing.
    Nothing,
}

/// The folder of all local state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Root(PathBuf);

/// Why it cannot be told where local state is.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell where local state is: neither XDG_DATA_HOME nor HOME is an absolute path")]
pub(crate) struct NoHome;

/// Draws the conclusions, and lets logs go to standard error from now on.
pub(crate) fn settle(arguments: &Arguments) -> Settings {
    log::start(arguments.verbose, arguments.command.log_default());
    let terminal = stderr().is_terminal();
    let can_draw = terminal && env::var_os("TERM").is_none_or(|term| term != "dumb");
    let look = match arguments.progress {
        Progress::Auto if can_draw => Some(Look::Picture),
        Progress::Tty => Some(Look::Picture).filter(|_| terminal),
        Progress::Auto | Progress::Plain => Some(Look::Lines),
        Progress::Rawjson => Some(Look::Json),
        Progress::Quiet => Some(Look::Quiet),
        Progress::None => Some(Look::Nothing),
    };
    Settings { look, verbose: arguments.verbose > 0 }
}

impl Settings {
    /// Returns how progress looks for commands that show any.
    ///
    /// # Errors
    ///
    /// A picture is asked for, and there is no terminal; buildx fails then too.
    pub(crate) fn look(&self) -> Result<Look, NoTerminal> {
        self.look.ok_or(NoTerminal)
    }
}

impl Root {
    /// Returns the folder that was named, or the usual one of this user.
    pub(crate) fn of(state: &State) -> Result<Self, NoHome> {
        match &state.root {
            Some(root) => Ok(Self(root.clone())),
            None if rustix::process::geteuid().is_root() => Ok(Self("/var/lib/oxbox".into())),
            None => usual(env::var_os("XDG_DATA_HOME"), env::var_os("HOME")).map(Self).ok_or(NoHome),
        }
    }

    /// Returns the folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns where images are.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }
}

/// A relative path is as good as none (XDG Base Directory Specification).
fn usual(data_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let data_home = absolute(data_home).or_else(|| Some(absolute(home)?.join(".local/share")))?;
    Some(data_home.join("oxbox"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::usual;

    #[test]
    fn state_is_below_the_data_folder_of_the_user() {
        assert_eq!(usual(Some("/data".into()), Some("/home/u".into())), Some(PathBuf::from("/data/oxbox")));
        assert_eq!(usual(None, Some("/home/u".into())), Some(PathBuf::from("/home/u/.local/share/oxbox")));
    }

    #[test]
    fn relative_and_empty_variables_do_not_count() {
        assert_eq!(
            usual(Some("data".into()), Some("/h".into())),
            Some(PathBuf::from("/h/.local/share/oxbox"))
        );
        assert_eq!(usual(Some("".into()), Some("".into())), None);
    }
}
