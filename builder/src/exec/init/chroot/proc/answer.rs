//! What is answered to a call that names something in /proc.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, accessat, fcntl_getfl, fcntl_setfl, openat,
    openat2, readlinkat,
};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};

use crate::exec::failure::{Failure, OrFail};
use crate::exec::sys::{self, Answer, Call};

use super::super::super::listener::give_back;
use super::super::super::mounts::MASKED_PROC;
use super::Office;
use super::caller::{Caller, Guise};
use super::picture::{self, Kind};
use super::place::{self, Place};
use super::request::{Request, Wish};

/// As many links as lead on from one path, and more than a program has.
const MAX_LINKS: usize = 8;

/// As deep as processes start each other, and deeper.
const MAX_PARENTS: usize = 4096;

/// Who answers.
pub(super) struct Clerk<'a> {
    office: &'a Office<'a>,
    /// Where the changed root is, as links of /proc say it.
    root: Vec<u8>,
    /// Whose descendants the run's processes are.
    init: Pid,
    guise: Guise,
    /// Whether a program had a directory of /proc, so that relative paths may begin there.
    entered: bool,
}

type Answered = Result<Answer, Errno>;

impl<'a> Clerk<'a> {
    pub(super) fn new(office: &'a Office<'a>, init: Pid) -> Result<Self, Failure> {
        let own = format!("/proc/self/fd/{}", office.root.as_raw_fd());
        let root = readlinkat(CWD, own, Vec::new()).or_fail("find", office.path)?.into_bytes();
        picture::prepare(office.folder).or_fail("prepare", "/proc")?;
        let guise = Guise::new().or_fail("read", "capabilities")?;
        Ok(Self { office, root, init, guise, entered: false })
    }

