//! Where the program is in the image: for images that say nothing of PATH, and to tell at once that there is none. With
//! a terminal a runtime's failure would be taken for the program's.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

use crate::exec::Process;
use crate::exec::failure::Failure;

use super::super::mounts::Planned;
use super::super::program::DEFAULT_PATH;

/// Returns the arguments, with the program's path if the image has no PATH to find it by.
///
/// # Errors
///
/// [`Failure::NotFound`], unless something that will be mounted may have it.
pub(super) fn arguments(
    root: &OwnedFd,
    process: &Process,
    planned: &Planned,
) -> Result<Vec<String>, Failure> {
    let mut arguments = process.args.clone();
    let Some(name) = arguments.first_mut() else { return Err(Failure::NoCommand) };
    let path = process.env.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
    let candidates = candidates(name, path, &process.cwd);
    let covered = |path: &String| planned.items.iter().any(|item| Path::new(path).starts_with(&item.target));
    if candidates.iter().any(covered) {
        return Ok(arguments);
    }
    match candidates.into_iter().find(|path| is_file(root, path)) {
        None => Err(Failure::NotFound { program: name.clone() }),
        Some(found) => {
            if path.is_none() {
                *name = found;
            }
            Ok(arguments)
        }
    }
}

/// Where the program may be, absolute.
fn candidates(name: &str, path: Option<&str>, cwd: &str) -> Vec<String> {
    let below = |folder: &str| Path::new("/").join(cwd).join(folder).join(name).display().to_string();
    match name.contains('/') {
        true => vec![below("")],
        false => path.unwrap_or(DEFAULT_PATH).split(':').map(below).collect(),
    }
}

fn is_file(root: &OwnedFd, path: &str) -> bool {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
    let kind = |found: &OwnedFd| fstat(found).map(|stat| FileType::from_raw_mode(stat.st_mode));
    found.is_ok_and(|found| kind(&found).is_ok_and(|kind| kind != FileType::Directory))
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn a_name_is_looked_for_in_folders_and_a_path_is_not() {
        assert_eq!(
            candidates("sh", Some("/a:b::/c"), "/place"),
            ["/a/sh", "/place/b/sh", "/place/sh", "/c/sh"]
        );
        assert_eq!(candidates("./run", Some("/a"), "/place"), ["/place/./run"]);
        assert_eq!(candidates("/bin/sh", None, ""), ["/bin/sh"]);
        assert!(candidates("sh", None, "").contains(&"/usr/bin/sh".to_owned()));
    }
}
