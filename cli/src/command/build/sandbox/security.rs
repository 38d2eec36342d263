//! What RUN may do: capabilities, system calls, devices.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use clap::Args;
use oxbox_builder::exec::sandbox::capability::{CapabilityError, Named};
use oxbox_builder::exec::sandbox::device::{Device, DeviceError};
use oxbox_builder::exec::sandbox::profile::{MAX_PROFILE_BYTES, Profile, ProfileError};
use oxbox_builder::exec::sandbox::{Capabilities, Privileges, Sandbox, Seccomp};

/// What RUN may do.
#[derive(Debug, Args)]
pub(crate) struct Security {
    /// A capability for RUN besides Docker's fourteen, or ALL.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = capability)]
    cap_add: Vec<Named>,
    /// A capability that RUN shall not have, or ALL.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = capability)]
    cap_drop: Vec<Named>,
    /// A device of this machine for RUN.
    #[arg(long, value_name = "HOST[:TARGET[:rwm]]", value_parser = device)]
    device: Vec<Device>,
    /// seccomp=unconfined|FILE, no-new-privileges, apparmor=unconfined; label=… is accepted and does nothing.
    #[arg(long, value_name = "OPTION", value_parser = option)]
    security_opt: Vec<Choice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    Unconfined,
    Profile(PathBuf),
    Privileges(Privileges),
    NoMatter,
}

/// A profile of system calls cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecurityError {
    /// It cannot be read.
    #[error("cannot read the seccomp profile {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It cannot be understood.
    #[error("the seccomp profile {} cannot be used", .path.display())]
    Profile {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ProfileError,
    },
}

impl Security {
    pub(super) fn sandbox(&self) -> Result<Sandbox, SecurityError> {
        let mut sandbox = Sandbox {
            capabilities: Capabilities::default().changed(&self.cap_add, &self.cap_drop),
            devices: self.device.clone(),
            ..Sandbox::default()
        };
        for choice in &self.security_opt {
            match choice {
                Choice::Unconfined => sandbox.seccomp = Seccomp::Unconfined,
                Choice::Profile(path) => sandbox.seccomp = Seccomp::Profile(Box::new(read(path)?)),
                Choice::Privileges(privileges) => sandbox.privileges = *privileges,
                Choice::NoMatter => {}
            }
        }
        Ok(sandbox)
    }
}

fn read(path: &PathBuf) -> Result<Profile, SecurityError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_PROFILE_BYTES).read_to_end(&mut text))
        .map_err(|source| SecurityError::Read { path: path.clone(), source })?;
    Profile::read(&text).map_err(|source| SecurityError::Profile { path: path.clone(), source })
}

fn capability(text: &str) -> Result<Named, CapabilityError> {
    text.parse()
}

fn device(text: &str) -> Result<Device, DeviceError> {
    text.parse()
}

/// Reads an option, with `=` or the older `:` in it.
fn option(text: &str) -> Result<Choice, String> {
    let (name, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
    match (name, value) {
        ("seccomp", "unconfined") => Ok(Choice::Unconfined),
        ("seccomp", path) if !path.is_empty() => Ok(Choice::Profile(PathBuf::from(path))),
        ("no-new-privileges", "" | "true") => Ok(Choice::Privileges(Privileges::Refused)),
        ("no-new-privileges", "false") => Ok(Choice::Privileges(Privileges::Gained)),
        // Neither is set in any case: a RUN runs as oxbox itself is labelled and confined.
        ("label", value) if !value.is_empty() => Ok(Choice::NoMatter),
        ("apparmor", "unconfined") => Ok(Choice::NoMatter),
        ("apparmor", _) => Err("profiles of AppArmor are not set, but for unconfined".to_owned()),
        _ => Err("not seccomp=unconfined|FILE, no-new-privileges, apparmor=unconfined or label=…".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, Privileges, option};

    #[test]
    fn options_have_dockers_spellings() {
        assert_eq!(option("seccomp=unconfined"), Ok(Choice::Unconfined));
        assert_eq!(option("seccomp:/p.json"), Ok(Choice::Profile("/p.json".into())));
        assert_eq!(option("no-new-privileges"), Ok(Choice::Privileges(Privileges::Refused)));
        assert_eq!(option("no-new-privileges:false"), Ok(Choice::Privileges(Privileges::Gained)));
        assert_eq!(option("label=disable"), Ok(Choice::NoMatter));
        for text in ["", "seccomp", "seccomp=", "apparmor=mine", "systempaths=unconfined"] {
            assert!(option(text).is_err(), "{text}");
        }
    }
}
