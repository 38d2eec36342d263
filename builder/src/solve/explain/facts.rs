//! What went into a step, as named facts that two builds can be compared by.
//!
//! ```text
//! packed = deflate( "oxfa\x01" ‖ fields ‖ files )                       numbers are LEB128
//! fields = count, then each: length, name ‖ length, value
//! files  = count, then each: bytes shared with the path before ‖ length, rest of the path
//!                            ‖ kind ‖ mode ‖ size ‖ mark (8 bytes)
//! ```
//!
//! What sounds like a secret is no fact but a mark of one.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::lint::sounds_secret;
use crate::op::run;
use crate::plan::graph::{Copy, Mount, MountFiles, MountTree, Op, Run, Source, Vertex};
use crate::solve::gather::{Gathered, Gleaned};

const MAGIC: &[u8; 5] = b"oxfa\x01";

/// Most that facts of one step take unpacked: some million files. Beyond that, nothing is told of files.
const MAX_BYTES: u64 = 64 << 20;

/// Most of a value that is kept: enough to tell two apart, and to be read.
const MAX_VALUE: usize = 4096;

/// A name and what it is.
pub(super) type Field = (String, String);

/// What went into a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::solve) struct Facts {
    /// Its own fields by name.
    pub(super) fields: Vec<Field>,
    /// What it reads of contexts, by path.
    pub(super) files: Vec<File>,
}

/// A file of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: Vec<u8>,
    pub(super) state: FileState,
}

/// What a file is; its content as a mark of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileState {
    pub(super) kind: char,
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) mark: [u8; 8],
}

impl Facts {
    /// Gathers the facts of a vertex.
    pub(in crate::solve) fn of(vertex: &Vertex, gathered: &[Arc<Gathered>]) -> Self {
        let mut fields = vec![field("instruction", instruction(&vertex.title))];
        match &vertex.op {
            Op::Copy(copy) => copy_fields(copy, &mut fields),
            Op::Run(run) => run_fields(run, &mut fields),
            Op::Workdir(workdir) => {
                fields.extend([field("path", &workdir.path), field("user", &workdir.user)]);
            }
            Op::Image(image) => {
                fields.push(field("image", &image.name));
                fields.push(field("digest", image.manifest.digest.to_string()));
            }
            Op::Http(http) => {
                fields.push(field("URL", &http.url));
                fields.push(field("checksum", format!("{:?}", http.checksum)));
            }
            Op::Git(git) => fields.push(field("repository", format!("{git:?}"))),
            Op::Local(local) => fields.push(field("context", &local.name)),
            Op::Merge(_) | Op::Scratch => {}
        }
        let mut files: Vec<File> = gathered.iter().flat_map(|gathered| gathered.iter().map(file)).collect();
        if gathered.len() > 1 {
            files.sort_by(|one, other| one.path.cmp(&other.path));
            files.dedup();
        }
        Self { fields, files }
    }

    /// Packs them; without files if there are too many.
    pub(in crate::solve) fn pack(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        put_number(&mut bytes, self.fields.len() as u64);
        for (name, value) in &self.fields {
            put_text(&mut bytes, name.as_bytes());
            put_text(&mut bytes, value.as_bytes());
        }
        let most =
            self.files.len() as u64 * 24 + self.files.iter().map(|file| file.path.len() as u64).sum::<u64>();
        let files = if most > MAX_BYTES { &[][..] } else { &self.files };
        put_number(&mut bytes, files.len() as u64);
        let mut before: &[u8] = b"";
        for File { path, state } in files {
            let shared = before.iter().zip(path).take_while(|(one, other)| one == other).count();
            put_number(&mut bytes, shared as u64);
            put_text(&mut bytes, &path[shared..]);
            bytes.push(state.kind as u8);
            put_number(&mut bytes, state.mode.into());
            put_number(&mut bytes, state.size);
            bytes.extend(state.mark);
            before = path;
        }
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder
            .write_all(&bytes)
            .and_then(|()| encoder.finish())
            .expect("because memory takes what it is given")
    }

    /// Reads what [`Facts::pack`] wrote; `None` if it is something else.
    pub(in crate::solve) fn unpack(packed: &[u8]) -> Option<Self> {
        let mut bytes = Vec::new();
        // One more than is ever written: cut short, it does not parse.
        DeflateDecoder::new(packed).take(2 * MAX_BYTES).read_to_end(&mut bytes).ok()?;
        let mut cursor = Cursor(bytes.strip_prefix(MAGIC)?);
        let mut facts = Self::default();
        for _ in 0..cursor.number()? {
            facts.fields.push((cursor.string()?, cursor.string()?));
        }
        let mut before: Vec<u8> = Vec::new();
        for _ in 0..cursor.number()? {
            before.truncate(usize::try_from(cursor.number()?).ok()?);
            before.extend(cursor.text()?);
            let kind = cursor.take(1)?[0].into();
            let mode = u32::try_from(cursor.number()?).ok()?;
            let size = cursor.number()?;
            let mark = cursor.take(8)?.try_into().ok()?;
            facts.files.push(File { path: before.clone(), state: FileState { kind, mode, size, mark } });
        }
        cursor.0.is_empty().then_some(facts)
    }
}

/// Returns a title without its numbers.
pub(super) fn instruction(title: &str) -> &str {
    match title.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, instruction)) => instruction,
        None => title,
    }
}

fn file(gleaned: Gleaned<'_>) -> File {
    let Gleaned { path, kind, mode, size, mark } = gleaned;
    File { path: path.to_vec(), state: FileState { kind, mode, size, mark } }
}

