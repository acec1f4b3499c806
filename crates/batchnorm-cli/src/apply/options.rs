//! The flags of `apply`, and the configuration they stand for.

use crate::arrays::{HeaderName, header_without_tables};
use crate::renorm::renormalization;
use batchnorm::{
    Averaging, Config, ConstantChannel, Convention, EmptyBatch, Estimator, NonFinite, Policies, SingleValue, Tier,
    UpdateWeight,
};
use clap::{Args, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

/// Run the layer on arrays in files.
///
/// An array is a .npy file, one of a .npz (`file.npz:name`), or a table (.csv, .tsv, .txt; float64): float16, float32 or float64,
/// C or Fortran order; whole numbers are taken as float32 where that holds them. What goes with the input may be of any type, if
/// the input's holds its values; a vector of channels of any shape that is one but for axes of length 1.
///
/// Writes y.npy (and dx.npy) in the input's type and shape, and mean.npy, variance.npy (and dgamma.npy, dbeta.npy,
/// running_mean.npy, running_var.npy) as float64 vectors, one value for each channel. Files of those names in the
/// output folder are replaced or removed, all or none.
#[derive(Args)]
#[command(after_help = crate::failure::EXIT_CODES)]
pub struct Arguments {
    /// The array, of at least two axes.
    #[arg(long, value_name = "X")]
    pub input: PathBuf,
    /// Whether the first line of tables names their columns; absent: they tell it, or are refused.
    #[arg(long, value_enum)]
    pub header: Option<HeaderName>,
    /// Which axis holds the channels; negative counts from the end. Of several, such as 1,3, each combination of their indices is
    /// a channel, the last axis fastest: parameters and statistics are read in the shape of these axes or flat, and written flat.
    #[arg(long, value_name = "K", value_delimiter = ',', default_values_t = [1], allow_hyphen_values = true)]
    pub channel_axis: Vec<isize>,
    /// Normalise by the batch and update the running statistics, or normalise by the running statistics.
    #[arg(long, value_enum, default_value_t = Mode::Train)]
    pub mode: Mode,
    /// Upstream gradient of the input's shape: the backward pass is run too (in eval with constant statistics).
    #[arg(long, value_name = "DY")]
    pub gradient: Option<PathBuf>,
    /// How often each value counts: as many axes as the input, each of its length or of 1, or without the channel axis; 0 (or
    /// false) masks, and what is masked may be NaN, is not looked at, and has y = dx = 0.
    #[arg(long, value_name = "W")]
    pub weights: Option<PathBuf>,
    /// Train by ghost batches: groups of so many samples (along the first axis that is not the channels'), each normalised by
    /// its own statistics; the running ones are those of all.
    #[arg(long, value_name = "N")]
    pub ghost: Option<NonZeroUsize>,
    /// Train by batch renormalisation: the batch corrected towards --running-mean and --running-var (absent: 0 and 1) by r within
    /// 1/R..=R and d within -D..=D; `1,0` is batch norm, the paper's are `3,5`.
    #[arg(long, value_name = "R,D")]
    pub renorm: Option<String>,
    /// Scale of each channel; absent: 1.
    #[arg(long, value_name = "G")]
    pub gamma: Option<PathBuf>,
    /// Shift of each channel; absent: 0.
    #[arg(long, value_name = "B")]
    pub beta: Option<PathBuf>,
    /// Running mean of each channel; in train absent: 0, which is said beside --running-var.
    #[arg(long, value_name = "M")]
    pub running_mean: Option<PathBuf>,
    /// Running variance of each channel; in train absent: 1, which is said beside --running-mean.
    #[arg(long, value_name = "V")]
    pub running_var: Option<PathBuf>,
    /// Batches that went into --running-mean and --running-var, for an average that counts them (--update-weight cumulative or
    /// debiased, --preset haiku) to go on from: a number, or a file with one for each channel, such as updates.npy of the step before
    /// (a channel that is skipped has fewer).
    #[arg(long, value_name = "N|FILE")]
    pub batches: Option<Batches>,
    /// Conventions: eps, update weight and running estimator of a framework.
    #[arg(long, value_enum, default_value_t = Preset::Pytorch)]
    pub preset: Preset,
    /// Added to the variance inside the square root; wins over the preset.
    #[arg(long, value_name = "E", allow_hyphen_values = true)]
    pub epsilon: Option<f64>,
    /// Weight in the running average: `new:W` of the new value (PyTorch's and Burn's momentum), `old:W` of the old one (all
    /// others'); a bare W is the new value's, and refused beside a preset of the other kind. `debiased:W` is the same without what
    /// is left of the start, `cumulative` averages all batches alike. Wins over the preset.
    #[arg(long, value_name = "W", allow_hyphen_values = true)]
    pub update_weight: Option<String>,
    /// Variance that the running variance estimates: divided by n - 1 (sample) or n (population); wins over the
    /// preset.
    #[arg(long, value_enum)]
    pub running_estimator: Option<RunningEstimator>,
    /// Training on one value a channel (or, of a weighted one, with weights that sum up to no more than 1); absent: error.
    #[arg(long, value_enum)]
    pub on_single_value: Option<OnSingleValue>,
    /// Training on an empty array, or on a channel that is all masked; absent: pass.
    #[arg(long, value_enum)]
    pub on_empty: Option<OnEmpty>,
    /// NaN or infinity in training: the channel's output is NaN; its running statistics are skipped or updated; absent: skip.
    #[arg(long, value_enum)]
    pub on_non_finite: Option<OnNonFinite>,
    /// dx where all values of a channel are alike: 0, or the formula's derivative there, as PyTorch has it; absent: zero.
    #[arg(long, value_enum)]
    pub on_constant: Option<OnConstant>,
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
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
    /// eps 1e-5, weight of the old value 0.9, population variance
    Paddle,
    /// eps 1e-5, weight of the old value 0.9, sample variance
    Mindspore,
    /// eps 1e-5, weight of the old value 0.9, population variance
    Gluon,
    /// eps 1e-5, weight of the old value 0.9 (the layer has no default: its ResNets'), debiased, population variance
    Haiku,
}

impl Preset {
    fn convention(self) -> Convention {
        match self {
            Preset::Pytorch => Convention::PyTorch,
            Preset::Keras => Convention::Keras,
            Preset::Flax => Convention::Flax,
            Preset::Onnx => Convention::Onnx,
            Preset::Burn => Convention::Burn,
            Preset::Paddle => Convention::Paddle,
            Preset::Mindspore => Convention::MindSpore,
            Preset::Gluon => Convention::Gluon,
            Preset::Haiku => Convention::Haiku,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum RunningEstimator {
    Sample,
    Population,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
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
    /// Errs unless the flags go together and each has an effect.
    pub fn check(&self) -> Result<(), String> {
        if let Some(void) = header_without_tables(self.header, self.inputs()) {
            return Err(void.into());
        }
        let train = self.mode == Mode::Train;
        let statistics = self.running_mean.is_some() || self.running_var.is_some();
        let both = self.running_mean.is_some() && self.running_var.is_some();
        let convention = self.preset.convention();
        let averaging = match &self.update_weight {
            Some(text) => averaging(text, convention)?,
            None => convention.config().averaging,
        };
        let counts = train && !matches!(averaging, Averaging::Exponential(_));
        let updates = "evaluation updates no running statistics";
        let by_batch = "evaluation takes no statistics from the input";
        for (flag, given, why) in [
            ("--ghost", self.ghost.is_some(), "evaluation knows no groups"),
            ("--renorm", self.renorm.is_some(), "evaluation has nothing to correct"),
            ("--update-weight", self.update_weight.is_some(), updates),
            ("--batches", self.batches.is_some(), updates),
            ("--running-estimator", self.running_estimator.is_some(), updates),
            ("--on-single-value", self.on_single_value.is_some(), by_batch),
            ("--on-empty", self.on_empty.is_some(), by_batch),
            ("--on-non-finite", self.on_non_finite.is_some(), by_batch),
            ("--on-constant", self.on_constant.is_some(), by_batch),
        ] {
            if given && !train {
                return Err(format!("{flag}: expected --mode train, for {why}; leave it out"));
            }
        }
        if !train && !both {
            return Err("--mode eval: expected --running-mean and --running-var, the statistics to normalise by; give both or use \
                        --mode train"
                .into());
        }
        if self.on_constant.is_some() && self.gradient.is_none() {
            return Err(
                "--on-constant: expected --gradient, for it concerns dx alone; give both or leave it out".into()
            );
        }
        if self.on_single_value == Some(OnSingleValue::UseRunning) && !both {
            return Err("--on-single-value use-running: expected --running-mean and --running-var, the statistics to normalise by; \
                        give both or choose another policy"
                .into());
        }
        if self.batches == Some(Batches::OfAll(0)) && statistics {
            return Err("--batches: expected 1 or more beside --running-mean and --running-var, for after 0 batches there are none; \
                        leave the statistics out"
                .into());
        }
        if self.batches.is_some() && !(counts && statistics) {
            return Err("--batches: expected with an average that counts them (--update-weight cumulative or debiased:W, --preset haiku) \
                        and the statistics that so many batches went into (--running-mean, --running-var); leave it out"
                .into());
        }
        if counts && statistics && self.batches.is_none() {
            let average = match &self.update_weight {
                Some(text) => format!("--update-weight {text}"),
                None => format!("--preset {}", self.preset.to_possible_value().expect("a preset").get_name()),
            };
            return Err(format!(
                "{average}: expected --batches N|FILE beside --running-mean and --running-var, the batches that went into them, for the \
                 average weighs them by their number; give it (updates.npy of the step before has it, a checkpoint as num_batches_tracked or counter)"
            ));
        }
        Ok(())
    }

    /// Every file that is read.
    pub fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        let Arguments { input, gradient, weights, gamma, beta, running_mean, running_var, batches, .. } = self;
        let batches = match batches {
            Some(Batches::OfEach(path)) => Some(path),
            _ => None,
        };
        let vectors = [gradient, weights, gamma, beta, running_mean, running_var].into_iter().flatten();
        vectors.chain(batches).chain([input])
    }

    /// The configuration, not yet checked but for the update weight.
    pub fn config(&self) -> Result<Config, String> {
        let convention = self.preset.convention();
        let mut config = convention.config();
        if let Some(epsilon) = self.epsilon {
            config = config.epsilon(epsilon);
        }
        if let Some(text) = &self.update_weight {
            config = config.averaging(averaging(text, convention)?);
        }
        if let Some(estimator) = self.running_estimator {
            config = config.estimator(match estimator {
                RunningEstimator::Sample => Estimator::Sample,
                RunningEstimator::Population => Estimator::Population,
            });
        }
        if let Some(text) = &self.renorm {
            config = config.renormalization(renormalization(text)?);
        }
        config.tier = self.tier.map(Tier::from);
        Ok(config.policies(Policies {
            single_value: match self.on_single_value.unwrap_or(OnSingleValue::Error) {
                OnSingleValue::Error => SingleValue::Error,
                OnSingleValue::UseRunning => SingleValue::UseRunning,
                OnSingleValue::Population => SingleValue::Population,
                OnSingleValue::SkipUpdate => SingleValue::SkipUpdate,
            },
            empty_batch: match self.on_empty.unwrap_or(OnEmpty::Pass) {
                OnEmpty::Pass => EmptyBatch::Pass,
                OnEmpty::Error => EmptyBatch::Error,
            },
            non_finite: match self.on_non_finite.unwrap_or(OnNonFinite::Skip) {
                OnNonFinite::Skip => NonFinite::Skip,
                OnNonFinite::Update => NonFinite::Update,
                OnNonFinite::Error => NonFinite::Error,
            },
            constant_channel: match self.on_constant.unwrap_or(OnConstant::Zero) {
                OnConstant::Zero => ConstantChannel::ZeroGradient,
                OnConstant::Derivative => ConstantChannel::Derivative,
            },
            ..Policies::default()
        }))
    }
}

/// The batches behind running statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batches {
    /// So many of every channel.
    OfAll(u64),
    /// In a file, those of each channel.
    OfEach(PathBuf),
}

impl FromStr for Batches {
    type Err = String;

    fn from_str(text: &str) -> Result<Batches, String> {
        match text.parse() {
            Ok(batches) => Ok(Batches::OfAll(batches)),
            Err(_) if text.parse::<f64>().is_ok() => Err(format!("expected a whole number >= 0 or a file, got {text}")),
            Err(_) => Ok(Batches::OfEach(PathBuf::from(text))),
        }
    }
}

/// `0.1`, `new:0.1`, `old:0.9`, each behind `debiased:` too, or `cumulative`.
fn averaging(text: &str, preset: Convention) -> Result<Averaging, String> {
    match text.strip_prefix("debiased:") {
        Some("cumulative") => Err(String::from(
            "--update-weight: expected debiased:W with a weight, got debiased:cumulative, an average that has no start; leave out one",
        )),
        Some(weight) => plain_averaging(weight, "debiased:", preset).map(|averaging| match averaging {
            Averaging::Exponential(weight) => Averaging::Debiased(weight),
            other => other,
        }),
        None => plain_averaging(text, "", preset),
    }
}

/// The same behind `debiased:` or nothing.
fn plain_averaging(text: &str, front: &str, preset: Convention) -> Result<Averaging, String> {
    let malformed = || {
        format!(
            "--update-weight: expected a number in 0..=1, new:W, old:W, debiased:W (or debiased:old:W) or cumulative, got `{front}{text}`"
        )
    };
    let number = |text: &str| text.parse::<f64>().map_err(|_| malformed());
    let weight = match text.split_once(':') {
        None if text == "cumulative" => return Ok(Averaging::Cumulative),
        None => {
            let weight = number(text)?;
            if !preset.weighs_the_new() {
                return Err(format!(
                    "--update-weight: expected {front}old:{text} (as the momentum of {preset} is meant) or {front}new:{text} (as PyTorch's is), got \
                     {front}{text} alone, which may be either beside this preset"
                ));
            }
            UpdateWeight::of_new(weight)
        }
        Some(("new", weight)) => UpdateWeight::of_new(number(weight)?),
        Some(("old", weight)) => UpdateWeight::of_old(number(weight)?),
        Some(_) => return Err(malformed()),
    };
    weight.map(Averaging::from).map_err(|error| format!("--update-weight: {error}"))
}
