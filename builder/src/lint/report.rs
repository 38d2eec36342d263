//! Findings for programs: as buildx prints them with `--call=check,format=json`, and as SARIF.
//!
//! ```text
//! { "warnings": [ { "ruleName", "description", "url", "detail", "location": { "ranges": [ { "start", "end" } ] } } ],
//!   "sources":  [ { "filename", "language" } ] }
//! ```
//!
//! SARIF: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use serde::Serialize;
use serde_json::{Value, json};

use super::finding::{Finding, Level};
use super::rule::Rule;
use crate::dockerfile::{SourceFile, Span};

/// The schema that SARIF documents name.
const SARIF_SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Findings as buildx prints them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are buildx's")]
pub struct Report {
    pub warnings: Vec<Warning>,
    pub sources: Vec<Source>,
}

/// A finding as buildx prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are buildx's")]
pub struct Warning {
    pub rule_name: &'static str,
    pub description: &'static str,
    pub url: String,
    pub detail: String,
    pub location: Location,
}

/// Parts of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are buildx's")]
pub struct Location {
    pub ranges: Vec<Range>,
}

/// From a character to the one after the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are buildx's")]
pub struct Range {
    pub start: Place,
    pub end: Place,
}

/// A place in the file: lines from 1, characters from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are buildx's")]
pub struct Place {
    pub line: usize,
    pub character: usize,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are buildx's")]
pub struct Source {
    pub filename: String,
    pub language: &'static str,
}

/// Tells where spans are.
pub(super) struct Spots {
    file: SourceFile,
}

impl Spots {
    pub(super) fn of(name: &str, source: &str) -> Spots {
        Spots { file: SourceFile::new(name, source) }
    }

    pub(super) fn location(&self, span: Span) -> Location {
        Location { ranges: vec![Range { start: self.place(span.start), end: self.place(span.end) }] }
    }

    fn place(&self, offset: u32) -> Place {
        let position = self.file.position(offset);
        Place { line: position.line, character: position.column - 1 }
    }

    pub(super) fn sources(&self) -> Vec<Source> {
        vec![Source { filename: self.file.name().to_owned(), language: "Dockerfile" }]
    }
}

/// Returns findings as buildx prints them; `name` is what the file is called.
pub fn report(findings: &[Finding], name: &str, source: &str) -> Report {
    let spots = Spots::of(name, source);
    let warnings = findings.iter().map(|finding| Warning {
        rule_name: finding.rule.name(),
        description: finding.rule.summary(),
        url: finding.rule.url(),
        detail: finding.message.clone(),
        location: spots.location(finding.span),
    });
    Report { warnings: warnings.collect(), sources: spots.sources() }
}

/// Returns findings as a SARIF 2.1.0 document with one run.
pub fn sarif(findings: &[Finding], name: &str, source: &str) -> Value {
    let spots = Spots::of(name, source);
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, name, &spots)).collect();
    let rules = Rule::ALL.map(|rule| {
        json!({
            "id": rule.name(),
            "shortDescription": { "text": rule.summary() },
            "helpUri": rule.url(),
            "defaultConfiguration": { "level": "warning", "enabled": !rule.is_experimental() },
        })
    });
    json!({
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "oxbox",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(finding: &Finding, name: &str, spots: &Spots) -> Value {
    let level = match finding.level {
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let (start, end) = (spots.place(finding.span.start), spots.place(finding.span.end));
    json!({
        "ruleId": finding.rule.name(),
        "ruleIndex": finding.rule as usize,
        "level": level,
        "message": { "text": finding.message },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(name) },
            "region": {
                "startLine": start.line,
                "startColumn": start.character + 1,
                "endLine": end.line,
                "endColumn": end.character + 1,
            },
        } }],
    })
}

/// A path as a URI reference (RFC 3986): an absolute one with its scheme.
fn uri(path: &str) -> String {
    let mut uri = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn a_path_is_escaped_as_a_uri() {
        assert_eq!(uri("a b/Dockerfile.é"), "a%20b/Dockerfile.%C3%A9");
        assert_eq!(uri("/x:y"), "file:///x%3Ay");
    }
}
