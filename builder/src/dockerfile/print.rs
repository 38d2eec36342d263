//! The tree back to text: one canonical form, which parses to the same tree.
//!
//! One instruction a line, keywords in capitals, no comments and no continuations. Words are as written;
//! lists take the JSON form only where they must.

use std::fmt::Write;
use std::time::Duration;

use super::ast::{
    Check, Directives, Escape, File, Healthcheck, Instruction, Network, Pair, PairForm, Run, Security,
    ShellOrExec, Source, Word,
};
use super::lines::cut_continuation;

/// Returns the file as text.
pub fn print(file: &File) -> String {
    let mut text = directives(&file.directives);
    let escape = file.directives.escape;
    for statement in &file.statements {
        let mut lines = String::new();
        Printer { escape, text: &mut lines }.instruction(&statement.instruction);
        let (first, bodies) = lines.split_at(lines.find('\n').unwrap_or(lines.len()));
        text.push_str(first);
        // Blanks cut from the end of a line may have left an escape there, which would now continue it.
        // A form feed prevents that, and is cut as a blank in its turn.
        if cut_continuation(first, escape.char()).1 {
            text.push('\u{c}');
        }
        text.push_str(bodies);
        text.push('\n');
    }
    text
}

fn directives(directives: &Directives) -> String {
    let mut text = String::new();
    let escape = (directives.escape != Escape::default()).then(|| directives.escape.char().to_string());
    let word = |word: &Option<Word>| word.as_ref().map(|word| word.text.clone());
    let known =
        [("syntax", word(&directives.syntax)), ("escape", escape), ("check", word(&directives.check))];
    for (name, value) in known {
        if let Some(value) = value {
            text.push_str(&format!("# {name}={value}\n"));
        }
    }
    text
}

struct Printer<'t> {
    escape: Escape,
    text: &'t mut String,
}

