//! What a Dockerfile says, before any variable is expanded.
//!
//! Words keep the text as written (quotes, escapes and `$` included) and the bytes they came from;
//! `word::expand` turns them into values when the plan knows the variables. Mounts are in `mount.rs`.

use std::time::Duration;

use super::heredoc::Heredoc;
use super::mount::MountFlag;
use super::span::Span;

/// A parsed Dockerfile.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// The directives at the top.
    pub directives: Directives,
    /// The instructions in order, those before the first FROM included.
    pub statements: Vec<Statement>,
    /// Blank lines inside continued instructions: legal, but frowned upon.
    pub blank_continuations: Vec<Span>,
}

/// Parser directives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directives {
    /// `# check=`, as written: `skip=A,B;error=true`.
    pub check: Option<Word>,
    /// `# escape=`.
    pub escape: Escape,
    /// `# syntax=`, as written. Never fetched.
    pub syntax: Option<Word>,
}

/// The character that escapes others and continues lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escape {
    /// `\`
    #[default]
    Backslash,
    /// `` ` ``, for Windows paths.
    Backtick,
}

impl Escape {
    /// Returns the character itself.
    pub fn char(self) -> char {
        match self {
            Escape::Backslash => '\\',
            Escape::Backtick => '`',
        }
    }

    pub(super) fn from_directive(value: &str) -> Option<Escape> {
        [Escape::Backslash, Escape::Backtick].into_iter().find(|escape| value == escape.char().to_string())
    }
}

/// One instruction with what surrounds it in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// From the keyword to the end of the instruction, heredocs and the lines that close them included.
    pub span: Span,
    /// The keyword as written.
    pub keyword: Word,
    /// The instruction with its continuations joined and outer blanks cut, without heredoc bodies.
    pub text: String,
    /// Comment lines directly above, `#` and outer blanks cut.
    pub comments: Vec<String>,
    /// What it says.
    pub instruction: Instruction,
}

impl Statement {
    /// Returns the text with its heredoc bodies, as an image records it for ONBUILD.
    pub fn expression(&self) -> String {
        let mut text = self.text.clone();
        for heredoc in self.instruction.heredocs() {
            text.push('\n');
            text.push_str(&heredoc.body);
            text.push_str(&heredoc.name);
        }
        text
    }
}

/// A word or other text as written, before expansion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// The text, continuations joined; of a JSON string, its decoded value.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// An instruction.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is the instruction of that name, described at its struct")]
pub enum Instruction {
    Add(Add),
    Arg(Arg),
    Cmd(Cmd),
    Copy(Copy),
    Entrypoint(Entrypoint),
    Env(Env),
    Expose(Expose),
    From(From),
    Healthcheck(Healthcheck),
    Label(Label),
    Maintainer(Maintainer),
    Onbuild(Onbuild),
    Run(Run),
    Shell(Shell),
    Stopsignal(Stopsignal),
    User(User),
    Volume(Volume),
    Workdir(Workdir),
}

impl Instruction {
    /// Returns the heredocs that belong to the instruction, in order.
    pub fn heredocs(&self) -> Vec<&Heredoc> {
        match self {
            Instruction::Add(add) => add.sources.iter().filter_map(Source::heredoc).collect(),
            Instruction::Copy(copy) => copy.sources.iter().filter_map(Source::heredoc).collect(),
            Instruction::Onbuild(onbuild) => onbuild.trigger.instruction.heredocs(),
            Instruction::Run(run) => run.command.heredocs().iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// ADD: copies files, remote files, git repositories and unpacked archives.
#[derive(Clone, Debug, PartialEq)]
pub struct Add {
    /// `--checksum`: digest of a remote file or commit of a repository.
    pub checksum: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--exclude`, in order. Not expanded.
    pub exclude: Vec<Word>,
    /// `--keep-git-dir`, if given.
    pub keep_git_dir: Option<bool>,
    /// `--link`.
    pub link: bool,
    /// `--unpack`, if given.
    pub unpack: Option<bool>,
    /// At least one.
    pub sources: Vec<Source>,
    /// The last argument.
    pub destination: Word,
}

/// ARG: declares build arguments, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// At least one. A later default may use an earlier argument.
    pub declarations: Vec<Declaration>,
}

/// One name of an ARG.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// The name.
    pub name: Word,
    /// The default after `=`, possibly empty.
    pub default: Option<Word>,
}

/// CMD: the default command.
#[derive(Clone, Debug, PartialEq)]
pub struct Cmd {
    /// Never expanded.
    pub command: ShellOrExec,
}

/// COPY: copies files from the build context, a stage, an image or a heredoc.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--exclude`, in order. Not expanded.
    pub exclude: Vec<Word>,
    /// `--from`: stage name, stage index, image or named context. Holds no variable.
    pub from: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// At least one.
    pub sources: Vec<Source>,
    /// The last argument.
    pub destination: Word,
}

/// A source of COPY or ADD.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A path, pattern or URL, before expansion.
    Path(Word),
    /// A file whose content is in the Dockerfile.
    Heredoc(Heredoc),
}

impl Source {
    fn heredoc(&self) -> Option<&Heredoc> {
        match self {
            Source::Path(_) => None,
            Source::Heredoc(heredoc) => Some(heredoc),
        }
    }
}

/// ENTRYPOINT: what the command is given to.
#[derive(Clone, Debug, PartialEq)]
pub struct Entrypoint {
    /// Never expanded.
    pub command: ShellOrExec,
}

/// ENV: sets environment variables, all from the environment before the instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Env {
    /// At least one; exactly one in the legacy form.
    pub pairs: Vec<Pair>,
    /// How it is written.
    pub form: PairForm,
}

/// EXPOSE: documents ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Expose {
    /// As written and in order; each expands to any number of `port[-port][/protocol]`.
    pub ports: Vec<Word>,
}

