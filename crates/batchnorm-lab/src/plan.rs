//! The plan of a single training.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::digits::Images;
use crate::network::{Architecture, Network};
use crate::setting::{self, Difference, SettingError};
use crate::training::Training;

/// All settings that decide the trained network, to the bit on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The network has batch norm.
    pub batch_norm: bool,
    /// The network.
    pub architecture: Architecture,
    /// Seed of the start weights and of the order of the batches.
    pub seed: u64,
    /// Steps in all.
    pub steps: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Learning rate of plain gradient descent.
    pub learning_rate: f64,
}

impl Plan {
    /// A plan that works: 600 steps at 0.5 with batch norm, 3,000 at 3 without, each in batches of 60.
    ///
    /// The rates are those at which each network was soonest at 95 % in the sweep behind
    /// [`Settings`](crate::comparison::Settings); the steps are about twice to ten times what it took.
    pub fn of(batch_norm: bool) -> Plan {
        let (steps, learning_rate) = if batch_norm { (600, 0.5) } else { (3000, 3.0) };
        Plan { batch_norm, architecture: Architecture::default(), seed: 1, steps, batch_size: 60, learning_rate }
    }

    /// Checks that the plan can be followed.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn check(&self) -> Result<(), SettingError> {
        setting::check_steps("steps", self.steps)?;
        setting::check_learning_rate(self.learning_rate)?;
        setting::check_batch_size(self.batch_size, self.batch_norm)?;
        self.architecture.check()
    }

    /// The network it starts with, on the device of this crate's trainings.
    ///
    /// # Panics
    /// If [`check`](Self::check) objects.
    pub fn start(&self) -> Network {
        self.architecture.start(self.batch_norm, self.seed, &Device::default().autodiff())
    }

    /// The training of a network, of [`start`](Self::start) or from a file, that has taken `done` steps of this plan.
    ///
    /// # Panics
    /// If there are fewer images than a batch has.
    pub fn training<'d>(&self, network: Network, done: usize, images: &'d Images) -> Training<'d> {
        let device = Device::default().autodiff();
        let mut training = Training::new(network, images, self.batch_size, self.learning_rate, self.seed, &device);
        training.skip(done);
        training
    }

    /// The settings in which another training differs from this one. The number of steps is not among them: a training
    /// of more steps goes the same way further.
    pub fn differences(&self, now: &Plan) -> Vec<Difference> {
        let settings = |plan: &Plan| {
            let Plan { batch_norm, architecture, seed, steps: _, batch_size, learning_rate } = plan;
            let widths = architecture.hidden.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
            let Architecture { weight_deviation, epsilon, weight_of_new, hidden: _ } = architecture;
            [
                ("batch norm", if *batch_norm { "yes" } else { "no" }.to_owned()),
                ("hidden layers", widths),
                ("weight deviation", weight_deviation.to_string()),
                ("epsilon", epsilon.to_string()),
                ("weight of the new value", weight_of_new.to_string()),
                ("seed", seed.to_string()),
                ("batch size", batch_size.to_string()),
                ("learning rate", learning_rate.to_string()),
            ]
        };
        let pairs = settings(self).into_iter().zip(settings(now));
        pairs.filter(|(old, new)| old != new).map(|((name, old), (_, new))| (name, old, new)).collect()
    }
}
