//! Sources of ADD, and contexts, that are elsewhere: files of HTTP servers and git repositories.
//!
//! ```text
//! https://host/path/file.tar             a file: named after the last part of its path
//! https://host/path.git#v1:docs          a repository: what ends in .git, #reference:folder
//! https://host/path.git?tag=v1&subdir=docs&checksum=1a2b&keep-git-dir&submodules=false
//! git://host/path   ssh://host/path   user@host:path                     repositories all
//! ```
//!
//! What is none of these is a path. Pure text: whether there is such a thing is found out when it is fetched.
//! <https://docs.docker.com/build/concepts/context/#url-queries>

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

/// Something that is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// A file from an HTTP server.
    Http {
        /// Where.
        url: String,
        /// What it is called: the last part of the URL's path, or `__unnamed__`.
        name: String,
    },
    /// A repository.
    Git(Repository),
}

/// A repository, and what of it is meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repository {
    /// Where, without fragment and query.
    pub remote: String,
    /// Branch, tag or commit.
    pub reference: Option<String>,
    /// Which folder of it, relative and clean.
    pub folder: Option<String>,
    /// Start of the commit's id that must come out, in lowercase.
    pub commit: Option<String>,
    /// Whether `.git` is kept, if that was said.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched, if that was said.
    pub submodules: Option<bool>,
}

/// What is wrong with the address of a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RemoteError {
    #[error("query {key:?} of a repository has no value")]
    NoValue { key: String },
    #[error("query {key:?} of a repository is given twice")]
    Twice { key: String },
    #[error("a repository has no query {key:?}")]
    UnknownQuery { key: String },
    #[error("query {key} of a repository cannot be {value:?}")]
    InvalidValue { key: &'static str, value: String },
    #[error("address of a repository says both {first:?} and {second:?}")]
    Conflict { first: String, second: String },
    #[error("{text:?} is not the start of a commit's id")]
    NotACommit { text: String },
}

/// The hexadecimal digits of a whole commit id: SHA-1 and SHA-256.
const COMMIT_LENGTHS: [usize; 2] = [40, 64];

/// The queries that a repository may have.
const QUERIES: [&str; 10] = [
    "branch",
    "checksum",
    "commit",
    "fetch-by-commit",
    "keep-git-dir",
    "mtime",
    "ref",
    "subdir",
    "submodules",
    "tag",
];

/// Reads a source of ADD; nothing if it is a local path.
///
/// # Errors
///
/// The address of a repository whose query makes no sense.
pub fn parse(text: &str) -> Result<Option<Remote>, RemoteError> {
    if text.starts_with("./") || text.starts_with("../") {
        return Ok(None);
    }
    let Some(url) = Url::split(text) else { return scp(text) };
    let is_web = matches!(url.scheme.as_str(), "http" | "https");
    let is_repository = match url.scheme.as_str() {
        "git" | "ssh" => true,
        "http" | "https" => url.path().is_some_and(|path| path.ends_with(".git")),
        _ => false,
    };
    if is_repository {
        let fragment = url.fragment.map(|fragment| decoded(fragment).unwrap_or_else(|| fragment.to_owned()));
        let remote = format!("{}://{}", url.scheme, url.address);
        return repository(remote, fragment.as_deref(), url.query).map(Remote::Git).map(Some);
    }
    // As in BuildKit, in lowercase only.
    let is_written_so = text.starts_with("http://") || text.starts_with("https://");
    Ok((is_web && is_written_so).then(|| Remote::Http { url: text.to_owned(), name: file_name(&url) }))
}

/// Reads a main context: as [`parse`], and `github.com/…` is a repository too.
///
/// # Errors
///
/// Those of [`parse`].
pub fn parse_context(text: &str) -> Result<Option<Remote>, RemoteError> {
    match text.strip_prefix("github.com/") {
        None => parse(text),
        Some(_) => {
            let url = Url { scheme: "https".to_owned(), ..Url::of_address(text) };
            let remote = format!("https://{}", url.address);
            repository(remote, url.fragment, url.query).map(Remote::Git).map(Some)
        }
    }
}

/// Reads what `--checksum` of a repository says: the start of a commit's id, in lowercase.
///
/// # Errors
///
/// [`RemoteError::NotACommit`].
pub fn commit(text: &str) -> Result<String, RemoteError> {
    let is_hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = !text.is_empty() && text.len() <= COMMIT_LENGTHS[1];
    let error = || RemoteError::NotACommit { text: cut(text) };
    (is_hexadecimal && fits).then(|| text.to_ascii_lowercase()).ok_or_else(error)
}

/// A URL cut into its parts, nothing decoded.
struct Url<'t> {
    /// In lowercase.
    scheme: String,
    /// Host and path.
    address: &'t str,
    query: Option<&'t str>,
    fragment: Option<&'t str>,
}

impl<'t> Url<'t> {
    /// Cuts `scheme://…`; nothing if the text does not begin so.
    fn split(text: &'t str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_word = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_word.then(|| Self { scheme: scheme.to_ascii_lowercase(), ..Self::of_address(rest) })
    }

