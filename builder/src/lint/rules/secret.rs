//! Names of variables that sound like secrets. Values of ARG and ENV stay in the image's history or config.

use super::super::Rule;
use super::super::finding::Sink;
use crate::dockerfile::{Instruction, Statement, Word, quote};

/// A name with one of these between its underscores sounds like a secret.
const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "passwd", "password", "pword", "secret", "token"];

/// A name with this one does not, whatever else it has: `PUBLIC_KEY`.
const PUBLIC: &str = "public";

pub(super) fn of_statement(statement: &Statement, sink: &mut Sink) {
    let names: Vec<&Word> = match &statement.instruction {
        Instruction::Arg(arg) => arg.declarations.iter().map(|declaration| &declaration.name).collect(),
        Instruction::Env(env) => env.pairs.iter().map(|pair| &pair.key).collect(),
        _ => return,
    };
    let keyword = statement.instruction.keyword();
    for name in names.into_iter().filter(|name| sounds_secret(&name.text)) {
        let message =
            format!("{keyword} {} sounds like a secret, and would stay in the image", quote(&name.text));
        sink.report(Rule::SecretsUsedInArgOrEnv, statement, name.span, message);
    }
}

/// Whether a variable of this name should not be shown.
pub(crate) fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let has = |word: &str| name.split('_').any(|part| part == word);
    SECRET.into_iter().any(has) && !has(PUBLIC)
}

#[cfg(test)]
mod tests {
    use super::sounds_secret;

    #[test]
    fn whole_words_count() {
        for name in ["TOKEN", "npm_token", "AWS_SECRET_ACCESS", "API_KEY_ID", "MyApp_Password", "apikey"] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in ["MONKEY", "TOKENS", "PUBLIC_KEY", "AUTHOR", "KEYBOARD_LAYOUT", ""] {
            assert!(!sounds_secret(name), "{name}");
        }
    }
}
