//! A build as one page that needs nothing else: no network, no framework, any browser.
//!
//! ```text
//! page.html   {{title}} {{policy}} {{style}} {{data}} {{script}}
//!                           │         │         │        └ page.js: draws the data, as text and never as markup
//!                           │         │         └ data: JSON, also for other tools (docs/formats.md)
//!                           │         └ page.css
//!                           └ Content-Security-Policy: this style and this script by their digests, nothing else
//! ```
//!
//! Text of Dockerfiles and programs cannot become markup: in the data it has no `<`, in the page it is
//! put in as text, and a script that slipped in all the same would not be run.

mod data;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use oxbox_layers::oci::Digest;

use super::Account;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Returns the page, whole.
pub(super) fn write(account: &Account<'_>) -> String {
    let data = serde_json::to_string(&data::of(account))
        .expect("because the data has neither maps without text keys nor numbers that JSON lacks");
    let title = format!("{} · {}", account.subject.name, account.ending.word());
    filled(&title, &data)
}

fn filled(title: &str, data: &str) -> String {
    let mut page = String::new();
    let mut rest = TEMPLATE;
    // In one pass: what is put in may hold anything, marks too.
    while let Some((before, name, after)) = next_mark(rest) {
        page.push_str(before);
        match name {
            "title" => page.push_str(&text(title)),
            "policy" => page.push_str(&policy()),
            "style" => page.push_str(STYLE),
            "data" => page.push_str(&script_data(data)),
            "script" => page.push_str(SCRIPT),
            _ => unreachable!("because the template has no other mark"),
        }
        rest = after;
    }
    page + rest
}

fn next_mark(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name, after))
}

/// What the page may load and run: what is in it.
fn policy() -> String {
    let source = |content: &str| {
        let digest = Digest::sha256(content.as_bytes());
        format!("'sha256-{}'", BASE64.encode(digest.hash()))
    };
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        source(STYLE),
        source(SCRIPT)
    )
}

/// Makes text of anything.
fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Makes JSON fit for a script element, which ends at the first `</script` whatever it stands in. JSON has
/// these characters in strings only.
fn script_data(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::{SCRIPT, STYLE, filled, script_data};

    #[test]
    fn nothing_gets_out_of_its_place() {
        let hostile = "</script><script>alert(1)</script><!-- {{script}} \"><img src=x onerror=alert(1)>";
        let data = serde_json::to_string(hostile).unwrap();
        let page = filled(hostile, &data);
        assert_eq!(page.matches("</script>").count(), 2);
        assert_eq!(page.matches("<img").count(), 0);
        assert_eq!(page.matches(SCRIPT).count(), 1);
        assert_eq!(serde_json::from_str::<String>(&script_data(&data)).unwrap(), hostile);
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for part in [SCRIPT, STYLE, super::TEMPLATE] {
            for word in ["http:", "https:", "src=", "url(", "@import", "innerHTML", "fetch("] {
                let of_svg = part.replace("http://www.w3.org/2000/svg", "");
                assert!(!of_svg.contains(word), "{word}");
            }
        }
    }
}
