//! How BuildKit writes instructions into an image's history.
//!
//! ```text
//! RUN |1 A=b /bin/sh -c make # buildkit      COPY --chown=1 src dst # buildkit      WORKDIR /x
//! ENV k=v      CMD ["/bin/sh" "-c" "x"]      EXPOSE [80/tcp]      VOLUME [/a /b]
//! ```
//!
//! Lists and strings are in the forms of Go's `%v`, `%q` and `%+v`.

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
    let quoted: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    list(instruction, &quoted)
}

/// Returns the line of a HEALTHCHECK.
pub(super) fn healthcheck(check: &Healthcheck) -> String {
    let test = check.test.as_deref().unwrap_or_default().join(" ");
    let time = |nanoseconds: Option<i64>| duration(nanoseconds.unwrap_or(0).unsigned_abs());
    format!(
        "HEALTHCHECK {{Test:[{test}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        time(check.interval),
        time(check.timeout),
        time(check.start_period),
        time(check.start_interval),
        check.retries.unwrap_or(0)
    )
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
    use super::{duration, quoted, quoted_list, run};

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
