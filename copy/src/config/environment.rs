//! The variables that say where configuration lives, read once.

use std::env;
use std::path::PathBuf;

/// Directories and files that variables name. Empty variables count as unset.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `HOME`
    pub home: Option<PathBuf>,
    /// Where logins write: `$XDG_RUNTIME_DIR/containers/auth.json`, else
    /// `/run/containers/<uid>/auth.json`
    pub session_auth_file: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, else `$HOME/.config`
    pub config: Option<PathBuf>,
    /// `DOCKER_CONFIG`, else `$HOME/.docker`
    pub docker: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`
    pub auth_file: Option<PathBuf>,
    /// `/etc`
    pub etc: PathBuf,
}

impl Environment {
    /// Reads the process's variables.
    pub fn of_process() -> Self {
        let read = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = read("HOME");
        let below_home = |name| home.as_ref().map(|home| home.join(name));
        let runtime = read("XDG_RUNTIME_DIR").map(|dir| dir.join("containers"));
        let runtime = runtime.unwrap_or_else(|| {
            PathBuf::from("/run/containers").join(rustix::process::getuid().as_raw().to_string())
        });
        Self {
            session_auth_file: Some(runtime.join("auth.json")),
            config: read("XDG_CONFIG_HOME").or_else(|| below_home(".config")),
            docker: read("DOCKER_CONFIG").or_else(|| below_home(".docker")),
            auth_file: read("REGISTRY_AUTH_FILE"),
            etc: PathBuf::from("/etc"),
            home,
        }
    }
}
