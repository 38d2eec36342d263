//! A terminal: the binary draws on it, and what stands there can be read.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use vt100::Parser;

/// Lines that scrolled away and are kept.
const SCROLLBACK: usize = 1000;

/// A program on a terminal; only its standard output goes elsewhere.
pub(crate) struct Terminal {
    keyboard: File,
    child: Child,
    screen: Parser,
}

/// What is left of it.
pub(crate) struct Left {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    /// What stands on the terminal and what scrolled away, without blanks at the ends of lines.
    pub(crate) lines: Vec<String>,
    /// Column of the cursor, and whether it is to be seen.
    pub(crate) cursor: (u16, bool),
}

impl Terminal {
    /// Starts a program on a terminal of this size.
    pub(crate) fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let open = || OpenOptions::new().read(true).write(true).custom_flags(noctty()).open(&name).unwrap();
        // setsid makes it the terminal that Ctrl-C comes from.
        let mut started = Command::new("setsid");
        started.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        started.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        started.current_dir(command.get_current_dir().unwrap()).env("TERM", "xterm");
        let child = started.stdin(open()).stderr(open()).stdout(Stdio::piped()).spawn().unwrap();
        Self { keyboard: File::from(master), child, screen: Parser::new(rows, columns, SCROLLBACK) }
    }

    /// Waits until a text stands on the screen.
    pub(crate) fn until(&mut self, text: &str) {
        while !self.screen.screen().contents().contains(text) {
            assert!(self.read(), "{text:?} never came:\n{}", self.screen.screen().contents());
        }
    }

    /// Changes the size.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keyboard, size).unwrap();
        self.screen.screen_mut().set_size(rows, columns);
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// Starts a program in the shell that is there and presses Ctrl-C: that is the shell's, and ends no build.
    pub(crate) fn interrupt_a_program(&mut self) {
        // It is told by the program itself, which the terminal is for by then.
        self.press(b"sh -c 'echo begun-$((1 + 1)); exec sleep 1000'\n");
        self.until("begun-2");
        self.press(b"\x03");
        self.press(b"echo still-$((40 + 2))\n");
        self.until("still-42");
    }

    /// Returns the lines of the screen.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.screen.screen().contents().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Left {
        while self.read() {}
        let code = self.child.wait().unwrap().code();
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        let screen = self.screen.screen();
        let cursor = (screen.cursor_position().1, !screen.hide_cursor());
        let mut lines = self.scrolled();
        lines.extend(self.lines());
        Left { code, stdout, lines, cursor }
    }

    /// Returns the lines that scrolled away, oldest first.
    fn scrolled(&mut self) -> Vec<String> {
        let screen = self.screen.screen_mut();
        screen.set_scrollback(usize::MAX);
        let lines = (1..=screen.scrollback()).rev().map(|above| {
            screen.set_scrollback(above);
            screen.rows(0, screen.size().1).next().unwrap_or_default().trim_end().to_owned()
        });
        let lines = lines.collect();
        self.screen.screen_mut().set_scrollback(0);
        lines
    }

    /// Takes what was written; returns whether more may come.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.keyboard.read(&mut bytes) {
            // Linux fails once nobody has the other side open.
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.screen.process(&bytes[..length]);
                true
            }
        }
    }
}

/// `O_NOCTTY`: the terminal is not to become the test's own.
fn noctty() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).unwrap()
}
