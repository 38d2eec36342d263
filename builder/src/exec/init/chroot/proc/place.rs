//! Where in /proc a path leads, without asking anybody.
//!
//! ```text
//! /proc/self/fd/3          26/fd/3           /dev/stdout          26/fd/1
//! /proc/thread-self/comm   26/task/27/comm   /etc/passwd          nowhere in /proc
//! ```

/// The names in /proc that are links to something of the caller's.
const OF_THE_CALLER: [&str; 2] = ["mounts", "net"];

/// What leads into /proc from elsewhere: we made the first four, and most images have the last.
const LEADING_THERE: [(&str, &str); 5] = [
    ("dev/fd", "proc/self/fd"),
    ("dev/stdin", "proc/self/fd/0"),
    ("dev/stdout", "proc/self/fd/1"),
    ("dev/stderr", "proc/self/fd/2"),
    ("etc/mtab", "proc/self/mounts"),
];

/// A place in /proc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The top.
    Top,
    /// A link to something of the caller's own, itself: `self` and its kin, and where it leads.
    Own(String),
    /// Of a process: its id, and what of it.
    Process(i32, Vec<String>),
    /// Of the whole machine.
    Machine(Vec<String>),
}

/// A link in a process's folder that leads where no path does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Magic {
    /// Up to the link, below the process.
    pub(super) link: Vec<String>,
    /// What follows it.
    pub(super) rest: Vec<String>,
}

/// Cheaply tells whether a path may lead into /proc.
pub(super) fn may_lead_there(path: &[u8]) -> bool {
    let at = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    let first = &path[at..];
    [&b"proc"[..], b"dev/", b"etc/mtab", b"."].iter().any(|begin| first.starts_with(begin))
        || path.windows(4).any(|four| four == b"/../")
}

/// Returns where an absolute path leads, for a caller's process and thread; `None` if not into /proc.
pub(super) fn find(path: &str, (process, thread): (i32, i32), follows: bool) -> Option<Place> {
    let mut names = normal(path);
    let joined = names.join("/");
    for (from, to) in LEADING_THERE {
        let rest = joined.strip_prefix(from).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(rest) = rest.filter(|rest| follows || !rest.is_empty()) {
            names = normal(&format!("{to}{rest}"));
        }
    }
    let mut names = names.into_iter();
    if names.next()? != "proc" {
        return None;
    }
    let Some(first) = names.next() else { return Some(Place::Top) };
    let rest: Vec<String> = names.collect();
    let own = match first.as_str() {
        "self" => Some(vec![]),
        "thread-self" => Some(vec!["task".to_owned(), thread.to_string()]),
        name if OF_THE_CALLER.contains(&name) => Some(vec![name.to_owned()]),
        _ => None,
    };
    Some(match own {
        Some(own) if rest.is_empty() && !follows => Place::Own(match first.as_str() {
            "self" => process.to_string(),
            "thread-self" => format!("{process}/task/{thread}"),
            _ => format!("self/{}", own.join("/")),
        }),
        Some(own) => Place::Process(process, [own, rest].concat()),
        None => match first.parse() {
            Ok(id) => Place::Process(id, rest),
            Err(_) => Place::Machine([vec![first], rest].concat()),
        },
    })
}

/// Finds the first link in a process's folder that is no path.
pub(super) fn magic(names: &[String]) -> Option<Magic> {
    let begin = match names {
        [task, _, ..] if task == "task" => 2,
        _ => 0,
    };
    let length = match names.get(begin)?.as_str() {
        "root" | "cwd" | "exe" => 1,
        "fd" | "ns" | "map_files" if names.len() > begin + 1 => 2,
        _ => return None,
    };
    let (link, rest) = names.split_at(begin + length);
    Some(Magic { link: link.to_vec(), rest: rest.to_vec() })
}

/// The names of a path, without the empty ones, `.` and `..`.
fn normal(path: &str) -> Vec<String> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name.to_owned()),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{Magic, Place, find, magic, may_lead_there};

    fn names(text: &str) -> Vec<String> {
        text.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn paths_lead_into_proc_or_do_not() {
        let followed = |path| find(path, (26, 27), true);
        let process = |rest| Some(Place::Process(26, names(rest)));
        assert_eq!(followed("/proc/self/fd/3"), process("fd/3"));
        assert_eq!(followed("//proc/./thread-self/comm"), process("task/27/comm"));
        assert_eq!(followed("/dev/stdout"), process("fd/1"));
        assert_eq!(followed("/dev/fd/7"), process("fd/7"));
        assert_eq!(followed("/proc/mounts"), process("mounts"));
        assert_eq!(followed("/proc/net/dev"), process("net/dev"));
        assert_eq!(followed("/proc/31/stat"), Some(Place::Process(31, names("stat"))));
        assert_eq!(followed("/proc/sys/kernel"), Some(Place::Machine(names("sys/kernel"))));
        assert_eq!(followed("/usr/../proc/"), Some(Place::Top));
        assert_eq!(followed("/proc/../etc/passwd"), None);
        assert_eq!(followed("/process"), None);
        assert_eq!(followed("/dev/fdx"), None);
    }

    #[test]
    fn a_link_that_is_not_followed_is_what_it_is() {
        let itself = |path| find(path, (26, 27), false);
        assert_eq!(itself("/proc/self"), Some(Place::Own("26".to_owned())));
        assert_eq!(itself("/proc/thread-self"), Some(Place::Own("26/task/27".to_owned())));
        assert_eq!(itself("/proc/mounts"), Some(Place::Own("self/mounts".to_owned())));
        assert_eq!(itself("/dev/stdout"), None);
        assert_eq!(itself("/dev/fd/3"), Some(Place::Process(26, names("fd/3"))));
    }

    #[test]
    fn magic_links_are_found_wherever_they_are() {
        let magic = |text: &str| magic(&names(text));
        let link = |link, rest| Some(Magic { link: names(link), rest: names(rest) });
        assert_eq!(magic("root/etc"), link("root", "etc"));
        assert_eq!(magic("task/27/cwd"), link("task/27/cwd", ""));
        assert_eq!(magic("fd/3/x"), link("fd/3", "x"));
        assert_eq!(magic("fd"), None);
        assert_eq!(magic("status"), None);
        assert_eq!(magic(""), None);
    }

    #[test]
    fn most_paths_are_passed_over() {
        assert!(may_lead_there(b"/proc/self") && may_lead_there(b"//proc") && may_lead_there(b"/a/../proc"));
        assert!(may_lead_there(b"/etc/mtab") && may_lead_there(b"/./proc"));
        assert!(!may_lead_there(b"/etc/passwd") && !may_lead_there(b"/usr/proc"));
    }
}