fn field(name: impl Into<String>, value: impl AsRef<str>) -> Field {
    let value = value.as_ref();
    let end = (0..=MAX_VALUE.min(value.len())).rev().find(|&end| value.is_char_boundary(end)).unwrap_or(0);
    let mut kept = value[..end].to_owned();
    if end < value.len() {
        kept.push_str(&format!("… ({})", &blake3::hash(value.as_bytes()).to_hex()[..12]));
    }
    (name.into(), kept)
}

fn copy_fields(copy: &Copy, fields: &mut Vec<Field>) {
    fields.push(field("destination", &copy.destination));
    fields.push(field("--chown", copy.chown.as_deref().unwrap_or_default()));
    fields.push(field("--chmod", copy.chmod.as_ref().map_or(String::new(), |mode| format!("{mode:?}"))));
    fields.push(field("--exclude", copy.exclude.join(" ")));
    fields.push(field("placing", format!("{:?} {:?}", copy.placing, copy.unpack)));
    for source in &copy.sources {
        fields.push(match source {
            Source::Inline { name, content } => field(format!("heredoc {name}"), content),
            Source::Context { name: None, pattern } => field("source", pattern),
            Source::Context { name: Some(name), pattern } => field(format!("source of {name}"), pattern),
            Source::Vertex { pattern, .. } => field("source of a stage", pattern),
        });
    }
}

fn run_fields(run: &Run, fields: &mut Vec<Field>) {
    fields.push(field("command", run.args.join(" ")));
    for variable in run::environment(run) {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        fields.push(match sounds_secret(name) {
            true => (format!("variable {name}"), hidden(value)),
            false => field(format!("variable {name}"), value),
        });
    }
    fields.push(field("working directory", &run.cwd));
    fields.push(field("user", &run.user));
    fields.push(field("network", format!("{:?}", run.network).to_lowercase()));
    fields.push(field("security", format!("{:?}", run.security).to_lowercase()));
    fields.push(field("platform", run.platform.to_string()));
    fields.extend(run.files.iter().map(|file| field(format!("heredoc {}", file.name), &file.content)));
    for mount in &run.mounts {
        match mount {
            Mount::Bind { target, files, read_only } => {
                let access = if *read_only { "read-only" } else { "writable" };
                fields.push(field(format!("mount {target}"), format!("{} {access}", mounted(files))));
            }
            Mount::Cache { target, .. } => fields.push(field(format!("mount {target}"), "cache")),
            // Of these, that they are asked for decides, and not what they hold.
            Mount::Secret { id, target, env, .. } => {
                let place = target.as_deref().or(env.as_deref()).unwrap_or_default();
                fields.push(field(format!("secret {id}"), place));
            }
            Mount::Ssh { id, target, .. } => fields.push(field(format!("ssh agent {id}"), target)),
            Mount::Tmpfs { target, max_bytes } => {
                fields.push(field(format!("mount {target}"), format!("memory {max_bytes:?}")));
            }
        }
    }
}

fn mounted(files: &MountFiles) -> String {
    match &files.tree {
        MountTree::Context(name) => format!("{}:/{}", name.as_deref().unwrap_or("context"), files.path),
        MountTree::Nothing => "nothing".to_owned(),
        MountTree::Vertex(_) => format!("stage:/{}", files.path),
    }
}

/// What stands in place of a value that is nobody's business. Four bytes tell two values apart and bring
/// neither back.
fn hidden(value: &str) -> String {
    let mark = blake3::derive_key("oxbox 2026 hidden value of a variable", value.as_bytes());
    format!("{HIDDEN} {:02x}{:02x}{:02x}{:02x})", mark[0], mark[1], mark[2], mark[3])
}

/// How a hidden value begins.
pub(super) const HIDDEN: &str = "(hidden";

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    put_number(bytes, text.len() as u64);
    bytes.extend(text);
}

/// Reads from the front of bytes.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.text()?.to_vec()).ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Facts, File, FileState, field, hidden, instruction};

    pub(in crate::solve::explain) fn file(path: &str, size: u64, mark: u8) -> File {
        let state = FileState { kind: '-', mode: 0o644, size, mark: [mark; 8] };
        File { path: path.into(), state }
    }

    #[test]
    fn facts_are_read_as_they_were_packed() {
        let files = vec![file("src/a", 1, 1), file("src/ab", 1 << 40, 2), file("z", 0, 3)];
        let fields = vec![field("variable A", "ä"), field("user", "")];
        for facts in [Facts { fields, files }, Facts::default()] {
            assert_eq!(Facts::unpack(&facts.pack()), Some(facts));
        }
    }

    #[test]
    fn damaged_facts_are_none() {
        let facts = Facts { fields: Vec::new(), files: (0..50).map(|size| file("x", size, 1)).collect() };
        let packed = facts.pack();
        for end in 0..packed.len() {
            assert_eq!(Facts::unpack(&packed[..end]), None, "{end}");
        }
        assert_eq!(Facts::unpack(b"garbage"), None);
    }

    #[test]
    fn long_values_are_cut_and_still_differ() {
        let long = "ä".repeat(5000);
        assert_ne!(field("x", &long), field("x", format!("{long}.")));
        assert!(field("x", &long).1.len() < 4200);
    }

    #[test]
    fn a_hidden_value_does_not_show_and_still_differs() {
        assert!(!hidden("hunter2").contains("hunter2"));
        assert_ne!(hidden("hunter2"), hidden("hunter3"));
    }

    #[test]
    fn a_title_is_told_without_its_numbers() {
        assert_eq!(instruction("[build 2/3] RUN [ -f x ] && y"), "RUN [ -f x ] && y");
        assert_eq!(instruction("FROM scratch"), "FROM scratch");
    }
}
