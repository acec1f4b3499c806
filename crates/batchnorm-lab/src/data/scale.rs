//! Means and deviations of a set, and values brought to them.

use batchnorm::{Axes, Config, Normalizer, Population, View};
use serde::{Deserialize, Serialize};

use super::examples::{Examples, Shape};

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

/// The scale of a set that is looked at portion by portion: by batch norm's own moments, merged as one (`batchnorm::Population`).
pub(super) struct Scaling {
    normalizer: Normalizer,
    population: Population,
    shape: Shape,
}

impl Scaling {
    pub fn new(shape: Shape) -> Scaling {
        let normalizer = Config::pytorch().normalizer().expect("the default options are right");
        Scaling { normalizer, population: Population::new(shape.channels).expect("a set has a channel"), shape }
    }

    pub fn observe(&mut self, portion: &Examples) {
        let shape = [portion.len(), self.shape.channels, self.shape.plane()];
        let view = View::new(&portion.values, &shape, Axes::NCHW).expect("a set's shape is that of its values");
        self.population.observe(&self.normalizer.moments(&view)).expect("as many channels");
    }

    pub fn scale(&self) -> Scale {
        let channels = self.population.channels();
        Scale {
            mean: channels.iter().map(|of| of.mean()).collect(),
            deviation: channels.iter().map(|of| of.population_variance().sqrt()).collect(),
        }
    }
}

impl Scale {
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
        let mut examples = Examples { values, classes: vec![0; 100] };
        let mut scaling = Scaling::new(shape);
        // In portions of different sizes.
        for places in [0..1, 1..40, 40..100] {
            scaling.observe(&examples.select(&places.collect::<Vec<_>>()));
        }
        let scale = scaling.scale();
        assert_eq!((scale.mean[2], scale.deviation[2]), (5.0, 0.0));
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
