//! Section 1: from bytes to instructions.

use oxbox_builder::dockerfile::ast::ShellOrExec;
use oxbox_builder::dockerfile::{Instruction, ParseErrorKind};
use oxbox_builder::plan::PlanErrorKind;
use oxbox_builder::plan::graph::Source;

use crate::given::{
    copies, environment, history, inline, instructions, parsed, planned, runs, unparsed, unplanned,
};

/// The shell form of a RUN, or nothing if it is the exec form.
fn shell(instruction: &Instruction) -> Option<&str> {
    match instruction {
        Instruction::Run(run) => match &run.command {
            ShellOrExec::Shell(line, _) => Some(&line.text),
            ShellOrExec::Exec(_) => None,
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn s01_lines_are_cut_into_words_before_words_are_expanded() {
    // Quotes of flags vanish while the line is cut; those of words stay until the word is expanded.
    let plan =
        planned("FROM base\nENV c=1\nENV a=\"x y\" b=$c d='$c' e=x\\ y\nLABEL \"k k\"=\"v\" l=\"$a\"\n");
    assert_eq!(environment(&plan)[2..], ["a=x y", "b=1", "d=$c", "e=x y"]);
    assert_eq!(history(&plan)[2], "LABEL k k=v l=x y");
    let plan = planned("FROM base\nCOPY --chown=\"a\"'b' x y\nCOPY [\"a b\", \"c $d\"]\n");
    assert_eq!(copies(&plan)[0].chown.as_deref(), Some("ab"));
    assert!(matches!(&copies(&plan)[1].sources[0], Source::Context { pattern, .. } if pattern == "a b"));
}

#[test]
fn s02_an_escape_before_trailing_blanks_continues_a_line_and_a_doubled_one_does_not() {
    let lines = instructions("FROM a\nRUN one \\  \n  # gone\n\n  two\nRUN x \\\\\nRUN y\n");
    let lines: Vec<_> = lines.iter().map(|run| shell(run).unwrap()).collect();
    assert_eq!(lines, ["one   two", "x \\\\", "y"]);
    assert_eq!(parsed("FROM a\nRUN x \\\n\n y\n").blank_continuations.len(), 1, "which is told of");
    let lines = instructions("# escape=`\nFROM a\nRUN x `\n \\y\n");
    assert_eq!(shell(&lines[0]), Some("x  \\y"));
}

#[test]
fn s03_leading_blanks_are_cut_from_the_first_line_of_an_instruction_only() {
    let lines = instructions("FROM a\n   RUN x\\\n   y\n");
    assert_eq!(shell(&lines[0]), Some("x   y"));
}

#[test]
fn s04_the_json_form_is_an_array_of_strings_and_what_is_no_json_is_for_the_shell() {
    assert_eq!(shell(&instructions("FROM a\nRUN [\"a\", \"b\"]\n")[0]), None);
    for almost in ["['a']", "[\"a\"", "[\"a\"] b", "[a]", "[\"a\",]"] {
        assert_eq!(shell(&instructions(&format!("FROM a\nRUN {almost}\n"))[0]), Some(almost));
    }
    for line in
        ["RUN [\"a\", 1]", "CMD [[]]", "VOLUME [null]", "COPY [\"a\", 1]", "HEALTHCHECK CMD [1]", "SHELL [1]"]
    {
        let kind = unparsed(&format!("FROM a\n{line}\n"));
        assert!(matches!(kind, ParseErrorKind::NotAString), "{line}: {kind:?}");
    }
}

#[test]
fn s05_env_and_label_are_pairs_if_the_first_word_has_an_equals_sign_and_one_pair_otherwise() {
    let plan = planned("FROM base\nENV a b=c  d \nLABEL x y = z\nENV e=f g=\"h i\"\n");
    assert_eq!(environment(&plan)[1..], ["a=b=c  d", "e=f", "g=h i"]);
    assert_eq!(history(&plan)[1], "LABEL x=y = z");
    assert!(matches!(unparsed("FROM a\nENV\n"), ParseErrorKind::NoArguments { .. }));
    assert!(matches!(unparsed("FROM a\nENV KEY\n"), ParseErrorKind::MissingValue { .. }));
    assert!(matches!(unparsed("FROM a\nENV a=b c\n"), ParseErrorKind::MissingEquals { .. }));
}

#[test]
fn s06_heredocs_are_of_run_copy_and_add_and_end_at_their_word_alone() {
    let count = |source: &str| {
        parsed(source).statements.iter().map(|one| one.instruction.heredocs().len()).collect::<Vec<_>>()
    };
    let source =
        "FROM a\nRUN cat <<A 3<<-'B' << C\na\nA\n\tb\n\tB\nc\r\nC\r\nADD <<D /\nD\nONBUILD COPY <<E /\nE\n";
    assert_eq!(count(source), [0, 3, 1, 1]);
    // Elsewhere, in the JSON form and as <<< there is none.
    assert_eq!(count("FROM a\nCMD cat <<A\nRUN [\"cat\", \"<<A\"]\nRUN cat <<<A\nRUN \"a<<A\"\n"), [0; 5]);
    let statement = parsed(source).statements.remove(1);
    let [a, b, c] = statement.instruction.heredocs()[..] else { panic!() };
    assert_eq!((a.expand, b.expand, b.descriptor), (true, false, Some(3)));
    assert_eq!((b.content().as_str(), c.content().as_str()), ("b\n", "c\r\n"), "inner line ends stay");
    assert!(matches!(unparsed("FROM a\nRUN <<A\nA b\n A\n"), ParseErrorKind::UnterminatedHeredoc { .. }));
}

#[test]
fn s07_a_heredoc_is_the_shells_argument_a_program_or_part_of_the_line() {
    let plan = planned(
        "FROM base\nSHELL [\"/bin/awk\"]\nRUN <<A\n{print $1}\nA\nRUN <<B\n#!/bin/x\n$y\nB\nRUN a <<C && b\nc\nC\n",
    );
    let args: Vec<_> = runs(&plan).into_iter().map(|run| run.args[1].as_str()).collect();
    assert_eq!(args, ["{print $1}\n", "/dev/pipes/B", "a <<C && b\nc\nC"], "nothing is expanded");
    assert_eq!(runs(&plan)[1].files[0].content, "#!/bin/x\n$y\n");
}

#[test]
fn s08_a_copied_heredoc_is_expanded_with_its_quotes_left_alone_unless_its_word_is_quoted() {
    let plan = planned(
        "FROM base\nENV a=1\nCOPY <<f /d/\n\"$a\" '$a' \\$a \\\\ ${b:-c}\nf\nCOPY <<\"g\" /h\n$a\\\\\ng\n",
    );
    assert_eq!(inline(copies(&plan)[0]), ("f", "\"1\" '1' $a \\ c\n"));
    assert_eq!(inline(copies(&plan)[1]), ("g", "$a\\\\\n"));
    assert_eq!((copies(&plan)[0].destination.as_str(), copies(&plan)[1].destination.as_str()), ("/d/", "/h"));
    assert_eq!(history(&plan)[1], "COPY <<f /d/ # buildkit");
}

#[test]
fn s09_what_is_no_instruction_and_what_stands_before_from_are_errors() {
    let unknown = unparsed("FROM a\nRNU x\n");
    assert!(
        matches!(&unknown, ParseErrorKind::UnknownInstruction { suggestion: Some("RUN"), .. }),
        "{unknown:?}"
    );
    assert!(matches!(unparsed("RUN x\nFROM a\n"), ParseErrorKind::BeforeFrom { .. }));
    assert!(matches!(unparsed("ARG x\n"), ParseErrorKind::NoStage));
    assert!(matches!(unparsed("FROM x y\n"), ParseErrorKind::FromArguments));
}

#[test]
fn s10_stages_are_named_in_lowercase_and_used_by_later_ones_only() {
    let plan = planned("FROM base AS Full\nRUN one\nFROM fULL AS base\nFROM base\nCOPY --from=FULL x /\n");
    assert_eq!(runs(&plan).len(), 1, "a stage hides the image of its name from later stages");
    for name in ["1a", "a:b", "_a", "a/b"] {
        let kind = unparsed(&format!("FROM a AS {name}\n"));
        assert!(matches!(kind, ParseErrorKind::InvalidStageName { .. }), "{name}");
    }
    let later = "FROM base\nCOPY --from=late x /\nFROM base AS late\nFROM base\n";
    assert_eq!(copies(&planned(later)).len(), 0, "checked where it is used, and only if it is");
    let used = later
        .replace("FROM base\nCOPY", "FROM base AS first\nCOPY")
        .replace("late\nFROM base\n", "late\nFROM first\n");
    assert!(matches!(unplanned(&used), PlanErrorKind::LaterStage { .. }));
}
