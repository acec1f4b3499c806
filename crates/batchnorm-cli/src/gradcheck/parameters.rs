//! Files of parameters, of any shape that fits the layer's.

use crate::arrays::{self, Files};
use crate::failure::Failure;
use batchnorm_gradcheck::MAX_VALUES;
use std::path::Path;

/// Reads one value for each parameter, in C order. Axes of length 1 do not matter, as in (1, C, 1, 1).
pub fn parameters(files: &Files, path: &Path, shape: &[usize]) -> Result<Vec<f64>, Failure> {
    let mend = "save one for each parameter, in the layer's order";
    Ok(files.doubles(path, MAX_VALUES, |got| fits(path, shape, got, mend))?.values)
}

/// Errs unless both shapes are the same but for axes of length 1, or it is one vector of as many values.
pub fn fits(path: &Path, shape: &[usize], got: &[usize], mend: &str) -> Result<(), Failure> {
    if arrays::fits(shape, got) {
        return Ok(());
    }
    Err(Failure::input(format!(
        "{}: expected shape {shape:?}, one value for each parameter, got {got:?}; is --channel-axis right? {mend}",
        path.display()
    )))
}