impl Printer<'_> {
    fn instruction(&mut self, instruction: &Instruction) {
        self.text.push_str(instruction.keyword());
        match instruction {
            Instruction::Add(add) => {
                self.flag("checksum", add.checksum.as_ref());
                self.flag("chmod", add.chmod.as_ref());
                self.flag("chown", add.chown.as_ref());
                self.flags("exclude", &add.exclude);
                self.switch("keep-git-dir", add.keep_git_dir);
                self.switch("link", add.link.then_some(true));
                self.switch("unpack", add.unpack);
                self.sources(&add.sources, &add.destination);
            }
            Instruction::Arg(arg) => {
                let words = arg.declarations.iter().map(|declaration| match &declaration.default {
                    Some(default) => format!("{}={}", declaration.name.text, default.text),
                    None => declaration.name.text.clone(),
                });
                self.args(&words.collect::<Vec<_>>().join(" "));
            }
            Instruction::Cmd(cmd) => self.command(&cmd.command),
            Instruction::Copy(copy) => {
                self.flag("chmod", copy.chmod.as_ref());
                self.flag("chown", copy.chown.as_ref());
                self.flags("exclude", &copy.exclude);
                self.flag("from", copy.from.as_ref());
                self.switch("link", copy.link.then_some(true));
                self.switch("parents", copy.parents.then_some(true));
                self.sources(&copy.sources, &copy.destination);
            }
            Instruction::Entrypoint(entrypoint) => self.command(&entrypoint.command),
            Instruction::Env(env) => self.pairs(&env.pairs, env.form),
            Instruction::Expose(expose) => self.args(&joined(&expose.ports)),
            Instruction::From(from) => {
                self.flag("platform", from.platform.as_ref());
                self.args(&from.image.text);
                if let Some(alias) = &from.alias {
                    self.args(&format!("{} {}", alias.keyword.text, alias.name.text));
                }
            }
            Instruction::Healthcheck(Healthcheck::None) => self.text.push_str(" NONE"),
            Instruction::Healthcheck(Healthcheck::Check(check)) => self.check(check),
            Instruction::Label(label) => self.pairs(&label.pairs, label.form),
            Instruction::Maintainer(maintainer) => self.args(&maintainer.author.text),
            Instruction::Onbuild(onbuild) => {
                self.text.push(' ');
                self.instruction(&onbuild.trigger.instruction);
            }
            Instruction::Run(run) => self.run(run),
            Instruction::Shell(shell) => self.json(&shell.command),
            Instruction::Stopsignal(stopsignal) => self.args(&stopsignal.signal.text),
            Instruction::User(user) => self.args(&user.user.text),
            Instruction::Volume(volume) => self.list(&volume.paths.iter().collect::<Vec<_>>()),
            Instruction::Workdir(workdir) => self.args(&workdir.path.text),
        }
    }

    /// Arguments as written; `--` keeps a leading `--` of theirs from being read as a flag.
    fn args(&mut self, args: &str) {
        let guard = if args.starts_with("--") { " --" } else { "" };
        self.text.push_str(guard);
        if !args.is_empty() {
            self.text.push(' ');
            self.text.push_str(args);
        }
    }

    fn flag(&mut self, name: &str, value: Option<&Word>) {
        if let Some(value) = value {
            self.write(format_args!(" --{name}={}", flag_value(&value.text)));
        }
    }

    fn flags(&mut self, name: &str, values: &[Word]) {
        for value in values {
            self.flag(name, Some(value));
        }
    }

    fn switch(&mut self, name: &str, value: Option<bool>) {
        match value {
            Some(true) => self.write(format_args!(" --{name}")),
            Some(false) => self.write(format_args!(" --{name}=false")),
            None => {}
        }
    }

    fn write(&mut self, arguments: std::fmt::Arguments<'_>) {
        self.text.write_fmt(arguments).expect("because a String takes all text");
    }

    fn sources(&mut self, sources: &[Source], destination: &Word) {
        let mut paths = Vec::new();
        let mut heredocs = Vec::new();
        for source in sources {
            match source {
                Source::Path(path) => paths.push(path),
                Source::Heredoc(heredoc) => heredocs.push(heredoc),
            }
        }
        if heredocs.is_empty() {
            paths.push(destination);
            return self.list(&paths);
        }
        for source in sources {
            self.text.push(' ');
            match source {
                Source::Path(path) => self.text.push_str(&path.text),
                Source::Heredoc(heredoc) => {
                    let dash = if heredoc.strip_tabs { "-" } else { "" };
                    let descriptor = heredoc.descriptor.map(|number| number.to_string()).unwrap_or_default();
                    let name = heredoc_word(&heredoc.name, heredoc.expand);
                    self.write(format_args!("{descriptor}<<{dash}{name}"));
                }
            }
        }
        self.write(format_args!(" {}", destination.text));
        for heredoc in heredocs {
            self.write(format_args!("\n{}{}", heredoc.body, heredoc.name));
        }
    }

    /// Words at blanks where that reads back the same, else JSON.
    fn list(&mut self, words: &[&Word]) {
        let plain = |word: &&Word| {
            let text = &word.text;
            !text.is_empty()
                && !text.contains(|c: char| c.is_whitespace() || c.is_control())
                && !text.contains("<<")
        };
        let ends_well = words.last().is_none_or(|word| !word.text.ends_with(self.escape.char()));
        let begins_well = words.first().is_none_or(|word| !word.text.starts_with(['[', '-']));
        if words.iter().all(plain) && ends_well && begins_well {
            let words: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
            self.args(&words.join(" "));
        } else {
            self.json(words);
        }
    }

    fn json<W: AsRef<Word>>(&mut self, words: &[W]) {
        let strings: Vec<_> = words.iter().map(|word| word.as_ref().text.as_str()).collect();
        let array = serde_json::to_string(&strings).expect("because strings are JSON");
        self.write(format_args!(" {array}"));
    }

    fn command(&mut self, command: &ShellOrExec) {
        match command {
            ShellOrExec::Exec(words) => self.json(words),
            ShellOrExec::Shell(line, heredocs) => {
                self.args(&line.text);
                for heredoc in heredocs {
                    self.write(format_args!("\n{}{}", heredoc.body, heredoc.name));
                }
            }
        }
    }

    fn pairs(&mut self, pairs: &[Pair], form: PairForm) {
        let separator = if form == PairForm::Legacy { ' ' } else { '=' };
        let words: Vec<_> =
            pairs.iter().map(|pair| format!("{}{separator}{}", pair.key.text, pair.value.text)).collect();
        self.args(&words.join(" "));
    }

    fn check(&mut self, check: &Check) {
        let durations = [
            ("interval", check.interval),
            ("timeout", check.timeout),
            ("start-period", check.start_period),
            ("start-interval", check.start_interval),
        ];
        for (name, duration) in durations {
            if let Some(duration) = duration {
                self.write(format_args!(" --{name}={}", go_duration(duration)));
            }
        }
        if let Some(retries) = check.retries {
            self.write(format_args!(" --retries={retries}"));
        }
        self.text.push_str(" CMD");
        match &check.command {
            // Flags end before CMD: what follows needs no guard.
            ShellOrExec::Shell(line, _) => self.write(format_args!(" {}", line.text)),
            ShellOrExec::Exec(words) => self.json(words),
        }
    }

    fn run(&mut self, run: &Run) {
        self.flags("device", &run.devices);
        for mount in &run.mounts {
            self.flag("mount", Some(&mount.text));
        }
        match run.network {
            Network::Default => {}
            Network::None => self.text.push_str(" --network=none"),
            Network::Host => self.text.push_str(" --network=host"),
        }
        match run.security {
            Security::Sandbox => {}
            Security::Insecure => self.text.push_str(" --security=insecure"),
        }
        self.command(&run.command);
    }
}

fn joined(words: &[Word]) -> String {
    words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// Quotes a flag's value if its blanks, quotes or escapes would not read back.
fn flag_value(value: &str) -> String {
    let special = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '`');
    if !value.contains(special) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writes a heredoc's word so that it names the same and expands the same.
fn heredoc_word(name: &str, expand: bool) -> String {
    if !expand {
        return format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"));
    }
    let mut word = String::new();
    for (at, c) in name.char_indices() {
        if c.is_whitespace() || matches!(c, '"' | '\'' | '\\') || (at == 0 && c == '-') {
            word.push('\\');
        }
        word.push(c);
    }
    word
}

/// The largest unit that says it without a fraction.
fn go_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let units = [
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
    ];
    match units.into_iter().find(|(unit, _)| nanoseconds.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", nanoseconds / unit),
        None => format!("{nanoseconds}ns"),
    }
}

impl AsRef<Word> for Word {
    fn as_ref(&self) -> &Word {
        self
    }
}
