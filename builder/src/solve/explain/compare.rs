//! The first difference between what went into a step last time and what goes in now.

use super::facts::{Facts, Field, File, FileState};
use super::reason::{FileFacts, Reason};

impl Facts {
    /// Returns the first thing that differs from last time: the instruction, one of its fields, a file.
    pub(in crate::solve) fn difference(&self, last: &Self) -> Option<Reason> {
        fields(&last.fields, &self.fields).or_else(|| files(&last.files, &self.files))
    }
}

fn fields(last: &[Field], now: &[Field]) -> Option<Reason> {
    let value = |fields: &[Field], name: &str| {
        let found = fields.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.clone())
    };
    let differs = |name: &str| {
        let all = |fields: &[Field]| -> Vec<String> {
            fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.clone()).collect()
        };
        all(last) != all(now)
    };
    // What an instruction says tells more than what follows from it.
    if let (Some(old), Some(new)) = (value(last, "instruction"), value(now, "instruction"))
        && old != new
    {
        return Some(Reason::Instruction { old, new });
    }
    let name = now.iter().chain(last).map(|(name, _)| name).find(|name| differs(name))?;
    Some(Reason::Field { name: name.clone(), old: value(last, name), new: value(now, name) })
}

fn files(last: &[File], now: &[File]) -> Option<Reason> {
    let (mut last, mut now) = (last.iter().peekable(), now.iter().peekable());
    let mut found: Option<Reason> = None;
    loop {
        let (old, new) = match (last.peek(), now.peek()) {
            (None, None) => return found,
            (Some(old), Some(new)) if old.path == new.path => (last.next(), now.next()),
            (Some(old), Some(new)) if old.path < new.path => (last.next(), None),
            (Some(_), None) => (last.next(), None),
            (_, Some(_)) => (None, now.next()),
        };
        if old.map(|old| old.state) == new.map(|new| new.state) {
            continue;
        }
        match &mut found {
            Some(Reason::File { others, .. }) => *others += 1,
            _ => {
                let path = old.or(new).map_or(&b""[..], |file| &file.path);
                let path = String::from_utf8_lossy(path).into_owned();
                let told = |file: Option<&File>| file.map(|file| told(&file.state));
                found = Some(Reason::File { path, old: told(old), new: told(new), others: 0 });
            }
        }
    }
}

fn told(state: &FileState) -> FileFacts {
    let content = state.mark[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    FileFacts { kind: state.kind, mode: format!("{:04o}", state.mode), size: state.size, content }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::file;
    use super::super::facts::{Facts, File};
    use super::super::reason::Reason;

    fn facts(fields: &[(&str, &str)], files: Vec<File>) -> Facts {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Facts { fields: fields.collect(), files }
    }

    #[test]
    fn the_first_file_is_named_and_the_others_are_counted() {
        let last = facts(&[], vec![file("a", 1, 1), file("b", 1, 1), file("d", 1, 1)]);
        for (files, path, others) in [
            (vec![file("a", 1, 1), file("b", 1, 2), file("d", 1, 1)], "b", 0),
            (vec![file("a", 1, 1), file("d", 1, 1)], "b", 0),
            (vec![file("a", 1, 1), file("b", 1, 1), file("c", 1, 1), file("d", 2, 2)], "c", 1),
            (vec![], "a", 2),
            (vec![file("0", 1, 1)], "0", 3),
        ] {
            let Some(Reason::File { path: told, others: count, .. }) = facts(&[], files).difference(&last)
            else {
                panic!("{path} differs");
            };
            assert_eq!((told.as_str(), count), (path, others));
        }
        assert_eq!(last.difference(&last), None);
    }

    #[test]
    fn a_field_that_came_went_or_changed_is_named() {
        let last = facts(&[("instruction", "RUN x"), ("variable A", "1"), ("variable B", "2")], vec![]);
        let field = |name: &str, old: Option<&str>, new: Option<&str>| {
            let (old, new) = (old.map(str::to_owned), new.map(str::to_owned));
            Some(Reason::Field { name: name.to_owned(), old, new })
        };
        let now = facts(&[("instruction", "RUN x"), ("variable A", "1"), ("variable B", "3")], vec![]);
        assert_eq!(now.difference(&last), field("variable B", Some("2"), Some("3")));
        let now = facts(&[("instruction", "RUN x"), ("variable B", "2")], vec![]);
        assert_eq!(now.difference(&last), field("variable A", Some("1"), None));
        assert_eq!(last.difference(&now), field("variable A", None, Some("1")));
        let now = facts(&[("instruction", "RUN y"), ("variable A", "9")], vec![]);
        let (old, new) = ("RUN x".to_owned(), "RUN y".to_owned());
        assert_eq!(now.difference(&last), Some(Reason::Instruction { old, new }));
    }
}
