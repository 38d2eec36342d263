//! Properties: printing loses nothing, and no input makes the parser panic.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;

use super::super::{File, Instruction, parse, print};
use super::exercise;

/// What a file says, without where and how it says it.
pub(super) fn meaning(file: &File) -> String {
    let said = file.statements.iter().map(|statement| match &statement.instruction {
        Instruction::Onbuild(onbuild) => format!("on build {:?}\n", onbuild.trigger.instruction),
        instruction => format!("{instruction:?}\n"),
    });
    let directives = format!("{:?}\n", file.directives);
    without_spans(&said.fold(directives, |text, line| text + &line))
}

/// Removes `@start..end`, as spans show themselves.
fn without_spans(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('@') {
        kept.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    }
    kept + rest
}

/// Bits that mean something to one of the lexers.
fn bit() -> impl Strategy<Value = &'static str> {
    select(vec![
        "a",
        "b=c",
        "/d/",
        "x",
        " ",
        " ",
        "  ",
        "\"",
        "'",
        "\\",
        "\\\\",
        "\\\"",
        "`",
        "$",
        "${v}",
        "${v:-w}",
        "${",
        "}",
        "=",
        ",",
        "[",
        "]",
        "[\"a\", \"b c\"]",
        "\"e\\\\\"",
        "<<",
        "<<EOF",
        "<<-EOF",
        "<<\"EOF\"",
        "<<'E F'",
        "3<<G\\ H",
        "<<<",
        "-",
        "--",
        "--f",
        "\\\n",
        "\\ \n",
        "\\\n# note\n",
        "\\\n\n",
        "#",
        "\t",
        "\u{a0}",
        "\u{c}",
        "é",
        "NONE",
        "CMD ",
        "AS s",
        "\r",
    ])
}

/// A keyword and a few flags it takes.
fn keyword() -> impl Strategy<Value = (&'static str, Vec<&'static str>)> {
    let copy = ["--chown=\"a b\" ", "--chmod=0755 ", "--link ", "--link=false ", "--exclude=*.x "];
    let run = [
        "--mount=type=cache,target=/t ",
        "--mount=\"type=bind,target=/a b\" ",
        "--network=none ",
        "--security=insecure ",
        "--device=gpu\\\\ ",
        "-- ",
    ];
    let check = ["--interval=1m30s ", "--timeout=1.5s ", "--retries=3 ", "--start-period=7us "];
    let table: Vec<(&str, &[&str])> = vec![
        ("ADD", &copy),
        ("ADD --checksum=sha256:0 --unpack=false --keep-git-dir", &copy),
        ("ARG", &[]),
        ("CMD", &["-- "]),
        ("COPY", &copy),
        ("COPY --from=s --parents", &copy),
        ("ENTRYPOINT", &[]),
        ("ENV", &["-- "]),
        ("ENV a=b", &[]),
        ("EXPOSE 80", &["-- "]),
        ("FROM", &["--platform=$P "]),
        ("HEALTHCHECK", &check),
        ("HEALTHCHECK CMD", &[]),
        ("LABEL", &[]),
        ("LABEL a", &[]),
        ("MAINTAINER", &[]),
        ("ONBUILD RUN", &run),
        ("ONBUILD COPY a", &copy),
        ("onbuild env", &[]),
        ("run", &run),
        ("RUN", &run),
        ("RUN", &run),
        ("COPY a", &[]),
        ("SHELL", &[]),
        ("STOPSIGNAL", &["-- "]),
        ("USER", &[]),
        ("VOLUME", &["-- "]),
        ("WORKDIR", &[]),
    ];
    let table: Vec<_> = table.into_iter().map(|(keyword, flags)| (keyword, flags.to_vec())).collect();
    (select(table), any::<prop::sample::Index>()).prop_map(|((keyword, flags), index)| {
        let some = if flags.is_empty() { 0 } else { index.index(flags.len()) };
        (keyword, flags[..some].to_vec())
    })
}

/// One instruction that is often, but not always, legal, and bodies that close most heredocs.
fn instruction() -> impl Strategy<Value = String> {
    let bits = prop::collection::vec(bit(), 0..8);
    let body = select(vec![
        "",
        "",
        "\nEOF",
        "\nbody $x\n\ttabs\nEOF",
        "\n\tEOF",
        "\nx\r\nE F",
        "\nG H",
        "\nEOF\nEOF",
    ]);
    (keyword(), bits, body).prop_map(|((keyword, flags), bits, body)| {
        let bits = bits.concat();
        let body = if bits.contains("<<") { body } else { "" };
        format!("{keyword} {}{bits}{body}", flags.concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_printed_instruction_reads_back(directive in select(vec!["", "# escape=`\n"]), text in instruction()) {
        let source = format!("{directive}FROM base\n{text}\n");
        if let Ok(file) = parse(&source) {
            let printed = print(&file);
            let again = parse(&printed);
            prop_assert!(again.is_ok(), "{:?}\nprinted {:?}", again, printed);
            prop_assert_eq!(meaning(&again.unwrap()), meaning(&file), "printed {:?}", printed);
        }
        exercise::run(source.as_bytes());
    }

    #[test]
    fn bits_in_any_order_harm_nothing(bits in prop::collection::vec(prop_oneof![
        bit().prop_map(str::to_owned), keyword().prop_map(|(keyword, _)| format!("\n{keyword} ")), any::<char>().prop_map(String::from),
    ], 0..40)) {
        exercise::run(bits.concat().as_bytes());
    }

    #[test]
    fn bytes_harm_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        exercise::run(&bytes);
    }
}

#[test]
fn the_generator_makes_enough_legal_files() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let legal = (0..500).filter(|_| {
        let text = instruction().new_tree(&mut runner).unwrap().current();
        parse(&format!("FROM base\n{text}\n")).is_ok()
    });
    let legal = legal.count();
    assert!(legal > 150, "{legal}");
}
