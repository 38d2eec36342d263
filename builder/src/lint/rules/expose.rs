//! EXPOSE: a port, or a range of them, and a protocol.

use super::super::Rule;
use super::super::walk::{State, Walk};
use crate::dockerfile::ast::Expose;
use crate::dockerfile::{Statement, quote};

pub(super) fn of_statement(
    walk: &mut Walk<'_, '_>,
    state: &State<'_>,
    statement: &Statement,
    expose: &Expose,
) {
    for word in &expose.ports {
        let Some(ports) = walk.variables(state).expand_words(&word.text) else { continue };
        for port in ports.words {
            if port.contains(':') {
                let message =
                    format!("EXPOSE takes a port, {} has an address or a host's port", quote(&port));
                walk.sink.report(Rule::ExposeInvalidFormat, statement, word.span, message);
            }
            let protocol = port.rsplit_once('/').map_or("", |(_, protocol)| protocol);
            if protocol.chars().any(char::is_uppercase) {
                let message =
                    format!("protocol {} should be {}", quote(protocol), quote(&protocol.to_lowercase()));
                walk.sink.report(Rule::ExposeProtoCasing, statement, word.span, message);
            }
        }
    }
}
