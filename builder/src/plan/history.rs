//! How BuildKit writes instructions into an image's history.
//!
//! ```text
//! RUN |1 A=b /bin/sh -c make # buildkit      COPY --chown=1 src dst # buildkit      WORKDIR /x
//! ENV k=v      CMD ["/bin/sh" "-c" "x"]      EXPOSE [80/tcp]      VOLUME [/a /b]
//! ```
//!
//! Lists and strings are in the forms of Go's `%v` and `%q`.

use std::fmt::Write;

use oxbox_layers::oci::config::Healthcheck;

/// Returns the line of a RUN.
pub(super) fn run(arguments: &[String], args: &[String]) -> String {
    let mut line = "RUN ".to_owned();
    if !arguments.is_empty() {
        let _ = write!(line, "|{} {} ", arguments.len(), arguments.join(" "));
    }
    line.push_str(&args.join(" "));
    line.push_str(" # buildkit");
    line
}

/// Returns `NAME [a b]`.
pub(super) fn list(instruction: &str, items: &[String]) -> String {
    format!("{instruction} [{}]", items.join(" "))
}

/// Returns `NAME ["a" "b"]`.
pub(super) fn quoted_list(instruction: &str, items: &[String]) -> String {
    list(instruction, &quoted_all(items))
}

/// Returns the line of a HEALTHCHECK: `&{["CMD" "x"] "5s" "0s" "0s" "0s" '\x03'}`, which is Go's `%q` of its
/// fields, down to the number of retries as a character.
pub(super) fn healthcheck(check: &Healthcheck) -> String {
    let test = quoted_all(check.test.as_deref().unwrap_or_default()).join(" ");
    let mut line = format!("HEALTHCHECK &{{[{test}]");
    for nanoseconds in [check.interval, check.timeout, check.start_period, check.start_interval] {
        let _ = write!(line, " {}", quoted(&duration(nanoseconds.unwrap_or(0).unsigned_abs())));
    }
    let retries = check.retries.and_then(|retries| u32::try_from(retries).ok()).unwrap_or(0);
    let _ = write!(line, " '{}'}}", quoted_character(retries));
    line
}

/// What Go's `%q` writes of a number, between its quotes.
fn quoted_character(number: u32) -> String {
    match char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER) {
        '\'' => "\\'".to_owned(),
        '"' => "\"".to_owned(),
        c => quoted(c.encode_utf8(&mut [0; 4])).replace('"', ""),
    }
}

fn quoted_all(items: &[String]) -> Vec<String> {
    items.iter().map(|item| quoted(item)).collect()
}

/// Go's `strconv.Quote`.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            c if u32::from(c) < 0x20 || c == '\x7f' => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() || (c.is_whitespace() && c != ' ') => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Go's `time.Duration.String`.
fn duration(nanoseconds: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    for (unit, size) in [("ns", 1), ("µs", 1_000), ("ms", 1_000_000)] {
        if nanoseconds < (size * 1000).min(SECOND) {
            return fraction(nanoseconds, size) + unit;
        }
    }
    let (minutes, rest) = (nanoseconds / (60 * SECOND), nanoseconds % (60 * SECOND));
    let seconds = fraction(rest, SECOND) + "s";
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// Returns `value / unit` in decimals without trailing zeros; `unit` is a power of ten.
fn fraction(value: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let decimals = format!("{:0digits$}", value % unit);
    match decimals.trim_end_matches('0') {
        "" => (value / unit).to_string(),
        decimals => format!("{}.{decimals}", value / unit),
    }
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::config::Healthcheck;

    use super::{duration, healthcheck, quoted, quoted_list, run};

    #[test]
    fn a_run_counts_its_arguments() {
        let args = ["/bin/sh".to_owned(), "-c".to_owned(), "make".to_owned()];
        assert_eq!(run(&[], &args), "RUN /bin/sh -c make # buildkit");
        let arguments = ["A=b".to_owned(), "C=".to_owned()];
        assert_eq!(run(&arguments, &args), "RUN |2 A=b C= /bin/sh -c make # buildkit");
    }

    #[test]
    fn strings_are_quoted_as_go_quotes_them() {
        assert_eq!(quoted("a\"b\\c\n\x01é"), "\"a\\\"b\\\\c\\n\\x01é\"");
        assert_eq!(quoted("\u{a0}"), "\"\\u00a0\"");
        assert_eq!(quoted_list("CMD", &[]), "CMD []");
    }

    #[test]
    fn a_healthcheck_is_written_as_docker_history_shows_it() {
        let mut check = Healthcheck {
            test: Some(vec!["CMD-SHELL".to_owned(), "true || \"x\"".to_owned()]),
            interval: Some(90_000_000_000),
            retries: Some(3),
            ..Healthcheck::default()
        };
        let line = r#"HEALTHCHECK &{["CMD-SHELL" "true || \"x\""] "1m30s" "0s" "0s" "0s" '\x03'}"#;
        assert_eq!(healthcheck(&check), line);
        for (retries, text) in [(10, r"'\n'"), (34, "'\"'"), (39, r"'\''"), (65, "'A'"), (92, r"'\\'")] {
            check.retries = Some(retries);
            assert!(healthcheck(&check).ends_with(&format!(" {text}}}")), "{}", healthcheck(&check));
        }
        let none = Healthcheck { test: Some(vec!["NONE".to_owned()]), ..Healthcheck::default() };
        assert_eq!(healthcheck(&none), r#"HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" '\x00'}"#);
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (100_000_000, "100ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (5_400_000_000_000, "1h30m0s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }
}
