//! Files of parameters, of any shape that fits the layer's.

use crate::arrays::doubles;
use crate::failure::Failure;
use batchnorm::gradcheck::MAX_VALUES;
use std::path::Path;

/// Reads one value for each parameter, in C order. Axes of length 1 do not matter, as in (1, C, 1, 1).
pub fn parameters(path: &Path, shape: &[usize]) -> Result<Vec<f64>, Failure> {
    let mend = "save one for each parameter, in the layer's order";
    Ok(doubles(path, MAX_VALUES, |got| fits(path, shape, got, mend))?.values)
}

/// Errs unless both shapes are the same but for axes of length 1, or it is one vector of as many values.
pub fn fits(path: &Path, shape: &[usize], got: &[usize], mend: &str) -> Result<(), Failure> {
    let long = |shape: &[usize]| shape.iter().copied().filter(|&length| length != 1).collect::<Vec<usize>>();
    let (expected, have) = (long(shape), long(got));
    let count: usize = expected.iter().product();
    if have == expected || have == [count] {
        return Ok(());
    }
    Err(Failure::input(format!(
        "{}: expected shape {shape:?}, one value for each parameter, got {got:?}; is --channel-axis right? {mend}",
        path.display()
    )))
}
