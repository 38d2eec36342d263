//! Arguments that need no ARG: platforms before the first FROM, proxies in every RUN.

use std::collections::BTreeMap;

use oxbox_layers::oci::Platform;

use super::options::Options;

/// Proxy variables; each is known in lowercase too.
const PROXIES: [&str; 5] = ["ALL_PROXY", "FTP_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// What an argument may be called without being declared anywhere.
const KNOWN: [&str; 12] = [
    "BUILDARCH",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDPLATFORM",
    "BUILDVARIANT",
    "SOURCE_DATE_EPOCH",
    "TARGETARCH",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETPLATFORM",
    "TARGETSTAGE",
    "TARGETVARIANT",
];

/// Whether a `--build-arg` of this name is in order though no ARG declares it.
pub(crate) fn is_predefined(name: &str) -> bool {
    KNOWN.contains(&name)
        || name.starts_with("BUILDKIT_")
        || PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

/// Returns the arguments that FROM lines know and that an ARG without a default takes over.
///
/// Empty ones are unset: `${TARGETVARIANT:-v7}` and `${TARGETVARIANT-v7}` mean the same.
pub(crate) fn automatic(options: &Options, target: &str) -> Vec<(String, String)> {
    let mut arguments = platform("BUILD", &options.build_platform);
    arguments.extend(platform("TARGET", options.target_platform()));
    arguments.push(("TARGETSTAGE".to_owned(), target.to_owned()));
    for (name, value) in &mut arguments {
        if let Some(given) = options.build_args.get(name) {
            value.clone_from(given);
        }
    }
    arguments.retain(|(_, value)| !value.is_empty());
    arguments
}

fn platform(prefix: &str, platform: &Platform) -> Vec<(String, String)> {
    let or_empty = |field: &Option<String>| field.clone().unwrap_or_default();
    vec![
        (format!("{prefix}PLATFORM"), platform.to_string()),
        (format!("{prefix}OS"), platform.os.clone()),
        (format!("{prefix}OSVERSION"), or_empty(&platform.os_version)),
        (format!("{prefix}ARCH"), platform.architecture.clone()),
        (format!("{prefix}VARIANT"), or_empty(&platform.variant)),
    ]
}

/// Returns the proxies among the arguments in both spellings, as programs look for either.
pub(crate) fn proxies(build_args: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut proxies = Vec::new();
    for name in PROXIES {
        // Of two spellings given the lowercase one wins: it sorts last, as BuildKit takes them.
        let given = build_args.iter().rfind(|(given, _)| given.eq_ignore_ascii_case(name));
        if let Some((_, value)) = given {
            proxies.push((name.to_owned(), value.clone()));
            proxies.push((name.to_ascii_lowercase(), value.clone()));
        }
    }
    proxies
}
