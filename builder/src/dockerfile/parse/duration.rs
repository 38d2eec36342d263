//! Durations as Go writes them: `1h30m`, `1.5s`, `250ms`.

use std::time::Duration;

/// Go counts nanoseconds in a signed 64-bit number.
const MAX_NANOSECONDS: u128 = i64::MAX as u128;

/// Parses a duration; nothing if it is not one. A sign is the caller's: health checks have no negative ones.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanoseconds: u128 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, after) = unit(after)?;
        nanoseconds += scale(whole, fraction, unit)?;
        if nanoseconds > MAX_NANOSECONDS {
            return None;
        }
        rest = after;
    }
    let nanoseconds = u64::try_from(nanoseconds).ok()?;
    (!text.is_empty()).then(|| Duration::from_nanos(nanoseconds))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Reads a unit and returns its nanoseconds; `ms` must be tried before `m`.
fn unit(text: &str) -> Option<(u128, &str)> {
    let units: [(&str, u128); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    units.into_iter().find_map(|(name, nanoseconds)| Some((nanoseconds, text.strip_prefix(name)?)))
}

/// Returns `whole.fraction` units; what is below a nanosecond is dropped.
fn scale(whole: &str, fraction: &str, unit: u128) -> Option<u128> {
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // A unit has 13 digits at most: further ones are below a nanosecond.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<u128>().ok()? * unit / 10_u128.pow(u32::try_from(fraction.len()).ok()?)
    };
    whole.checked_mul(unit)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn go_durations() {
        let table = [
            ("0", 0),
            ("0s", 0),
            ("5ns", 5),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("250ms", 250_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1m1ms", 60_001_000_000),
            ("0.0000000001s", 0),
        ];
        for (text, nanoseconds) in table {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn other_text_is_no_duration() {
        for text in ["", "5", "s", "1x", "1 s", "-1s", ".s", "1s2", "99999999999999h", "1d"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