    fn of_address(text: &'t str) -> Self {
        let (text, fragment) = match text.split_once('#') {
            Some((text, fragment)) => (text, Some(fragment)),
            None => (text, None),
        };
        let (address, query) = match text.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (text, None),
        };
        Self { scheme: String::new(), address, query, fragment }
    }

    /// Returns the path, decoded; nothing if it cannot be.
    fn path(&self) -> Option<String> {
        let path = self.address.find('/').map_or("", |slash| &self.address[slash..]);
        decoded(path)
    }
}

/// `user@host:path?query#fragment`, as scp and ssh write it.
fn scp(text: &str) -> Result<Option<Remote>, RemoteError> {
    let is_word = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let parts = text.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(':')?)));
    let Some((user, (host, _))) = parts else { return Ok(None) };
    if !is_word(user, b"-_") || !is_word(host, b"-.") {
        return Ok(None);
    }
    let url = Url::of_address(text);
    repository(url.address.to_owned(), url.fragment, url.query).map(Remote::Git).map(Some)
}

fn repository(
    remote: String,
    fragment: Option<&str>,
    query: Option<&str>,
) -> Result<Repository, RemoteError> {
    let mut found = Repository { remote, ..Repository::default() };
    if let Some(fragment) = fragment {
        let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        found.reference = Some(reference.to_owned()).filter(|reference| !reference.is_empty());
        found.folder = folder_of(folder);
    }
    let mut queries = queries(query.unwrap_or_default())?;
    let by_commit = queries.remove("fetch-by-commit");
    for (key, value) in queries {
        match key {
            "ref" => set(&mut found.reference, value)?,
            "tag" => set(&mut found.reference, full("refs/tags/", &value))?,
            "branch" => set(&mut found.reference, full("refs/heads/", &value))?,
            "subdir" => {
                let folder = folder_of(&value);
                match folder {
                    Some(folder) => set(&mut found.folder, folder)?,
                    None => found.folder = None,
                }
            }
            "checksum" | "commit" => set(&mut found.commit, commit(&value)?)?,
            "keep-git-dir" => found.keep_git_dir = Some(truth("keep-git-dir", &value)?),
            "submodules" => found.submodules = Some(truth("submodules", &value)?),
            // Times of new layers are the build's epoch at most, whichever they were.
            _ if value == "checkout" || value == "commit" => {}
            _ => return Err(RemoteError::InvalidValue { key: "mtime", value: cut(&value) }),
        }
    }
    if let Some(value) = by_commit
        && truth("fetch-by-commit", &value)?
    {
        let whole = found.commit.clone().filter(|commit| COMMIT_LENGTHS.contains(&commit.len()));
        let error = || RemoteError::InvalidValue { key: "fetch-by-commit", value: cut(&value) };
        found.reference = Some(whole.ok_or_else(error)?);
    }
    Ok(found)
}

/// Reads a query into its known keys.
fn queries(text: &str) -> Result<BTreeMap<&'static str, String>, RemoteError> {
    let mut found = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let part = |text: &str| decoded(&text.replace('+', " ")).unwrap_or_else(|| text.to_owned());
        let (key, value) = (part(key), part(value));
        let Some(known) = QUERIES.into_iter().find(|known| *known == key) else {
            return Err(RemoteError::UnknownQuery { key: cut(&key) });
        };
        let may_be_alone = matches!(known, "fetch-by-commit" | "keep-git-dir" | "submodules");
        if value.is_empty() && !may_be_alone {
            return Err(RemoteError::NoValue { key });
        }
        if found.insert(known, value).is_some() {
            return Err(RemoteError::Twice { key });
        }
    }
    Ok(found)
}

/// Sets what perhaps was said before; then it must be the same.
fn set(field: &mut Option<String>, value: String) -> Result<(), RemoteError> {
    match field {
        Some(first) if *first != value => {
            Err(RemoteError::Conflict { first: cut(first), second: cut(&value) })
        }
        _ => {
            *field = Some(value);
            Ok(())
        }
    }
}

fn full(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") }
}

/// A flag without a value is true; else Go's spellings.
fn truth(key: &'static str, value: &str) -> Result<bool, RemoteError> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(RemoteError::InvalidValue { key, value: cut(value) }),
    }
}

/// Returns a folder relative and clean; nothing if it is the whole.
fn folder_of(text: &str) -> Option<String> {
    let clean = super::path::clean(text);
    Some(clean[1..].to_owned()).filter(|folder| !folder.is_empty())
}

/// Returns what a downloaded file is called.
fn file_name(url: &Url<'_>) -> String {
    let path = url.path().unwrap_or_default();
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    // A name that leads elsewhere is none: the file stands alone in its layer.
    let is_name = !matches!(name, "" | "." | "..") && !name.contains('\0');
    if is_name { name.to_owned() } else { "__unnamed__".to_owned() }
}

/// Replaces `%41` by what it stands for; nothing if that is broken, or no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}
