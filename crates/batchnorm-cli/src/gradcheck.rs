//! `batchnorm gradcheck`: are gradients right? Ours, by derivatives without a formula; or somebody else's, and if not, which
//! term is missing.
//!
//! Of our own, `inputs` reads or draws the arrays, `prepare` makes of them a `setup` for each layer, `check` holds the
//! gradients of `twin` and `kernel` against derivatives by the measures in `scales`, and `report` prints. Somebody else's
//! are judged in `against`, by the library's `gradcheck`, and `verdict` prints.

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
mod row;
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