/// FROM: begins a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct From {
    /// `--platform`.
    pub platform: Option<Word>,
    /// An image, the name of an earlier stage, or `scratch`.
    pub image: Word,
    /// `AS name`.
    pub alias: Option<Alias>,
}

impl From {
    /// Returns the stage's name in the lowercase form that look-ups use.
    pub fn stage_name(&self) -> Option<String> {
        self.alias.as_ref().map(|alias| alias.name.text.to_lowercase())
    }
}

/// The name a FROM gives to its stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Alias {
    /// `AS` as written.
    pub keyword: Word,
    /// As written; a valid stage name once lowercased.
    pub name: Word,
}

/// HEALTHCHECK.
#[derive(Clone, Debug, PartialEq)]
pub enum Healthcheck {
    /// `NONE`: also drops the base image's check.
    None,
    /// `CMD`.
    Check(Check),
}

/// A health check that runs a command. Absent numbers are the engine's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// `--interval`.
    pub interval: Option<Duration>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--start-period`.
    pub start_period: Option<Duration>,
    /// `--start-interval`.
    pub start_interval: Option<Duration>,
    /// `--retries`.
    pub retries: Option<u32>,
    /// Never expanded.
    pub command: ShellOrExec,
}

/// LABEL: sets labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// At least one; exactly one in the legacy form.
    pub pairs: Vec<Pair>,
    /// How it is written.
    pub form: PairForm,
}

/// A key and a value of ENV or LABEL. Both are expanded.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Not empty.
    pub key: Word,
    /// Possibly empty.
    pub value: Word,
}

/// How ENV and LABEL are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairForm {
    /// `key=value key=value`.
    Equals,
    /// `key all the rest of the line`.
    Legacy,
}

/// MAINTAINER: the image's author.
#[derive(Clone, Debug, PartialEq)]
pub struct Maintainer {
    /// Never expanded.
    pub author: Word,
}

/// ONBUILD: what a build from this image begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct Onbuild {
    /// Neither ONBUILD, FROM nor MAINTAINER. `trigger.expression()` is what the image records.
    pub trigger: Box<Statement>,
}

/// RUN: runs a command in the stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// `--device`, in order.
    pub devices: Vec<Word>,
    /// `--mount`, in order.
    pub mounts: Vec<MountFlag>,
    /// `--network`.
    pub network: Network,
    /// `--security`.
    pub security: Security,
    /// Never expanded.
    pub command: ShellOrExec,
}

/// The network of a RUN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// What the build was given.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// How far a RUN is confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Confined.
    #[default]
    Sandbox,
    /// With all capabilities; the build must allow it.
    Insecure,
}

/// SHELL: what runs the shell form.
#[derive(Clone, Debug, PartialEq)]
pub struct Shell {
    /// The program and its arguments; at least one. Never expanded.
    pub command: Vec<Word>,
}

/// STOPSIGNAL: the signal that stops a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Stopsignal {
    /// A name or number, before expansion.
    pub signal: Word,
}

/// USER: who runs what follows.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// `user[:group]`, before expansion.
    pub user: Word,
}

/// VOLUME: marks mount points.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// At least one, none of them blank.
    pub paths: Vec<Word>,
}

/// WORKDIR: the directory of what follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Workdir {
    /// Absolute, or relative to the directory before; before expansion.
    pub path: Word,
}

/// A command for the shell, or a program with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub enum ShellOrExec {
    /// Given to the stage's SHELL. Heredocs occur in RUN only.
    Shell(Word, Vec<Heredoc>),
    /// The JSON form.
    Exec(Vec<Word>),
}

impl ShellOrExec {
    fn heredocs(&self) -> &[Heredoc] {
        match self {
            ShellOrExec::Shell(_, heredocs) => heredocs,
            ShellOrExec::Exec(_) => &[],
        }
    }
}
