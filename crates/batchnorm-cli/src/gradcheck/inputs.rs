//! Files that our own gradients are checked on: x, dy and weights. `prepare` draws the arrays that have no file.

use super::limits::MAX_CHECKED;
use super::options::Arguments;
use crate::arrays::{Doubles, doubles};
use crate::failure::Failure;
use std::path::Path;

/// The shape of the arrays, and x and dy where files hold them.
pub struct Inputs {
    pub shape: Vec<usize>,
    pub x: Option<Vec<f64>>,
    pub dy: Option<Vec<f64>>,
}

pub fn read(arguments: &Arguments) -> Result<Inputs, Failure> {
    let Some(input) = &arguments.input else {
        return Ok(Inputs { shape: parsed_shape(&arguments.shape)?, x: None, dy: None });
    };
    let Doubles { shape, values: x, .. } = doubles(input, MAX_CHECKED, |_| Ok(()))?;
    let dy = arguments.gradient.as_ref().map(|path| gradient(path, &shape)).transpose()?;
    expect_finite(input, &x)?;
    if let (Some(path), Some(dy)) = (&arguments.gradient, &dy) {
        expect_finite(path, dy)?;
    }
    Ok(Inputs { shape, x: Some(x), dy })
}

/// The upstream gradient, of the input's shape.
fn gradient(path: &Path, shape: &[usize]) -> Result<Vec<f64>, Failure> {
    let fits = |got: &[usize]| match got == shape {
        true => Ok(()),
        false => Err(Failure::input(format!("{}: expected the input's shape {shape:?}, got {got:?}", path.display()))),
    };
    Ok(doubles(path, MAX_CHECKED, fits)?.values)
}

fn expect_finite(path: &Path, values: &[f64]) -> Result<(), Failure> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Failure::refused(format!(
            "{}: expected finite values, got {} (value {at} in C order); derivatives there are no numbers",
            path.display(),
            values[at]
        ))),
    }
}

/// `--shape` as numbers.
fn parsed_shape(text: &str) -> Result<Vec<usize>, Failure> {
    let expected = "--shape: expected samples, channels and maybe axes of space, such as 4,6,5";
    let lengths: Option<Vec<usize>> = text.split(',').map(|word| word.trim().parse().ok()).collect();
    let lengths = lengths.filter(|lengths| (2..=8).contains(&lengths.len()) && !lengths.contains(&0));
    let lengths = lengths.ok_or_else(|| Failure::usage(format!("{expected}, got `{text}`")))?;
    let values = lengths.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
    match values.filter(|&values| values <= MAX_CHECKED) {
        Some(_) => Ok(lengths),
        None => Err(Failure::usage(format!("{expected}, of at most {MAX_CHECKED} values, got `{text}`"))),
    }
}

/// Weights from a file, those of axes of length 1 repeated along the input's axes.
pub fn weights(path: &Path, shape: &[usize]) -> Result<Vec<f64>, Failure> {
    let Doubles { shape: given, values, .. } = doubles(path, MAX_CHECKED, |_| Ok(()))?;
    let fits = |(&given, &length): (&usize, &usize)| given == length || given == 1;
    if given.len() != shape.len() || !given.iter().zip(shape).all(fits) {
        return Err(Failure::input(format!(
            "{}: expected the input's shape {shape:?} with lengths of 1 where weights are repeated, got {given:?}",
            path.display()
        )));
    }
    if let Some(at) = values.iter().position(|weight| !(0.0..f64::INFINITY).contains(weight)) {
        let got = values[at];
        return Err(Failure::input(format!("{}: expected weights >= 0, got {got} (value {at})", path.display())));
    }
    // From the last axis on: the index along it, times the stride in the file's array, which does not move along axes
    // of length 1.
    let place = |mut at: usize| {
        let (mut place, mut stride) = (0, 1);
        for (&length, &given) in shape.iter().zip(&given).rev() {
            place += if given == 1 { 0 } else { at % length * stride };
            stride *= given;
            at /= length;
        }
        place
    };
    Ok((0..shape.iter().product()).map(|at| values[place(at)]).collect())
}
