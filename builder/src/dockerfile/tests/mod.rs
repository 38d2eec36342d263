//! Tests of the whole language; those of one room are in that room.

mod dump;
pub(crate) mod exercise;
mod forms;
mod golden;
mod oracle;
mod roundtrip;

use super::ast::{Escape, Healthcheck};
use super::{Instruction, ParseErrorKind, Script, decode, parse, parse_trigger, word};

fn kinds(source: &str) -> Vec<ParseErrorKind> {
    parse(source).unwrap_err().errors.into_iter().map(|error| error.kind).collect()
}

#[test]
fn every_error_is_reported_in_order() {
    let found = kinds("FROM a b\nRUNN x\nENV x\nUSER\n");
    assert!(matches!(
        found.as_slice(),
        [
            ParseErrorKind::FromArguments,
            ParseErrorKind::UnknownInstruction { suggestion: Some("RUN"), .. },
            ParseErrorKind::MissingValue { .. },
            ParseErrorKind::NoArgument { .. }
        ]
    ));
}

#[test]
fn errors_end_somewhere() {
    assert_eq!(kinds(&"BAD\n".repeat(500)).len(), super::MAX_ERRORS);
}

#[test]
fn a_file_too_large_is_refused_before_it_is_read() {
    let large = "#".repeat(super::MAX_FILE_BYTES + 1);
    assert!(matches!(kinds(&large)[..], [ParseErrorKind::FileTooLarge { .. }]));
    assert!(matches!(decode(large.as_bytes()).unwrap_err().kind, ParseErrorKind::FileTooLarge { .. }));
}

#[test]
fn bytes_that_are_not_utf8_are_pointed_at() {
    let error = decode(b"FROM a\n# \xff\n").unwrap_err();
    assert_eq!((error.kind, error.span.range()), (ParseErrorKind::NotUtf8 { byte: 0xff }, 9..10));
}

#[test]
fn spans_find_the_words_they_name() {
    let source = "FROM --platform=linux/arm64 alpine AS base\nCOPY --chown=\"a b\" x \\\n  y /d/\n";
    let file = parse(source).unwrap();
    let Instruction::From(from) = &file.statements[0].instruction else { panic!() };
    assert_eq!(&source[from.platform.as_ref().unwrap().span.range()], "linux/arm64");
    assert_eq!(&source[from.alias.as_ref().unwrap().name.span.range()], "base");
    let Instruction::Copy(copy) = &file.statements[1].instruction else { panic!() };
    assert_eq!(&source[copy.chown.as_ref().unwrap().span.range()], "\"a b\"");
    assert_eq!(&source[copy.destination.span.range()], "/d/");
    assert_eq!(&source[file.statements[1].span.range()], "COPY --chown=\"a b\" x \\\n  y /d/");
}

#[test]
fn an_expansion_error_is_placed_in_the_file() {
    let source = "FROM a\nWORKDIR /x/${y:=z}\n";
    let file = parse(source).unwrap();
    let Instruction::Workdir(workdir) = &file.statements[1].instruction else { panic!() };
    let error = word::expand(&workdir.path.text, Escape::Backslash, &|_| None).unwrap_err();
    let error = workdir.path.error(error);
    assert_eq!(&source[error.span.range()], "${y:=");
}

#[test]
fn a_trigger_is_recorded_with_its_heredoc_and_read_back() {
    let file = parse("FROM a\nONBUILD  RUN <<EOF\n\tx\nEOF\n").unwrap();
    let Instruction::Onbuild(onbuild) = &file.statements[1].instruction else { panic!() };
    let expression = onbuild.trigger.expression();
    assert_eq!(expression, "RUN <<EOF\n\tx\nEOF");
    let again = parse_trigger(&expression).unwrap();
    assert_eq!(again.expression(), expression);
}

