//! Tables of words and what they expand to.

use super::super::ast::Escape;
use super::{Expanded, WordErrorKind, expand, expand_raw, expand_words, shell_words};

/// `full` is set, `empty` is set and empty, everything else is unset.
fn lookup(name: &str) -> Option<&'static str> {
    match name {
        "full" => Some("value"),
        "empty" => Some(""),
        "path" => Some("/a/b/c.tar.gz"),
        "stars" => Some("a*b*c"),
        "two" => Some("x y"),
        "lines" => Some("a\nb"),
        "é" => Some("accent"),
        "_u1" => Some("under"),
        _ => None,
    }
}

fn run(word: &str) -> Result<String, WordErrorKind> {
    match expand(word, Escape::Backslash, &lookup) {
        Ok(Expanded { text, .. }) => Ok(text),
        Err(error) => Err(error.kind),
    }
}

#[track_caller]
fn expands(table: &[(&str, &str)]) {
    for (word, wanted) in table {
        assert_eq!(run(word).as_deref(), Ok(*wanted), "{word}");
    }
}

#[test]
fn plain_references() {
    expands(&[
        ("", ""),
        ("plain", "plain"),
        ("$full", "value"),
        ("${full}", "value"),
        ("a${full}b", "avalueb"),
        ("$full$full", "valuevalue"),
        ("$full/x", "value/x"),
        ("$fullx", ""),
        ("$_u1-", "under-"),
        ("$é!", "accent!"),
        ("$unset", ""),
        ("$empty", ""),
        ("$", "$"),
        ("a$", "a$"),
        ("$.", "$."),
        ("$ full", "$ full"),
        ("$%", "$%"),
        ("}", "}"),
        ("{full}", "{full}"),
    ]);
}

#[test]
fn shell_parameters_are_nothing() {
    expands(&[
        ("$1", ""),
        ("$12a", "a"),
        ("$@", ""),
        ("$*x", "x"),
        ("$$", ""),
        ("$?", ""),
        ("$!", ""),
        ("$-", ""),
        ("$#", ""),
        ("${1}", ""),
        ("${@}", ""),
        ("$0", ""),
    ]);
}

#[test]
fn quotes_go_and_protect() {
    expands(&[
        ("'$full'", "$full"),
        ("\"$full\"", "value"),
        ("'a'\"b\"c", "abc"),
        ("\"it's\"", "it's"),
        ("'say \"x\"'", "say \"x\""),
        ("\"a  b\"", "a  b"),
        ("''", ""),
        ("'a\\b'", "a\\b"),
        ("\"${full:-\"x\"}\"", "value"),
        ("\"${unset:-\"a b\"}\"", "a b"),
    ]);
}

#[test]
fn escapes_protect_the_next_character() {
    expands(&[
        ("\\$full", "$full"),
        ("\\\\$full", "\\value"),
        ("\\a", "a"),
        ("\\'x\\'", "'x'"),
        ("\\\"x", "\"x"),
        ("x\\", "x"),
        ("a\\ b", "a b"),
        ("\"\\$full\"", "$full"),
        ("\"\\\"\"", "\""),
        ("\"\\\\\"", "\\"),
        ("\"\\a\"", "\\a"),
        ("\"\\'\"", "\\'"),
        ("${unset:-a\\}b}", "a}b"),
        ("\\${full}", "${full}"),
    ]);
}

#[test]
fn the_escape_directive_moves_escapes_to_the_backtick() {
    let run = |word| expand(word, Escape::Backtick, &lookup).unwrap().text;
    assert_eq!(run("c:\\dir\\$full"), "c:\\dir\\value");
    assert_eq!(run("`$full"), "$full");
    assert_eq!(run("\"`\"\\a\""), "\"\\a");
    assert_eq!(run("``"), "`");
}

#[test]
fn defaults() {
    expands(&[
        ("${unset-y}", "y"),
        ("${empty-y}", ""),
        ("${full-y}", "value"),
        ("${unset:-y}", "y"),
        ("${empty:-y}", "y"),
        ("${full:-y}", "value"),
        ("${unset:-}", ""),
        ("${unset:-$full}", "value"),
        ("${unset:-${empty:-deep}}", "deep"),
        ("${unset:-a b}", "a b"),
        ("${unset:-'$full'}", "$full"),
    ]);
}

#[test]
fn alternatives() {
    expands(&[
        ("${unset+y}", ""),
        ("${empty+y}", "y"),
        ("${full+y}", "y"),
        ("${unset:+y}", ""),
        ("${empty:+y}", ""),
        ("${full:+y}", "y"),
        ("${full:+${full}s}", "values"),
    ]);
}