    /// Finds the answer; an error means that the kernel has it.
    pub(super) fn answer(&mut self, call: &Call, is_waiting: &dyn Fn() -> bool) -> io::Result<Answer> {
        let request = match Request::read(call) {
            // Only who a process belongs to may look into it.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                self.guise.put_on(&Caller::read(self.office.proc, call.process)?)?;
                Request::read(call)?
            }
            read => read?,
        };
        let path = request.path.as_bytes();
        let is_absolute = path.starts_with(b"/");
        if path.is_empty() || !(if is_absolute { place::may_lead_there(path) } else { self.entered }) {
            return Ok(Answer::Proceed);
        }
        let caller = Caller::read(self.office.proc, call.process)?;
        self.guise.put_on(&caller)?;
        let path = match is_absolute {
            true => path.to_owned(),
            false => [&self.base(call.process, request.directory)?[..], b"/", path].concat(),
        };
        if !is_waiting() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let path = String::from_utf8(path).map_err(io::Error::other)?;
        let ids = (caller.process, call.process);
        let Some(place) = place::find(&path, ids, request.follows) else { return Ok(Answer::Proceed) };
        Ok(self.lead(place, ids, &Asked { call, request }).unwrap_or_else(refused))
    }

    /// Where a relative path begins.
    fn base(&self, thread: i32, directory: i32) -> io::Result<Vec<u8>> {
        let link = match directory {
            libc::AT_FDCWD => format!("{thread}/cwd"),
            directory => format!("{thread}/fd/{directory}"),
        };
        let target = readlinkat(self.office.proc, link, Vec::new())?.into_bytes();
        Ok(self.inside(&target).ok_or(io::ErrorKind::NotFound)?.to_vec())
    }

    /// What a path of the container is in the changed root.
    fn inside<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        match path.strip_prefix(&self.root[..])? {
            b"" => Some(b"/"),
            rest if rest.starts_with(b"/") => Some(rest),
            _ => None,
        }
    }

    /// Follows a path to its end, which may lie outside of /proc again.
    fn lead(&mut self, mut place: Place, ids: (i32, i32), asked: &Asked<'_>) -> Answered {
        for _ in 0..MAX_LINKS {
            let Place::Process(id, names) = &place else { return self.give(&place, asked) };
            if *id != ids.0 && !self.is_of_the_run(*id) {
                return Err(Errno::NOENT);
            }
            let Some(magic) = place::magic(names) else { return self.give(&place, asked) };
            let last = magic.link.last().map_or("", String::as_str);
            let leads_on = !magic.rest.is_empty() || matches!(last, "root" | "cwd");
            if !leads_on || (magic.rest.is_empty() && !asked.request.follows) {
                return self.give_magic(&format!("{id}/{}", magic.link.join("/")), &magic.link, asked);
            }
            let link = format!("{id}/{}", magic.link.join("/"));
            let target = readlinkat(self.office.proc, link, Vec::new())?.into_bytes();
            let target = self.inside(&target).ok_or(Errno::ACCESS)?;
            let target = String::from_utf8(target.to_vec()).map_err(|_| Errno::NOENT)?;
            let path = format!("{target}/{}", magic.rest.join("/"));
            match place::find(&path, ids, asked.request.follows) {
                Some(further) => place = further,
                None => return self.give_of_root(&path, asked),
            }
        }
        Err(Errno::LOOP)
    }

    /// Answers for a file, a directory or a plain link of /proc.
    fn give(&mut self, place: &Place, asked: &Asked<'_>) -> Answered {
        let names = match place {
            Place::Own(target) => return give_own_link(self.office.proc, target, asked),
            Place::Top => Vec::new(),
            Place::Process(id, names) => [vec![id.to_string()], names.clone()].concat(),
            Place::Machine(names) if MASKED_PROC.contains(&names[0].as_str()) => return Err(Errno::NOENT),
            Place::Machine(_) if asked.request.wish.writes() => return Err(Errno::ACCESS),
            Place::Machine(names) => names.clone(),
        };
        let path = if names.is_empty() { ".".to_owned() } else { names.join("/") };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let look = |flags| openat2(self.office.proc, &path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        let found = look(OFlags::PATH | OFlags::NOFOLLOW)?;
        let is_directory = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode).is_dir();
        match asked.request.wish {
            Wish::Open(_) | Wish::Enter if is_directory => self.give_picture(&names, asked),
            Wish::Open(flags) => asked.opened(look, flags),
            Wish::ReadLink(..) => asked.link(readlinkat(&found, "", Vec::new())?.to_bytes()),
            _ => asked.shown(&found),
        }
    }

    /// Answers for a link in a process's folder that leads where no path does.
    fn give_magic(&self, path: &str, link: &[String], asked: &Asked<'_>) -> Answered {
        let proc = self.office.proc;
        let is_fd = link.iter().any(|name| name == "fd");
        let is_exe = link.last().is_some_and(|name| name == "exe");
        if let Wish::ReadLink(..) = asked.request.wish {
            let target = readlinkat(proc, path, Vec::new())?.into_bytes();
            return asked.link(self.inside(&target).unwrap_or(&target));
        }
        if !asked.request.follows {
            if let Wish::Open(flags) = asked.request.wish
                && !flags.contains(OFlags::PATH)
            {
                return Err(Errno::LOOP);
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            return asked.shown(&openat(proc, path, flags, Mode::empty())?);
        }
        if !(is_fd || is_exe) {
            return Err(Errno::ACCESS);
        }
        let look = |flags| openat(proc, path, flags | OFlags::CLOEXEC, Mode::empty());
        let found = look(OFlags::PATH)?;
        if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode).is_dir() {
            // From a directory there are ways up.
            let target = readlinkat(proc, path, Vec::new())?.into_bytes();
            self.inside(&target).ok_or(Errno::ACCESS)?;
        }
        match asked.request.wish {
            Wish::Open(flags) => asked.opened(look, flags),
            _ => asked.shown(&found),
        }
    }

    /// Answers for a path that led through /proc to something else of the changed root.
    fn give_of_root(&self, path: &str, asked: &Asked<'_>) -> Answered {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let follow = if asked.request.follows { OFlags::empty() } else { OFlags::NOFOLLOW };
        let look =
            |flags| openat2(self.office.root, path, flags | follow | OFlags::CLOEXEC, Mode::empty(), resolve);
        match asked.request.wish {
            Wish::Open(flags) if flags.contains(OFlags::CREATE) => Ok(Answer::Proceed),
            Wish::Open(flags) => asked.opened(look, flags),
            Wish::Enter | Wish::Attribute => Ok(Answer::Proceed),
            Wish::ReadLink(..) => asked.link(readlinkat(look(OFlags::PATH)?, "", Vec::new())?.to_bytes()),
            _ => asked.shown(&look(OFlags::PATH)?),
        }
    }

    /// Has a directory of /proc pictured, and gives the picture.
    fn give_picture(&mut self, names: &[String], asked: &Asked<'_>) -> Answered {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let path = if names.is_empty() { ".".to_owned() } else { names.join("/") };
        let real = openat2(self.office.proc, path, flags, Mode::empty(), resolve)?;
        let mut entries = picture::entries(&real)?;
        for (name, kind) in &mut entries {
            if let Kind::Link(target) = kind
                && let Ok(found) = readlinkat(&real, name.as_str(), Vec::new())
            {
                *target = CString::new(self.inside(found.as_bytes()).unwrap_or(found.as_bytes()))
                    .unwrap_or_default();
            }
        }
        if names.is_empty() {
            entries.retain(|(name, _)| {
                name.parse().map_or(!MASKED_PROC.contains(&name.as_str()), |id| self.is_of_the_run(id))
            });
        }
        self.guise.take_off().map_err(|_| Errno::IO)?;
        let picture = picture::draw(self.office.folder, names, &entries)?;
        self.entered = true;
        match asked.request.wish {
            Wish::Open(flags) if flags.contains(OFlags::PATH) => {
                let path = openat(&picture, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                Ok(Answer::Opened(path, flags))
            }
            Wish::Open(flags) => Ok(Answer::Opened(picture, flags)),
            // The kernel enters the picture.
            _ => Ok(Answer::Proceed),
        }
    }

    /// Whether the init started a process, or one that it started did.
    fn is_of_the_run(&self, id: i32) -> bool {
        let (init, own) = (self.init.as_raw_nonzero().get(), getpid().as_raw_nonzero().get());
        let mut at = id;
        for _ in 0..MAX_PARENTS {
            match self.parent(at) {
                Some(parent) if parent == init => return at != own,
                Some(parent) if parent > 1 => at = parent,
                _ => return false,
            }
        }
        false
    }

    fn parent(&self, id: i32) -> Option<i32> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mut stat = Vec::new();
        File::from(openat(self.office.proc, format!("{id}/stat"), flags, Mode::empty()).ok()?)
            .read_to_end(&mut stat)
            .ok()?;
        // The name, in brackets, may hold anything; after it the state and then the parent.
        let rest = stat.rsplit(|&byte| byte == b')').next()?;
        std::str::from_utf8(rest).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
    }
}

