//! Which foreign programs this kernel runs: handlers of binfmt_misc.
//!
//! ```text
//! /proc/sys/fs/binfmt_misc/qemu-aarch64      enabled
//!                                            interpreter /usr/bin/qemu-aarch64-static
//!                                            flags: OCF                    F: opened already, so it needs not
//!                                            offset 0                         be in the container
//!                                            magic 7f454c4602010100…b700   an ELF header: machine at byte 18
//! ```
//!
//! The name of a handler says nothing, its magic does.
//! <https://docs.kernel.org/admin-guide/binfmt-misc.html>

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Where the kernel shows its handlers.
pub const BINFMT_MISC: &str = "/proc/sys/fs/binfmt_misc";

/// Handlers that are looked at; a machine has a few dozen.
const MAX_HANDLERS: usize = 1000;

/// Returns the architectures whose programs run in a container here, as platforms spell them.
///
/// A folder that is not there has none.
pub fn emulated(handlers: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(handlers) else { return BTreeSet::new() };
    let texts =
        entries.flatten().take(MAX_HANDLERS).filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter_map(|text| architecture(&text)).map(str::to_owned).collect()
}

/// Returns what a handler is for; nothing if it is switched off, or not for a container, or no ELF.
fn architecture(handler: &str) -> Option<&'static str> {
    let field = |name: &str| handler.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if handler.lines().next() != Some("enabled")
        || !field("flags:")?.contains('F')
        || field("offset ")? != "0"
    {
        return None;
    }
    let magic = field("magic ")?;
    let byte = |at: usize| u8::from_str_radix(magic.get(2 * at..2 * at + 2)?, 16).ok();
    if (byte(0)?, byte(1)?, byte(2)?, byte(3)?) != (0x7f, b'E', b'L', b'F') {
        return None;
    }
    let little = byte(5)? == 1;
    let machine = match little {
        true => u16::from_le_bytes([byte(18)?, byte(19)?]),
        false => u16::from_be_bytes([byte(18)?, byte(19)?]),
    };
    // Machines of <elf.h>, with the class: 1 is 32 bits, 2 is 64.
    Some(match (machine, byte(4)?, little) {
        (3, 1, true) => "386",
        (8, 2, true) => "mips64le",
        (8, 2, false) => "mips64",
        (21, 2, true) => "ppc64le",
        (21, 2, false) => "ppc64",
        (22, 2, false) => "s390x",
        (40, 1, true) => "arm",
        (62, 2, true) => "amd64",
        (183, 2, true) => "arm64",
        (243, 2, true) => "riscv64",
        (258, 2, true) => "loong64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{architecture, emulated};

    /// A handler of programs with this class, byte order and machine.
    fn handler(class_and_order: &str, machine: &str) -> String {
        format!(
            "enabled\ninterpreter /usr/bin/qemu\nflags: OCF\noffset 0\nmagic 7f454c46{class_and_order}0100{}{machine}\n\
             mask ffffffffffffff00fffffffffffffffffeffffff\n",
            "00".repeat(8)
        )
    }

    #[test]
    fn a_handler_is_known_by_its_magic() {
        for (class_and_order, machine, name) in
            [("0201", "0200b700", "arm64"), ("0101", "02002800", "arm"), ("0202", "00020016", "s390x")]
        {
            assert_eq!(architecture(&handler(class_and_order, machine)), Some(name));
        }
    }

    #[test]
    fn a_handler_that_a_container_cannot_use_is_none() {
        let arm64 = handler("0201", "0200b700");
        for (from, to) in [
            ("enabled", "disabled"),
            ("OCF", "OC"),
            ("7f45", "4d5a"),
            ("b700", "ffff"),
            ("offset 0", "offset 4"),
        ] {
            assert_eq!(architecture(&arm64.replace(from, to)), None, "{to}");
        }
        for text in ["", "enabled\n", "enabled\nflags: F\noffset 0\nmagic 7f45\n"] {
            assert_eq!(architecture(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_machine_without_handlers_emulates_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(emulated(&folder.path().join("none")).is_empty());
        fs::write(folder.path().join("status"), "enabled\n").unwrap();
        fs::write(folder.path().join("qemu-aarch64"), handler("0201", "0200b700")).unwrap();
        assert_eq!(emulated(folder.path()).into_iter().collect::<Vec<_>>(), ["arm64"]);
    }
}
