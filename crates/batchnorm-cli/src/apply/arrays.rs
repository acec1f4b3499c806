//! Arrays from .npy files, in the types and orders that `apply` takes.

use crate::failure::Failure;
use batchnorm::{Axes, Element, View, ViewError};
use batchnorm_io::npy::{self, Array, Number, NumberType, Numbers};
use std::path::Path;

/// An array of one known type, in C or Fortran order.
pub struct Typed<T> {
    pub shape: Vec<usize>,
    fortran_order: bool,
    values: Vec<T>,
}

impl<T: Element> Typed<T> {
    pub fn view(&self, axes: Axes) -> Result<View<'_, T>, ViewError> {
        if self.fortran_order {
            View::column_major(&self.values, &self.shape, axes)
        } else {
            View::new(&self.values, &self.shape, axes)
        }
    }
}

/// The input: its type is the type of the outputs.
pub enum Input {
    F32(Typed<f32>),
    F64(Typed<f64>),
}

pub fn read(path: &Path) -> Result<Input, Failure> {
    let Array { shape, fortran_order, numbers } = npy::read(path).map_err(Failure::input)?;
    match numbers {
        Numbers::F32(values) => Ok(Input::F32(Typed { shape, fortran_order, values })),
        Numbers::F64(values) => Ok(Input::F64(Typed { shape, fortran_order, values })),
        Numbers::F16(_) => Err(Failure::input(format!(
            "{}: expected float32 or float64, got float16, which has no kernels yet; save x.astype(np.float32)",
            path.display()
        ))),
    }
}

/// An array that goes with an input of type `T`: of that type, or of a narrower one.
pub fn widened<T: Element + Number>(path: &Path) -> Result<Typed<T>, Failure> {
    let Array { shape, fortran_order, numbers } = npy::read(path).map_err(Failure::input)?;
    let got = numbers.number_type();
    if got == NumberType::F64 && T::TYPE != NumberType::F64 {
        return Err(Failure::input(format!(
            "{}: expected {} like the input (or narrower), got {got}; convert one of the two",
            path.display(),
            T::TYPE
        )));
    }
    // Nothing is rounded: the type is as wide as the file's, or wider. (Where it is the same, the vector is reused.)
    let values = match numbers {
        Numbers::F16(values) => values.into_iter().map(|value| T::from_f64(value.to_f64())).collect(),
        Numbers::F32(values) => values.into_iter().map(|value| T::from_f64(f64::from(value))).collect(),
        Numbers::F64(values) => values.into_iter().map(T::from_f64).collect(),
    };
    Ok(Typed { shape, fortran_order, values })
}

/// A vector of any float type, one value for each channel.
pub fn vector(path: &Path, channels: usize) -> Result<Vec<f64>, Failure> {
    let array = npy::read(path).map_err(Failure::input)?;
    if array.shape != [channels] {
        return Err(Failure::input(format!(
            "{}: expected shape [{channels}], one value for each channel of the input, got {:?}",
            path.display(),
            array.shape
        )));
    }
    Ok(array.numbers.to_f64())
}
