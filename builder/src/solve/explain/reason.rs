//! Why a step was made: the first thing that was different, for people and for programs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a step was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Reason {
    /// Everything is made again.
    NoCache,
    /// All of its stage is made again.
    NoCacheFilter,
    /// Nothing is known of a step in its place.
    New,
    /// It says something else.
    Instruction {
        /// What it said.
        old: String,
        /// What it says.
        new: String,
    },
    /// A variable, the user, a mount, …
    Field {
        /// Which: `variable VERSION`, `user`.
        name: String,
        /// What it was, if it was there.
        old: Option<String>,
        /// What it is, if it is there.
        new: Option<String>,
    },
    /// Files of a context.
    File {
        /// The first of them.
        path: String,
        /// What it was, if it was there.
        old: Option<FileFacts>,
        /// What it is, if it is there.
        new: Option<FileFacts>,
        /// How many others differ.
        others: usize,
    },
    /// Another step came out differently.
    Input {
        /// Its title.
        step: String,
        /// Why it did: never an input again, but the first cause.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        because: Option<Box<Reason>>,
    },
    /// Nothing changed, but the layer is no longer there.
    Gone,
    /// Nothing changed since it was made, but that is no longer known.
    Forgotten,
    /// It was made again and came out differently.
    Different,
}

/// What a file was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// As `ls -l` writes it: `-`, `d`, `l`, `p`, `c`, `b`.
    pub kind: char,
    /// Permission bits, octal.
    pub mode: String,
    /// Bytes.
    pub size: u64,
    /// Tells two contents apart; not a digest that others know.
    pub content: String,
}

impl Reason {
    /// Returns the first cause: what it points to, or itself.
    pub fn root(&self) -> &Self {
        match self {
            Self::Input { because: Some(because), .. } => because.root(),
            reason => reason,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCache => f.write_str("--no-cache"),
            Self::NoCacheFilter => f.write_str("--no-cache-filter names its stage"),
            Self::New => f.write_str("never built here"),
            Self::Instruction { old, new } => {
                write!(f, "the instruction changed: {} → {}", cut(old), cut(new))
            }
            Self::Field { name, old: Some(old), new: Some(new) } if is_hidden(old) && is_hidden(new) => {
                write!(f, "{name} changed (its values are not shown)")
            }
            Self::Field { name, old: Some(old), new: Some(new) } => {
                write!(f, "{name} changed: {:?} → {:?}", cut(old), cut(new))
            }
            Self::Field { name, old: None, new: Some(new) } if is_hidden(new) => write!(f, "{name} is new"),
            Self::Field { name, old: None, new: Some(new) } => write!(f, "{name} is new: {:?}", cut(new)),
            Self::Field { name, .. } => write!(f, "{name} is gone"),
            Self::File { path, old, new, others } => {
                write!(f, "{path} {}", file_change(old.as_ref(), new.as_ref()))?;
                match others {
                    0 => Ok(()),
                    1 => f.write_str(", and 1 other path"),
                    others => write!(f, ", and {others} other paths"),
                }
            }
            Self::Input { step, because: None } => write!(f, "{} came out differently", cut(step)),
            Self::Input { step, because: Some(because) } => write!(f, "{}: {because}", cut(step)),
            Self::Gone => f.write_str("its result is no longer in the store"),
            Self::Forgotten => f.write_str("its result is no longer known"),
            Self::Different => f.write_str("made again, and came out differently"),
        }
    }
}

fn file_change(old: Option<&FileFacts>, new: Option<&FileFacts>) -> String {
    let (old, new) = match (old, new) {
        (None, Some(new)) => return format!("is new ({}, {} bytes)", new.mode, new.size),
        (_, None) => return "is gone".to_owned(),
        (Some(old), Some(new)) => (old, new),
    };
    if old.kind != new.kind {
        return format!("was {} and is {}", word(old.kind), word(new.kind));
    }
    if old.mode != new.mode {
        return format!("changed its mode: {} → {}", old.mode, new.mode);
    }
    format!("changed: {} bytes {} → {} bytes {}", old.size, old.content, new.size, new.content)
}

fn word(kind: char) -> &'static str {
    match kind {
        'd' => "a directory",
        'l' => "a symbolic link",
        'p' => "a named pipe",
        'c' | 'b' => "a device",
        _ => "a file",
    }
}

fn is_hidden(value: &str) -> bool {
    value.starts_with(super::facts::HIDDEN)
}

/// Text of one line that is not longer than people read.
fn cut(text: &str) -> String {
    const MAX_CHARACTERS: usize = 80;
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(MAX_CHARACTERS).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

#[cfg(test)]
mod tests {
    use super::{FileFacts, Reason};

    fn file(mode: &str, size: u64, content: &str) -> Option<FileFacts> {
        Some(FileFacts { kind: '-', mode: mode.to_owned(), size, content: content.to_owned() })
    }

    fn changed(old: Option<FileFacts>, new: Option<FileFacts>, others: usize) -> Reason {
        Reason::File { path: "src/main.c".to_owned(), old, new, others }
    }

    #[test]
    fn reasons_read_like_sentences() {
        let field = |old: Option<&str>, new: Option<&str>| Reason::Field {
            name: "variable V".to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        let cause = changed(file("0644", 1, "aa"), file("0644", 2, "bb"), 0);
        for (reason, text) in [
            (cause.clone(), "src/main.c changed: 1 bytes aa → 2 bytes bb"),
            (
                changed(file("0644", 1, "aa"), file("0755", 1, "ab"), 1),
                "src/main.c changed its mode: 0644 → 0755, and 1 other path",
            ),
            (changed(None, file("0644", 1, "aa"), 0), "src/main.c is new (0644, 1 bytes)"),
            (changed(file("0644", 1, "aa"), None, 3), "src/main.c is gone, and 3 other paths"),
            (field(Some("1"), Some("2")), "variable V changed: \"1\" → \"2\""),
            (
                field(Some("(hidden 01)"), Some("(hidden 02)")),
                "variable V changed (its values are not shown)",
            ),
            (field(None, Some("(hidden 02)")), "variable V is new"),
            (field(Some("1"), None), "variable V is gone"),
            (
                Reason::Input { step: "[1/2] COPY . .".to_owned(), because: Some(Box::new(cause)) },
                "[1/2] COPY . .: src/main.c changed: 1 bytes aa → 2 bytes bb",
            ),
        ] {
            assert_eq!(reason.to_string(), text);
        }
    }

    #[test]
    fn programs_get_the_same_reason_back() {
        let reason = changed(None, file("0644", 1, "aa"), 3);
        let text = serde_json::to_string(&reason).unwrap();
        assert!(text.starts_with(r#"{"kind":"file","path":"src/main.c","old":null"#), "{text}");
        assert_eq!(serde_json::from_str::<Reason>(&text).unwrap(), reason);
    }
}
