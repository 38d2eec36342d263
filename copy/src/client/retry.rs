//! When a request is worth repeating, and how long to wait before.
//!
//! ```text
//! 408 429 500 502 503 504, connections that break   ─▶ again, at most `tries` times in all
//! wait = Retry-After, or base × 2^n, jittered to half, at most `cap`
//! ```
//!
//! A registry that asks for more patience than `longest_wait` gets none: the error names the time, and
//! whoever waits for it is told instead of watching a program that sleeps for hours.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;

use super::ClientError;

/// How often and how patiently requests are repeated.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Most times that one request is sent.
    pub tries: u32,
    /// First wait.
    pub base: Duration,
    /// Longest wait between two tries that the registry did not ask for.
    pub cap: Duration,
    /// Longest wait that a registry may ask for.
    pub longest_wait: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tries: 5,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// Time and chance, which tests replace.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the present.
    fn now(&self) -> Timestamp;

    /// Returns after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Returns a number between 0 and 1.
    fn chance(&self) -> f64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn chance(&self) -> f64 {
        // The keys of std's hash maps are random enough to spread retries, and need no crate.
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        f64::from((random >> 32) as u32) / f64::from(u32::MAX)
    }
}

/// What to do after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Take it.
    Keep,
    /// Ask again after so long.
    Again(Duration),
}

impl Policy {
    /// Judges an answer to the `tried`-th try (1 for the first).
    pub(crate) fn judge(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        tried: u32,
        clock: &dyn Clock,
    ) -> Verdict {
        if !is_passing(status) || tried >= self.tries {
            return Verdict::Keep;
        }
        match retry_after(headers, clock.now()) {
            Some(wait) if wait > self.longest_wait => Verdict::Keep,
            Some(wait) => Verdict::Again(wait),
            None => Verdict::Again(self.backoff(tried, clock)),
        }
    }

    /// Returns how long to wait before the whole of something is done again after the `tried`-th try;
    /// `None` if that is of no use.
    pub(crate) fn wait_after(&self, error: &ClientError, tried: u32, clock: &dyn Clock) -> Option<Duration> {
        let asked = match error {
            ClientError::Refused { retry_after, .. } => retry_after.map(Duration::from_secs),
            _ => None,
        };
        let wait = asked.unwrap_or_else(|| self.backoff(tried, clock));
        (error.is_transient() && tried < self.tries && wait <= self.longest_wait).then_some(wait)
    }

    /// Returns how long to wait after the `tried`-th failure.
    pub(crate) fn backoff(&self, tried: u32, clock: &dyn Clock) -> Duration {
        let doubled = self.base.saturating_mul(1 << tried.saturating_sub(1).min(20));
        doubled.min(self.cap).mul_f64(0.5 + clock.chance().clamp(0.0, 1.0) / 2.0)
    }
}

/// Whether a status says that the same request may succeed later.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Reads `Retry-After`: seconds or an HTTP date. RFC 9110, section 10.2.3
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::BoxFuture;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use jiff::Timestamp;

    use super::{Clock, Policy, Verdict, retry_after};

    #[derive(Debug)]
    struct Fixed(f64);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            "2026-11-06T08:49:00Z".parse().unwrap()
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }

        fn chance(&self) -> f64 {
            self.0
        }
    }

    fn asking(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static(value))])
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Fixed(0.0).now();
        assert_eq!(retry_after(&asking("7"), now), Some(Duration::from_secs(7)));
        let date = retry_after(&asking("Fri, 06 Nov 2026 08:49:37 GMT"), now);
        assert_eq!(date, Some(Duration::from_secs(37)));
        let past = retry_after(&asking("Thu, 05 Nov 2026 08:49:37 GMT"), now);
        assert_eq!(past, Some(Duration::ZERO));
        assert_eq!(retry_after(&asking("soon"), now), None);
    }

    #[test]
    fn a_registry_that_asks_for_hours_is_not_waited_for() {
        let verdict =
            Policy::default().judge(StatusCode::TOO_MANY_REQUESTS, &asking("21600"), 1, &Fixed(0.0));
        assert_eq!(verdict, Verdict::Keep);
    }

    #[test]
    fn waits_double_up_to_the_cap_and_are_jittered() {
        let policy = Policy { cap: Duration::from_secs(3), ..Policy::default() };
        assert_eq!(policy.backoff(1, &Fixed(1.0)), Duration::from_millis(500));
        assert_eq!(policy.backoff(1, &Fixed(0.0)), Duration::from_millis(250));
        assert_eq!(policy.backoff(2, &Fixed(1.0)), Duration::from_secs(1));
        assert_eq!(policy.backoff(60, &Fixed(1.0)), Duration::from_secs(3));
    }

    #[test]
    fn tries_are_bounded() {
        let policy = Policy { tries: 2, ..Policy::default() };
        let status = StatusCode::SERVICE_UNAVAILABLE;
        assert!(matches!(policy.judge(status, &HeaderMap::new(), 1, &Fixed(0.0)), Verdict::Again(_)));
        assert_eq!(policy.judge(status, &HeaderMap::new(), 2, &Fixed(0.0)), Verdict::Keep);
    }

    #[test]
    fn a_clear_answer_is_kept() {
        for status in [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED] {
            assert_eq!(Policy::default().judge(status, &HeaderMap::new(), 1, &Fixed(0.0)), Verdict::Keep);
        }
    }
}
