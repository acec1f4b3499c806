//! Averages of a network's weights over its training.
//!
//! An average of weights has no running statistics that are its own: those of the training are of other weights. So they are computed again on
//! training examples, layer by layer, exactly ([`Recalibration`]).

use std::collections::BTreeMap;

use batchnorm_burn::{Recalibration, RecalibrationError};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::data::{Data, DataError};
use crate::network::{Freeze, Network, Path, walk};
use crate::setting::{self, SettingError};
use crate::training::input;

/// Training examples of a recalibration, at most: every so many-th, as they stand in the set.
pub const MOST_EXAMPLES: usize = 4096;
/// Their values, at most: 512 MiB, which are held while it lasts.
const MOST_VALUES: usize = 1 << 27;

/// An average of weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Averaging {
    /// After each step a = d a + (1 - d) w, where d is the decay, but at most (1 + t) / (10 + t) in step t, so that the start is forgotten
    /// (Polyak and Juditsky 1992; the ramp is TensorFlow's).
    Exponential {
        /// Weight of the old value.
        decay: f64,
    },
    /// The mean of the weights after every so many-th step from one on (Izmailov et al. 2018, SWA). Before that, the weights themselves.
    Stochastic {
        /// The first step whose weights count.
        from: usize,
        /// Steps between.
        every: usize,
    },
}

impl Averaging {
    /// Checks the numbers.
    ///
    /// # Errors
    /// The first one out of range.
    pub fn check(self, steps: usize) -> Result<(), SettingError> {
        match self {
            Averaging::Exponential { decay } if !(0.0..1.0).contains(&decay) => {
                Err(SettingError::new("average", "a decay in 0..1", decay))
            }
            Averaging::Stochastic { from, every } => {
                setting::check_steps("average", every)?;
                match (1..=steps).contains(&from) {
                    true => Ok(()),
                    false => Err(SettingError::new("average", &format!("a first step in 1..={steps}"), from)),
                }
            }
            Averaging::Exponential { .. } => Ok(()),
        }
    }

    /// The weight of the old average after a step, from 1 on; none where the step does not count.
    fn weight_of_old(self, step: usize) -> Option<f64> {
        match self {
            Averaging::Exponential { decay } => Some(decay.min((1.0 + step as f64) / (10.0 + step as f64))),
            Averaging::Stochastic { from, .. } if step <= from => Some(0.0),
            Averaging::Stochastic { from, every } if (step - from).is_multiple_of(every) => {
                let before = ((step - from) / every) as f64;
                Some(before / (before + 1.0))
            }
            Averaging::Stochastic { .. } => None,
        }
    }
}

/// The average of a training's weights so far: of all that is trained, biases, gammas and betas too.
#[derive(Debug, Clone)]
pub struct Average {
    averaging: Averaging,
    values: BTreeMap<String, Vec<f32>>,
}

impl Average {
    /// The average at its start, or as a file has it: the weights of a network.
    pub fn new(averaging: Averaging, network: &Network) -> Average {
        Average { averaging, values: trained(network) }
    }

    /// Tells whether it is an average after so many steps: before the first that counts it is the weights themselves.
    pub fn has_begun(&self, steps: usize) -> bool {
        match self.averaging {
            Averaging::Exponential { .. } => true,
            Averaging::Stochastic { from, .. } => steps > from,
        }
    }

    /// Takes in the weights after a step, from 1 on.
    pub fn take_in(&mut self, network: &Network, step: usize) {
        let Some(old) = self.averaging.weight_of_old(step) else { return };
        for (path, new) in trained(network) {
            let average = self.values.get_mut(&path).expect("a network has the parameters that it had");
            for (average, new) in average.iter_mut().zip(new) {
                *average = (old * f64::from(*average) + (1.0 - old) * f64::from(new)) as f32;
            }
        }
    }

    /// The network with the averaged weights; its running statistics, which are of other weights, are the training's.
    pub fn network(&self, network: &Network) -> Network {
        network.apart().map(&mut Replacing { values: &self.values, path: Path::default() })
    }
}