/// A call with all that is known of it.
struct Asked<'a> {
    call: &'a Call,
    request: Request,
}

impl Asked<'_> {
    /// Opens a file for the caller; whoever opens a pipe here waits for nobody.
    fn opened(&self, open: impl Fn(OFlags) -> rustix::io::Result<OwnedFd>, wanted: OFlags) -> Answered {
        if wanted.contains(OFlags::PATH) {
            return Ok(Answer::Opened(open(wanted)?, wanted));
        }
        let asked = wanted - (OFlags::CREATE | OFlags::EXCL);
        let file = open(asked | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        if !wanted.contains(OFlags::NONBLOCK) {
            fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        }
        Ok(Answer::Opened(file, wanted))
    }

    /// Says where a link leads.
    fn link(&self, target: &[u8]) -> Answered {
        let Wish::ReadLink(address, size) = self.request.wish else { return Err(Errno::INVAL) };
        let length = target.len().min(size);
        give_back(self.call, address, &target[..length]).map_err(|_| Errno::FAULT)?;
        Ok(Answer::Done(i64::try_from(length).expect("because a path is short")))
    }

    /// Says what an open file is, or may be used for.
    fn shown(&self, found: &OwnedFd) -> Answered {
        let failed = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        match self.request.wish {
            Wish::Stat(address) => {
                let stat = sys::stat(found).map_err(failed)?;
                give_back(self.call, address, sys::bytes_of(&stat)).map_err(|_| Errno::FAULT)
            }
            Wish::Statx(address, mask) => {
                let stat = sys::statx(found, mask).map_err(failed)?;
                give_back(self.call, address, sys::bytes_of(&stat)).map_err(|_| Errno::FAULT)
            }
            Wish::Access(mode) => {
                let path = format!("/proc/self/fd/{}", found.as_raw_fd());
                accessat(CWD, path, Access::from_bits_retain(mode), AtFlags::empty())?;
                Ok(Answer::Done(0))
            }
            Wish::Open(flags) => Ok(Answer::Opened(found.try_clone().map_err(failed)?, flags)),
            Wish::ReadLink(..) => Err(Errno::INVAL),
            Wish::Enter => Err(Errno::NOTDIR),
            Wish::Attribute => Err(Errno::OPNOTSUPP),
        }
    }
}

/// Answers for `self` and its kin, not followed.
fn give_own_link(proc: &OwnedFd, target: &str, asked: &Asked<'_>) -> Answered {
    match asked.request.wish {
        Wish::ReadLink(..) => asked.link(target.as_bytes()),
        Wish::Open(_) => Err(Errno::LOOP),
        // Any of them is like the others.
        _ => asked.shown(&openat(
            proc,
            "self",
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?),
    }
}

fn refused(errno: Errno) -> Answer {
    Answer::Refused(errno.raw_os_error())
}
