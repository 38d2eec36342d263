//! The tree as lines, for golden files: `line:column label "text"`.

use std::fmt::Write;

use super::super::ast::{
    Alias, Declaration, Escape, Healthcheck, Instruction, Network, Pair, PairForm, Security, ShellOrExec,
    Source,
};
use super::super::{File, Heredoc, SourceFile, Statement, Word};

pub(super) fn dump(file: &File, source: &SourceFile) -> String {
    let mut dump = Dump { source, text: String::new(), depth: 0 };
    let directives = &file.directives;
    if directives.escape != Escape::default() {
        dump.line("escape backtick");
    }
    dump.optional("syntax", directives.syntax.as_ref());
    dump.optional("check", directives.check.as_ref());
    for span in &file.blank_continuations {
        dump.line(&format!("blank continuation {}", source.position(span.start)));
    }
    for statement in &file.statements {
        dump.statement(statement);
    }
    dump.text
}

struct Dump<'s> {
    source: &'s SourceFile,
    text: String,
    depth: usize,
}

impl Dump<'_> {
    fn line(&mut self, line: &str) {
        writeln!(self.text, "{}{line}", "  ".repeat(self.depth)).unwrap();
    }

    fn word(&mut self, label: &str, word: &Word) {
        let position = self.source.position(word.span.start);
        self.line(&format!("{position} {label} {:?}", word.text));
    }

    fn words(&mut self, label: &str, words: &[Word]) {
        words.iter().for_each(|word| self.word(label, word));
    }

    fn optional(&mut self, label: &str, word: Option<&Word>) {
        self.words(label, word.map(std::slice::from_ref).unwrap_or_default());
    }

    fn on(&mut self, label: &str, on: bool) {
        if on {
            self.line(label);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        let start = self.source.position(statement.span.start);
        let end = self.source.position(statement.span.end);
        let keyword = statement.instruction.keyword();
        self.line(&format!("{keyword} {start}-{end}"));
        self.depth += 1;
        self.on(&format!("written {}", statement.keyword.text), statement.keyword.text != keyword);
        for comment in &statement.comments {
            self.line(&format!("comment {comment:?}"));
        }
        self.instruction(&statement.instruction);
        self.depth -= 1;
    }

    fn instruction(&mut self, instruction: &Instruction) {
        match instruction {
            Instruction::Add(add) => {
                self.optional("checksum", add.checksum.as_ref());
                self.optional("chmod", add.chmod.as_ref());
                self.optional("chown", add.chown.as_ref());
                self.words("exclude", &add.exclude);
                self.on(&format!("keep-git-dir {:?}", add.keep_git_dir), add.keep_git_dir.is_some());
                self.on("link", add.link);
                self.on(&format!("unpack {:?}", add.unpack), add.unpack.is_some());
                self.sources(&add.sources, &add.destination);
            }
            Instruction::Arg(arg) => {
                for Declaration { name, default } in &arg.declarations {
                    self.word("name", name);
                    self.optional("default", default.as_ref());
                }
            }
            Instruction::Cmd(cmd) => self.command(&cmd.command),
            Instruction::Copy(copy) => {
                self.optional("chmod", copy.chmod.as_ref());
                self.optional("chown", copy.chown.as_ref());
                self.words("exclude", &copy.exclude);
                self.optional("from", copy.from.as_ref());
                self.on("link", copy.link);
                self.on("parents", copy.parents);
                self.sources(&copy.sources, &copy.destination);
            }
            Instruction::Entrypoint(entrypoint) => self.command(&entrypoint.command),
            Instruction::Env(env) => self.pairs(&env.pairs, env.form),
            Instruction::Expose(expose) => self.words("port", &expose.ports),
            Instruction::From(from) => {
                self.optional("platform", from.platform.as_ref());
                self.word("image", &from.image);
                if let Some(Alias { keyword, name }) = &from.alias {
                    self.word(&format!("name ({})", keyword.text), name);
                }
            }
            Instruction::Healthcheck(Healthcheck::None) => self.line("none"),
            Instruction::Healthcheck(Healthcheck::Check(check)) => {
                let times = [check.interval, check.timeout, check.start_period, check.start_interval];
                self.line(&format!("times {times:?} retries {:?}", check.retries));
                self.command(&check.command);
            }
            Instruction::Label(label) => self.pairs(&label.pairs, label.form),
            Instruction::Maintainer(maintainer) => self.word("author", &maintainer.author),
            Instruction::Onbuild(onbuild) => self.statement(&onbuild.trigger),
            Instruction::Run(run) => {
                self.words("device", &run.devices);
                for mount in &run.mounts {
                    self.word("mount", &mount.text);
                }
                self.on(&format!("network {:?}", run.network), run.network != Network::Default);
                self.on(&format!("security {:?}", run.security), run.security != Security::Sandbox);
                self.command(&run.command);
            }
            Instruction::Shell(shell) => self.words("exec", &shell.command),
            Instruction::Stopsignal(stopsignal) => self.word("signal", &stopsignal.signal),
            Instruction::User(user) => self.word("user", &user.user),
            Instruction::Volume(volume) => self.words("path", &volume.paths),
            Instruction::Workdir(workdir) => self.word("path", &workdir.path),
        }
    }

    fn sources(&mut self, sources: &[Source], destination: &Word) {
        for source in sources {
            match source {
                Source::Path(path) => self.word("source", path),
                Source::Heredoc(heredoc) => self.heredoc(heredoc),
            }
        }
        self.word("destination", destination);
    }

    fn command(&mut self, command: &ShellOrExec) {
        match command {
            ShellOrExec::Shell(line, heredocs) => {
                self.word("shell", line);
                heredocs.iter().for_each(|heredoc| self.heredoc(heredoc));
            }
            ShellOrExec::Exec(words) if words.is_empty() => self.line("exec nothing"),
            ShellOrExec::Exec(words) => self.words("exec", words),
        }
    }

    fn heredoc(&mut self, heredoc: &Heredoc) {
        let position = self.source.position(heredoc.span.start);
        let expand = if heredoc.expand { " expand" } else { "" };
        let tabs = if heredoc.strip_tabs { " strip-tabs" } else { "" };
        let descriptor = heredoc.descriptor.map(|number| format!(" descriptor {number}")).unwrap_or_default();
        self.line(&format!("{position} heredoc {:?}{expand}{tabs}{descriptor}", heredoc.name));
        let body = self.source.position(heredoc.body_span.start);
        self.line(&format!("  {body} body {:?}", heredoc.body));
    }

    fn pairs(&mut self, pairs: &[Pair], form: PairForm) {
        self.on("legacy", form == PairForm::Legacy);
        for Pair { key, value } in pairs {
            self.word("key", key);
            self.word("value", value);
        }
    }
}
