//! The bodies of the fuzz targets of small texts, on random ones that come near to what they read.

use proptest::prelude::*;

use crate::{context, dockerfile, plan};

include!("../../../../fuzz/fuzz_targets/text/json.rs");
include!("../../../../fuzz/fuzz_targets/text/ignore.rs");
include!("../../../../fuzz/fuzz_targets/text/remote.rs");

/// A text of these pieces.
fn of(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(pieces), 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_json_form_is_what_json_takes_for_strings(text in of(
        &["[", "]", "\"a\"", "\"", ",", " ", "1", "null", "\\", "\\u0061", "'", "{}", "é", "#", "--x", "<<A", "$b"]
    )) {
        exercise_json(format!("[{text}").as_bytes());
        exercise_json(text.as_bytes());
    }

    #[test]
    fn nothing_is_left_below_what_an_ignore_file_prunes(
        patterns in of(&["a", "b", "*", "**", "/", "!", "\n", "?", "[a-b]", "\\", ".", "..", "#", " "]),
        path in of(&["a", "b", "/", ".", "c"]),
    ) {
        exercise_ignore(format!("{patterns}\0{path}").as_bytes());
    }

    #[test]
    fn an_address_leads_only_where_it_says(text in of(
        &["https://", "http://", "git://", "ssh://", "git@h", "h", "/", "a", ".git", "?", "&", "=", "#", ":", "ref", "tag",
          "subdir", "checksum", "keep-git-dir", "..", ".", "%2e", "%2F", "%", "\0", "github.com/", "fetch-by-commit"]
    )) {
        exercise_remote(text.as_bytes());
        exercise_remote(format!("https://h/x.git?{text}").as_bytes());
    }
}
