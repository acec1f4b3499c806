//! The flags of `apply`, and the configuration they stand for.

use batchnorm::{
    Averaging, Config, ConstantChannel, EmptyBatch, Estimator, NonFinite, Policies, SingleValue, Tier, UpdateWeight,
};
use clap::{Args, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Run the layer on arrays in .npy files.
///
/// Writes y.npy (and dx.npy) in the input's type and shape, and mean.npy, variance.npy (and dgamma.npy, dbeta.npy,
/// running_mean.npy, running_var.npy) as float64 vectors, one value for each channel. Files of those names in the
/// output folder are replaced or removed, all or none.
#[derive(Args)]
#[command(after_help = crate::failure::EXIT_CODES)]
pub struct Arguments {
    /// The array: .npy, float32 or float64, C or Fortran order, at least two axes.
    #[arg(long, value_name = "X.npy")]
    pub input: PathBuf,
    /// Which axis holds the channels; negative counts from the end.
    #[arg(long, value_name = "K", default_value_t = 1, allow_negative_numbers = true)]
    pub channel_axis: isize,
    /// Normalise by the batch and update the running statistics, or normalise by the running statistics.
    #[arg(long, value_enum, default_value_t = Mode::Train)]
    pub mode: Mode,
    /// Upstream gradient of the input's shape: the backward pass is run too (in eval with constant statistics).
    #[arg(long, value_name = "DY.npy")]
    pub gradient: Option<PathBuf>,
    /// How often each value counts: as many axes as the input, each of its length or of 1; 0 masks, and what is masked may
    /// be NaN, is not looked at, and has y = dx = 0. Of the input's type or a narrower one.
    #[arg(long, value_name = "W.npy")]
    pub weights: Option<PathBuf>,
    /// Train by ghost batches: groups of so many samples (along the first axis that is not the channels'), each normalised by
    /// its own statistics; the running ones are those of all.
    #[arg(long, value_name = "N", conflicts_with = "weights")]
    pub ghost: Option<NonZeroUsize>,
    /// Scale of each channel, any float type; absent: 1.
    #[arg(long, value_name = "G.npy")]
    pub gamma: Option<PathBuf>,
    /// Shift of each channel, any float type; absent: 0.
    #[arg(long, value_name = "B.npy")]
    pub beta: Option<PathBuf>,
    /// Running mean of each channel, any float type; in train absent: 0.
    #[arg(long, value_name = "M.npy")]
    pub running_mean: Option<PathBuf>,
    /// Running variance of each channel, any float type; in train absent: 1.
    #[arg(long, value_name = "V.npy")]
    pub running_var: Option<PathBuf>,
    /// Conventions: eps, update weight and running estimator of a framework.
    #[arg(long, value_enum, default_value_t = Preset::Pytorch)]
    pub preset: Preset,
    /// Added to the variance inside the square root; wins over the preset.
    #[arg(long, value_name = "E", allow_hyphen_values = true)]
    pub epsilon: Option<f64>,
    /// Weight of the NEW value in the running average (PyTorch's momentum); `old:W` gives that of the old value
    /// (Keras' and Flax' momentum), `cumulative` averages all batches alike; wins over the preset.
    #[arg(long, value_name = "W", allow_hyphen_values = true)]
    pub update_weight: Option<String>,
    /// Variance that the running variance estimates: divided by n - 1 (sample) or n (population); wins over the
    /// preset.
    #[arg(long, value_enum)]
    pub running_estimator: Option<RunningEstimator>,
    /// Training on one value a channel (or, of a weighted one, with weights that sum up to no more than 1).
    #[arg(long, value_enum, default_value_t = OnSingleValue::Error)]
    pub on_single_value: OnSingleValue,
    /// Training on an empty array, or on a channel that is all masked.
    #[arg(long, value_enum, default_value_t = OnEmpty::Pass)]
    pub on_empty: OnEmpty,
    /// NaN or infinity in training: the channel's output is NaN; its running statistics are skipped or updated.
    #[arg(long, value_enum, default_value_t = OnNonFinite::Skip)]
    pub on_non_finite: OnNonFinite,
    /// dx where all values of a channel are alike: 0, or the formula's derivative there, as PyTorch has it.
    #[arg(long, value_enum, default_value_t = OnConstant::Zero)]
    pub on_constant: OnConstant,
    /// Number of threads, 1 to 1024; absent: all cores. Never changes a bit of the result.
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub threads: Option<usize>,
    /// Instruction set; absent: the best one here. Never changes a bit of the result.
    #[arg(long, value_enum)]
    pub tier: Option<TierName>,
    /// Folder for the results; created if missing.
    #[arg(long, value_name = "DIR")]
    pub output_dir: PathBuf,
    /// Print a summary as JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// The two forward passes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    Train,
    Eval,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Train => "train",
            Mode::Eval => "eval",
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Preset {
    /// eps 1e-5, weight of the new value 0.1, sample variance
    Pytorch,
    /// eps 1e-3, weight of the old value 0.99, population variance
    Keras,
    /// eps 1e-5, weight of the old value 0.99, population variance
    Flax,
    /// eps 1e-5, weight of the old value 0.9, population variance
    Onnx,
    /// eps 1e-5, weight of the new value 0.1, population variance
    Burn,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum RunningEstimator {
    Sample,
    Population,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum OnSingleValue {
    /// refuse
    Error,
    /// normalise by the running statistics
    UseRunning,
    /// y = beta; the running variance moves towards 0
    Population,
    /// y = beta; the running statistics stay
    SkipUpdate,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum OnEmpty {
    /// empty output, zero gradients, nothing updated
    Pass,
    /// refuse
    Error,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum OnNonFinite {
    /// the channel's running statistics stay
    Skip,
    /// they become NaN
    Update,
    /// refuse
    Error,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum OnConstant {
    Zero,
    Derivative,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum TierName {
    Baseline,
    Avx2,
    Avx512,
}

impl From<TierName> for Tier {
    fn from(name: TierName) -> Tier {
        match name {
            TierName::Baseline => Tier::Baseline,
            TierName::Avx2 => Tier::Avx2,
            TierName::Avx512 => Tier::Avx512,
        }
    }
}

impl Arguments {
    /// The configuration, not yet checked but for the update weight.
    pub fn config(&self) -> Result<Config, String> {
        let mut config = match self.preset {
            Preset::Pytorch => Config::pytorch(),
            Preset::Keras => Config::keras(),
            Preset::Flax => Config::flax(),
            Preset::Onnx => Config::onnx(),
            Preset::Burn => Config::burn(),
        };
        if let Some(epsilon) = self.epsilon {
            config = config.epsilon(epsilon);
        }
        if let Some(text) = &self.update_weight {
            config = config.averaging(averaging(text)?);
        }
        if let Some(estimator) = self.running_estimator {
            config = config.estimator(match estimator {
                RunningEstimator::Sample => Estimator::Sample,
                RunningEstimator::Population => Estimator::Population,
            });
        }
        config.tier = self.tier.map(Tier::from);
        Ok(config.policies(Policies {
            single_value: match self.on_single_value {
                OnSingleValue::Error => SingleValue::Error,
                OnSingleValue::UseRunning => SingleValue::UseRunning,
                OnSingleValue::Population => SingleValue::Population,
                OnSingleValue::SkipUpdate => SingleValue::SkipUpdate,
            },
            empty_batch: match self.on_empty {
                OnEmpty::Pass => EmptyBatch::Pass,
                OnEmpty::Error => EmptyBatch::Error,
            },
            non_finite: match self.on_non_finite {
                OnNonFinite::Skip => NonFinite::Skip,
                OnNonFinite::Update => NonFinite::Update,
                OnNonFinite::Error => NonFinite::Error,
            },
            constant_channel: match self.on_constant {
                OnConstant::Zero => ConstantChannel::ZeroGradient,
                OnConstant::Derivative => ConstantChannel::Derivative,
            },
            ..Policies::default()
        }))
    }
}

/// `0.1`, `new:0.1`, `old:0.9` or `cumulative`.
fn averaging(text: &str) -> Result<Averaging, String> {
    let malformed = || format!("--update-weight: expected a number in 0..=1, new:W, old:W or cumulative, got `{text}`");
    let number = |text: &str| text.parse::<f64>().map_err(|_| malformed());
    let weight = match text.split_once(':') {
        None if text == "cumulative" => return Ok(Averaging::Cumulative),
        None => UpdateWeight::of_new(number(text)?),
        Some(("new", weight)) => UpdateWeight::of_new(number(weight)?),
        Some(("old", weight)) => UpdateWeight::of_old(number(weight)?),
        Some(_) => return Err(malformed()),
    };
    weight.map(Averaging::from).map_err(|error| format!("--update-weight: {error}"))
}
