//! The Dockerfile language: text to a tree with byte spans. Pure: no files, no variables' values.
//!
//! ```text
//! bytes ─decode▶ text ─directive, lines▶ logical lines ─parse▶ File          (first lexer: words as written)
//!                                        heredoc bodies ┘        │
//!                              plan: word::expand(word, variables) ▶ values  (second lexer)
//! ```
//!
//! | room | holds |
//! |---|---|
//! | `span` | byte spans, lines and columns |
//! | `directive`, `lines`, `heredoc` | from physical lines to instructions' text |
//! | `ast` | what a file says |
//! | `parse`, `flags`, `json`, `mount` | from an instruction's text to the tree |
//! | `word` | expansion of variables, quotes and escapes |
//! | `error`, `report` | what can be wrong, and how it is shown |
//! | `print` | the tree back to text |
//!
//! The target is BuildKit's reading of a file. The language: <https://docs.docker.com/reference/dockerfile/>.
//! Which base image, stage or file a word names is the plan's matter, and so is linting.
//!
//! ```
//! use oxbox_builder::dockerfile::{self, Instruction};
//!
//! let file = dockerfile::parse("FROM alpine AS base\nRUN echo hi\n")?;
//! let Instruction::From(from) = &file.statements[0].instruction else { panic!() };
//! assert_eq!(from.stage_name().as_deref(), Some("base"));
//! # Ok::<(), dockerfile::ParseErrors>(())
//! ```

pub mod ast;
mod directive;
mod error;
mod flags;
mod heredoc;
mod json;
mod lines;
pub mod mount;
mod parse;
mod print;
pub(crate) mod report;
mod span;
pub(crate) mod suggest;
#[cfg(test)]
pub(crate) mod tests;
pub mod word;

pub use ast::{File, Instruction, Statement, Word};
pub(crate) use error::quote;
pub use error::{ParseError, ParseErrorKind, ParseErrors};
pub use heredoc::{Heredoc, Script};
pub use parse::{decode, parse, parse_trigger};
pub use print::print;
pub use span::{Position, SourceFile, Span};

/// The largest Dockerfile that is read. Real ones are a thousand times smaller; one with whole files in its
/// heredocs still fits.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// So many errors are collected: one slip early in a file can break every line after it.
pub const MAX_ERRORS: usize = 20;
