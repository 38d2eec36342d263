//! Sizes and ages as people type them.
//!
//! ```text
//! 10GB   10 000 000 000     10GiB   10 737 418 240     1.5g  as GB     15%   of the disk     512   bytes
//! 24h    90m   7d   1h30m
//! ```

use std::time::Duration;

use oxbox_builder::housekeeping::{Amount, Kind};

/// Why a text is no size or age.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum AmountError {
    /// Not a size.
    #[error("not a size: write 10GB, 10GiB or 15% of the disk")]
    Size,
    /// Not an age.
    #[error("not an age: write 24h, 90m or 7d")]
    Age,
    /// Not a filter that is known.
    #[error("not a filter: write until=24h, type=exec.cachemount or type=regular")]
    Filter,
}

/// Reads a size, or a part of the disk.
pub(crate) fn size(text: &str) -> Result<Amount, AmountError> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.parse().ok().filter(|percent| *percent <= 100);
        return percent.map(Amount::Percent).ok_or(AmountError::Size);
    }
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(AmountError::Size),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let part: u64 = parse(fraction).ok_or(AmountError::Size)?;
    // A fraction that was parsed has less than twenty digits.
    let scale = u32::try_from(fraction.len()).ok().and_then(|digits| 10_u128.checked_pow(digits));
    let part = scale.map(|scale| u128::from(part) * u128::from(unit) / scale);
    let part = part.and_then(|bytes| u64::try_from(bytes).ok()).ok_or(AmountError::Size)?;
    let bytes = parse(whole).and_then(|whole| whole.checked_mul(unit)?.checked_add(part));
    bytes.map(Amount::Bytes).ok_or(AmountError::Size)
}

/// Reads digits, and nothing else.
fn parse(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Reads an age: numbers, each with its unit.
pub(crate) fn age(text: &str) -> Result<Duration, AmountError> {
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or(AmountError::Age)?;
        let number: u64 = rest[..digits].parse().map_err(|_| AmountError::Age)?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 60 * 60,
            b'd' => 24 * 60 * 60,
            b'w' => 7 * 24 * 60 * 60,
            _ => return Err(AmountError::Age),
        };
        let part = number.checked_mul(unit).ok_or(AmountError::Age)?;
        seconds = seconds.checked_add(part).ok_or(AmountError::Age)?;
        rest = &rest[digits + 1..];
    }
    if text.is_empty() { Err(AmountError::Age) } else { Ok(Duration::from_secs(seconds)) }
}

/// What of the build cache is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// What was of no use for so long.
    Until(Duration),
    /// What is of this kind.
    Type(Kind),
}

/// Reads `until=AGE`, which BuildKit also calls `unused-for`, or `type=KIND` with BuildKit's names of kinds.
pub(crate) fn filter(text: &str) -> Result<Filter, AmountError> {
    match text.split_once('=') {
        Some(("until" | "unused-for", text)) => age(text).map(Filter::Until),
        Some(("type", "exec.cachemount")) => Ok(Filter::Type(Kind::CacheMount)),
        Some(("type", "regular")) => Ok(Filter::Type(Kind::Regular)),
        _ => Err(AmountError::Filter),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oxbox_builder::housekeeping::{Amount, Kind};

    use super::{AmountError, Filter, age, filter, size};

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("10GB", 10_000_000_000),
            ("10GiB", 10 << 30),
            ("1.5g", 1_500_000_000),
            ("2 kB", 2000),
            ("0.5KiB", 512),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size(text), Ok(Amount::Bytes(bytes)), "{text}");
        }
        assert_eq!(size("15%"), Ok(Amount::Percent(15)));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in
            ["", "GB", "-1", "1.2.3GB", "10 parsecs", "101%", "-5%", ".5GB", "1e9", "99999999TB", "1é"]
        {
            assert_eq!(size(text), Err(AmountError::Size), "{text}");
        }
    }

    #[test]
    fn ages_are_sums() {
        assert_eq!(age("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(age("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(age("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(filter("until=1m"), Ok(Filter::Until(Duration::from_secs(60))));
        assert_eq!(filter("unused-for=0s"), Ok(Filter::Until(Duration::ZERO)));
        assert_eq!(filter("type=exec.cachemount"), Ok(Filter::Type(Kind::CacheMount)));
    }

    #[test]
    fn what_is_no_age_is_refused() {
        for text in
            ["", "h", "24", "-1h", "1.5h", "1y", "99999999999999999999h", "9999999999999999999w", "1é"]
        {
            assert_eq!(age(text), Err(AmountError::Age), "{text}");
        }
        assert_eq!(filter("type=x"), Err(AmountError::Filter));
        assert_eq!(filter("24h"), Err(AmountError::Filter));
    }
}
