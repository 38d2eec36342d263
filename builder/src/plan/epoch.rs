//! `SOURCE_DATE_EPOCH` of a file or of an argument: the latest time that a new layer may carry.
//!
//! ```text
//! --build-arg SOURCE_DATE_EPOCH=1700000000       a time
//! ARG SOURCE_DATE_EPOCH=context                  before FROM: the time of the main context's commit,
//!                                                and nothing if it is a folder
//! ```

use super::error::PlanErrorKind;
use super::options::Options;
use super::scope::Scope;

const NAME: &str = "SOURCE_DATE_EPOCH";

/// Reads the epoch, and leaves the number it comes to for whatever ARG asks: nothing if it is unknown.
///
/// # Errors
///
/// A word that is neither a number nor `context`.
pub(super) fn resolve(options: &mut Options, globals: &mut Scope) -> Result<Option<i64>, PlanErrorKind> {
    let given = options.build_args.get(NAME);
    let Some(text) = given.map(String::as_str).or(globals.get(NAME)).map(str::to_owned) else {
        return Ok(None);
    };
    let epoch = match text.as_str() {
        "" => None,
        "context" => options.context_epoch,
        number => Some(number.parse().map_err(|_| PlanErrorKind::InvalidEpoch { text: number.to_owned() })?),
    };
    match epoch {
        Some(epoch) => {
            options.build_args.entry(NAME.to_owned()).and_modify(|value| *value = epoch.to_string());
            if globals.get(NAME).is_some() {
                globals.set(NAME, &epoch.to_string());
            }
        }
        None => {
            options.build_args.remove(NAME);
            globals.unset(NAME);
        }
    }
    Ok(epoch)
}
