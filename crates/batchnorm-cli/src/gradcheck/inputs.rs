//! Files that our own gradients are checked on: x, dy and weights. `prepare` draws the arrays that have no file.

use super::limits::MAX_CHECKED;
use super::options::Arguments;
use crate::arrays::{Doubles, Files};
use crate::failure::Failure;
use std::path::Path;

/// The shape of the arrays, and x, dy and weights where files hold them.
pub struct Inputs {
    pub files: Files,
    pub shape: Vec<usize>,
    pub x: Option<Vec<f64>>,
    pub dy: Option<Vec<f64>>,
    pub weights: Option<Vec<f64>>,
}

pub fn read(arguments: &Arguments) -> Result<Inputs, Failure> {
    let files = arguments.files([]);
    let Some(input) = &arguments.input else {
        return Ok(Inputs { files, shape: parsed_shape(&arguments.shape)?, x: None, dy: None, weights: None });
    };
    let Doubles { shape, values: mut x, .. } = files.doubles(input, MAX_CHECKED, |_| Ok(()))?;
    let mut dy = arguments.gradient.as_ref().map(|path| gradient(&files, path, &shape)).transpose()?;
    let weights = match (&arguments.weights, channel_axis(arguments, &shape)) {
        (Some(path), Ok(axis)) => Some(files.weight_of_each(path, MAX_CHECKED, &shape, axis)?),
        // (A channel axis that cannot be is refused where the layers are set up.)
        _ => None,
    };
    // What is masked is not looked at, whatever stands there.
    for (at, _) in weights.iter().flatten().enumerate().filter(|(_, weight)| **weight == 0.0) {
        x[at] = 0.0;
        dy.iter_mut().for_each(|dy| dy[at] = 0.0);
    }
    expect_finite(input, &x)?;
    if let (Some(path), Some(dy)) = (&arguments.gradient, &dy) {
        expect_finite(path, dy)?;
    }
    Ok(Inputs { files, shape, x: Some(x), dy, weights })
}

/// The upstream gradient, of the input's shape.
fn gradient(files: &Files, path: &Path, shape: &[usize]) -> Result<Vec<f64>, Failure> {
    let fits = |got: &[usize]| match got == shape {
        true => Ok(()),
        false => Err(Failure::input(format!("{}: expected the input's shape {shape:?}, got {got:?}", path.display()))),
    };
    Ok(files.doubles(path, MAX_CHECKED, fits)?.values)
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

/// `--channel-axis`, counted from the first axis.
pub fn channel_axis(arguments: &Arguments, shape: &[usize]) -> Result<usize, Failure> {
    let (axis, rank) = (arguments.channel_axis(), shape.len() as isize);
    if rank < 2 {
        return Err(Failure::input(format!(
            "{}: expected at least 2 axes, samples and channels, got shape {shape:?}; reshape it, as with x[:, None]",
            source(arguments)
        )));
    }
    if !(-rank..rank).contains(&axis) {
        return Err(Failure::input(format!(
            "{}: --channel-axis: expected {} to {} (shape {shape:?}), got {axis}",
            source(arguments),
            -rank,
            rank - 1
        )));
    }
    Ok(if axis < 0 { rank + axis } else { axis } as usize)
}

/// The source of the arrays, for errors.
pub fn source(arguments: &Arguments) -> String {
    arguments.input.as_ref().map_or(String::from("--shape"), |path| path.display().to_string())
}
