//! How much a model's output varies: what a change of it is relative to.

use serde::{Deserialize, Serialize};

use crate::engine::Array;

/// Channels whose means are kept; of more, all values have one.
const MOST_CHANNELS: usize = 1024;
/// The part of a channel's squares that rounding leaves of equal numbers.
const ROUNDING: f64 = 1e-14;

/// The squares of an output's values about the mean of their channel, over all samples: what is constant in an output takes no part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Spread(Vec<Channel>);

/// Values, as they are put together from parts (Chan, Golub and LeVeque 1983).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Channel {
    count: f64,
    mean: f64,
    /// The sum of the squares about the mean.
    squares: f64,
}

impl Spread {
    /// That of a batch [N, C, ...].
    pub fn of(array: &Array, values: &[f32]) -> Spread {
        let (channels, plane) = match array.shape[..] {
            [_, channels, ref plane @ ..] if channels <= MOST_CHANNELS => (channels, plane.iter().product()),
            _ => (1, values.len()),
        };
        let mut spread = Spread(vec![Channel::default(); channels]);
        for (at, values) in values.chunks(plane.max(1)).enumerate() {
            spread.0[at % channels].merge(Channel::of(values));
        }
        spread
    }

    /// Takes in that of other samples.
    pub fn merge(&mut self, other: &Spread) {
        // (Where the number of channels varies, they are no channels.)
        let is_one = self.0.len() == other.0.len() || self.0.is_empty() || other.0.is_empty();
        if !is_one {
            self.join_channels();
        }
        self.0.resize(self.0.len().max(if is_one { other.0.len() } else { 1 }), Channel::default());
        for (at, channel) in other.0.iter().enumerate() {
            self.0[if is_one { at } else { 0 }].merge(*channel);
        }
    }

    fn join_channels(&mut self) {
        let mut all = Channel::default();
        self.0.iter().for_each(|channel| all.merge(*channel));
        self.0 = vec![all];
    }

    /// The sum of the squares about the means of channels; about 0 where no channel varies, as of one sample.
    pub fn squares(&self) -> f64 {
        // (What is left of equal numbers is rounding. What is no number stays none.)
        let varies = |channel: &&Channel| channel.squares.is_nan() || channel.squares > ROUNDING * channel.about_0();
        match self.0.iter().any(|channel| varies(&channel)) {
            true => self.0.iter().filter(varies).map(|channel| channel.squares).sum(),
            false => self.0.iter().map(Channel::about_0).sum(),
        }
    }
}

impl Channel {
    fn of(values: &[f32]) -> Channel {
        let count = values.len() as f64;
        let values = || values.iter().map(|&value| f64::from(value));
        let mean = values().sum::<f64>() / count.max(1.0);
        Channel { count, mean, squares: values().map(|value| (value - mean).powi(2)).sum() }
    }

    fn merge(&mut self, other: Channel) {
        let count = self.count + other.count;
        if other.count > 0.0 {
            let apart = other.mean - self.mean;
            self.squares += other.squares + apart * apart * self.count * other.count / count;
            self.mean += apart * other.count / count;
            self.count = count;
        }
    }

    fn about_0(&self) -> f64 {
        self.squares + self.count * self.mean * self.mean
    }
}

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
        let moved = values.iter().enumerate().map(|(at, value)| value + [1000.0, -7000.0, 0.0][at / 4 % 3]);
        let [plain, moved] = [values.clone(), moved.collect()].map(|values| of(&[2, 3, 4], values));
        // By hand: each channel has 8 values, 1, -2, 0.5, 4 twice, of mean 0.875.
        let expected = 6.0 * (0.125f64.powi(2) + 2.875f64.powi(2) + 0.375f64.powi(2) + 3.125f64.powi(2));
        // In two batches it is the same.
        let mut both = of(&[1, 3, 4], values[..12].to_vec());
        both.merge(&of(&[1, 3, 4], values[12..].to_vec()));
        for spread in [&plain, &moved, &both] {
            assert!((spread.squares() / expected - 1.0).abs() < 1e-8, "{}, {expected}", spread.squares());
        }
        // A class that is masked beside one that varies: of the former nothing is left, however large.
        for masked in [-1e4, -1e7, -1e9, 3e38] {
            let scores = of(&[4, 2], vec![masked, 1.0, masked, 3.0, masked, 1.0, masked, 3.0]);
            assert_eq!(scores.squares(), 4.0, "{masked}");
        }
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
        assert!((lengths.squares() - 40.0).abs() < 1e-12);
        let mut none = Spread::default();
        none.merge(&lengths);
        assert_eq!(none, lengths);
    }
}