#[test]
fn demands() {
    expands(&[("${full?m}", "value"), ("${full:?m}", "value"), ("${empty?m}", "")]);
    let required = |message: &str, name: &str| {
        Err(WordErrorKind::Required { name: name.into(), message: message.into() })
    };
    assert_eq!(run("${unset?}"), required("is not allowed to be unset", "unset"));
    assert_eq!(run("${unset?give me $full}"), required("give me value", "unset"));
    assert_eq!(run("${empty:?}"), required("is not allowed to be empty", "empty"));
    assert_eq!(run("${empty:?no}"), required("no", "empty"));
    assert_eq!(run("${unset:?no}"), required("no", "unset"));
}

#[test]
fn a_demand_in_an_unused_default_is_still_made() {
    assert!(matches!(run("${full:-${unset?x}}"), Err(WordErrorKind::Required { .. })));
}

#[test]
fn prefixes_and_suffixes() {
    expands(&[
        ("${path#*/}", "a/b/c.tar.gz"),
        ("${path##*/}", "c.tar.gz"),
        ("${path%.*}", "/a/b/c.tar"),
        ("${path%%.*}", "/a/b/c"),
        ("${path#/a}", "/b/c.tar.gz"),
        ("${path#x}", "/a/b/c.tar.gz"),
        ("${path%.gz}", "/a/b/c.tar"),
        ("${path#?a}", "/b/c.tar.gz"),
        ("${path%????}", "/a/b/c.ta"),
        ("${path##*}", ""),
        ("${path#*}", "/a/b/c.tar.gz"),
        ("${path%%*}", ""),
        ("${stars#a\\*}", "b*c"),
        ("${stars%\\*c}", "a*b"),
        ("${stars##*\\*}", "c"),
        ("${full#[v]}", "value"),
        ("${full#$full}", ""),
        ("${full#\"val\"}", "ue"),
        ("${unset#x}", ""),
        ("${lines#*b}", "a\nb"),
        ("${lines##a?}", "a\nb"),
    ]);
}

#[test]
fn replacements() {
    expands(&[
        ("${path/\\//_}", "_a/b/c.tar.gz"),
        ("${path//\\//_}", "_a_b_c.tar.gz"),
        ("${full/a/}", "vlue"),
        ("${full/x/y}", "value"),
        ("${full/*/all}", "all"),
        ("${full//*/all}", "all"),
        ("${full/l*/x}", "vax"),
        ("${full//?/z}", "zzzzz"),
        ("${full/a/$full}", "vvaluelue"),
        ("${full/$full/x}", "x"),
        ("${full///-}", "-v-a-l-u-e-"),
        ("${full///}", "value"),
        ("${stars//\\*/+}", "a+b+c"),
        ("${full/a/a b}", "va blue"),
        // The replacement keeps its escapes.
        ("${full/a/\\}}", "v\\}lue"),
        ("${unset/a/b}", ""),
        ("${full//a.u/x}", "value"),
    ]);
}

#[test]
fn broken_substitutions() {
    let unsupported = |modifier: &str| Err(WordErrorKind::UnsupportedModifier { modifier: modifier.into() });
    let table = [
        ("${", Err(WordErrorKind::MissingBrace)),
        ("${full", Err(WordErrorKind::MissingBrace)),
        ("${full:", Err(WordErrorKind::MissingBrace)),
        ("${full:-", Err(WordErrorKind::MissingBrace)),
        ("${full#x", Err(WordErrorKind::MissingBrace)),
        ("${full/a", Err(WordErrorKind::MissingSlash)),
        ("${full/a}", Err(WordErrorKind::MissingSlash)),
        ("${full/a/b", Err(WordErrorKind::MissingBrace)),
        ("${}", Err(WordErrorKind::BadSubstitution)),
        ("${{a}", Err(WordErrorKind::BadSubstitution)),
        ("${:x}", Err(WordErrorKind::BadSubstitution)),
        ("${full:z}", unsupported(":z")),
        ("${full:#v}", unsupported(":#")),
        ("${full:%e}", unsupported(":%")),
        ("${full^^}", unsupported("^")),
        ("${full x}", unsupported(" ")),
        ("${.}", unsupported(".")),
        ("${full#\\x}", Err(WordErrorKind::InvalidPatternEscape { found: "\\x".into() })),
        ("'a", Err(WordErrorKind::UnclosedQuote { quote: '\'' })),
        ("\"a", Err(WordErrorKind::UnclosedQuote { quote: '"' })),
        ("\"a\\\"", Err(WordErrorKind::UnclosedQuote { quote: '"' })),
        ("${unset:-'a}", Err(WordErrorKind::UnclosedQuote { quote: '\'' })),
    ];
    for (word, wanted) in table {
        assert_eq!(run(word), wanted, "{word}");
    }
}

