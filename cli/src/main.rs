//! `oxbox`: builds, moves and serves OCI images.
//!
//! ```text
//! args ─▶ settings ─▶ command/<one file each> ─▶ output (results) │ report (errors)
//!
//! args         what was typed                        local      the store of this machine, names in it
//! settings     what it means: folders, looks         summary    what an image there is, in a few words
//! output       all that goes to standard output      image      documents of an image anywhere
//!   table      its looks                             places     locations opened
//! report       all errors, their hints and codes     registries how registries are reached
//!   suggest    names that were probably meant        runtime    the way into asynchronous code
//! progress     what goes on, on standard error       interrupt  and out of it, by signal
//!   terminal   lines above a picture                 log        what the parts say
//! chronicle    how a build went, in files            fetch      base images of a build
//! amount       sizes and ages as they are typed      built      an image just built, to be copied
//! ```

mod amount;
mod args;
mod built;
mod chronicle;
mod command;
mod fetch;
mod image;
mod interrupt;
mod local;
mod log;
mod output;
mod places;
mod progress;
mod registries;
mod report;
mod runtime;
mod settings;
mod suggest;
mod summary;
mod table;
mod terminal;

use std::process::ExitCode;

/// glibc's allocator hands memory of large streams back and forth between threads; this one does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A RUN starts this binary again as the first process of its sandbox, before any thread exists.
    if let Some(code) = oxbox_builder::exec::init_main() {
        return code;
    }
    oxbox_builder::exec::memory::refuse_huge_pages();
    let arguments = args::parse(); // what was typed
    let settings = settings::settle(&arguments); // what it means
    if arguments.command.opens_many_files() {
        oxbox_builder::exec::descriptors::raise_limit();
    }
    match command::run(arguments.command, &settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::print(&error), // the only place that prints an error
    }
}
