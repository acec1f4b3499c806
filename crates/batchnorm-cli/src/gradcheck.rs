//! `batchnorm gradcheck`: are gradients right? Our layers' are checked against derivatives that know no formula; another
//! program's are judged, and the term that is missing is named.
//!
//! Ours: `inputs` reads arrays, `prepare` makes a `setup` of them for each layer, `check` compares the gradients of `twin`
//! and `kernel` with `derivatives`, by the `errors` that `scales` measures, and `report` prints. Another program's:
//! `against` has the library judge them, and `verdict` prints.

mod against;
mod check;
mod derivatives;
mod errors;
mod inputs;
mod kernel;
mod layer;
mod limits;
mod options;
mod parameters;
mod prepare;
mod report;
mod scales;
mod setup;
mod twin;
mod verdict;

use crate::failure::Failure;
pub use options::Arguments;

/// Checks and prints.
///
/// # Errors
/// A wrong gradient; files and arguments that cannot be.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    arguments.check()?;
    match &arguments.against {
        Some(folder) => against::run(&arguments, folder),
        None => check::run(&arguments),
    }
}
