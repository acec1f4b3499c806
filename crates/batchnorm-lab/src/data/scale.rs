//! Means and deviations of a set, and values brought to them.

use batchnorm::{Axes, Config, Population, View};
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::examples::{Examples, Shape};
use super::set::Set;

/// Examples that are looked at together.
const PORTION: usize = 256;

/// Mean and standard deviation of each channel over a whole set, by which values are standardised: (value - mean) / deviation. A channel
/// that never changes becomes 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Mean of each channel.
    pub mean: Vec<f64>,
    /// Population standard deviation of each channel.
    pub deviation: Vec<f64>,
}

impl Scale {
    /// That of a set. Each portion is looked at by batch norm's own moments, and all are merged as one (`batchnorm::Population`).
    ///
    /// # Errors
    /// A set that cannot be read.
    ///
    /// # Panics
    /// If the set is empty.
    pub fn of(set: &Set) -> Result<Scale, DataError> {
        let Shape { channels, .. } = set.shape();
        let normalizer = Config::pytorch().normalizer().expect("the default options are right");
        let mut population = Population::new(channels).expect("a set has a channel");
        for portion in set.portions(PORTION) {
            let portion = portion?;
            let shape = [portion.len(), channels, set.shape().plane()];
            let view = View::new(&portion.values, &shape, Axes::NCHW).expect("a set's shape is that of its values");
            population.observe(&normalizer.moments(&view)).expect("as many channels");
        }
        let channels = population.channels();
        Ok(Scale {
            mean: channels.iter().map(|of| of.mean()).collect(),
            deviation: channels.iter().map(|of| of.population_variance().sqrt()).collect(),
        })
    }

    /// Standardises examples of a shape.
    pub fn apply(&self, examples: &mut Examples, shape: Shape) {
        for example in examples.values.chunks_exact_mut(shape.values()) {
            for ((plane, &mean), &deviation) in
                example.chunks_exact_mut(shape.plane()).zip(&self.mean).zip(&self.deviation)
            {
                let factor = if deviation > 0.0 { deviation.recip() } else { 0.0 };
                for value in plane {
                    *value = ((f64::from(*value) - mean) * factor) as f32;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_becomes_mean_0_and_deviation_1_and_constant_channels_0() {
        let shape = Shape { channels: 3, rows: 2, columns: 2 };
        let values: Vec<f32> = (0..1200).map(|at| if at / 4 % 3 == 2 { 5.0 } else { (at * at % 17) as f32 }).collect();
        let set = Set::in_memory(shape, Examples { values, classes: vec![0; 100] });
        let scale = Scale::of(&set).unwrap();
        assert_eq!((scale.mean[2], scale.deviation[2]), (5.0, 0.0));
        let mut examples = set.read(&(0..100).collect::<Vec<_>>()).unwrap();
        scale.apply(&mut examples, shape);
        let of = |channel: usize| {
            examples.values.chunks(4).skip(channel).step_by(3).flatten().map(|&value| f64::from(value))
        };
        for channel in 0..2 {
            let (sum, squares) = (of(channel).sum::<f64>(), of(channel).map(|value| value * value).sum::<f64>());
            assert!(sum.abs() / 400.0 < 1e-7 && (squares / 400.0 - 1.0).abs() < 1e-6, "{sum} {squares}");
        }
        assert!(of(2).all(|value| value == 0.0));
    }
}
