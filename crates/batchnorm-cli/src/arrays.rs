//! Arrays from files, in the types, shapes and orders that the commands take: one rule for all of them.
//!
//! An array is a .npy file, one of a .npz (`file.npz:name`), or a table. What goes with an input may be of any type that has its
//! values exactly in the input's; a vector of channels of any shape that is one but for axes of length 1; weights without the
//! channel axis too.

mod files;

use crate::failure::Failure;
use batchnorm::{Axes, Element, View, ViewError};
use batchnorm_io::npy::{Number, Numbers};
pub use files::{Files, HeaderName, TABLES, header_without_tables, is_npz};
use files::{Found, exact_doubles, whole_as};
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

impl<T: Copy> Typed<T> {
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

/// An array of any of the float types.
pub enum Any {
    F16(Typed<half::f16>),
    F32(Typed<f32>),
    F64(Typed<f64>),
}

/// An array in double precision, in C order.
pub struct Doubles {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
    /// The names of a table's columns.
    pub names: Option<Vec<String>>,
}

impl Files {
    /// An array of at most `most` values, in its own type; whole numbers as float32, if that holds them.
    pub fn any(&self, path: &Path, most: usize) -> Result<Any, Failure> {
        let Found { shape, fortran_order, numbers, .. } = self.read(path, most, |_| Ok(()))?;
        let number_type = numbers.number_type();
        Ok(match numbers {
            Numbers::F16(values) => Any::F16(Typed { shape, fortran_order, values }),
            Numbers::F32(values) => Any::F32(Typed { shape, fortran_order, values }),
            Numbers::F64(values) => Any::F64(Typed { shape, fortran_order, values }),
            Numbers::Whole(_, values) => {
                let values = whole_as(path, number_type, &values, "float32", |value| value as f32)?;
                self.note(path, format_args!("{number_type} is taken as float32, which holds all of its values"));
                Any::F32(Typed { shape, fortran_order, values })
            }
        })
    }

    /// An array that goes with an input of type `T`: of any type, if `T` holds its values.
    pub fn like<T: Element + Number>(&self, path: &Path) -> Result<Typed<T>, Failure> {
        let Found { shape, fortran_order, numbers, .. } = self.read(path, usize::MAX, |_| Ok(()))?;
        let got = numbers.number_type();
        let exact = |(at, value): (usize, f64)| {
            let converted = T::from_f64(value);
            let same = converted.to_f64() == value || value.is_nan();
            let (file, own) = (path.display(), T::TYPE);
            same.then_some(converted).ok_or_else(|| {
                Failure::input(format!(
                    "{file}: expected values that {own} holds, the input's type, got {value} (value {at}, {got}); save it as \
                     {own}, or the input as {got}"
                ))
            })
        };
        let values = exact_doubles(path, numbers)?.into_iter().enumerate().map(exact).collect::<Result<_, _>>()?;
        Ok(Typed { shape, fortran_order, values })
    }

    /// Weights that go with an input of type `T`, in C order, and their shape: each axis of the input's length or 1, or without
    /// the channel axes.
    pub fn weights<T: Element + Number>(
        &self,
        path: &Path,
        shape: &[usize],
        channel_axes: &[usize],
    ) -> Result<(Vec<usize>, Vec<T>), Failure> {
        let weights = self.like::<T>(path)?;
        let shape = shape_of_weights(path, shape, channel_axes, &weights.shape)?;
        Ok((shape, weights.in_c_order().into_owned()))
    }

    /// The weight of each value of an array of this shape, in C order: weights of axes of length 1, and of a channel axis that is
    /// not there, repeated.
    pub fn weight_of_each(
        &self,
        path: &Path,
        most: usize,
        shape: &[usize],
        channel_axis: usize,
    ) -> Result<Vec<f64>, Failure> {
        let Doubles { shape: given, values, .. } = self.doubles(path, most, |_| Ok(()))?;
        let given = shape_of_weights(path, shape, &[channel_axis], &given)?;
        if let Some(at) = values.iter().position(|weight| !(0.0..f64::INFINITY).contains(weight)) {
            let got = values[at];
            return Err(Failure::input(format!("{}: expected weights >= 0, got {got} (value {at})", path.display())));
        }
        Ok((0..shape.iter().product()).map(|at| values[repeated_place(shape, &given, at)]).collect())
    }

    /// An array of at most `most` values, of a shape that `fits`, in double precision.
    pub fn doubles(
        &self,
        path: &Path,
        most: usize,
        fits: impl FnOnce(&[usize]) -> Result<(), Failure>,
    ) -> Result<Doubles, Failure> {
        let Found { shape, fortran_order, numbers, names } = self.read(path, most, fits)?;
        let typed = Typed { shape, fortran_order, values: exact_doubles(path, numbers)? };
        let values = typed.in_c_order().into_owned();
        Ok(Doubles { shape: typed.shape, values, names })
    }

    /// One value for each channel: a vector, or in the shape of the channel axes.
    pub fn vector(&self, path: &Path, channels: &[usize]) -> Result<Vec<f64>, Failure> {
        let fits = |got: &[usize]| {
            fits(channels, got).then_some(()).ok_or_else(|| {
                Failure::input(format!(
                    "{}: expected shape {channels:?}, one value for each channel of the input (axes of length 1 do not \
                     matter), got {got:?}",
                    path.display()
                ))
            })
        };
        Ok(self.doubles(path, usize::MAX, fits)?.values)
    }

