//! Pictures as random cuts in a training leave them: black borders are laid around, and a picture of the old size is cut out at a random place.

use std::ops::Range;

use batchnorm::reference::random::Random;
use serde::{Deserialize, Serialize};

use crate::engine::{Array, Numbers, Source};
use crate::recipe::{Layout, Recipe};

/// The part of a picture's side by which a cut moves it at most, as of 4 pixels of 32.
const MOVED: usize = 8;
/// The seed of how far each is moved.
const SEED: u64 = 4;
/// Samples among which the darkest values are looked for.
const LOOKED_AT: usize = 64;

/// A random cut: each picture moves by up to an eighth of its sides, up or down and left or right, each equally probable, and what comes in
/// is black. How far a picture moves depends on its place among the samples alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    layout: Layout,
    /// What black is in each channel.
    black: Vec<f32>,
}

impl Cut {
    /// Of pictures that a recipe prepares.
    pub fn of(recipe: &Recipe) -> Cut {
        Cut { layout: recipe.layout, black: recipe.values().iter().map(|values| values[0]).collect() }
    }

    /// Of arrays, if one input looks like pictures and no other: of four axes, the second or else the last of 1 or 3 channels. The least
    /// value of each channel is taken for black.
    ///
    /// # Errors
    /// What the data say.
    pub fn of_arrays(source: &dyn Source) -> Result<Option<Cut>, String> {
        let count = source.len().min(LOOKED_AT);
        let mut found: Option<Cut> = None;
        // (From all over, for files are often sorted.)
        for place in (0..count).map(|at| at * source.len() / count) {
            let inputs = source.read(place..place + 1)?;
            let mut pictures =
                inputs.iter().filter_map(|(_, array)| Some((array.as_floats()?, channels_of(&array.shape)?)));
            let (Some((numbers, (layout, channels, run))), None) = (pictures.next(), pictures.next()) else {
                return Ok(None);
            };
            let cut = found.get_or_insert_with(|| Cut { layout, black: vec![f32::INFINITY; channels] });
            for (at, values) in numbers.chunks(run.max(1)).enumerate() {
                let darkest = &mut cut.black[at % channels];
                *darkest = values.iter().copied().fold(*darkest, f32::min);
            }
        }
        Ok(found.filter(|cut| cut.black.iter().all(|value| value.is_finite())))
    }

    /// Cuts pictures, of which the first has this place. What is no picture of these channels stays as it is.
    pub(crate) fn apply(&self, array: Array, first: usize) -> Array {
        let (Numbers::F32(numbers), &[samples, second, third, last]) = (&array.numbers, &array.shape[..]) else {
            return array;
        };
        // (Channels of one plane each, or one plane of all channels.)
        let ([rows, columns], channels, planes, together) = match self.layout {
            Layout::Nchw => ([third, last], second, second, 1),
            Layout::Nhwc => ([second, third], last, 1, last),
        };
        if channels != self.black.len() || numbers.is_empty() {
            return array;
        }
        let plane = rows * columns * together;
        let mut cut = Vec::with_capacity(numbers.len());
        for (at, picture) in numbers.chunks_exact(numbers.len() / samples).enumerate() {
            let mut random = Random::new(SEED.wrapping_add((first + at) as u64));
            let mut moved = |length: usize| {
                let most = length / MOVED;
                random.below(2 * most + 1) as isize - most as isize
            };
            let (down, right) = (moved(rows), moved(columns));
            for (values, black) in picture.chunks_exact(plane).zip(self.black.chunks(self.black.len() / planes)) {
                for row in 0..rows {
                    let row = row.checked_add_signed(down).filter(|&row| row < rows);
                    for column in 0..columns {
                        let column = column.checked_add_signed(right).filter(|&column| column < columns);
                        cut.extend_from_slice(match (row, column) {
                            (Some(row), Some(column)) => &values[(row * columns + column) * together..][..together],
                            _ => black,
                        });
                    }
                }
            }
        }
        Array::floats(array.shape, cut)
    }
}

/// The layout of an array that looks like pictures, its channels, and how many values of one channel stand together.
fn channels_of(shape: &[usize]) -> Option<(Layout, usize, usize)> {
    match *shape {
        [_, channels @ (1 | 3), rows, columns] => Some((Layout::Nchw, channels, rows * columns)),
        [_, _, _, channels @ (1 | 3)] => Some((Layout::Nhwc, channels, 1)),
        _ => None,
    }
}

/// Samples, cut.
pub(crate) struct CutSamples<'s> {
    pub source: &'s dyn Source,
    pub cut: &'s Cut,
}

