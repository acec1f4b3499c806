//! Settings of a comparison: its arms, seeds and sizes. (Ranges that a single training shares are in
//! [`setting`](mod@crate::setting).)

use serde::{Deserialize, Serialize};

use crate::digits::TRAINING_IMAGES;
use crate::network::Architecture;
use crate::setting::{self, SettingError};

/// One of the networks compared, with its learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Its name; each arm has its own.
    pub name: String,
    /// The network has batch norm.
    pub batch_norm: bool,
    /// Learning rate of plain gradient descent.
    pub learning_rate: f64,
}

impl Arm {
    /// An arm named by its network and its rate.
    pub fn new(batch_norm: bool, learning_rate: f64) -> Arm {
        let network = if batch_norm { "batch norm" } else { "without" };
        Arm { name: format!("{network}, rate {learning_rate}"), batch_norm, learning_rate }
    }
}

/// The settings of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The arms; every other one is measured against the first.
    pub arms: Vec<Arm>,
    /// One run of each arm for each seed.
    pub seeds: Vec<u64>,
    /// Steps of each run.
    pub steps: usize,
    /// Images a step.
    pub batch_size: usize,
    /// The accuracy to reach, in 0..=1.
    pub target_accuracy: f64,
    /// Steps between two evaluations: "steps to the target" are multiples of it.
    pub evaluate_every: usize,
    /// Threads of the pool; kernels of this size use one.
    pub threads: usize,
    /// The network.
    pub network: Architecture,
}

impl Settings {
    /// Two arms at one learning rate.
    pub fn arms_at(learning_rate: f64) -> Vec<Arm> {
        vec![Arm::new(false, learning_rate), Arm::new(true, learning_rate)]
    }

    /// The arms' names in one line, to tell two lists of arms apart.
    pub(crate) fn arm_names(&self) -> String {
        self.arms.iter().map(|arm| arm.name.as_str()).collect::<Vec<_>>().join(" / ")
    }

    /// Checks that the comparison can be made.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn check(&self) -> Result<(), SettingError> {
        let error = |setting, expected, got: String| Err(SettingError::new(setting, expected, got));
        let distinct = |values: &mut Vec<String>| {
            let count = values.len();
            values.sort();
            values.dedup();
            values.len() == count && count > 0
        };
        let mut names: Vec<String> = self.arms.iter().map(|arm| arm.name.clone()).collect();
        if !distinct(&mut names) {
            return error("arms", "one or more, each with a name of its own", format!("{names:?}"));
        }
        if !distinct(&mut self.seeds.iter().map(u64::to_string).collect()) {
            return error("seeds", "one or more, each different", format!("{:?}", self.seeds));
        }
        for arm in &self.arms {
            setting::check_learning_rate(arm.learning_rate)?;
        }
        setting::check_steps("steps", self.steps)?;
        setting::check_batch_size(self.batch_size, TRAINING_IMAGES, self.arms.iter().any(|arm| arm.batch_norm))?;
        setting::check_steps("evaluate_every", self.evaluate_every)?;
        setting::check_threads(self.threads)?;
        setting::check_target(self.target_accuracy)?;
        self.network.check()
    }
}

impl Default for Settings {
    /// 95 % on the digits, batches of 60, five seeds, and three arms by learning rate:
    ///
    /// 1. without batch norm, at 3, the rate at which *that* network was soonest there;
    /// 2. with batch norm at the same rate, so that nothing else differs;
    /// 3. with batch norm at 0.5, the rate at which it was soonest there, so that each is at its best.
    ///
    /// Ioffe and Szegedy's own rate, 0.01, would take the network without batch norm through this whole training
    /// without having left the plateau it starts on. The rates come from the sweep below (`examples/sweep.rs`, 6,000
    /// steps, evaluated every 10): mean and range of the steps to 95 % over the seeds 101, 102 and 103, which are not
    /// among the default seeds.
    ///
    /// | rate | without: steps to 95 % | final | batch norm: steps to 95 % | final |
    /// |---|---|---|---|---|
    /// | 0.01 | not reached | .100 | 440 (410-460) | .990 |
    /// | 0.03 | not reached | .100 | 157 (140-180) | .992 |
    /// | 0.1 | not reached | .131 | 63 (50-70) | .992 |
    /// | 0.2 | not reached | .512 | 60 (50-70) | .991 |
    /// | 0.3 | not reached | .768 | 53 (50-60) | .992 |
    /// | 0.5 | 5660 (5460-5860), 2 of 3 | .950 | 53 (50-60) | .994 |
    /// | 1 | 3180 (2860-3660) | .980 | 63 (60-70) | .994 |
    /// | 2 | 1640 (1600-1670) | .968 | 77 (70-90) | .993 |
    /// | 3 | 1423 (1280-1600) | .980 | 123 (110-140) | .991 |
    /// | 5 | 1503 (1110-1960) | .974 | 127 (110-150) | .994 |
    /// | 10 | not reached | .100 | 157 (140-190) | .995 |
    /// | 20 | not reached | .100 | 133 (100-170) | .996 |
    /// | 30 | not reached | .100 | 220 (180-280) | .984 |
    ///
    /// (Of the rates 0.3 and 0.5, equal in steps, the one that ended higher. At 0.5 in both arms the factor would be
    /// over 100: at the rate that suits batch norm the other network is slow.)
    fn default() -> Self {
        Settings {
            arms: vec![Arm::new(false, 3.0), Arm::new(true, 3.0), Arm::new(true, 0.5)],
            seeds: (1..=5).collect(),
            steps: 2500,
            batch_size: 60,
            target_accuracy: 0.95,
            evaluate_every: 5,
            threads: 1,
            network: Architecture::default(),
        }
    }
}
