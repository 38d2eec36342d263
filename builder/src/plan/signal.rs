//! STOPSIGNAL: which words are signals.

/// The named signals of Linux, without `SIG`.
const NAMES: [&str; 37] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "UNUSED", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// The highest signal number of Linux.
const MAX: u8 = 64;

/// Whether the word is a signal: a number, or a name in any case with or without `SIG`.
pub(super) fn is_signal(word: &str) -> bool {
    if let Ok(number) = word.parse::<u8>() {
        return (1..=MAX).contains(&number);
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMES.contains(&name) || is_realtime(name)
}

/// `RTMIN+1` to `RTMIN+15`, `RTMAX-1` to `RTMAX-14`.
fn is_realtime(name: &str) -> bool {
    let offset = |prefix, most| {
        let number = name.strip_prefix(prefix).and_then(|offset: &str| offset.parse::<u8>().ok());
        number.is_some_and(|number| (1..=most).contains(&number))
    };
    offset("RTMIN+", 15) || offset("RTMAX-", 14)
}

#[cfg(test)]
mod tests {
    use super::is_signal;

    #[test]
    fn names_and_numbers_are_signals() {
        for word in ["SIGTERM", "term", "9", "64", "SIGRTMIN+3", "rtmax-14"] {
            assert!(is_signal(word), "{word}");
        }
    }

    #[test]
    fn other_words_are_none() {
        for word in ["", "0", "65", "-1", "SIG", "SIGSIGTERM", "RTMIN+16", "RTMAX-15", "TERMINATE"] {
            assert!(!is_signal(word), "{word}");
        }
    }
}