#[test]
fn an_error_marks_the_substitution_at_fault() {
    let error = expand("ab${full:z}cd", Escape::Backslash, &lookup).unwrap_err();
    assert_eq!(error.at, 2..10);
    assert_eq!(expand("ab'c", Escape::Backslash, &lookup).unwrap_err().at, 2..4);
}

#[test]
fn what_was_looked_at_is_reported() {
    let found = expand("$full ${unset:-$empty} $unset $2", Escape::Backslash, &lookup).unwrap();
    assert_eq!(Vec::from_iter(found.used), ["empty", "full"]);
    assert_eq!(Vec::from_iter(found.undefined), ["2", "unset"]);
}

#[test]
fn words_split_after_expansion_unless_quoted() {
    let run = |word| expand_words(word, Escape::Backslash, &lookup).unwrap().words;
    assert_eq!(run("a  b"), ["a", "b"]);
    assert_eq!(run("$two"), ["x", "y"]);
    assert_eq!(run("1$two"), ["1x", "y"]);
    assert_eq!(run("\"$two\""), ["x y"]);
    assert_eq!(run("a\\ b"), ["a b"]);
    assert_eq!(run("$two$two"), ["x", "yx", "y"]);
    assert_eq!(run("$empty"), [""; 0]);
    assert_eq!(run("'' a"), ["a"]);
}

#[test]
fn a_heredoc_body_keeps_its_quotes() {
    let run = |word| expand_raw(word, &lookup).unwrap().text;
    assert_eq!(run("it's \"$full\"\n"), "it's \"value\"\n");
    assert_eq!(run("\\$full \\\\ x\n"), "$full \\ x\n");
    assert_eq!(run("${unset:-'d'}"), "'d'");
    assert_eq!(run("\\\n\\x"), "\nx");
}

#[test]
fn nesting_is_bounded() {
    let word = |depth: usize| format!("{}x{}", "${u:-".repeat(depth), "}".repeat(depth));
    assert_eq!(run(&word(super::MAX_NESTING)).as_deref(), Ok("x"));
    assert_eq!(run(&word(super::MAX_NESTING + 1)), Err(WordErrorKind::TooDeep));
    assert_eq!(run(&"${u:-".repeat(100_000)), Err(WordErrorKind::TooDeep));
}

#[test]
fn size_is_bounded() {
    let large = "x".repeat(super::MAX_EXPANDED_BYTES / 2);
    let lookup = |_: &str| Some(large.as_str());
    assert!(expand("$a$b", Escape::Backslash, &lookup).is_ok());
    assert_eq!(expand("$a$b$c", Escape::Backslash, &lookup).unwrap_err().kind, WordErrorKind::TooLong);
    let tiny = "x".repeat(1 << 16);
    let lookup = |_: &str| Some(tiny.as_str());
    let word = format!("${{a//?/{}}}", "y".repeat(1 << 10));
    assert_eq!(expand(&word, Escape::Backslash, &lookup).unwrap_err().kind, WordErrorKind::TooLong);
}

#[test]
fn a_pattern_cannot_take_forever() {
    let large = "a".repeat(1 << 16);
    let lookup = |_: &str| Some(large.as_str());
    let word = format!("${{a//{}b/}}", "*a".repeat(64));
    assert_eq!(expand(&word, Escape::Backslash, &lookup).unwrap_err().kind, WordErrorKind::PatternTooCostly);
}

#[test]
fn shell_words_keep_quotes_and_substitutions_whole() {
    let split = |text| {
        shell_words(text).map(|words| words.into_iter().map(|word| text[word].to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(split("cat <<EOF > 'a b'\"c d\"").unwrap(), ["cat", "<<EOF", ">", "'a b'\"c d\""]);
    assert_eq!(split("a ${b:-c d} e\\ f").unwrap(), ["a", "${b:-c d}", "e\\ f"]);
    assert_eq!(split("${a?needed} b").unwrap(), ["${a?needed}", "b"]);
    assert_eq!(split("cat <<  EOF>f <<< x < y").unwrap(), ["cat", "<<  EOF>f", "<<<", "x", "<", "y"]);
    assert_eq!(split("<< '<< a' <<").unwrap(), ["<< '<< a'", "<<"]);
    assert!(split("it's").is_err());
}