    /// As many finite values as this shape has, from `least` on behind a flag: an array, numbers with commas between them, or one
    /// number for all.
    pub fn vector_or_numbers(
        &self,
        flag: &str,
        given: &Path,
        least: f64,
        shape: &[usize],
        each: &str,
    ) -> Result<Vec<f64>, Failure> {
        let count: usize = shape.iter().product();
        let expected = |what: &str| format!("{flag} {}: expected {what}", given.display());
        let text = given.to_str().unwrap_or_default();
        if given.exists() || text.contains(".npz:") {
            let own = |got: &[usize]| {
                let file = given.display();
                fits(shape, got).then_some(()).ok_or_else(|| {
                    Failure::input(format!(
                        "{flag} {file}: expected shape {shape:?}, one value for each {each} (axes of length 1 do not matter), got {got:?}"
                    ))
                })
            };
            let values = self.doubles(given, usize::MAX, own)?.values;
            return fitting(values, least, count, each).map_err(|what| Failure::input(expected(&what)));
        }
        // Numbers on the command line are an argument, not an input: another exit code.
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
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
}

/// Parses the channel axis of a command that takes one alone.
pub fn one_axis(text: &str) -> Result<isize, String> {
    match text.parse() {
        Ok(axis) => Ok(axis),
        Err(_) if text.contains(',') => {
            Err("expected one axis here, for channels are shown and judged along one (`batchnorm apply` takes \
             several); reshape the array so that one axis holds the channels"
                .into())
        }
        Err(_) => Err(format!("expected a whole number, got `{text}`")),
    }
}

/// Whether both shapes are the same but for axes of length 1, or the second one a vector of as many values.
pub fn fits(expected: &[usize], got: &[usize]) -> bool {
    let long = |shape: &[usize]| shape.iter().copied().filter(|&length| length != 1).collect::<Vec<usize>>();
    let (expected, got) = (long(expected), long(got));
    got == expected || got == [expected.iter().product::<usize>()]
}

/// The shape of weights with as many axes as the input.
fn shape_of_weights(
    path: &Path,
    shape: &[usize],
    channel_axes: &[usize],
    got: &[usize],
) -> Result<Vec<usize>, Failure> {
    let repeats = |got: &[usize]| {
        got.len() == shape.len() && got.iter().zip(shape).all(|(&got, &length)| got == length || got == 1)
    };
    let mut axes = channel_axes.to_vec();
    axes.sort_unstable();
    let mut with_channels = got.to_vec();
    axes.iter().for_each(|&axis| with_channels.insert(axis.min(with_channels.len()), 1));
    [got.to_vec(), with_channels].into_iter().find(|shape| repeats(shape)).ok_or_else(|| {
        let others = (0..shape.len()).filter(|axis| !axes.contains(axis));
        let without: Vec<usize> = others.map(|axis| shape[axis]).collect();
        let named = if axes.len() == 1 { "axis" } else { "axes" };
        Failure::input(format!(
            "{}: expected the input's shape {shape:?}, with lengths of 1 where weights are repeated, or {without:?} without the \
             channel {named}, got {got:?}",
            path.display()
        ))
    })
}

/// The place, in an array of the shape `given`, of what an array of `shape` has at a place, both in C order: the same one along
/// axes that are as long, the only one along axes of length 1.
pub fn repeated_place(shape: &[usize], given: &[usize], mut at: usize) -> usize {
    // From the last axis on: the index along it, times the stride, which does not move along axes of length 1.
    let (mut place, mut stride) = (0, 1);
    for (&length, &given) in shape.iter().zip(given).rev() {
        place += if given == 1 { 0 } else { at % length * stride };
        stride *= given;
        at /= length;
    }
    place
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

    #[test]
    fn a_vector_is_one_whatever_axes_of_length_1_it_has() {
        for got in [&[3][..], &[1, 3], &[3, 1, 1], &[1, 3, 1, 1]] {
            assert!(fits(&[3], got), "{got:?}");
        }
        for got in [&[][..], &[4], &[3, 3], &[1, 4], &[3, 2]] {
            assert!(!fits(&[3], got), "{got:?}");
        }
        assert!(fits(&[1], &[]) && fits(&[1], &[1, 1]) && fits(&[2, 3], &[6]) && !fits(&[2, 3], &[3, 2]));
    }

    #[test]
    fn weights_may_lack_the_channel_axis() {
        let of = |got: &[usize]| shape_of_weights(Path::new("w.npy"), &[4, 3, 5], &[1], got).ok();
        assert_eq!(of(&[4, 3, 5]), Some(vec![4, 3, 5]));
        assert_eq!(of(&[4, 1, 1]), Some(vec![4, 1, 1]));
        assert_eq!(of(&[4, 5]), Some(vec![4, 1, 5]));
        assert_eq!(of(&[4, 1]), Some(vec![4, 1, 1]));
        assert_eq!(of(&[4, 3]), None);
        assert_eq!(of(&[4]), None);
        let of = |got: &[usize]| shape_of_weights(Path::new("w.npy"), &[4, 3, 5, 2], &[3, 1], got).ok();
        assert_eq!(of(&[4, 1, 5, 2]), Some(vec![4, 1, 5, 2]));
        assert_eq!(of(&[4, 5]), Some(vec![4, 1, 5, 1]));
        assert_eq!(of(&[4, 5, 2]), None);
    }
}
