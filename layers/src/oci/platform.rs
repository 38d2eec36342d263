//! Platforms: what an image runs on.
//!
//! ```text
//! linux/amd64      linux/arm/v7      linux/arm64 (= linux/arm64/v8)      windows(10.0.17763)/amd64
//! ```
//!
//! image-spec v1.1.1, image-index.md#image-index-property-descriptions; the normal forms and the order
//! of variants are containerd's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and a processor, as an index or a config names them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// GOARCH spelling.
    pub architecture: String,
    /// GOOS spelling.
    pub os: String,
    /// Version of the system; Windows images have one.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features that the system must have.
    #[serde(rename = "os.features", default, skip_serializing_if = "Option::is_none")]
    pub os_features: Option<Vec<String>>,
    /// Variant of the processor: `v7` of `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// There are not one to three components of letters, digits, `_`, `.` and `-`.
    #[error("{text:?} is not a platform (os/architecture[/variant], linux/arm64 for one)")]
    Malformed {
        /// What was read, cut.
        text: String,
    },
}

impl Platform {
    /// Returns a platform in its normal form.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let variant = variant.map(str::to_ascii_lowercase).filter(|variant| !variant.is_empty());
        let (architecture, variant) = normal(&architecture.to_ascii_lowercase(), variant);
        Self { architecture, os, os_version: None, os_features: None, variant }
    }

    /// Returns the platform that this program runs on.
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, None)
    }

    /// Returns the same platform in its normal form.
    pub fn normalised(&self) -> Self {
        let mut normal = Self::new(&self.os, &self.architecture, self.variant.as_deref());
        normal.os_version.clone_from(&self.os_version);
        normal.os_features.clone_from(&self.os_features);
        normal
    }

    /// Returns how far an image of `candidate` is from what is wanted: 0 is exact, greater is an older
    /// variant that still runs; `None` does not run here.
    pub fn distance(&self, candidate: &Self) -> Option<u32> {
        let (wanted, candidate) = (self.normalised(), candidate.normalised());
        let fits = |wanted: &Option<String>, offered: &Option<String>| match (wanted, offered) {
            (Some(wanted), Some(offered)) => offered.starts_with(wanted.as_str()),
            _ => true,
        };
        if wanted.os != candidate.os
            || wanted.architecture != candidate.architecture
            || !fits(&wanted.os_version, &candidate.os_version)
        {
            return None;
        }
        let level = |platform: &Self| platform.level();
        match (level(&wanted), level(&candidate)) {
            (Some(wanted), Some(candidate)) => wanted.checked_sub(candidate),
            _ => (wanted.variant == candidate.variant).then_some(0),
        }
    }

    /// The variant as a number, where variants of the architecture are ordered.
    fn level(&self) -> Option<u32> {
        let lowest = match self.architecture.as_str() {
            "arm" => 7,
            "arm64" => 8,
            "amd64" => 1,
            _ => return None,
        };
        match &self.variant {
            None => Some(lowest),
            Some(variant) => variant.strip_prefix('v')?.parse().ok(),
        }
    }
}

/// Old spellings and default variants.
fn normal(architecture: &str, variant: Option<String>) -> (String, Option<String>) {
    let given = variant.as_deref();
    let (architecture, variant) = match (architecture, given) {
        ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
        ("x86_64" | "x86-64", other) => ("amd64", other),
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", None),
        ("aarch64" | "arm64", None | Some("8" | "v8" | "v8.0")) => ("arm64", None),
        ("aarch64", other) => ("arm64", other),
        ("armhf", _) => ("arm", Some("v7")),
        ("armel", _) => ("arm", Some("v6")),
        ("arm", None | Some("7")) => ("arm", Some("v7")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        ("powerpc64le", other) => ("ppc64le", other),
        (other, given) => (other, given),
    };
    (architecture.to_owned(), variant.map(str::to_owned))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.os)?;
        if let Some(version) = &self.os_version {
            write!(f, "({version})")?;
        }
        write!(f, "/{}", self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `os/architecture[/variant]`; one word alone is a system or a processor of this host.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let malformed = || PlatformError::Malformed { text: text.chars().take(160).collect() };
        let (bare, os_version) = match text.split_once('(') {
            None => (text.to_owned(), None),
            Some((os, rest)) => {
                let (version, rest) = rest.split_once(')').ok_or_else(malformed)?;
                (format!("{os}{rest}"), Some(version.to_owned()))
            }
        };
        let legal = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        };
        let parts: Vec<&str> = bare.split('/').collect();
        if !parts.iter().all(legal) {
            return Err(malformed());
        }
        let host = || Self::host();
        let mut platform = match parts.as_slice() {
            [one] if is_os(one) => Self::new(one, &host().architecture, None),
            [one] if is_architecture(one) => Self::new(&host().os, one, None),
            [os, architecture] => Self::new(os, architecture, None),
            [os, architecture, variant] => Self::new(os, architecture, Some(variant)),
            _ => return Err(malformed()),
        };
        platform.os_version = os_version;
        Ok(platform)
    }
}

fn is_os(word: &str) -> bool {
    matches!(word, "linux" | "windows" | "darwin" | "macos" | "freebsd" | "wasip1")
}

fn is_architecture(word: &str) -> bool {
    const KNOWN: &[&str] = &[
        "386", "aarch64", "amd64", "arm", "arm64", "armel", "armhf", "i386", "loong64", "mips64le",
        "ppc64le", "riscv64", "s390x", "wasm", "x86_64",
    ];
    KNOWN.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::{Platform, PlatformError};

    fn parse(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn old_spellings_and_default_variants_have_one_normal_form() {
        for (text, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/aarch64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
        ] {
            assert_eq!(parse(text).to_string(), normal, "{text}");
        }
    }

    #[test]
    fn one_word_is_completed_from_this_host() {
        assert_eq!(parse("linux"), Platform::host());
        assert_eq!(parse("arm64").architecture, "arm64");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "/", "linux/", "linux/amd64/v1/x", "no such", "frob"] {
            assert_eq!(text.parse::<Platform>(), Err(PlatformError::Malformed { text: text.to_owned() }));
        }
    }

    #[test]
    fn a_newer_machine_runs_older_variants_and_not_the_reverse() {
        assert_eq!(parse("linux/arm/v7").distance(&parse("linux/arm/v6")), Some(1));
        assert_eq!(parse("linux/arm/v6").distance(&parse("linux/arm/v7")), None);
        assert_eq!(parse("linux/amd64/v3").distance(&parse("linux/amd64")), Some(2));
        assert_eq!(parse("linux/amd64").distance(&parse("linux/arm64")), None);
    }

    #[test]
    fn dotted_fields_are_kept_by_their_names() {
        let text =
            r#"{"architecture":"amd64","os":"windows","os.version":"10.0.1","os.features":["win32k"]}"#;
        let platform: Platform = serde_json::from_str(text).unwrap();
        assert_eq!(platform.os_version.as_deref(), Some("10.0.1"));
        assert_eq!(serde_json::to_string(&platform).unwrap(), text);
    }
}