impl Source for CutSamples<'_> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn read(&self, places: Range<usize>) -> Result<Vec<(String, Array)>, String> {
        let first = places.start;
        let inputs = self.source.read(places)?;
        Ok(inputs.into_iter().map(|(name, array)| (name, self.cut.apply(array, first))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Same(Array);

    impl Source for Same {
        fn len(&self) -> usize {
            self.0.shape[0]
        }

        fn read(&self, places: Range<usize>) -> Result<Vec<(String, Array)>, String> {
            let each = self.0.shape[1..].iter().product::<usize>();
            let values = self.0.as_floats().unwrap()[places.start * each..places.end * each].to_vec();
            let shape = std::iter::once(places.len()).chain(self.0.shape[1..].iter().copied()).collect();
            Ok(vec![(String::from("x"), Array::floats(shape, values))])
        }
    }

    /// Pictures of 16 x 8 whose values say their place, from 1 on, and whose black is 0 (in the second channel 1000).
    fn pictures(layout: Layout) -> Array {
        let value = |sample: usize, channel: usize, row: usize, column: usize| {
            if (sample, row, column) == (0, 0, 0) {
                1000.0 * channel as f32
            } else {
                (1000 * channel + 1 + row * 8 + column) as f32
            }
        };
        let mut numbers = Vec::new();
        for sample in 0..400 {
            crate::samples::put(
                layout,
                [16, 8, 3],
                |row, column, channel| value(sample, channel, row, column),
                &mut numbers,
            );
        }
        let shape = if layout == Layout::Nchw { vec![400, 3, 16, 8] } else { vec![400, 16, 8, 3] };
        Array::floats(shape, numbers)
    }

    #[test]
    fn a_picture_moves_as_a_whole_and_black_comes_in() {
        for layout in [Layout::Nchw, Layout::Nhwc] {
            let source = Same(pictures(layout));
            let cut = Cut::of_arrays(&source).unwrap().unwrap();
            assert_eq!(cut, Cut { layout, black: vec![0.0, 1000.0, 2000.0] });
            let samples = CutSamples { source: &source, cut: &cut };
            let whole = samples.read(0..400).unwrap().remove(0).1;
            let mut moves = std::collections::BTreeMap::<[isize; 2], usize>::new();
            for (sample, picture) in whole.as_floats().unwrap().chunks(3 * 16 * 8).enumerate().skip(1) {
                let value = |channel: usize, row: usize, column: usize| match layout {
                    Layout::Nchw => picture[(channel * 16 + row) * 8 + column],
                    Layout::Nhwc => picture[(row * 8 + column) * 3 + channel],
                };
                // The middle tells how far it moved; all others follow.
                let middle = value(0, 8, 4) as isize - 1;
                let moved = [middle / 8 - 8, middle % 8 - 4];
                for (channel, row, column) in (0..3 * 16 * 8).map(|at| (at / 128, at / 8 % 16, at % 8)) {
                    let from = [row as isize + moved[0], column as isize + moved[1]];
                    let is_inside = (0..16).contains(&from[0]) && (0..8).contains(&from[1]);
                    let place = if is_inside { 1 + from[0] * 8 + from[1] } else { 0 };
                    let expected = (1000 * channel as isize + place) as f32;
                    assert_eq!(value(channel, row, column), expected, "{layout:?}, sample {sample}, {moved:?}");
                }
                *moves.entry(moved).or_default() += 1;
            }
            // All of 5 x 3 places, none far more often than others.
            assert_eq!((moves.len(), moves.values().all(|&count| (10..50).contains(&count))), (15, true), "{moves:?}");
            // A picture's move is its own, whichever stand beside it.
            let one = samples.read(17..18).unwrap().remove(0).1;
            assert_eq!(one.as_floats().unwrap(), &whole.as_floats().unwrap()[17 * 384..18 * 384]);
        }
    }

    #[test]
    fn what_is_no_picture_stays_as_it_is() {
        let rows = Same(Array::floats(vec![5, 3], vec![1.0; 15]));
        assert_eq!(Cut::of_arrays(&rows).unwrap(), None);
        let features = Array::floats(vec![2, 8, 4, 4], vec![1.0; 256]);
        assert_eq!(Cut::of_arrays(&Same(features.clone())).unwrap(), None);
        let cut = Cut { layout: Layout::Nchw, black: vec![0.0; 3] };
        assert_eq!(cut.apply(features.clone(), 0), features);
    }
}