#[test]
fn a_trigger_is_one_allowed_instruction() {
    let kind = |text| parse_trigger(text).unwrap_err().errors.remove(0).kind;
    assert_eq!(kind(""), ParseErrorKind::NoInstructions);
    assert_eq!(kind("RUN a\nRUN b"), ParseErrorKind::MoreThanOneInstruction);
    assert_eq!(kind("FROM a"), ParseErrorKind::InvalidTrigger { instruction: "FROM" });
    assert_eq!(kind("ONBUILD RUN a"), ParseErrorKind::InvalidTrigger { instruction: "ONBUILD" });
}

fn script(run: &str) -> Option<Script> {
    let file = parse(&format!("FROM a\n{run}\n")).unwrap();
    let Instruction::Run(run) = &file.statements[1].instruction else { panic!() };
    run.script()
}

#[test]
fn a_heredoc_alone_is_the_shells_argument() {
    assert_eq!(script("RUN <<EOF\na\nb\nEOF"), Some(Script::Inline("a\nb\n".into())));
    assert_eq!(script("RUN <<-EOF\n\ta\n\tEOF"), Some(Script::Inline("a\n".into())));
}

#[test]
fn a_heredoc_with_an_interpreter_is_a_file() {
    let wanted = Script::File { name: "EOF".into(), content: "#!/bin/x\ny\n".into() };
    assert_eq!(script("RUN <<EOF\n#!/bin/x\ny\nEOF"), Some(wanted));
}

#[test]
fn a_heredoc_beside_a_command_is_left_to_the_shell() {
    let wanted = Script::Inline("cat <<A 3<<-\"B\"\na\nA\n\tb\nB".into());
    assert_eq!(script("RUN cat <<A 3<<-\"B\"\na\nA\n\tb\n\tB"), Some(wanted));
}

#[test]
fn a_plain_line_is_the_shells_argument_and_json_has_none() {
    assert_eq!(script("RUN a  \\\n b"), Some(Script::Inline("a   b".into())));
    assert_eq!(script("RUN [\"a\"]"), None);
}

#[test]
fn durations_of_zero_are_absent() {
    let file = parse("FROM a\nHEALTHCHECK --interval=0 --retries=0 CMD x\n").unwrap();
    let Instruction::Healthcheck(Healthcheck::Check(check)) = &file.statements[1].instruction else {
        panic!()
    };
    assert_eq!((check.interval, check.retries), (None, None));
}

#[test]
fn a_lost_heredoc_is_hinted_at() {
    let error = parse("FROM a\nRUN cat <<- EOF > f\nhello\nEOF\n").unwrap_err().errors.remove(0);
    assert!(error.kind.hint().unwrap().contains("<<NAME"));
    let error = parse("FROM a\nRUN x\nhello\n").unwrap_err().errors.remove(0);
    assert_eq!(error.kind.hint(), None);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let source = "FROM a\n\u{1b}[31mRUN x\n";
    let rendered = parse(source).unwrap_err().render("Dockerfile", source);
    assert!(!rendered.contains('\u{1b}'), "{rendered:?}");
}

#[test]
fn a_long_line_is_cut_around_the_caret() {
    let source = format!("FROM a\nENV a={} bad\n", "x".repeat(100_000));
    let rendered = parse(&source).unwrap_err().render("Dockerfile", &source);
    assert!(rendered.len() < 2_000, "{}", rendered.len());
    assert!(rendered.contains("bad"), "{rendered}");
}

#[test]
fn many_words_make_few_errors_soon() {
    // A lexer that takes quadratic time would take minutes for these.
    let large = super::MAX_FILE_BYTES / 4;
    for unit in ["a ", "a=b ", "<<a ", "\\\n", "'", "${a:-b} ", "--a ", "\"a\", "] {
        for head in ["RUN ", "COPY ", "ENV x=", "ENV ", "RUN [", "VOLUME "] {
            let source = format!("FROM a\n{head}{}", unit.repeat(large / unit.len()));
            if let Err(errors) = parse(&source) {
                assert!(errors.errors.len() <= super::MAX_ERRORS);
                assert!(errors.render("Dockerfile", &source).len() < 10_000);
            }
        }
    }
}
