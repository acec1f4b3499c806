//! Arrays from files, in the types and orders that the commands take.

use crate::failure::Failure;
use batchnorm::{Axes, Element, View, ViewError};
use batchnorm_io::csv;
use batchnorm_io::npy::{self, Array, Number, NumberType, Numbers};
use std::borrow::Cow;
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

impl<T: Element> Typed<T> {
    /// The values in C order.
    pub fn in_c_order(&self) -> Cow<'_, [T]> {
        if !self.fortran_order {
            return Cow::Borrowed(&self.values);
        }
        let place = |mut index: usize| {
            // The index along each axis, from the last on; its stride in Fortran order is the product of those before.
            let (mut place, mut stride) = (0, self.values.len());
            for &length in self.shape.iter().rev() {
                stride /= length;
                place += index % length * stride;
                index /= length;
            }
            place
        };
        Cow::Owned((0..self.values.len()).map(|index| self.values[place(index)]).collect())
    }
}

/// The input: its type is the type of the outputs.
pub enum Input {
    F32(Typed<f32>),
    F64(Typed<f64>),
}

pub fn read(path: &Path) -> Result<Input, Failure> {
    match npy(path)? {
        Any::F32(array) => Ok(Input::F32(array)),
        Any::F64(array) => Ok(Input::F64(array)),
        Any::F16(_) => Err(Failure::input(format!(
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

/// An array of any of the three types.
pub enum Any {
    F16(Typed<half::f16>),
    F32(Typed<f32>),
    F64(Typed<f64>),
}

/// An array of any float type from .npy, or a table from .csv (float64), of at most `most` values.
pub fn any(path: &Path, most: usize) -> Result<Any, Failure> {
    if is_table(path) {
        let Doubles { shape, values, .. } = doubles(path, most, |_| Ok(()))?;
        return Ok(Any::F64(Typed { shape, fortran_order: false, values }));
    }
    check_size(path, most)?;
    npy(path)
}

fn npy(path: &Path) -> Result<Any, Failure> {
    let Array { shape, fortran_order, numbers } = npy::read(path).map_err(Failure::input)?;
    Ok(match numbers {
        Numbers::F16(values) => Any::F16(Typed { shape, fortran_order, values }),
        Numbers::F32(values) => Any::F32(Typed { shape, fortran_order, values }),
        Numbers::F64(values) => Any::F64(Typed { shape, fortran_order, values }),
    })
}

/// Whether a file is read as a table, by its name.
fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

/// The shape of a .npy file, refused if it has more than `most` values. Only the header is read.
fn check_size(path: &Path, most: usize) -> Result<Vec<usize>, Failure> {
    let shape = npy::shape(path).map_err(Failure::input)?;
    let values = shape.iter().try_fold(1usize, |values, &length| values.checked_mul(length));
    if values.is_none_or(|values| values > most) {
        return Err(Failure::input(format!(
            "{}: expected at most {most} values, got shape {shape:?}; save a part of the array",
            path.display()
        )));
    }
    Ok(shape)
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

/// An array in double precision, in C order.
pub struct Doubles {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
    /// The names of a table's columns.
    pub names: Option<Vec<String>>,
}

/// An array of any float type from .npy, or a table from a file whose name ends in .csv; of at most `most` values, and of a
/// shape that `fits`. Of .npy the header alone is read before both are known.
pub fn doubles(
    path: &Path,
    most: usize,
    fits: impl FnOnce(&[usize]) -> Result<(), Failure>,
) -> Result<Doubles, Failure> {
    if is_table(path) {
        let csv::Table { names, columns, rows, values } = csv::read(path, most).map_err(Failure::input)?;
        let shape = vec![rows, columns];
        fits(&shape)?;
        return Ok(Doubles { shape, values, names });
    }
    let shape = check_size(path, most)?;
    fits(&shape)?;
    let Array { shape, fortran_order, numbers } = npy::read(path).map_err(Failure::input)?;
    let typed = Typed { shape, fortran_order, values: numbers.to_f64() };
    let values = typed.in_c_order().into_owned();
    Ok(Doubles { shape: typed.shape, values, names: None })
}

/// A vector of `count` finite values from `least` on behind a flag: a file as of [`doubles`], numbers with commas between
/// them, or one number for all.
pub fn vector_or_numbers(flag: &str, given: &Path, least: f64, count: usize, each: &str) -> Result<Vec<f64>, Failure> {
    let expected = |what: &str| format!("{flag} {}: expected {what}", given.display());
    if given.exists() {
        let values = doubles(given, count, |_| Ok(()))?.values;
        return fitting(values, least, count, each).map_err(|what| Failure::input(expected(&what)));
    }
    // Numbers on the command line are an argument, not an input: another exit code.
    let words: Vec<&str> = given.to_str().unwrap_or_default().split(',').map(str::trim).collect();
    let number = |word: &&str| match word.parse::<f64>() {
        Ok(number) => Ok(number),
        Err(_) if words.len() == 1 => {
            Err(Failure::input(expected("a file, or numbers such as 1.5 or 1.5,2; no such file is there")))
        }
        Err(_) => Err(Failure::usage(expected(&format!("numbers such as 1.5,2, got `{word}` among them")))),
    };
    let numbers = words.iter().map(number).collect::<Result<Vec<f64>, Failure>>()?;
    let values = if numbers.len() == 1 { vec![numbers[0]; count] } else { numbers };
    fitting(values, least, count, each).map_err(|what| Failure::usage(expected(&what)))
}

/// The values if they fit, or else a text of what was expected.
fn fitting(values: Vec<f64>, least: f64, count: usize, each: &str) -> Result<Vec<f64>, String> {
    if values.len() != count {
        return Err(format!("{count} values, one for each {each}, got {}", values.len()));
    }
    match values.iter().find(|value| !(value.is_finite() && **value >= least)) {
        Some(value) if value.is_finite() => Err(format!("values >= {least}, got {value}")),
        Some(value) => Err(format!("finite values, got {value}")),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fortran_order_is_turned_into_c_order() {
        let values: Vec<f64> = (0..24).map(f64::from).collect();
        let fortran = Typed { shape: vec![2, 3, 4], fortran_order: true, values };
        let c = fortran.in_c_order();
        for (i, j, k) in (0..24).map(|index| (index / 12, index / 4 % 3, index % 4)) {
            assert_eq!(c[i * 12 + j * 4 + k], (i + 2 * j + 6 * k) as f64);
        }
    }
}