/// Statistics that could not be computed again.
#[derive(Debug, Error)]
pub enum AverageError {
    /// The training set could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A layer.
    #[error(transparent)]
    Recalibration(#[from] RecalibrationError),
}

/// Computes the running statistics of a network's batch norms again, layer by layer, on training examples as evaluation sees them (not changed at
/// random); those that are frozen stay, and so do those of decorrelated batch norm, which nothing here computes again. Tells whether there were any.
///
/// # Errors
/// A set that cannot be read; a layer that sees no finite values. The network is as it was.
pub fn recalibrate(network: &Network, data: &Data, freeze: Option<&Freeze>) -> Result<bool, AverageError> {
    let kept: Freeze = freeze.cloned().unwrap_or(Freeze::NOTHING);
    if batchnorm_burn::norms(network).filter(|path| !kept.keeps_statistics(path)).is_empty() {
        return Ok(false);
    }
    let most = MOST_EXAMPLES.min(MOST_VALUES / data.summary.input.values()).max(2);
    let each = data.train.len().div_ceil(most).max(1);
    let places: Vec<usize> = (0..data.train.len()).step_by(each).collect();
    let device = Device::default();
    let seen = data.train.part(&places);
    let portions = seen.portions(network.portion()).map(|portion| {
        let mut portion = portion?;
        data.summary.prepare(&mut portion);
        Ok(input(&portion, &device))
    });
    let portions: Vec<Tensor<2>> = portions.collect::<Result<_, DataError>>()?;
    recalibrate_on(network, &portions, move |path| !kept.keeps_statistics(path))?;
    Ok(true)
}

/// Computes the running statistics of these norms again, layer by layer, on inputs of the network.
pub(crate) fn recalibrate_on(
    network: &Network,
    portions: &[Tensor<2>],
    norms: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Result<(), RecalibrationError> {
    let run = |network: &Network, values| drop(network.forward_eval(values));
    Recalibration::layer_by_layer().only(norms).run(network, || portions.iter().cloned(), run).map(drop)
}

/// The values of all that is trained, by path.
fn trained(network: &Network) -> BTreeMap<String, Vec<f32>> {
    let mut trained = BTreeMap::new();
    walk(network, |met| {
        if met.is_trained {
            trained.insert(met.path.clone(), met.values());
        }
    });
    trained
}

/// Replaces the values of parameters.
struct Replacing<'r> {
    values: &'r BTreeMap<String, Vec<f32>>,
    path: Path,
}

impl ModuleMapper for Replacing<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.values.get(&self.path.joined()) else { return param };
        param.map(|old| {
            let data = TensorData::new(values.clone(), old.dims());
            Tensor::from_data(data, &old.device()).require_grad()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The weight of each step in the average after some of them.
    fn weights(averaging: Averaging, steps: usize) -> Vec<f64> {
        let mut weights = vec![1.0];
        for step in 1..=steps {
            let old = averaging.weight_of_old(step).unwrap_or(1.0);
            weights.iter_mut().for_each(|weight| *weight *= old);
            weights.push(1.0 - old);
        }
        weights
    }

    #[test]
    fn swa_is_the_mean_of_every_so_many_th_step() {
        let found = weights(Averaging::Stochastic { from: 4, every: 3 }, 12);
        for (step, weight) in found.into_iter().enumerate() {
            let expected = if [4, 7, 10].contains(&step) { 1.0 / 3.0 } else { 0.0 };
            assert!((weight - expected).abs() < 1e-15, "step {step}: {weight}");
        }
        // Before its first step, the weights themselves.
        assert_eq!(weights(Averaging::Stochastic { from: 4, every: 3 }, 3), [0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn ema_forgets_its_start_and_has_its_decay() {
        let found = weights(Averaging::Exponential { decay: 0.9 }, 200);
        assert!(found[0] < 1e-9 && (found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((found[199] / found[200] - 0.9).abs() < 1e-12);
    }
}
