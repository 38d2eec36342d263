//! `--ulimit name=soft[:hard]`, with Docker's names.

use serde::{Deserialize, Serialize};

use super::cut;

/// Name and number (`asm-generic/resource.h`, the same on x86-64, aarch64 and riscv64).
const NAMES: [(&str, u32); 16] = [
    ("as", 9),
    ("core", 4),
    ("cpu", 0),
    ("data", 2),
    ("fsize", 1),
    ("locks", 10),
    ("memlock", 8),
    ("msgqueue", 12),
    ("nice", 13),
    ("nofile", 7),
    ("nproc", 6),
    ("rss", 5),
    ("rtprio", 14),
    ("rttime", 15),
    ("sigpending", 11),
    ("stack", 3),
];

/// A limit of each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ulimit {
    /// What `RLIMIT_…` is called by the kernel: a number.
    pub resource: u32,
    /// What applies; none means no limit.
    pub soft: Option<u64>,
    /// How far the soft limit can be raised; none means as far as one likes.
    pub hard: Option<u64>,
}

/// A text that is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UlimitError {
    /// It has no equals sign, or no numbers.
    #[error("{text:?} is not NAME=SOFT[:HARD], with numbers or -1 for none")]
    Form {
        /// As it was written, cut.
        text: String,
    },
    /// There is no such resource.
    #[error("there is no limit of {name:?} (there is {})", NAMES.map(|(name, _)| name).join(", "))]
    Unknown {
        /// As it was written, cut.
        name: String,
    },
    /// The soft limit is higher.
    #[error("in {text:?} the soft limit is above the hard one")]
    Order {
        /// As it was written, cut.
        text: String,
    },
}

impl Ulimit {
    /// Returns Docker's name of the resource.
    pub fn name(&self) -> &'static str {
        NAMES.iter().find(|(_, number)| *number == self.resource).map_or("unknown", |(name, _)| name)
    }
}

impl std::fmt::Display for Ulimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = |limit: Option<u64>| limit.map_or("-1".to_owned(), |limit| limit.to_string());
        write!(f, "{}={}:{}", self.name(), words(self.soft), words(self.hard))
    }
}

impl std::str::FromStr for Ulimit {
    type Err = UlimitError;

    fn from_str(text: &str) -> Result<Self, UlimitError> {
        let form = || UlimitError::Form { text: cut(text) };
        let (name, limits) = text.split_once('=').ok_or_else(form)?;
        let found = NAMES.iter().find(|(known, _)| *known == name);
        let (_, resource) = *found.ok_or_else(|| UlimitError::Unknown { name: cut(name) })?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let (soft, hard) = (limit(soft).ok_or_else(form)?, limit(hard).ok_or_else(form)?);
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(UlimitError::Order { text: cut(text) });
        }
        Ok(Self { resource, soft, hard })
    }
}

fn limit(text: &str) -> Option<Option<u64>> {
    match text {
        "-1" | "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ulimit, UlimitError};

    #[test]
    fn one_number_is_both_limits() {
        let limit: Ulimit = "nofile=1024".parse().unwrap();
        assert_eq!((limit.resource, limit.soft, limit.hard), (7, Some(1024), Some(1024)));
        assert_eq!("core=0:-1".parse::<Ulimit>().unwrap().to_string(), "core=0:-1");
    }

    #[test]
    fn what_is_no_limit_is_said() {
        let error = |text: &str| text.parse::<Ulimit>().unwrap_err();
        assert!(matches!(error("files=3"), UlimitError::Unknown { .. }));
        assert!(matches!(error("nofile=3:2"), UlimitError::Order { .. }));
        assert!(matches!(error("nofile=-1:2"), UlimitError::Order { .. }));
        for text in ["nofile", "nofile=", "nofile=x", "nofile=1:", "nofile=-2"] {
            assert!(matches!(error(text), UlimitError::Form { .. }), "{text}");
        }
    }
}
