//! An error and all that caused it, the hidden ones too.

use std::error::Error;
use std::io;
use std::iter;

/// Returns the error and its causes, outermost first.
///
/// An `io::Error` that wraps another shows that one's text as its own, and skips it among its sources:
/// here it is a link like the others.
pub(super) fn links<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> + 'a {
    iter::successors(Some(error), |link| within(*link))
}

fn within<'a>(link: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|error| error as &(dyn Error + 'static)).or_else(|| link.source())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::links;
    use crate::settings::NoHome;

    #[test]
    fn an_error_within_an_io_error_is_found() {
        let error = io::Error::other(io::Error::other(NoHome));
        assert!(links(&error).any(|link| link.is::<NoHome>()));
    }
}
