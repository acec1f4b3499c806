//! How much a model's outputs vary: what a change of them is relative to.

use serde::{Deserialize, Serialize};

use crate::engine::Array;

/// Channels whose means are kept; of more, all values have one.
const MOST_CHANNELS: usize = 1024;

/// The squares of an output's values about the mean of their channel, over all samples: what is constant in an output takes no part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Spread {
    squares: f64,
    /// For each channel the sum of its values.
    sums: Vec<f64>,
    /// Values of a channel.
    count: u64,
}

impl Spread {
    /// That of a batch [N, C, ...].
    pub fn of(array: &Array, values: &[f32]) -> Spread {
        let (channels, plane) = match array.shape[..] {
            [_, channels, ref plane @ ..] if channels <= MOST_CHANNELS => (channels, plane.iter().product()),
            _ => (1, values.len()),
        };
        let mut spread =
            Spread { squares: 0.0, sums: vec![0.0; channels], count: (values.len() / channels.max(1)) as u64 };
        for (at, values) in values.chunks(plane.max(1)).enumerate() {
            for value in values.iter().map(|&value| f64::from(value)) {
                spread.squares += value * value;
                spread.sums[at % channels] += value;
            }
        }
        spread
    }

    /// Takes in that of other samples.
    pub fn merge(&mut self, other: &Spread) {
        if self.count == 0 {
            self.clone_from(other);
        } else if other.count > 0 {
            let mut other = other.clone();
            // (Where the number of channels varies, they are no channels.)
            if self.sums.len() != other.sums.len() {
                self.join_channels();
                other.join_channels();
            }
            self.squares += other.squares;
            self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += more);
            self.count += other.count;
        }
    }

    fn join_channels(&mut self) {
        self.count *= self.sums.len() as u64;
        self.sums = vec![self.sums.iter().sum()];
    }

    /// The sum of the squares about the means; about 0 where nothing varies, as with one sample.
    pub fn squares(&self) -> f64 {
        let of_means: f64 = self.sums.iter().map(|sum| sum * sum / self.count.max(1) as f64).sum();
        let about_means = self.squares - of_means;
        // (What is left of equal numbers is rounding. What is no number stays none.)
        if about_means <= ROUNDING * self.squares { self.squares } else { about_means }
    }
}

/// The part of a sum of squares that rounding may leave, in f32 as models compute.
const ROUNDING: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shape: &[usize], values: Vec<f32>) -> Spread {
        let array = Array::floats(shape.to_vec(), values);
        Spread::of(&array, array.as_floats().unwrap())
    }

    #[test]
    fn a_constant_of_a_channel_takes_no_part() {
        let values: Vec<f32> = (0..24).map(|at| [1.0, -2.0, 0.5, 4.0][at % 4]).collect();
        let moved: Vec<f32> =
            values.iter().enumerate().map(|(at, value)| value + [1000.0, -7000.0, 0.0][at / 4 % 3]).collect();
        let [plain, moved] = [values, moved].map(|values| of(&[2, 3, 4], values));
        // By hand: each channel has 8 values, 1, -2, 0.5, 4 twice, of mean 0.875.
        let expected = 6.0 * (0.125f64.powi(2) + 2.875f64.powi(2) + 0.375f64.powi(2) + 3.125f64.powi(2));
        for spread in [&plain, &moved] {
            assert!((spread.squares() / expected - 1.0).abs() < 1e-8, "{}, {expected}", spread.squares());
        }
        // In two batches it is the same.
        let values: Vec<f32> = (0..24).map(|at| [1.0, -2.0, 0.5, 4.0][at % 4]).collect();
        let mut both = of(&[1, 3, 4], values[..12].to_vec());
        both.merge(&of(&[1, 3, 4], values[12..].to_vec()));
        assert_eq!(both, plain);
    }

    #[test]
    fn what_does_not_vary_counts_as_it_is() {
        // One sample of three scores; and equal samples, whose mean is not exact.
        assert_eq!(of(&[1, 3], vec![1.0, 2.0, 2.0]).squares(), 9.0);
        let equal = of(&[3, 1], vec![0.1; 3]).squares();
        assert!((equal - 0.03).abs() < 1e-8, "{equal}");
        assert!(of(&[2, 1], vec![f32::NAN, 1.0]).squares().is_nan());
        assert_eq!(of(&[2], vec![3.0, 5.0]).squares(), 2.0);
        // Lengths that vary are no channels.
        let mut lengths = of(&[1, 2], vec![1.0, 3.0]);
        lengths.merge(&of(&[1, 3], vec![5.0, 7.0, 9.0]));
        assert_eq!(lengths.squares(), 40.0);
    }
}
